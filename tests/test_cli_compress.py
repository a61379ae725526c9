"""``vflow compress`` and ``vflow decompress``, from pixels on disk to files and back."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

import vflow
from tests.compression.support import clip_codec, photo_codec, smooth
from tests.data.sample_media import foreign_profile, write_mjpeg, write_uneven
from vflow.checkpoint import load, save_checkpoint
from vflow.cli import main
from vflow.compression.codec import compress_frames
from vflow.data import media
from vflow.errors import CheckpointError, InputError
from vflow.pipelines import compress
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.compress import Codecs, Source, compress_file, read_source

pytest.importorskip("constriction")


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of a photo codec and of a clip codec."""
    folder = tmp_path_factory.mktemp("codecs")
    for name, model in (("photo", photo_codec()), ("clip", clip_codec())):
        save_checkpoint(folder / name, model, config=model.config)
    return {name: folder / name for name in ("photo", "clip")}


def test_photos_come_back(
    codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    media.write_png(tmp_path / "in" / "hill.png", smooth(20, 30))
    media.write_png(tmp_path / "in" / "lake.png", smooth(9, 8, 1))
    flags = ["--checkpoint", str(codecs["photo"]), "--json"]
    assert main(["compress", str(tmp_path / "in"), "--output", str(tmp_path / "coded"), *flags]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["item"] for entry in entries] == ["hill", "lake"]
    size = (tmp_path / "coded" / "hill.vflow").stat().st_size
    assert entries[0]["bytes"] == size
    assert entries[0]["bits_per_dim"] == pytest.approx(8 * size / (20 * 30 * 3))
    assert main(["decompress", str(tmp_path / "coded"), "--output", str(tmp_path / "out"), *flags]) == 0
    for name in ("hill", "lake"):
        before, after = (
            media.read_image(tmp_path / folder / f"{name}.png").frames for folder in ("in", "out")
        )
        assert np.array_equal(before, after)


def test_files_of_other_content_are_kept(
    codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--output", str(tmp_path), "--checkpoint", str(codecs["photo"])]
    photo, coded = tmp_path / "hill.png", tmp_path / "hill.vflow"
    media.write_png(photo, smooth(20, 30))
    for _ in range(2):  # the same bytes again are no loss
        assert main(["compress", str(photo), *flags]) == 0
        assert main(["decompress", str(coded), *flags]) == 0
    for command, source, target in (("compress", photo, coded), ("decompress", coded, photo)):
        kept = source.read_bytes()
        target.write_bytes(b"mine")
        capsys.readouterr()
        assert main([command, str(source), *flags]) == 1
        error = f"error: {target}: exists; choose another --output, or --on-existing overwrite\n"
        assert (capsys.readouterr().err, target.read_bytes()) == (error, b"mine")
        assert main([command, str(source), *flags, "--on-existing", "overwrite"]) == 0
        assert source.read_bytes() == kept and target.read_bytes() != b"mine"


def test_an_interrupted_run_goes_on(
    codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, coded, out = tmp_path / "in", tmp_path / "coded", tmp_path / "out"
    for name in ("hill", "lake"):
        media.write_png(photos / f"{name}.png", smooth(20, 30))
    flags = ["--checkpoint", str(codecs["photo"]), "--json", "--on-existing", "skip"]
    for command, source, target, suffix in (
        ("compress", photos, coded, "vflow"),
        ("decompress", coded, out, "png"),
    ):
        call = [command, str(source), "--output", str(target), *flags]
        assert main(call) == 0
        (target / f"lake.{suffix}").unlink()
        capsys.readouterr()
        assert main(call) == 0
        printed = capsys.readouterr()
        assert [json.loads(line)["item"] for line in printed.out.splitlines()] == ["lake"]
        assert printed.err == f"note: {next(source.glob('hill.*')).name}: done before\n"
    media.write_png(photos / "hill.png", smooth(20, 30)[::-1])  # another picture of that name
    coded_before = (coded / "hill.vflow").read_bytes()
    assert main(["compress", str(photos), "--output", str(coded), *flags]) == 1
    assert capsys.readouterr().err.startswith(f"error: {coded / 'hill.vflow'}: exists; ")
    assert (coded / "hill.vflow").read_bytes() == coded_before
    media.write_png(out / "hill.png", smooth(20, 30)[::-1])
    assert main(["decompress", str(coded), "--output", str(out), *flags]) == 1


def test_a_file_beyond_memory_fails_alone(
    codecs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("hill", "lake"):
        media.write_png(tmp_path / f"{name}.png", smooth(20, 30))
    read = compress.read_source

    def limited(path: Path) -> compress.Source:
        if path.stem == "hill":
            raise MemoryError
        return read(path)

    monkeypatch.setattr(compress, "read_source", limited)
    flags = ["--output", str(tmp_path / "coded"), "--checkpoint", str(codecs["photo"])]
    assert main(["compress", *map(str, sorted(tmp_path.glob("*.png"))), *flags]) == 1
    error = "error: out of memory; hill.png does not fit; free some memory, or give a smaller file\n"
    assert capsys.readouterr().err == error
    assert [path.name for path in (tmp_path / "coded").iterdir()] == ["lake.vflow"]


def test_a_still_picture_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media.write_png(tmp_path / "hill.png", smooth(20, 30))
    loads, load_pixels = [], PngImageFile.load

    def count(picture: PngImageFile) -> object:
        loads.append(picture.filename)
        return load_pixels(picture)

    monkeypatch.setattr(PngImageFile, "load", count)
    media.read_photo(tmp_path / "hill.png")
    once = len(loads)
    assert np.array_equal(read_source(tmp_path / "hill.png").frames, smooth(20, 30))
    assert once > 0 and len(loads) == 2 * once


def test_grey_files_come_back_grey(
    codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = smooth(9, 8)[..., :1]
    for name, mode in (("grey", "L"), ("colour", "RGB")):
        Image.fromarray(grey[..., 0]).convert(mode).save(tmp_path / f"{name}.png")
    flags = ["--output", str(tmp_path / "out"), "--json", "--checkpoint", str(codecs["photo"])]
    assert main(["compress", *(str(path) for path in tmp_path.glob("*.png")), *flags]) == 0
    entries = {entry["item"]: entry for entry in map(json.loads, capsys.readouterr().out.splitlines())}
    assert [entries[name]["raw_bytes"] for name in ("grey", "colour")] == [72, 216]
    assert [entries[name]["channels"] for name in ("grey", "colour")] == [1, 3]
    assert main(["decompress", str(tmp_path / "out"), *flags]) == 0
    for name, mode in (("grey", "L"), ("colour", "RGB")):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.mode == mode
    media.write_npz(tmp_path / "clip.npz", frames=grey[None].repeat(2, 0))
    flags[-1] = str(codecs["clip"])
    assert main(["compress", str(tmp_path / "clip.npz"), *flags]) == 0
    assert main(["decompress", str(tmp_path / "out" / "clip.vflow"), *flags]) == 0
    with np.load(tmp_path / "out" / "clip.npz") as found:
        assert np.array_equal(found["frames"], grey[None].repeat(2, 0))


def test_clips_come_back_with_their_clock(codecs: dict[str, Path], tmp_path: Path) -> None:
    clip = np.stack([smooth(8, 12, seed) for seed in range(3)])
    media.write_npz(tmp_path / "walk.npz", frames=clip, fps=np.float64(12.5))
    flags = ["--output", str(tmp_path), "--checkpoint", str(codecs["clip"])]
    assert main(["compress", str(tmp_path / "walk.npz"), *flags]) == 0
    (tmp_path / "walk.npz").unlink()
    assert main(["decompress", str(tmp_path / "walk.vflow"), *flags]) == 0
    with np.load(tmp_path / "walk.npz") as found:
        assert np.array_equal(found["frames"], clip)
        assert float(found["fps"]) == 12.5


def test_damaged_files_fail_in_one_line_and_others_go_on(
    codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    media.write_png(tmp_path / "good.png", smooth(8, 8))
    flags = ["--output", str(tmp_path), "--checkpoint", str(codecs["photo"])]
    assert main(["compress", str(tmp_path / "good.png"), *flags]) == 0
    data = (tmp_path / "good.vflow").read_bytes()
    (tmp_path / "a.vflow").write_bytes(data[:-9])
    (tmp_path / "b.vflow").write_bytes(b"not one")
    (tmp_path / "good.png").unlink()
    capsys.readouterr()
    assert main(["decompress", str(tmp_path), *flags]) == 1
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path / "good.png")
    errors = captured.err.strip().splitlines()
    assert len(errors) == 2
    assert errors[0].startswith("error: a.vflow: cut short")
    assert errors[1].startswith("error: b.vflow: not a .vflow file")
    assert not list(tmp_path.glob(".*"))


def test_an_output_that_cannot_be_written_is_found_before_the_work(
    codecs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("coded before the output was known to be writable")

    for name in ("one", "two"):
        media.write_png(tmp_path / "in" / f"{name}.png", smooth(9, 8))
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr("vflow.pipelines.compress.compress_file", work)
    flags = ["--output", str(tmp_path / "file" / "out"), "--checkpoint", str(codecs["photo"])]
    assert main(["compress", str(tmp_path / "in"), *flags]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot be written" in error


def test_a_file_that_goes_while_it_is_coded_is_coded_all_the_same(
    codecs: dict[str, Path], tmp_path: Path
) -> None:
    media.write_png(tmp_path / "hill.png", smooth(9, 8))
    size = (tmp_path / "hill.png").stat().st_size

    def remove(done: int, total: int) -> None:
        (tmp_path / "hill.png").unlink(missing_ok=True)

    item = Item("hill", (tmp_path / "hill.png",))
    entry = compress_file(Codecs(str(codecs["photo"])), item, tmp_path / "out", remove)
    assert not (tmp_path / "hill.png").exists()
    assert entry["input_bytes"] == size


def test_a_file_that_goes_after_it_was_read_fails_alone(
    codecs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def read_and_remove(path: Path) -> Source:
        source = read_source(path)
        if path.stem == "hill":
            path.unlink()
        return source

    for name in ("hill", "lake"):
        media.write_png(tmp_path / "in" / f"{name}.png", smooth(9, 8))
    monkeypatch.setattr("vflow.pipelines.compress.read_source", read_and_remove)
    flags = ["--output", str(tmp_path / "out"), "--checkpoint", str(codecs["photo"])]
    assert main(["compress", str(tmp_path / "in"), *flags]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["lake.vflow"]
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "hill.png: cannot be read (No such file or directory)" in error


def test_the_wrong_checkpoint_is_refused(
    codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that suits some of the files codes those; one that is no codec ends the command."""
    media.write_png(tmp_path / "b.png", smooth(8, 8))
    media.write_npz(tmp_path / "a.npz", frames=np.stack([smooth(8, 8)] * 2))
    output = ["--output", str(tmp_path)]
    assert main(["compress", str(tmp_path), *output, "--checkpoint", str(codecs["photo"])]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(str(tmp_path / "b.vflow"))
    assert captured.err.startswith("error: a.npz: ") and captured.err.count("\n") == 1
    assert "does not compress a clip; choose one such as codec-clip" in captured.err
    coded = str(tmp_path / "b.vflow")
    assert main(["decompress", coded, *output, "--checkpoint", str(codecs["clip"])]) == 1
    assert "b.vflow: coded with checkpoint" in capsys.readouterr().err
    assert main(["compress", str(tmp_path), *output, "--checkpoint", "digits"]) == 3
    assert capsys.readouterr().err.startswith("error: a model of kind digits does not compress; choose ")


@pytest.mark.parametrize("name, other", [("push-wavelet", "grasp"), ("codec-photo", "codec-photo")])
@pytest.mark.parametrize("chosen", [False, True])
def test_files_of_weights_that_no_longer_ship_say_where_they_are(
    name: str, other: str, chosen: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files of four frames, and of a photo, that were written when those weights shipped."""
    path = Path(__file__).parent / "compression" / f"{name}.vflow"
    flags = ["--checkpoint", other] if chosen else []
    assert main(["decompress", str(path), "--output", str(tmp_path), *flags]) == 1
    assert capsys.readouterr().err == (
        f"error: {name}.vflow: coded with weights of {name} that no longer ship; in a clone of vflow "
        f"(if shallow, after git fetch --unshallow) run 'git archive 5b8d01ce checkpoints/{name} | tar x -C "
        f"/tmp', then give --checkpoint /tmp/checkpoints/{name}\n"
    )
    with pytest.raises(CheckpointError, match="no longer ship"):
        vflow.decompress(load(other), path.read_bytes())


def test_transparent_pictures_are_refused(
    codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clear = np.dstack([smooth(8, 8), np.full((8, 8), 100, np.uint8)])
    media.write_png(tmp_path / "a.png", clear)
    flags = ["--output", str(tmp_path), "--checkpoint", str(codecs["photo"])]
    assert main(["compress", str(tmp_path / "a.png"), *flags]) == 1
    assert "has transparent pixels" in capsys.readouterr().err


def _write_lossy(path: Path, pixels: np.ndarray) -> None:
    """A file that holds more than 8-bit sRGB, as its name says."""
    picture = Image.fromarray(pixels)
    match path.stem:
        case "deep-grey":
            Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(path)
        case "deep":
            assert cv2.imwrite(str(path), pixels.astype(np.uint16) * 257)
        case "deep-avif":
            codecs = pytest.importorskip("imagecodecs")
            path.write_bytes(codecs.avif_encode(pixels.astype(np.uint16) * 4, bitspersample=10))
        case "print":
            picture.convert("CMYK").save(path)
        case "profile":
            second = Image.fromarray(255 - pixels)
            picture.save(path, icc_profile=foreign_profile(), save_all=True, append_images=[second])
        case "pages":
            picture.save(path, save_all=True, append_images=[picture])
        case "clear":
            frames = [Image.fromarray(np.dstack([pixels, np.full((16, 16), a, np.uint8)])) for a in (0, 255)]
            frames[0].save(path, save_all=True, append_images=frames[1:], disposal=2)
        case "grows":
            write_mjpeg(path, [(16, 16), (32, 16)])
        case "floats":
            media.write_npz(path, frames=pixels[None] / np.float32(255))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("deep-grey.png", "16-bit samples scaled to 8 bits); convert it to 8 bits per channel first"),
        ("deep.png", "16-bit samples scaled to 8 bits); convert it to 8 bits per channel first"),
        ("deep-avif.avif", "10-bit samples scaled to 8 bits); convert it to 8 bits per channel first"),
        ("print.jpg", "CMYK converted to RGB); convert it to sRGB first"),
        ("profile.webp", "colours converted from its profile to sRGB); convert it to sRGB first"),
        ("pages.tiff", "first of several pages); give a file of one page first"),
        ("clear.webp", "transparency laid on white); flatten it first"),
        ("clear.gif", "transparency laid on white); flatten it first"),
        ("grows.avi", "frames of other sizes fitted to the first); cut it where the size changes first"),
        ("floats.npz", "float32 values rounded to 8 bits); store them as uint8 first"),
    ],
)
def test_files_that_would_lose_information_are_refused(
    name: str, why: str, codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_lossy(tmp_path / name, smooth(16, 16))
    flags = ["--output", str(tmp_path / "out"), "--checkpoint", str(codecs["photo"])]
    assert main(["compress", str(tmp_path / name), *flags]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {name}: would lose information ({why}"
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(("color", "suffix"), [("RGB", "png"), ("L", "png"), ("RGB", "jpg")])
def test_photos_keep_their_color_profile(
    color: str, suffix: str, codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, flags = tmp_path / f"phone.{suffix}", ["--checkpoint", str(codecs["photo"])]
    profile = foreign_profile(color)
    Image.fromarray(smooth(20, 30)).convert(color).save(photo, icc_profile=profile)
    assert main(["compress", str(photo), "--output", str(tmp_path), *flags]) == 0
    assert not capsys.readouterr().err
    assert main(["decompress", str(tmp_path / "phone.vflow"), "--output", str(tmp_path / "out"), *flags]) == 0
    with Image.open(photo) as before, Image.open(tmp_path / "out" / "phone.png") as after:
        assert after.mode == color
        assert np.array_equal(np.asarray(before), np.asarray(after))
        assert after.info["icc_profile"] == profile


def test_profiles_that_a_file_cannot_hold_are_refused() -> None:
    model = photo_codec()
    for frames, profile in ((smooth(8, 8), bytes(2**20 + 1)), (smooth(8, 8)[None], b"acsp")):
        with pytest.raises(InputError, match="convert it to sRGB first"):
            compress_frames(model, frames, profile=profile)


def test_videos_keep_each_decoded_frame_once(tmp_path: Path) -> None:
    path = write_uneven(tmp_path / "v.mkv", "libx264", [0, 20, 220, 260, 300])
    source = read_source(path)
    assert len(source.frames) == 5 and source.fps == pytest.approx(4 / 0.3)
    assert source.notes == ("variable frame rate made constant, the mean of 13.3 a second",)
    pictures = [Image.new("RGB", (16, 16), (50 * i,) * 3) for i in range(3)]
    pictures[0].save(tmp_path / "v.gif", save_all=True, append_images=pictures[1:], duration=[40, 200, 40])
    assert len(read_source(tmp_path / "v.gif").frames) == 3


def test_sizes_are_said(codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    media.write_png(tmp_path / "grey.png", smooth(9, 8)[..., :1])
    flags = ["--output", str(tmp_path), "--checkpoint", str(codecs["photo"])]
    assert main(["compress", str(tmp_path / "grey.png"), *flags]) == 0
    size, given = ((tmp_path / f"grey.{kind}").stat().st_size for kind in ("vflow", "png"))
    shares = f"{size / 72:.1%} of the raw pixels (1 channel), {size / given:.0%} of the file given, "
    assert f"grey.vflow: {size} bytes, {shares}" in capsys.readouterr().out


def test_python_takes_and_gives_arrays(codecs: dict[str, Path]) -> None:
    model = load(codecs["photo"])
    data = vflow.compress(model, smooth(10, 12))
    assert np.array_equal(vflow.decompress(model, data), smooth(10, 12))


@pytest.mark.parametrize("command", ["walk --output o", "score", "colorize --output o"])
def test_other_commands_refuse_a_codec_in_one_line(
    command: str, codecs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    media.write_png(tmp_path / "hill.png", smooth(20, 30))
    name, *flags = command.split()
    given = ["--input", str(tmp_path / "hill.png")]
    flags = [str(tmp_path / flag) if flag == "o" else flag for flag in flags]
    assert main([name, "--checkpoint", str(codecs["photo"]), *given, *flags]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: ") and "; choose " in error
