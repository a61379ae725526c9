"""Reading: what goes in comes out, and every odd kind of file has a decided outcome."""

from __future__ import annotations

import io as stdio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageOps

from tests.data.sample_media import (
    foreign_profile,
    moving_square,
    turned_mp4,
    write_jumping,
    write_lossless,
    write_stills,
    write_uneven,
)
from vflow.data import media
from vflow.data.media.clip import Collector
from vflow.data.media.limits import Budget
from vflow.errors import InputError


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_lossless_video_is_exact(tmp_path: Path, suffix: str) -> None:
    frames = moving_square(12)
    clip = media.read_clip(write_lossless(tmp_path / f"clip{suffix}", frames))
    assert np.array_equal(clip.frames, frames)
    assert clip.fps == pytest.approx(10, rel=1e-6)
    assert clip.source == f"clip{suffix}"
    assert clip.notes == ()


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_own_previews_can_be_read(tmp_path: Path, suffix: str) -> None:
    frames = moving_square(7)
    media.write_video(tmp_path / f"clip{suffix}", frames, 12.5)
    clip = media.read_clip(tmp_path / f"clip{suffix}")
    assert clip.frames.shape == (7, 256, 384, 3)
    assert clip.fps == pytest.approx(12.5, rel=1e-3)


def test_turned_video_comes_upright(tmp_path: Path) -> None:
    frames = moving_square(3)
    clip = media.read_clip(turned_mp4(tmp_path / "phone.mp4", frames))
    assert np.array_equal(clip.frames, np.rot90(frames, -1, axes=(1, 2)))


def test_max_frames_stops_early_and_lifts_the_limit_on_the_rest(tmp_path: Path) -> None:
    frames = moving_square(12)
    path = write_lossless(tmp_path / "clip.mp4", frames)
    assert np.array_equal(media.read_clip(path, media.Limits(frames=5), max_frames=3).frames, frames[:3])
    folder = write_stills(tmp_path / "stills", frames)
    assert np.array_equal(media.read_clip(folder, media.Limits(frames=5), max_frames=3).frames, frames[:3])


def test_folder_of_stills_in_natural_order(tmp_path: Path) -> None:
    frames = moving_square(12)
    folder = write_stills(tmp_path / "stills", frames)
    (folder / "notes.txt").write_text("not a frame")
    (folder / ".hidden.png").write_bytes(b"")
    clip = media.read_clip(folder)
    assert np.array_equal(clip.frames, frames)
    assert clip.fps is None
    assert clip.source == "stills"


def test_pictures_keep_the_given_order(tmp_path: Path) -> None:
    frames = moving_square(4)
    folder = write_stills(tmp_path / "stills", frames)
    paths = [folder / f"frame{i}.png" for i in (2, 0, 3)]
    assert np.array_equal(media.read_frames(paths).frames, frames[[2, 0, 3]])
    assert np.array_equal(media.read_frames([folder]).frames, frames)


def test_pictures_of_other_sizes_are_fitted_to_the_first(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (10, 20, 30)).save(tmp_path / "a.png")
    Image.new("RGB", (90, 60), (40, 50, 60)).save(tmp_path / "b.png")
    clip = media.read_frames([tmp_path / "a.png", tmp_path / "b.png"])
    assert clip.frames.shape == (2, 30, 40, 3)
    assert clip.notes == ("frames of other sizes fitted to the first",)
    assert clip.frames[1].reshape(-1, 3).tolist() == [[40, 50, 60]] * 1200


def test_large_clips_are_reduced_but_pictures_are_not(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1000), (9, 8, 7)).save(tmp_path / "photo.png")
    assert media.read_image(tmp_path / "photo.png").frames.shape == (1, 1000, 2000, 3)
    clip = media.read_clip(tmp_path / "photo.png")
    assert clip.frames.shape == (1, 512, 1024, 3)
    assert clip.notes == ("reduced from 2000×1000 to 1024×512",)
    assert media.read_clip(tmp_path / "photo.png", size=(16, 16)).frames.shape == (1, 16, 16, 3)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animated_pictures_give_all_frames(tmp_path: Path, suffix: str) -> None:
    frames = moving_square(5)
    pictures = [Image.fromarray(f) for f in frames]
    path = tmp_path / f"moving{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, loop=0, lossless=True)
    for clip in (media.read_image(path), media.read_clip(path)):
        assert np.array_equal(clip.frames, frames)
        assert clip.fps == pytest.approx(10)
        assert clip.notes == ()


def test_uneven_durations_become_a_regular_clock(tmp_path: Path) -> None:
    frames = moving_square(4)
    pictures = [Image.fromarray(f) for f in frames]
    path = tmp_path / "uneven.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 300, 100, 900])
    clip = media.read_clip(path)
    assert clip.fps == pytest.approx(10)
    assert np.array_equal(clip.frames, frames[[0, 1, 1, 1, 2, 3]])
    assert clip.notes == ("variable frame rate made constant",)


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".webm", "libvpx-vp9")])
def test_variable_frame_rate_becomes_a_regular_clock(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"phone{suffix}"
    write_uneven(path, codec, [0, 40, 80, 280, 320, 360])
    clip = media.read_clip(path)
    assert clip.fps == pytest.approx(25)
    shown = np.rint(clip.frames[:, 30, 30, 0] / 25).astype(int)
    assert shown.tolist() == [0, 1, 2, 2, 2, 2, 2, 3, 4, 5]
    assert clip.notes == ("variable frame rate made constant",)


def test_a_clock_that_starts_anew_is_ignored(tmp_path: Path) -> None:
    frames = moving_square(12)
    clip = media.read_clip(write_jumping(tmp_path / "joined.mkv", frames))
    assert np.array_equal(clip.frames, frames)
    assert clip.fps == pytest.approx(10)
    assert clip.notes == ("timestamps that jump back ignored",)


@pytest.mark.parametrize("times", [[0, 1, 2, 0, 1], [9, 10, 11, 0, 1], [0, 1, 2, 3, 2.9]])
@pytest.mark.parametrize("rate", [None, 10.0])
def test_any_jump_back_leaves_the_frames_as_they_came(times: list[float], rate: float | None) -> None:
    collector = Collector("clip", Budget(media.DEFAULT_LIMITS))
    for frame, time in zip(moving_square(5), times, strict=True):
        collector.add(frame, time)
    clip = collector.clip(rate)
    assert np.array_equal(clip.frames, moving_square(5))
    assert clip.fps == rate


def test_sixteen_bit_grey_is_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 128, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    clip = media.read_image(tmp_path / "deep.png")
    assert clip.frames[0, 0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert clip.notes == ("16-bit samples scaled to 8 bits",)


def test_sixteen_bit_colour_is_noted(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 4, 3), (257 * 30, 257 * 20, 257 * 10), np.uint16))
    clip = media.read_image(tmp_path / "deep.png")
    assert clip.frames[0, 0, 0].tolist() == [10, 20, 30]
    assert clip.notes == ("16-bit samples scaled to 8 bits",)


def test_float_tiff_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(InputError) as error:
        media.read_image(tmp_path / "float.tif")
    assert str(error.value) == "float.tif: 32-bit samples are not supported; save it with 8 bits per channel"


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    clip = media.read_image(tmp_path / "print.jpg")
    assert np.abs(clip.frames[0, 4, 4].astype(int) - [255, 0, 0]).max() <= 4
    assert clip.notes == ("CMYK converted to RGB",)


def test_palette_becomes_rgb(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), (12, 200, 34)).convert("P", palette=Image.Palette.ADAPTIVE)
    picture.save(tmp_path / "p.png")
    clip = media.read_image(tmp_path / "p.png")
    assert clip.frames[0, 4, 4].tolist() == [12, 200, 34]
    assert clip.notes == ("palette converted to RGB",)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    colours = {"RGBA": [(200, 0, 0, 255), (200, 0, 0, 0)], "LA": [(7, 255), (7, 0)]}[mode]
    picture = Image.new(mode, (2, 1))
    picture.putdata(colours)
    picture.save(tmp_path / "clear.png")
    clip = media.read_image(tmp_path / "clear.png")
    assert clip.frames[0, 0, 1].tolist() == [255, 255, 255]
    assert clip.frames[0, 0, 0, 0] == colours[0][0]
    assert clip.notes == ("transparency laid on white",)


def test_an_opaque_alpha_channel_is_no_remark(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (1, 2, 3, 255)).save(tmp_path / "opaque.png")
    clip = media.read_image(tmp_path / "opaque.png")
    assert clip.frames[0, 0, 0].tolist() == [1, 2, 3]
    assert clip.notes == ()


def test_transparent_palette_colour(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putdata([0, 1])
    picture.save(tmp_path / "p.png", transparency=1)
    clip = media.read_image(tmp_path / "p.png")
    assert clip.frames[0, 0].tolist() == [[255, 0, 0], [255, 255, 255]]
    assert clip.notes == ("palette converted to RGB", "transparency laid on white")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_rotation_is_applied(tmp_path: Path, suffix: str) -> None:
    picture = Image.new("RGB", (32, 16), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways: turn clockwise
    picture.save(tmp_path / f"turned{suffix}", exif=exif, quality=95)
    clip = media.read_image(tmp_path / f"turned{suffix}")
    assert clip.frames.shape == (1, 32, 16, 3)
    assert clip.frames[0, 4].mean() > 250 and clip.frames[0, 28].mean() < 5
    assert clip.notes == ("rotated as its EXIF tag says",)


def test_colour_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in (("swapped", foreign_profile()), ("srgb", srgb), ("broken", b"nonsense")):
        Image.new("RGB", (4, 4), (80, 90, 100)).save(tmp_path / f"{name}.png", icc_profile=profile)
    converted = media.read_image(tmp_path / "swapped.png")
    assert converted.notes == ("colours converted from its profile to sRGB",)
    assert np.abs(converted.frames[0, 0, 0].astype(int) - [90, 80, 100]).max() <= 1
    for name, notes in (("srgb", ()), ("broken", ("unusable colour profile ignored",))):
        clip = media.read_image(tmp_path / f"{name}.png")
        assert clip.frames[0, 0, 0].tolist() == [80, 90, 100]
        assert clip.notes == notes


def test_colors_are_kept_with_their_profile_on_demand(tmp_path: Path) -> None:
    profiles = {"RGB": foreign_profile(), "L": foreign_profile("L"), "wrong": foreign_profile("L")}
    for name, profile in profiles.items():
        color = (80, 90, 100) if name != "L" else 80
        picture = Image.new("RGB" if name == "wrong" else name, (4, 4), color)
        picture.save(tmp_path / f"{name}.png", icc_profile=profile)
        kept, _ = media.read_photo(tmp_path / f"{name}.png", convert=False)
        numbers = [80, 80, 80] if name == "L" else [80, 90, 100]
        assert kept.frames[0, 0, 0].tolist() == numbers
        if name == "wrong":  # of another colour space than its picture: no help
            assert (kept.profile, kept.notes) == (b"", ("unusable colour profile ignored",))
        else:
            assert (kept.profile, kept.notes, kept.losses) == (profile, (), ())
    assert media.read_photo(tmp_path / "RGB.png")[0].profile == b""


@pytest.mark.parametrize("mode", ["1", "LA"])
def test_profiles_of_grey_are_kept_beside_opacity_and_of_one_bit(tmp_path: Path, mode: str) -> None:
    profile = foreign_profile("L")
    Image.new("L", (4, 4), 255).convert(mode).save(tmp_path / "a.png", icc_profile=profile)
    kept, _ = media.read_photo(tmp_path / "a.png", convert=False)
    assert (kept.profile, kept.grey, kept.notes) == (profile, True, ())
    assert int(kept.frames.min()) == 255


def test_pages_are_not_frames(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (4, 4), (c, 0, 0)) for c in (10, 20, 30)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    clip = media.read_image(tmp_path / "scan.tif")
    assert clip.frames.shape == (1, 4, 4, 3)
    assert clip.notes == ("first of several pages",)


def test_a_photo_of_an_animated_picture_is_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    clip, _ = media.read_photo(tmp_path / "a.gif")
    assert clip.frames[:, 0, 0].tolist() == [[255, 0, 0]]
    assert clip.notes == ("first frame of an animated image",)


def test_previews_in_a_cameras_jpeg_are_no_animation(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    pictures[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pictures[1:])
    assert media.read_photo(tmp_path / "a.jpg")[0].notes == ()


def ramp() -> np.ndarray:
    """A smooth picture, uint8 (48, 64, 3), that lossy formats keep within a grey level or two."""
    y, x = np.mgrid[:48, :64]
    return np.stack([4 * x, 5 * y, 2 * (x + y)], -1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".heic", ".HIF", ".avif"])
def test_phone_pictures_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"IMG_1{suffix}"
    Image.fromarray(ramp()).save(path, format="AVIF" if suffix == ".avif" else "HEIF", quality=95)
    clip = media.read_image(path)
    assert clip.frames.shape == (1, 48, 64, 3) and clip.notes == ()
    assert np.abs(clip.frames[0].astype(int) - ramp()).mean() < 3
    assert media.list_media(tmp_path) == [path]


def test_heic_comes_upright_in_eight_bits_and_its_main_picture_counts(tmp_path: Path) -> None:
    path, picture = tmp_path / "IMG_1.heic", Image.fromarray(ramp())
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    picture.save(path, exif=exif.tobytes(), quality=95)
    (turned,) = media.read_image(path).frames
    assert turned.shape == (64, 48, 3)
    assert np.abs(turned.astype(int) - np.rot90(ramp(), -1)).mean() < 3
    picture.save(path, save_all=True, append_images=[ImageOps.invert(picture)], primary_index=1)
    clip = media.read_image(path)
    assert clip.notes == ("main image of several",)
    assert np.abs(clip.frames[0].astype(int) - (255 - ramp())).mean() < 3
    deep = pillow_heif.from_bytes("RGB;16", (64, 48), (ramp().astype(np.uint16) << 8).tobytes())
    deep.save(path)
    assert media.read_image(path).notes == ("10-bit samples scaled to 8 bits",)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    frames = moving_square(4)
    buffer = stdio.BytesIO()
    Image.fromarray(frames[0]).save(buffer, "PNG")
    (tmp_path / "really_a_png.jpg").write_bytes(buffer.getvalue())
    assert np.array_equal(media.read_image(tmp_path / "really_a_png.jpg").frames, frames[:1])
    video = write_lossless(tmp_path / "clip.mp4", frames).rename(tmp_path / "clip.png")
    assert np.array_equal(media.read_clip(video).frames, frames)


def test_one_pixel_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert media.read_image(tmp_path / "dot.png").frames.tolist() == [[[[1, 2, 3]]]]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "bool"])
def test_arrays_of_all_types(tmp_path: Path, dtype: str) -> None:
    frames = moving_square(4)
    if dtype == "bool":
        frames = np.where(frames > 127, 255, 0).astype(np.uint8)
    scale = 255 if dtype in ("float32", "float64", "bool") else 1
    array = (frames / scale).astype(dtype)
    np.savez(tmp_path / "clip.npz", frames=array, context=array[:1], fps=5.0)
    np.save(tmp_path / "clip.npy", array)
    clip = media.read_clip(tmp_path / "clip.npz")
    assert np.array_equal(clip.frames, frames)
    assert clip.fps == 5
    assert np.array_equal(media.read_clip(tmp_path / "clip.npy").frames, frames)


def test_grey_arrays_and_single_pictures() -> None:
    grey = moving_square(4)[..., 0]
    assert np.array_equal(media.as_frames(grey), np.repeat(grey[..., None], 3, -1))
    assert media.as_frames(moving_square(1)[0]).shape == (1, 32, 48, 3)


def test_natural_key() -> None:
    names = ["f10.png", "f9.png", "F1.png", "f01b.png", "a.png", "10.png", "9.png"]
    ordered = ["9.png", "10.png", "a.png", "F1.png", "f01b.png", "f9.png", "f10.png"]
    assert sorted(names, key=media.natural_key) == ordered


def test_probe_agrees_with_reading(tmp_path: Path) -> None:
    frames = moving_square(12)
    for suffix in (".mp4", ".mkv", ".avi"):
        assert media.probe(write_lossless(tmp_path / f"clip{suffix}", frames)) == (12, 10.0)
    assert media.probe(write_stills(tmp_path / "stills", frames)) == (12, None)
    media.write_npz(tmp_path / "clip.npz", frames=frames, fps=8.0)
    assert media.probe(tmp_path / "clip.npz") == (12, 8.0)
    media.write_video(tmp_path / "clip.gif", frames, 10)
    assert media.probe(tmp_path / "clip.gif").frames == 12


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, vflow.data.datasets.bair, vflow.data.datasets.folder; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
