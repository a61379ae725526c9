"""Counted parts of a model that starts from another: kept where they suit the data, else counted anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from tests.training.support import run_here
from vflow.data.datasets.shapes import Shapes
from vflow.data.media import write_npz
from vflow.training import videos

CONDITIONAL = ("model.pixel_map=conditional", "model.noise=gaussian")
COUNTS = (
    *CONDITIONAL,
    "model.kind=reference_videoflow",
    "model.reference={kind: motion, max_displacement: 2}",
)
TENSORS = ("pixel_map.probability", "reference.transition_logits")


@pytest.fixture(autouse=True)
def few_clips_for_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "STATISTICS_CLIPS", 16)


@pytest.fixture
def trained(tiny: str, runs: Path, tmp_path: Path) -> Path:
    """A run on a folder of shapes."""
    write_clips(tmp_path / "clips", lambda frames: frames)
    run_here(tiny, runs / "a", max_steps=2, set=COUNTS, data=str(tmp_path / "clips"))
    return runs / "a"


def write_clips(folder: Path, recolour: Any) -> None:
    folder.mkdir()
    shapes = Shapes()
    for number in range(8):
        write_npz(folder / f"{number}.npz", frames=recolour(shapes.example(1000 * number)))


def counted(run: Path) -> list[torch.Tensor]:
    state = vflow.load(run).state_dict()
    return [state[name] for name in TENSORS]


def test_the_same_data_keep_the_counts(
    tiny: str, trained: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"set": COUNTS, "data": str(tmp_path / "clips"), "init_from": str(trained)}
    run_here(tiny, runs / "b", max_steps=1, seed=1, **options)
    assert "statistics kept" in capsys.readouterr().err
    assert torch.equal(counted(runs / "b")[0], counted(trained)[0])


def test_other_colours_are_counted_anew(
    tiny: str, trained: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clips(tmp_path / "others", lambda frames: np.where(frames == 255, 200, frames // 2 + 20))
    options = {"set": COUNTS, "data": str(tmp_path / "others"), "init_from": str(trained)}
    run_here(tiny, runs / "b", max_steps=1, **options)
    assert "statistics fitted anew: " in capsys.readouterr().err
    assert not torch.equal(counted(runs / "b")[0], counted(trained)[0])


def test_a_missing_count_has_all_counted(tiny: str, trained: Path, runs: Path, tmp_path: Path) -> None:
    """Weights of a model without motion: its pixel map does not go with the moved frames."""
    run_here(tiny, runs / "still", max_steps=1, set=CONDITIONAL, data=str(tmp_path / "clips"))
    options = {"set": COUNTS, "data": str(tmp_path / "clips"), "init_from": str(runs / "still")}
    run_here(tiny, runs / "b", max_steps=1, **options)
    before = vflow.load(runs / "still").state_dict()["pixel_map.probability"]
    assert not torch.equal(counted(runs / "b")[0], before)


def test_what_all_clips_share_is_counted_without_a_counted_pixel_map(tiny: str, runs: Path) -> None:
    predictor = (
        "model.kind=augmented_videoflow",
        "model.augmentation={size: 2, hidden: [4, 4]}",
    )
    run_here(tiny, runs / "b", max_steps=1, set=(*predictor, "training.learning_rate=1e-9"))
    background = vflow.load(runs / "b").state_dict()["reference.background"]
    still = torch.full_like(background, 127 / 127.5 - 1)  # the grey on which shapes move
    torch.testing.assert_close(background, still, rtol=0, atol=1e-4)
