"""Pictures with their opacity, films frame by frame, previews written as frames come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.sample_media import damage, moving_square, turned_mp4, write_lossless
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
