"""Pictures with their opacity, films frame by frame, previews written as frames come."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.data.sample_media import (
    damage,
    moving_square,
    turned_mp4,
    write_jumping,
    write_lossless,
    write_mjpeg,
    write_uneven,
)
from vflow.data import media
from vflow.errors import InputError


def _transparent() -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    pixels[0, 0, 3] = 0
    return pixels


def test_opacity_comes_apart_and_colours_stay(tmp_path: Path) -> None:
    pixels = _transparent()
    Image.fromarray(pixels).save(tmp_path / "p.png")
    clip, alpha = media.read_photo(tmp_path / "p.png")
    assert np.array_equal(clip.frames[0], pixels[..., :3])
    assert alpha is not None
    assert np.array_equal(alpha, pixels[..., 3])
    assert clip.notes == ()
    assert not np.array_equal(media.read_image(tmp_path / "p.png").frames[0], pixels[..., :3])


def test_opacity_turns_with_the_picture_and_is_written_back(tmp_path: Path) -> None:
    pixels = _transparent()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels).save(tmp_path / "p.png", exif=exif)
    clip, alpha = media.read_photo(tmp_path / "p.png")
    assert alpha is not None
    assert np.array_equal(alpha, np.rot90(pixels[..., 3], -1))
    media.write_png(tmp_path / "q.png", np.concatenate([clip.frames[0], alpha[..., None]], -1))
    with Image.open(tmp_path / "q.png") as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image), np.rot90(pixels, -1))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16"])
def test_opaque_pictures_are_those_of_read_image(tmp_path: Path, mode: str) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    image = (
        Image.fromarray(grey.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(grey).convert(mode)
    )
    image.save(tmp_path / "p.png")
    clip, alpha = media.read_photo(tmp_path / "p.png")
    plain = media.read_image(tmp_path / "p.png")
    assert alpha is None
    assert np.array_equal(clip.frames, plain.frames)
    assert clip.notes == plain.notes


def test_transparent_palette_colour(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 4))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "p.png", transparency=1)
    clip, alpha = media.read_photo(tmp_path / "p.png")
    assert alpha is not None
    assert (alpha[0, 0], alpha[0, 1]) == (255, 0)
    assert clip.frames[0, 0, 1].tolist() == [200, 100, 50]


def test_what_is_no_picture(tmp_path: Path) -> None:
    media.write_video(tmp_path / "v.mp4", moving_square(2), 5)
    (tmp_path / "notes.png").write_text("notes")
    for name, message in (("v.mp4", "a video, but an image is expected"), ("notes.png", "not an image")):
        with pytest.raises(InputError, match=message):
            media.read_photo(tmp_path / name)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_films_come_frame_by_frame_at_their_size(tmp_path: Path, suffix: str) -> None:
    frames = moving_square(5, 600, 640)
    film = media.stream_frames(write_lossless(tmp_path / f"v{suffix}", frames, 12))
    assert film.fps == pytest.approx(12)
    assert iter(film.frames) is film.frames
    assert np.array_equal(np.stack(list(film.frames)), frames)


UNEVEN = [0, 20, 60, 120, 200, 300, 420, 560, 720, 920]
"""Times in milliseconds: gaps of 20 to 200."""


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mkv", "libx264"), (".webm", "libvpx-vp9"), (".webm", "libvpx"), (".mp4", "libx264")],
)
def test_frames_of_a_varying_rate_tell_their_times(tmp_path: Path, suffix: str, codec: str) -> None:
    """Headers of Matroska only say which rate was declared, here 30."""
    film = media.stream_frames(write_uneven(tmp_path / f"v{suffix}", codec, UNEVEN))
    levels = [round(float(frame.mean()) / 25) for frame in film.frames]
    assert levels == list(range(10))
    assert film.fps == pytest.approx(9 / 0.92) and film.length == 10
    assert film.times == pytest.approx([time / 1000 for time in UNEVEN], abs=0.001)


def test_regular_and_jumping_clocks_have_no_times(tmp_path: Path) -> None:
    frames = moving_square(13)
    for path in (write_lossless(tmp_path / "v.mkv", frames), write_jumping(tmp_path / "j.mkv", frames)):
        film = media.stream_frames(path)
        assert (film.fps, film.times, film.length) == (10, None, 13)


def test_films_longer_than_the_limit_by_their_timestamps(tmp_path: Path) -> None:
    path = write_uneven(tmp_path / "v.mkv", "libx264", [0, 500, 9000])
    with pytest.raises(InputError, match="longer than 5 seconds"):
        media.stream_frames(path, media.Limits(seconds=5))


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_times_are_written(tmp_path: Path, suffix: str) -> None:
    path, times = tmp_path / f"v{suffix}", [time / 1000 for time in UNEVEN]
    with media.video_writer(path, 10) as add:
        for level, time in enumerate(times):
            add(np.full((32, 32, 3), 25 * level, np.uint8), time)
    film = media.stream_frames(path)
    assert len(list(film.frames)) == 10
    assert film.times == pytest.approx(times, abs=0.001)


def test_more_than_8_bits_are_told(tmp_path: Path) -> None:
    path = tmp_path / "deep.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p10le"
        for frame in moving_square(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    assert media.stream_frames(path).notes == ("10-bit samples scaled to 8 bits",)
    assert media.read_clip(path).notes == ("10-bit samples scaled to 8 bits",)


def test_frames_of_another_size_are_told(tmp_path: Path) -> None:
    for sizes in ([(64, 48)] * 3, [(64, 48), (64, 48), (32, 24)]):
        path = write_mjpeg(tmp_path / "v.avi", sizes)
        film = media.stream_frames(path)
        assert np.stack(list(film.frames)).shape == (3, 48, 64, 3)
        found = [loss.text for loss in film.losses]
        assert found == (["frames of other sizes fitted to the first"] if len(set(sizes)) > 1 else [])
        assert list(media.read_clip(path).notes) == found


def test_turned_films_come_upright(tmp_path: Path) -> None:
    frames = moving_square(2)
    film = media.stream_frames(turned_mp4(tmp_path / "v.mp4", frames))
    assert next(film.frames).shape == (48, 32, 3)


def test_animated_pictures_are_films(tmp_path: Path) -> None:
    media.write_video(tmp_path / "v.gif", moving_square(4), 5, enlarge=False)
    film = media.stream_frames(tmp_path / "v.gif")
    assert film.fps == pytest.approx(5)
    assert len(list(film.frames)) == 4


def test_limits_and_damage_of_films(tmp_path: Path) -> None:
    path = write_lossless(tmp_path / "v.mp4", moving_square(6))
    with pytest.raises(InputError, match="more than 3 frames"):
        list(media.stream_frames(path, media.Limits(frames=3)).frames)
    with pytest.raises(InputError, match=r"longer than 0\.1 seconds"):
        media.stream_frames(path, media.Limits(seconds=0.1))
    with pytest.raises(InputError, match=r"v\.mp4: damaged video"):
        list(media.stream_frames(damage(path)).frames)


def write_animation(path: Path, milliseconds: list[int]) -> Path:
    """An animated picture whose frame i has level 25 (i + 1)."""
    pictures = [Image.new("RGB", (16, 16), (25 * i + 25,) * 3) for i in range(len(milliseconds))]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=milliseconds)
    return path


@pytest.mark.parametrize(
    ("milliseconds", "read", "fps"),
    [
        ([40, 40, 40, 40], [0, 1, 2, 3], 25),
        ([40, 40, 40, 500], [0, 1, 2, 3], 25),
        ([40, 120, 40, 40, 10], [0, 1, 1, 1, 2, 3, 4], 25),
        ([0, 0, 0], [0, 1, 2], 10),
        ([500], [0], None),
    ],
)
def test_the_last_frame_of_an_animation_is_there_once(
    tmp_path: Path, milliseconds: list[int], read: list[int], fps: float | None
) -> None:
    path = write_animation(tmp_path / "v.gif", milliseconds)
    clip, film = media.read_clip(path), media.stream_frames(path)
    assert [round(float(frame.mean()) / 25) - 1 for frame in clip.frames] == read
    assert clip.fps == (None if fps is None else pytest.approx(fps))
    assert media.probe(path) == (len(read), clip.fps)
    assert len(list(film.frames)) == film.length == len(milliseconds)
    assert (film.times is None) is (len(read) == len(milliseconds))


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_frames_written_one_by_one_are_those_written_at_once(tmp_path: Path, suffix: str) -> None:
    frames = moving_square(5)
    media.write_video(tmp_path / f"whole{suffix}", frames, 10)
    with media.video_writer(tmp_path / f"parts{suffix}", 10) as add:
        for frame in frames:
            add(frame)
    whole, parts = (media.read_clip(tmp_path / f"{name}{suffix}").frames for name in ("whole", "parts"))
    assert np.array_equal(whole, parts)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"parts{suffix}", f"whole{suffix}"]


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_unfinished_previews_leave_nothing(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(RuntimeError), media.video_writer(tmp_path / f"v{suffix}", 10) as add:
        add(moving_square(1)[0])
        raise RuntimeError
    with pytest.raises(InputError, match="no frames"), media.video_writer(tmp_path / f"v{suffix}", 10):
        pass
    assert not list(tmp_path.iterdir())
