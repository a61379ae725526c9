"""Writers: large results go through a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vflow.pipelines.batch import writers
from vflow.pipelines.batch.writers import future_writer
from vflow.tasks.video.settings import PredictSettings


def test_large_results_are_gathered_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    futures = np.random.default_rng(0).integers(0, 256, (5, 2, 8, 8, 1), dtype=np.uint8)
    monkeypatch.setattr(writers, "_IN_MEMORY", 0)
    settings = PredictSettings(num_samples=5, num_frames=2, format="npz")
    with future_writer(tmp_path, settings, futures[0]) as write:
        write(0, futures[:3])
        write(3, futures[3:])
    assert [p.name for p in tmp_path.iterdir()] == ["futures.npz"]
    with np.load(tmp_path / "futures.npz") as arrays:
        assert np.array_equal(arrays["frames"], futures)
        assert np.array_equal(arrays["context"], futures[0])
