"""Predictions on disk, without a browser."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest

from apps.ui import api
from apps.ui.predict import job
from apps.ui.predict.tab import FACE, expected_seconds
from apps.ui.shared import storage
from apps.ui.shared.context import AppContext
from apps.ui.shared.faces import Face, Job, checked
from apps.ui.shared.jobs import Clock, Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from apps.ui.shared.task_tab import _step_done
from tests.app.conftest import save_untrained, tiny
from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.common import Counts
from vflow.pipelines.nowcast import Members
from vflow.pipelines.video.predict import FrameStep


def test_mean_and_diversity() -> None:
    futures = np.zeros((2, 1, 2, 2, 3), np.uint8)
    futures[1, 0, 0, 0] = 100
    assert job.mean_frames(futures)[0, 0, 0].tolist() == [50, 50, 50]
    assert job.diversity(futures)[0].tolist() == [[50, 0], [0, 0]]


def predicted(runs: RunStore) -> job.Result:
    rng = np.random.default_rng(0)
    context = rng.integers(0, 256, (1, 8, 8, 3), np.uint8)
    futures = rng.integers(0, 256, (2, 3, 8, 8, 3), np.uint8)
    result = job.write_previews(runs.new_folder(), "shapes", context, futures, 5, context[:0])
    media.write_npz(result.native, frames=futures, context=context)
    return result


def test_futures_are_compared_with_what_really_happened() -> None:
    futures = np.zeros((3, 4, 2, 2, 3), np.uint8)
    futures[0], futures[1], futures[2, 2:] = 30, 10, 255  # the last fits the known frames to the byte
    comparison = job.Comparison.of(futures, np.zeros((2, 2, 2, 3), np.uint8))
    assert comparison == job.Comparison(frames=2, closest=2, psnr=99)
    assert job.Comparison.of(futures, futures[0, :0]) is None


def test_a_future_can_be_continued_until_it_is_cleared(tmp_path: Path) -> None:
    runs = RunStore(tmp_path)
    result = predicted(runs)
    chosen = result.future(1)["frames"]
    assert chosen.shape == (4, 8, 8, 3)
    assert np.array_equal(media.read_frames([result.continuation(1)]).frames, chosen)
    with pytest.raises(InputError, match="future 3: 2 futures to continue from"):
        result.future(2)
    assert (result.folder.stat().st_mode & 0o077) == 0, "private"
    long_ago = time.time() - storage.MAX_AGE - 1
    os.utime(result.folder, (long_ago, long_ago))
    newer = predicted(runs)
    assert newer.folder.is_dir() and not result.folder.exists()
    with pytest.raises(
        InputError, match="these futures have been cleared from the server; run Predict again"
    ):
        result.future(0)


def test_a_wrong_frame_rate_is_refused_before_any_frame_is_computed(tmp_path: Path) -> None:
    save_untrained(tmp_path / "models" / "mine", tiny())
    app = AppContext(ModelStore([tmp_path / "models"]), RunStore(tmp_path), Jobs(), tmp_path)
    with gr.Blocks() as blocks:
        api.build(app)
    predict_future: Any = next(f.fn for f in blocks.fns.values() if f.api_name == "predict_future")
    frames = tmp_path / "frames.npz"
    np.savez(frames, frames=np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(gr.Error, match="preview_fps: give a number from 1 to 60"):
        given = {"num_samples": 1, "num_frames": 1, "temperature": 1.0, "seed": 0, "level_temperatures": ""}
        list(predict_future.__wrapped__(checkpoint="mine", files=[str(frames)], preview_fps=99, **given))


def test_longer_predictions_say_how_long_before_they_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_untrained(tmp_path / "models" / "mine", tiny())
    app = AppContext(ModelStore([tmp_path / "models"]), RunStore(tmp_path), Jobs(), tmp_path)
    assert expected_seconds(app, "mine", None, 32, 60) is None, "nothing is known yet"
    job.warm_up(app, "mine")
    measured = app.jobs.expected("mine", 1)
    assert measured is not None and measured > 0
    monkeypatch.setattr(app.jobs, "_seconds", {"mine": 0.1})
    assert expected_seconds(app, "mine", None, 8, 5) == pytest.approx(4)
    assert expected_seconds(app, "mine", None, 9, 40) == pytest.approx(64)
    assert expected_seconds(app, "mine", None, 32, 60) == pytest.approx(192)
    for wrong in (0, None, "a", 2.5):
        assert expected_seconds(app, "mine", None, wrong, 5) is None


def test_the_summary_tells_the_settings() -> None:
    (rain,) = FACE.joined
    drawn = np.zeros((2, 3, 8, 8, 3), np.uint8)
    last, earlier = (FrameStep(n - 1, drawn[:, :n], Counts(), size=n) for n in (3, 2))
    given = {"num_samples": 2, "num_frames": 3, "temperature": 1, "level_temperatures": ".5, 1", "seed": 7}
    for face, result, size in (
        (FACE, last, "2 futures × 3 frames"),
        (FACE, earlier, "Stopped after frame 2 of 3: 2 futures × 2 frames"),
        (rain, Members(0, drawn[..., 0], Counts()), "2 members × 3 frames"),
    ):
        job = Job(face, "mine", checked(face.kind, given), None, "clip", (), None, [result], seconds=1.5)
        assert job.summary() == f"{size} in 1.5 s · mine, temperature 0.5 / 1, seed 7"


def test_after_the_last_frame_nothing_is_left_to_wait_for() -> None:
    """The line of status beside the bar, while frames come."""
    view: Any = SimpleNamespace(bar=SimpleNamespace(status="status"), results="results")
    face: Any = SimpleNamespace(unit="frame", past="drawn", live=lambda job: "")
    face.step = partial(Face.step, face)
    clock = Clock({"push": 2.0}, "push", work=1)

    def line(done: int) -> str:
        at: Any = SimpleNamespace(face=face, done=done, total=10, steps_left=10 - done)
        updates: Any = _step_done(view, at, clock)
        return str(updates["status"])

    assert "Frame 5 of 10 · about 12 s left" in line(4)
    assert "Frame 10 of 10</p>" in line(10)
