"""Telling two groups apart by a number."""

from __future__ import annotations

from scripts.fit_selection import auroc


def test_auroc() -> None:
    assert auroc([0, 1, 2], [3, 4]) == 1.0
    assert auroc([3, 4], [0, 1, 2]) == 0.0
    assert auroc([1, 1], [1, 1, 1]) == 0.5
    assert auroc([0, 2], [1, 3]) == 0.75
    assert auroc([0, 1], [1, 2]) == 0.875
