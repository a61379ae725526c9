"""Writers: large results go through a file, odd formats are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vflow.errors import ConfigError
from vflow.pipelines.batch import writers
from vflow.pipelines.batch.writers import future_writer
from vflow.pipelines.video.predict import PredictSettings


def test_large_results_are_gathered_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    futures = np.random.default_rng(0).integers(0, 256, (5, 2, 8, 8, 1), dtype=np.uint8)
    monkeypatch.setattr(writers, "_IN_MEMORY", 0)
    settings = PredictSettings(num_samples=5, num_frames=2)
    with future_writer("npz", tmp_path, settings, futures[0], fps=5) as write:
        write(0, futures[:3])
        write(3, futures[3:])
    assert [p.name for p in tmp_path.iterdir()] == ["futures.npz"]
    with np.load(tmp_path / "futures.npz") as arrays:
        assert np.array_equal(arrays["frames"], futures)
        assert np.array_equal(arrays["context"], futures[0])


def test_unknown_format(tmp_path: Path) -> None:
    writer = future_writer("avi", tmp_path, PredictSettings(), np.zeros((1, 8, 8, 3)), fps=5)
    with pytest.raises(ConfigError, match="--format avi: choose mp4, webm, gif, png, npz"), writer:
        pass
