"""Futures, scores and plans under actions: what each depends on, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vflow
from vflow import cli
from vflow.checkpoint import save_checkpoint
from vflow.data import media
from vflow.errors import ConfigError, InputError
from vflow.models import VideoModel
from vflow.pipelines.evaluate.actions import windows
from vflow.pipelines.evaluate.report import Settings
from vflow.pipelines.evaluate.video import evaluate_video
from vflow.pipelines.video.predict import prepare

from ...data.sample_media import write_lossless
from ..conftest import make_model
from ..evaluate.support import moving_clip, quiet

WAVELETS: dict[str, Any] = {
    "kind": "lattice_videoflow",
    "glow": {"height": 16, "width": 16, "depth": [0, 0], "hidden": [1, 1], "split": "quarter"},
    "prior": {"kind": "wavelet", "hidden": [4, 4], "dilations": [[1], [1]], "radius": 1, "components": 2},
    "actions": {"size": 2, "names": ["x", "y"], "hidden": 8, "channels": 4, "grid": 4},
}
PLAN = np.random.default_rng(0).normal(0, 1, (12, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return make_model(**WAVELETS)


@pytest.fixture
def film() -> np.ndarray:
    return moving_clip(1)


def test_futures_follow_rows_up_to_their_own(model: VideoModel, film: np.ndarray) -> None:
    other = PLAN.copy()
    other[len(film) + 2 :] += 5
    first, second, none = (
        vflow.predict(model, film, num_frames=4, num_samples=2, actions=a) for a in (PLAN, other, None)
    )
    assert np.array_equal(first[:, :2], second[:, :2])
    assert not np.array_equal(first[:, 2], second[:, 2])
    assert not np.array_equal(first[:, 0], none[:, 0])


def test_scores_follow_rows_up_to_their_own(model: VideoModel, film: np.ndarray) -> None:
    other = PLAN.copy()
    other[4:] += 5
    first, second = (vflow.score(model, film, actions=a).per_frame for a in (PLAN, other))
    assert first[:4] == second[:4]
    assert first[4] != second[4]


def test_surprise_is_of_the_film_given_its_plan(model: VideoModel, film: np.ndarray) -> None:
    found = vflow.surprisal(model, film, actions=PLAN)
    scores = vflow.score(model, film, actions=PLAN).per_frame
    np.testing.assert_allclose(found.per_frame[1:], scores[1:], rtol=1e-5)


def test_the_last_row_goes_on_and_that_is_said(model: VideoModel, film: np.ndarray) -> None:
    short = PLAN[: len(film) + 2]
    held = np.concatenate([short, np.repeat(short[-1:], 6, 0)])
    drawn = [vflow.predict(model, film, num_frames=4, num_samples=1, actions=a) for a in (short, held)]
    assert np.array_equal(*drawn)
    ready = prepare(model, film, actions=short, num_frames=4)
    assert any("2 frames early" in note for note in ready.notes)


def test_frames_at_the_start_take_the_rows_of_the_clip(model: VideoModel, film: np.ndarray) -> None:
    ready = prepare(model, film, start=0, actions=PLAN, num_frames=3)
    assert ready.actions is not None
    assert np.array_equal(ready.actions, PLAN[: len(ready.context) + 3])


@pytest.mark.parametrize(
    ("rows", "named"),
    [(PLAN[:6], "none for frames after"), (PLAN[:3], "3 rows"), (PLAN[:, :1], "1 number"), ("x", "path")],
)
def test_plans_that_do_not_fit_are_refused(
    model: VideoModel, film: np.ndarray, rows: Any, named: str
) -> None:
    with pytest.raises(InputError, match=named):
        vflow.predict(model, film, num_frames=2, num_samples=1, actions=rows)


def test_models_without_actions_refuse_them(one_model: VideoModel, film: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="takes none"):
        vflow.predict(one_model, film, actions=PLAN)
    with pytest.raises(ConfigError, match="takes none"):
        vflow.score(one_model, film, actions=PLAN)


def test_posterior_is_that_of_the_scores(model: VideoModel, film: np.ndarray) -> None:
    plans = [PLAN, PLAN + 1, -PLAN]
    found = vflow.infer_actions(model, film, plans)
    bits = np.array([vflow.score(model, film, actions=p).bits_per_dim * film[1:].size for p in plans])
    np.testing.assert_allclose(found.bits, bits, rtol=1e-6)
    expected = np.exp2(bits.min() - bits)
    np.testing.assert_allclose(found.probabilities, expected / expected.sum(), atol=1e-4)
    with pytest.raises(InputError, match="plans"):
        vflow.infer_actions(model, film, [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Held-out clips with actions beside them, and clips to train on."""
    for split, count in (("train", 3), ("test", 3)):
        (tmp_path / split).mkdir()
        for number in range(count):
            clip = np.concatenate([moving_clip(number), moving_clip(number)[::-1]] * 3)
            write_lossless(tmp_path / split / f"{number}.mp4", clip, fps=5)
            rows = np.random.default_rng(number).normal(0, 1, (len(clip), 2))
            media.write_npz(tmp_path / split / f"{number}.npz", actions=rows)
    return tmp_path


def test_evaluation_says_how_much_it_listens(model: VideoModel, folder: Path) -> None:
    found = evaluate_video(model, Settings(str(folder), num_samples=2, num_frames=5, limit=3), quiet)
    figures = found.figures
    assert figures["actions_windows"] == figures["plans_to_choose_from"] == 3
    assert 0 <= figures["plans_told_apart"] <= 1
    assert figures["true_over_no_plan"] == pytest.approx(
        figures["bits_per_dim_true_plan"] / figures["bits_per_dim_no_plan"] - 1
    )
    assert len(figures["plan_share"]) == 5
    assert all(0 <= share <= 1 for share in figures["plan_share"])


def test_clips_too_short_for_plans_are_evaluated_without(model: VideoModel, folder: Path) -> None:
    for path in (folder / "test").glob("*.mp4"):
        write_lossless(path, moving_clip(int(path.stem)), fps=5)
    found = evaluate_video(model, Settings(str(folder), num_samples=2, num_frames=2, limit=2), quiet)
    assert found.figures["actions_windows"] == 0


def test_other_plans_start_where_the_true_one_does(folder: Path, model: VideoModel) -> None:
    from vflow.data.datasets.folder import VideoFolder

    data = VideoFolder(
        folder / "test", frames=8, size=(16, 16, 3), fps=5, split="test", actions=model.config.actions
    )
    for window in windows(data, 3, 9):
        assert len(window.others) == 2
        for plan in window.others:
            assert np.array_equal(plan[:3], window.true[:3])
            assert not np.array_equal(plan[3:], window.true[3:])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        return cli.main([*map(str, arguments), "--device", "cpu"]), *capsys.readouterr()

    return call


def test_commands_take_files(
    model: VideoModel, folder: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    save_checkpoint(tmp_path / "model", model, config=model.config)
    clip, plan = folder / "test" / "0.mp4", tmp_path / "plan.csv"
    rows = np.random.default_rng(0).normal(0, 1, (40, 2))
    np.savetxt(plan, rows, delimiter=",", header="x,y", comments="")
    ask = ("--checkpoint", tmp_path / "model", "--input", clip)
    draw = ("predict", *ask, "--num-frames", 2, "--num-samples", 2, "--format", "npz", "--output")
    code, _, error = run(*draw, tmp_path / "out", "--actions", plan)
    assert code == 0, error
    futures = np.load(tmp_path / "out" / "futures.npz")["frames"]
    drawn = vflow.predict(model, media.read_clip(clip), num_frames=2, num_samples=2, actions=rows)
    assert np.array_equal(futures, drawn)
    assert run(*draw, tmp_path / "out")[0] == 1, "the same folder without actions is another run"
    code, out, error = run("score", *ask, "--actions", folder / "test", "--json")
    assert code == 0, error
    assert json.loads(out)["bits_per_dim"] != json.loads(run("score", *ask, "--json")[1])["bits_per_dim"]
    plans = (folder / "test" / "0.npz", plan)
    code, out, error = run("infer-actions", *ask, "--plans", *plans, "--json")
    assert code == 0, error
    assert sum(json.loads(out)["probabilities"]) == pytest.approx(1)
    assert run("infer-actions", *ask, "--plans", plan)[0] == 2
    code, _, error = run("score", *ask, "--actions", tmp_path / "none.csv")
    assert code == 1
    assert "none.csv" in error
