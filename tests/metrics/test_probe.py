"""What a small classifier reads from features."""

from __future__ import annotations

import pytest
import torch

from vflow.metrics.probe import ProbeSettings, probe_accuracy

QUICK = ProbeSettings(hidden=32, epochs=30)


def examples(count: int, seed: int, informative: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The label is which two of the features have the same sign: no linear map reads it."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator)
    label = (x[:, 0] * x[:, 1] > 0).long()
    return (x if informative else x[torch.randperm(count, generator=generator)]), label


def test_reads_what_is_there() -> None:
    assert probe_accuracy(examples(2000, 0, True), examples(500, 1, True), QUICK) > 0.9


def test_reads_nothing_from_shuffled_features() -> None:
    assert 0.4 < probe_accuracy(examples(2000, 0, False), examples(500, 1, False), QUICK) < 0.6


def test_leaves_the_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    probe_accuracy(examples(100, 0, True), examples(50, 1, True), QUICK)
    assert torch.equal(torch.randn(2), expected)


def test_unknown_labels_are_refused() -> None:
    features, labels = examples(50, 0, True)
    with pytest.raises(ValueError, match=r"labels \[7\]"):
        probe_accuracy((features, labels), (features, torch.full_like(labels, 7)), QUICK)
