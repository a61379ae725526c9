"""``vflow colorize``: files as promised, bad input in one line, resumption, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.sample_media import moving_square, write_lossless, write_mjpeg, write_uneven
from tests.pipelines.colorizers import lightness_error, make_colorizer, picture
from vflow import cli
from vflow.checkpoint import load, save_checkpoint
from vflow.config import VideoFlowConfig
from vflow.data import media
from vflow.errors import ConfigError, InputError
from vflow.models import build_model
from vflow.pipelines.batch.inputs import Item, pictures
from vflow.pipelines.color.colorize import colorize
from vflow.tasks.colorize.settings import Hint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny colouriser."""
    model = make_colorizer()
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, model, config=model.config)
    return folder


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--device auto`` means the CPU, so that results compare with those of models loaded here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


class Run:
    """``vflow colorize`` with a checkpoint and an output folder, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], checkpoint: Path, output: Path) -> None:
        self.capsys, self.checkpoint, self.output = capsys, checkpoint, output
        self.out, self.err = "", ""

    def __call__(self, *arguments: object, checkpoint: Path | None = None) -> int:
        self.capsys.readouterr()
        given = ["--checkpoint", checkpoint or self.checkpoint, "--output", self.output, *arguments]
        code = cli.main(["colorize", *map(str, given)])
        self.out, self.err = self.capsys.readouterr()
        return code

    def files(self) -> list[str]:
        """What lies in the output folder, but for the manifest and the record."""
        found = (p.relative_to(self.output).as_posix() for p in self.output.rglob("*") if p.is_file())
        return sorted(name for name in found if name not in ("manifest.jsonl", "run.json"))

    def entries(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.output / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> Run:
    return Run(capsys, tiny, tmp_path / "out")


def _png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _still(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(20, 30, seed)).save(path)
    return path


def test_a_folder_per_photo_and_nothing_but_variants_in_it(run: Run, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for seed, name in enumerate(("photo.png", "photo.jpg", "b.webp")):
        _still(photos / name, seed)
    (photos / "notes.txt").write_text("no image")
    assert run("--input", photos, "--num-samples", 3) == 0
    names = [f"{name}/s{sample:03d}.png" for name in ("b", "photo-jpg", "photo-png") for sample in range(3)]
    assert run.files() == names
    assert {path.name for path in run.output.iterdir()} == {
        "b",
        "photo-jpg",
        "photo-png",
        "manifest.jsonl",
        "run.json",
    }
    assert run.out.splitlines() == [str(run.output / name) for name in ("b", "photo-jpg", "photo-png")]
    shown = _png(run.output / "photo-png" / "s000.png")
    assert shown.shape == (20, 30, 3)
    assert lightness_error(shown[None], _png(photos / "photo.png")) < 0.5


def test_pixels_are_those_of_the_python_call(run: Run, tiny: Path, tmp_path: Path) -> None:
    photo = _still(tmp_path / "p.png")
    flags = ("--num-samples", 2, "--temperature", 0.8, "--strength", 0.9, "--seed", 4)
    hints = ("--hint", "0.1,0.2,#c03020", "--hint", "0.7,0.7,3040A0")
    assert run("--input", photo, *flags, *hints) == 0
    given = [Hint(0.1, 0.2, (192, 48, 32)), Hint(0.7, 0.7, (48, 64, 160))]
    expected = colorize(
        load(tiny), _png(photo), num_samples=2, temperature=0.8, strength=0.9, hints=given, seed=4
    )
    assert all(np.array_equal(_png(run.output / "p" / f"s00{k}.png"), expected[k]) for k in (0, 1))
    record = json.loads((run.output / "run.json").read_text())
    assert record["hints"] == ["0.1,0.2,#c03020", "0.7,0.7,3040A0"]
    run.output = tmp_path / "again"
    assert run("--input", photo, "--settings", tmp_path / "out" / "run.json") == 0
    assert np.array_equal(_png(run.output / "p" / "s001.png"), expected[1])


def test_strength_0_gives_the_photo_back(run: Run, tmp_path: Path) -> None:
    photo = _still(tmp_path / "p.png")
    assert run("--input", photo, "--num-samples", 1, "--strength", 0) == 0
    assert np.array_equal(_png(run.output / "p" / "s000.png"), _png(photo))


def test_opacity_is_kept_and_orientation_applied(run: Run, tmp_path: Path) -> None:
    pixels = np.concatenate([picture(20, 30), np.random.default_rng(0).integers(0, 256, (20, 30, 1))], -1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "p.png", exif=exif)
    assert run("--input", tmp_path / "p.png", "--num-samples", 1) == 0
    assert "p: rotated as its EXIF tag says" in run.err
    assert "laid on white" not in run.err
    shown = _png(run.output / "p" / "s000.png")
    upright = np.rot90(pixels, -1).astype(np.uint8)
    assert shown.shape == (30, 20, 4)
    assert np.array_equal(shown[..., 3], upright[..., 3])
    assert lightness_error(shown[None, ..., :3], upright[..., :3]) < 0.5


def test_sixteen_bit_grey_is_taken(run: Run, tmp_path: Path) -> None:
    Image.fromarray(picture(9, 9, channels=1)[..., 0].astype(np.uint16) * 257).save(tmp_path / "p.png")
    assert run("--input", tmp_path / "p.png", "--num-samples", 1) == 0
    assert "16-bit samples scaled to 8 bits" in run.err
    assert _png(run.output / "p" / "s000.png").shape == (9, 9, 3)


def test_one_bad_file_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    good = _still(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:200])
    (tmp_path / "notes.jpg").write_text("notes")
    media.write_npz(tmp_path / "a.npz", frames=np.zeros((2, 8, 8, 3), np.uint8))
    names = ("bad.png", "notes.jpg", "a.npz", "missing.png", "good.png")
    assert run("--input", *(tmp_path / name for name in names), "--num-samples", 1) == 1
    assert run.files() == ["good/s000.png"]
    errors = [line for line in run.err.splitlines() if line.startswith("error: ")]
    for line, part in zip(
        errors,
        (
            "bad.png: damaged or cut short PNG",
            "notes.jpg: not an image or video",
            "a.npz: an array file, but an image is expected",
            "missing.png: no such file",
        ),
        strict=True,
    ):
        assert part in line
    assert run.err.splitlines()[-1] == "5 items: 1 done (0 of them before), 4 failed"
    assert [entry["status"] for entry in run.entries()] == ["failed"] * 4 + ["done"]


def test_films_become_previews_or_folders_of_frames(run: Run, tmp_path: Path) -> None:
    film = write_lossless(tmp_path / "v.mp4", moving_square(4, 32, 48), 8)
    assert run("--input", film, "--num-samples", 9) == 0
    assert run.files() == [f"v/s{sample:03d}.mp4" for sample in range(9)]
    made = media.read_clip(run.output / "v" / "s008.mp4")
    assert (made.frames.shape, made.fps) == ((4, 256, 384, 3), 8)
    anew = ("--num-samples", 1, "--on-existing", "overwrite")
    assert run("--input", film, *anew, "--format", "png") == 0
    assert run.files() == [f"v/s000/t00{t}.png" for t in range(4)]
    frames = np.stack([_png(run.output / "v" / "s000" / f"t00{t}.png") for t in range(4)])
    assert lightness_error(frames, moving_square(4, 32, 48)) < 0.5
    assert run("--input", film, *anew, "--format", "gif") == 0
    assert run.files() == ["v/s000.gif"]


@pytest.mark.parametrize("suffix", [".mkv", ".gif"])
def test_frames_of_films_keep_their_times(run: Run, tmp_path: Path, suffix: str) -> None:
    """Matroska declares a rate of 30, and an animated picture counts in hundredths of a second."""
    film, times = tmp_path / f"v{suffix}", [0, 20, 220, 260, 300]
    if suffix == ".mkv":
        write_uneven(film, "libx264", times)
    else:
        stills = [Image.fromarray(frame) for frame in moving_square(5)]
        steps = [*np.diff(times).tolist(), 40]
        stills[0].save(film, save_all=True, append_images=stills[1:], duration=steps)
    assert run("--input", film, "--num-samples", 1) == 0
    made = media.stream_frames(run.output / "v" / "s000.mp4")
    assert len(list(made.frames)) == 5
    assert made.times == pytest.approx([time / 1000 for time in times], abs=0.001)


def test_films_whose_size_changes_say_so(run: Run, tmp_path: Path) -> None:
    film = write_mjpeg(tmp_path / "v.avi", [(32, 32), (64, 32)])
    assert run("--input", film, "--num-samples", 1) == 0
    assert "v: frames of other sizes fitted to the first" in run.err


def test_a_photo_is_no_film(run: Run, tmp_path: Path) -> None:
    assert run("--input", _still(tmp_path / "p.png"), "--format", "mp4") == 1
    assert "error: p.png: a single image; leave --format out or give png" in run.err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("--strength", "2"), "--strength must be between 0 and 1, got 2", 2),
        (("--hint", "0.5,0.5"), "hint '0.5,0.5': give X,Y,#RRGGBB", 2),
        (("--hint", "3,0.5,#ffffff"), "hint at 3,0.5: x and y are fractions", 2),
        (("--num-samples", "0"), "--num-samples must be between 1 and 10000, got 0", 2),
        (("--temperature", "1,1"), "--temperature has 2 values, the model 5 levels", 2),
        (("--format", "jpg"), "invalid choice 'jpg'", 2),
    ],
)
def test_flags_out_of_range(
    run: Run, tmp_path: Path, arguments: tuple[str, str], message: str, code: int
) -> None:
    assert run("--input", _still(tmp_path / "p.png"), *arguments) == code
    assert message in run.err
    assert run.err.count("\n") == 1
    assert not run.output.exists()


def test_a_model_of_another_kind_is_refused(run: Run, tmp_path: Path) -> None:
    size = {"glow": {"height": 16, "width": 16, "depth": [1], "hidden": [4]}, "prior": {"hidden": 4}}
    config = VideoFlowConfig.model_validate(size)
    save_checkpoint(tmp_path / "video", build_model(config), config=config)
    assert run("--input", _still(tmp_path / "p.png"), checkpoint=tmp_path / "video") == 3
    assert "choose a checkpoint of kind colorizer" in run.err
    clip = write_lossless(tmp_path / "v.mp4", moving_square(4))
    for command in ("predict", "score"):
        output = ["--output", str(tmp_path / "futures")] if command == "predict" else []
        code = cli.main([command, "--checkpoint", str(run.checkpoint), "--input", str(clip), *output])
        assert (code, "kind videoflow" in run.capsys.readouterr().err) == (3, True)


def test_every_picture_is_an_item(tmp_path: Path) -> None:
    first, second = _still(tmp_path / "a" / "p2.png"), _still(tmp_path / "a" / "p10.png")
    film = write_lossless(tmp_path / "a" / "q.mp4", moving_square(2))
    media.write_npz(tmp_path / "a" / "x.npz", frames=np.zeros((2, 8, 8, 3), np.uint8))
    assert pictures([tmp_path / "a"]) == [Item("p2", (first,)), Item("p10", (second,)), Item("q", (film,))]
    other = _still(tmp_path / "b" / "p2.png")
    assert [item.name for item in pictures([first, other])] == ["a/p2", "b/p2"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no images or videos"):
        pictures([tmp_path / "empty"])
    with pytest.raises(InputError, match="given twice"):
        pictures([first, tmp_path / "a"])
    with pytest.raises(ConfigError, match=r"^--input: give photos"):
        pictures([])
