"""``vflow score --maps-dir``: files as promised, the same as in Python, one-line errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import vflow as library
from vflow import cli
from vflow.checkpoint import load, save_checkpoint
from vflow.data import media
from vflow.pipelines.video.score import Score
from vflow.pipelines.video.stats import save_clip_statistics

from ..pipelines.conftest import FRAMES, make_model
from ..pipelines.video.test_surprisal import typical_of

Vflow = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that has figures of validation clips, and the same one without."""
    folder = tmp_path_factory.mktemp("models")
    model = make_model(**FRAMES)
    for name in ("known", "plain"):
        save_checkpoint(folder / name, model, config=model.config)
    save_clip_statistics(folder / "known", typical_of(model, -2, -1))
    return folder


@pytest.fixture
def vflow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Vflow:
    """Calls ``vflow score`` in this process, on the CPU: exit code, stdout, stderr."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["score", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Two clips (4, 16, 16, 3)."""
    paths = [tmp_path / f"clip{i}.npz" for i in range(2)]
    for i, path in enumerate(paths):
        media.write_npz(path, frames=np.random.default_rng(i).integers(0, 256, (4, 16, 16, 3), np.uint8))
    return paths


def test_maps_are_python_surprise(vflow: Vflow, models: Path, clips: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    checkpoint = models / "known"
    code, said, _ = vflow(
        "--checkpoint", checkpoint, "--input", clips[0], "--maps-dir", out, "--json", "--seed", 3
    )
    assert code == 0
    model = load(checkpoint)
    with np.load(clips[0]) as saved:
        frames = saved["frames"]
    statistics = library.load_clip_statistics(checkpoint, model)
    expected = library.surprisal(model, frames, statistics=statistics, seed=3)
    assert json.loads(said) == {"item": "clip0"} | expected.to_json()
    assert json.loads(said)["flagged"] == [2, 3, 4]
    assert sorted(path.name for path in out.iterdir()) == ["clip0.mp4", "clip0.npz", "clip0.png"]
    with np.load(out / "clip0.npz") as saved:
        assert np.array_equal(saved["maps"], expected.maps, equal_nan=True)


@pytest.mark.parametrize("flags", [(), ("--json",), ("--maps-dir", "maps"), ("--maps-dir", "maps", "--json")])
def test_a_model_that_gives_no_number_is_an_error_that_names_it(
    vflow: Vflow, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    """As training that diverged leaves it: every weight is finite, the likelihood is not."""
    monkeypatch.chdir(tmp_path)
    model = make_model(**FRAMES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(900)
    save_checkpoint("diverged", model, config=model.config)
    code, said, error = vflow("--checkpoint", "diverged", "--input", *clips, *flags)
    assert code == 1
    told = [line for line in error.splitlines() if line.startswith("error: ")]
    failed = [{"item": f"clip{i}", "error": line.removeprefix("error: ")} for i, line in enumerate(told)]
    assert [json.loads(line) for line in said.splitlines()] == (failed if "--json" in flags else [])
    assert [line.partition(", as after")[0] for line in told] == [
        f"error: diverged: gives clip{i} no finite bits/dim" for i in range(2)
    ]
    assert not any(Path("maps").glob("*"))


def test_figures_that_are_no_numbers_are_null_in_json() -> None:
    score = Score((None, 1.0, float("nan")), 0, 1, 0)
    assert score.to_json()["per_frame"] == [None, 1.0, None] and score.to_json()["bits_per_dim"] is None


def test_the_first_frames_alone_score_as_a_shorter_clip(
    vflow: Vflow, models: Path, clips: list[Path], tmp_path: Path
) -> None:
    """What the app shows of a long clip is repeated by a command on the whole file."""
    with np.load(clips[0]) as saved:
        shorter = saved["frames"][:3]
    checkpoint = models / "known"
    common = ("--checkpoint", checkpoint, "--input", clips[0], "--num-frames", 3, "--json")
    expected = {"item": "clip0"} | library.score(load(checkpoint), shorter).to_json()
    assert json.loads(vflow(*common)[1]) == expected
    maps = json.loads(vflow(*common, "--maps-dir", tmp_path / "out")[1])
    assert maps["per_frame"] == library.surprisal(load(checkpoint), shorter).to_json()["per_frame"]
    code, _, error = vflow(*common[:-2], 1)
    assert (code, error) == (2, "error: --num-frames must be at least 2, got 1\n")


def test_lines_for_people(vflow: Vflow, models: Path, clips: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no array")
    given = ["--checkpoint", models / "known", "--input", *clips, broken, "--maps-dir", tmp_path / "out"]
    code, said, error = vflow(*given, "--quantile", 0.9)
    lines = said.splitlines()
    assert code == 1 and [line.partition(":")[0] for line in lines] == ["clip0", "clip1"]
    assert all("bits/dim; surprising: 2, 3, 4" in line for line in lines)
    assert error.startswith("error: broken.npz: ") and error.count("\n") == 1


@pytest.mark.parametrize("maps", [False, True])
def test_what_is_done_to_a_clip_is_said(vflow: Vflow, models: Path, tmp_path: Path, maps: bool) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 20, 16, 3), np.uint8)
    media.write_npz(tmp_path / "slow.npz", frames=frames, fps=np.float64(2))
    given = ["--checkpoint", models / "known", "--input", tmp_path / "slow.npz"]
    code, _, notes = vflow(*given, *(["--maps-dir", tmp_path / "out"] if maps else []))
    assert code == 0
    assert notes.splitlines() == [
        "note: slow: fitted from 16×20 to the model's 16×16",
        "note: slow: resampled from 2 to 5 frames per second",
        "note: slow: frames are numbered as resampled",
    ]


def test_a_checkpoint_without_figures_says_so(
    vflow: Vflow, models: Path, clips: list[Path], tmp_path: Path
) -> None:
    code, said, error = vflow(
        "--checkpoint", models / "plain", "--input", clips[0], "--maps-dir", tmp_path / "out"
    )
    assert code == 0 and "surprising" not in said
    assert "plain: no figures of validation clips (scripts/clip_statistics.py); nothing is flagged" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--num-importance-samples", "2"],
            "--num-importance-samples: leave it out with --maps-dir, which takes all frames and one draw",
        ),
        (["--num-importance-samples", "0"], "--num-importance-samples must be between 1 and 1024, got 0"),
        (["--context", "2"], "--context: leave it out with --maps-dir, which takes all frames and one draw"),
        (["--quantile", "0.2"], "--quantile must be at least 0.5 and below 1, got 0.2"),
    ],
)
def test_usage_errors(
    vflow: Vflow, models: Path, clips: list[Path], tmp_path: Path, flags: list[str], message: str
) -> None:
    given = ["--checkpoint", models / "known", "--input", clips[0], "--maps-dir", tmp_path / "out"]
    assert vflow(*given, *flags)[::2] == (2, f"error: {message}\n")
    code, _, error = vflow("--checkpoint", models / "known", "--input", clips[0], "--quantile", "0.9")
    assert (code, error) == (2, "error: --quantile: goes with --maps-dir DIR\n")


def test_the_clips_are_not_overwritten(vflow: Vflow, models: Path, clips: list[Path], tmp_path: Path) -> None:
    before = clips[0].read_bytes()
    given = ["--checkpoint", models / "known", "--input", clips[0], "--maps-dir", tmp_path]
    error = f"error: {clips[0]}: the output would replace the input; choose another --maps-dir\n"
    assert vflow(*given) == (1, "", error)
    assert clips[0].read_bytes() == before


def test_the_checkpoint_with_the_fewest_bits_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    clip = Path(__file__).parents[2] / "apps" / "examples" / "push-00056.mp4"
    assert cli.main(["score", "--input", str(clip), "--num-frames", "4", "--json"]) == 0
    written = capsys.readouterr()
    assert "any is chosen for push-00056" in written.err
    assert 0 < json.loads(written.out)["bits_per_dim"] < 1
