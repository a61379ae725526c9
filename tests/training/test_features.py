"""Cache of a frozen backbone's features."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vflow.errors import InputError
from vflow.training.features import FeatureCache

SHAPES = [(3, 4, 4), (5, 2, 2)]


def _features(count: int) -> list[torch.Tensor]:
    return [torch.randn(count, *shape).half().float() for shape in SHAPES]


def test_rows_are_kept_over_processes(tmp_path: Path) -> None:
    cache, features = FeatureCache(tmp_path / "a", 9, SHAPES), _features(2)
    rows = torch.tensor([7, 2])
    assert cache.missing(rows).all()
    cache.put(rows, features)
    again = FeatureCache(tmp_path / "a", 9, SHAPES)
    assert again.missing(torch.tensor([2, 3, 7])).tolist() == [False, True, False]
    for kept, own in zip(again.get(torch.tensor([2, 7])), features, strict=True):
        assert torch.equal(kept, own.flip(0))


def test_other_pictures_or_weights_have_another_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFLOW_CACHE", str(tmp_path))
    backbone = nn.Conv2d(1, 2, 1)
    rows = torch.tensor([0])
    FeatureCache.of(backbone, "pictures", 4, SHAPES).put(rows, _features(1))
    assert not FeatureCache.of(backbone, "pictures", 4, SHAPES).missing(rows).any()
    assert FeatureCache.of(backbone, "others", 4, SHAPES).missing(rows).all()
    nn.init.zeros_(backbone.weight)
    assert FeatureCache.of(backbone, "pictures", 4, SHAPES).missing(rows).all()


def test_a_process_that_comes_while_the_files_are_made_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, rows = np.lib.format.open_memmap, torch.tensor([1])
    others: list[threading.Thread] = []

    def put() -> None:
        FeatureCache(tmp_path / "a", 9, SHAPES).put(rows, _features(1))

    def slow(path: Path, mode: str, *arguments: Any) -> Any:
        if not others:
            others.append(threading.Thread(target=put))
            others[0].start()
            others[0].join(0.5)
        return make(path, mode, *arguments)

    monkeypatch.setattr(np.lib.format, "open_memmap", slow)
    cache = FeatureCache(tmp_path / "a", 9, SHAPES)
    others[0].join()
    assert not cache.missing(rows).any()


def test_rows_are_known_once_they_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache, rows = FeatureCache(tmp_path / "a", 9, SHAPES), torch.tensor([3, 4])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            InputError, match=r"a: features cannot be kept there \(.*No space.*set VFLOW_CACHE"
        ):
            cache.put(rows, _features(2))
    assert FeatureCache(tmp_path / "a", 9, SHAPES).missing(rows).all()
    cache.put(rows, features := _features(2))
    assert not FeatureCache(tmp_path / "a", 9, SHAPES).missing(rows).any()
    cache.put(rows - 1, _features(2))  # soon after: kept, and not waited for
    assert not cache.missing(rows - 1).any() and torch.equal(cache.get(rows)[0][1:], features[0][1:])
    assert FeatureCache(tmp_path / "a", 9, SHAPES).missing(torch.tensor([2])).all()


def test_nothing_is_written_through_memory(tmp_path: Path) -> None:
    """That would end the process where a disk is full (SIGBUS)."""
    cache = FeatureCache(tmp_path / "a", 9, SHAPES)
    assert not any(rows.array.flags.writeable for rows in (cache._known, *cache._levels))


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("VFLOW_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(InputError, match="no home folder; set VFLOW_CACHE"):
        FeatureCache.of(nn.Linear(1, 1), "pictures", 9, SHAPES)


def test_a_folder_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    FeatureCache(tmp_path / "a", 9, SHAPES)
    with pytest.raises(InputError, match="VFLOW_CACHE"):
        FeatureCache(tmp_path / "a", 8, SHAPES)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be kept"):
        FeatureCache(tmp_path / "file" / "a", 9, SHAPES)
