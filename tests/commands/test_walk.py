"""``vflow walk``: files as promised, the same as in Python, one-line errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vflow import cli
from vflow.checkpoint import load, save_checkpoint
from vflow.data import media
from vflow.pipelines.walk import render as views
from vflow.pipelines.walk.directions import principal_directions, save_directions
from vflow.pipelines.walk.space import WalkSettings
from vflow.pipelines.walk.walk import walk

from ..pipelines.conftest import FRAMES, make_model
from ..pipelines.digit_models import make_digits, printed

Vflow = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video model, which has directions, and one of digits, which has none."""
    folder = tmp_path_factory.mktemp("models")
    video, digits = make_model(**FRAMES), make_digits()
    save_checkpoint(folder / "video", video, config=video.config)
    save_checkpoint(folder / "digits", digits, config=digits.config)
    torch.manual_seed(0)
    save_directions(
        folder / "video", principal_directions([0.4 * torch.randn(9, *s) for s in video.latent_shapes])
    )
    return folder


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def vflow(capsys: pytest.CaptureFixture[str]) -> Vflow:
    """Calls ``vflow walk`` in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["walk", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Two clips (4, 16, 16, 3)."""
    paths = []
    for seed in range(2):
        paths.append(tmp_path / f"clip{seed}.npz")
        frames = np.random.default_rng(seed).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
        media.write_npz(paths[-1], frames=frames)
    return paths


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A folder of three digits."""
    for index, image in enumerate(printed(3)[0]):
        media.write_png(tmp_path / "digits" / f"d{index}.png", image)
    return tmp_path / "digits"


def test_files_are_what_python_walks(models: Path, clips: list[Path], tmp_path: Path, vflow: Vflow) -> None:
    from vflow import load_directions

    flags = ("--steps", 3, "--level", "all", "--extent", 2, "--num-frames", 2, "--seed", 5, "--direction", 1)
    out = tmp_path / "out"
    code, printed_paths, errors = vflow(
        "--checkpoint", models / "video", "--input", clips[0], *flags, "--format", "npz", "--output", out
    )
    assert (code, errors) == (0, "")
    names = ["grid.png", "walk.mp4", "walk.npz"]
    assert printed_paths.splitlines() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == names
    model = load(models / "video")
    settings = WalkSettings(steps=3, level=None, extent=2.0, num_frames=2, seed=5, direction=1)
    made = walk(
        model, [media.read_clip(clips[0])], settings, directions=load_directions(models / "video", model)
    )
    with np.load(out / "walk.npz") as saved:
        assert np.array_equal(saved["frames"], made.frames)
        assert saved["positions"].tolist() == [-2.0, 0.0, 2.0]
    assert np.array_equal(media.read_image(out / "grid.png").frames[0], views.grid(made.frames))
    assert media.probe(out / "walk.mp4").frames == 5 and media.probe(out / "walk.mp4").fps == 5


def test_what_is_done_to_a_clip_is_said(models: Path, tmp_path: Path, vflow: Vflow) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 20, 16, 3), np.uint8)
    media.write_npz(tmp_path / "slow.npz", frames=frames, fps=np.float64(2))
    call = ("--checkpoint", models / "video", "--steps", 2, "--num-frames", 1, "--output", tmp_path / "out")
    code, _, notes = vflow(*call, "--input", tmp_path / "slow.npz")
    assert code == 0
    assert notes.splitlines() == [
        "note: slow.npz: fitted from 16×20 to the model's 16×16",
        "note: slow.npz: resampled from 2 to 5 frames per second",
    ]


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [(["--level", "9"], "direction or semantic"), (["--direction", "1"], "direction"),
     (["--samples", "0", "1"], "blend"), (["--negatives", "a.npz"], "semantic")],
)  # fmt: skip
def test_flags_of_other_kinds_are_refused(vflow: Vflow, tmp_path: Path, flags: list[str], kinds: str) -> None:
    code, _, error = vflow("--kind", "temperature", "--output", tmp_path / "out", *flags)
    expected = f"error: {flags[0]}: goes with --kind {kinds}, not with temperature; leave it out\n"
    assert (code, error) == (2, expected)


def test_an_empty_folder_is_named(models: Path, digits: Path, tmp_path: Path, vflow: Vflow) -> None:
    (tmp_path / "empty").mkdir()
    call = ("--checkpoint", models / "digits", "--kind", "semantic", "--output", tmp_path / "out")
    code, _, error = vflow(*call, "--negatives", tmp_path / "empty", "--positives", digits)
    assert code == 1 and error.startswith(f"error: {tmp_path / 'empty'}: holds no images")


def test_interpolation_between_clips(models: Path, clips: list[Path], tmp_path: Path, vflow: Vflow) -> None:
    out = tmp_path / "out"
    call = ("--checkpoint", models / "video", "--kind", "interpolate", "--steps", 2, "--output", out)
    assert vflow(*call, "--input", clips[0], "--input", clips[1])[0] == 0
    assert sorted(path.name for path in out.iterdir()) == ["grid.png", "walk.mp4"]
    assert vflow(*call, "--input", *clips)[0] == 0


def test_groups_and_futures(models: Path, clips: list[Path], tmp_path: Path, vflow: Vflow) -> None:
    call = ("--checkpoint", models / "video", "--steps", 2, "--num-frames", 1, "--output", tmp_path / "out")
    semantic = (*call, "--kind", "semantic", "--level", "-2")
    assert vflow(*semantic, "--negatives", clips[0], "--positives", clips[1])[0] == 0
    assert vflow(*call, "--kind", "blend", "--samples", 2, 3, "--input", clips[0])[0] == 0
    assert vflow(*call, "--kind", "temperature", "--extent", 1, "--input", clips[0])[0] == 0


def test_digits(models: Path, digits: Path, tmp_path: Path, vflow: Vflow) -> None:
    call = ("--checkpoint", models / "digits", "--output", tmp_path / "out", "--format", "npz")
    assert vflow(*call, "--label", 3, "--kind", "temperature", "--seed", 1)[0] == 0
    with np.load(tmp_path / "out" / "walk.npz") as saved:
        made = walk(load(models / "digits"), (), WalkSettings("temperature", label=3, seed=1))
        assert np.array_equal(saved["frames"], made.frames)
    assert vflow(*call, "--kind", "transfer", "--input", digits / "d2.png")[0] == 0
    assert vflow(*call, "--input", digits)[0] == 0  # three inputs have directions of their own
    assert vflow(*call, "--kind", "interpolate", "--input", digits / "d1.png", digits / "d2.png")[0] == 0


def test_what_is_missing_or_does_not_fit(
    models: Path, clips: list[Path], digits: Path, tmp_path: Path, vflow: Vflow
) -> None:
    video, hand = ("--checkpoint", models / "video"), ("--checkpoint", models / "digits")
    out = ("--output", tmp_path / "out")
    cases = [
        ((*video, "--input", clips[0]), 2, "--output: give a folder for grid.png and walk.mp4"),
        (out, 2, "--checkpoint: give a folder, a hub id, or a name that ships"),
        ((*video, *out), 2, "a walk of videos starts from a clip: give one, got 0 inputs"),
        ((*video, *out, "--kind", "interpolate", "--input", clips[0]), 2, "an interpolation goes between"),
        ((*video, *out, "--kind", "transfer", "--input", clips[0]), 2, "kind transfer is not for video"),
        ((*video, *out, "--kind", "stroll"), 2, "invalid choice 'stroll'"),
        ((*video, *out, "--level", "top"), 2, "--level top: give a whole number, or all"),
        ((*video, *out, "--level", 7, "--input", clips[0]), 2, "level must be between -2 and 1, got 7"),
        ((*video, *out, "--steps", 1), 2, "steps must be between 2 and 64, got 1"),
        ((*video, *out, "--dtype", "bfloat16"), 2, "--dtype bfloat16: walks encode and decode"),
        ((*video, *out, "--label", 3, "--input", clips[0]), 2, "label is for digits, not for video models"),
        ((*video, *out, "--input", tmp_path / "none.mp4"), 1, "none.mp4: "),
        ((*video, *out, "--input", digits / "d0.png", "--kind", "interpolate"), 2, "an interpolation goes"),
        ((*hand, *out, "--input", digits / "d0.png"), 2, "no principal directions are stored"),
        ((*hand, *out, "--kind", "blend"), 2, "kind blend is not for digit models"),
        (
            (*hand, *out, "--input", clips[0], "--kind", "transfer"),
            1,
            "clip0.npz: an array file, but an image",
        ),
        ((*hand, *out, "--kind", "temperature"), 2, "give a digit to start from, or the label"),
    ]
    for arguments, expected, message in cases:
        code, printed_paths, errors = vflow(*arguments)
        assert (code, printed_paths) == (expected, ""), (arguments, errors)
        assert errors.startswith("error: ") and message in errors and errors.count("\n") == 1, errors
    assert not (tmp_path / "out").exists()


def test_damaged_directions_are_a_checkpoint_error(
    models: Path, clips: list[Path], tmp_path: Path, vflow: Vflow
) -> None:
    model = load(models / "video")
    save_checkpoint(tmp_path / "model", model, config=model.config)
    (tmp_path / "model" / "directions.safetensors").write_bytes(b"junk")
    code, _, errors = vflow(
        "--checkpoint", tmp_path / "model", "--input", clips[0], "--output", tmp_path / "o"
    )
    assert code == 3 and errors.startswith(f"error: {tmp_path / 'model' / 'directions.safetensors'}: ")


def test_an_output_that_cannot_be_written(
    models: Path, clips: list[Path], tmp_path: Path, vflow: Vflow
) -> None:
    (tmp_path / "file").write_text("")
    call = ("--checkpoint", models / "video", "--input", clips[0], "--output", tmp_path / "file")
    code, _, errors = vflow(*call, "--steps", 2, "--num-frames", 1)
    assert code == 1 and errors.startswith(f"error: {tmp_path / 'file'}: cannot be written (Not a directory)")


def test_the_input_is_not_overwritten(models: Path, clips: list[Path], tmp_path: Path, vflow: Vflow) -> None:
    clip, folder = tmp_path / "walk.npz", tmp_path / "link"
    clips[0].rename(clip)
    folder.symlink_to(tmp_path)
    call = ("--checkpoint", models / "video", "--input", clip, "--output", folder, "--format", "npz")
    assert vflow(*call) == (
        1,
        "",
        f"error: {clip}: the output would replace the input; choose another --output\n",
    )


def test_a_rising_temperature_takes_no_other(models: Path, tmp_path: Path, vflow: Vflow) -> None:
    call = ("--checkpoint", models / "digits", "--kind", "temperature", "--label", 3, "--output", tmp_path)
    code, _, error = vflow(*call, "--temperature", 0.5)
    assert (code, error) == (
        2,
        "error: --temperature: rises along this walk; leave it out, and give its end as extent\n",
    )
