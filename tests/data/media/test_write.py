"""Writing: whole files or none, previews that players take, natives that keep every pixel."""

from __future__ import annotations

import io as stdio
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.data.sample_media import moving_square
from vflow.data import media
from vflow.errors import InputError


def saturated(count: int = 4, side: int = 64) -> np.ndarray:
    """Squares in the six saturated colours, the hardest case for halved chroma."""
    frames = np.full((count, side, side, 3), 127, np.uint8)
    for number, bits in enumerate(range(1, 7)):
        colour = [255 * (bits >> channel & 1) for channel in range(3)]
        row, column = divmod(number, 3)
        frames[:, 5 + 28 * row : 20 + 28 * row, 3 + 20 * column : 18 + 20 * column] = colour
    return frames


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_preview_size_rate_and_pixels(tmp_path: Path, suffix: str) -> None:
    frames = saturated()
    path = tmp_path / f"preview{suffix}"
    media.write_video(path, frames, 4)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (256, 256, "yuv420p")
        assert stream.average_rate == 4
        assert stream.codec_context.name in ("h264", "vp9", "libvpx-vp9", "libdav1d")
    seen = media.read_clip(path).frames
    assert len(seen) == len(frames)
    inner = seen.reshape(len(frames), 64, 4, 64, 4, 3)[:, :, 1:3, :, 1:3].mean((2, 4))
    error = np.abs(inner - frames)
    assert error.mean() < 2
    assert np.quantile(error, 0.99) < 40


def test_mp4_has_its_index_in_front(tmp_path: Path) -> None:
    media.write_video(tmp_path / "clip.mp4", moving_square(), 10)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")


@pytest.mark.parametrize(
    ("side", "expected"), [((32, 48), (256, 384)), ((300, 290), (300, 290)), ((7, 9), (260, 334))]
)
def test_enlarged_by_a_whole_number_and_even(
    tmp_path: Path, side: tuple[int, int], expected: tuple[int, int]
) -> None:
    frames = np.zeros((2, *side, 3), np.uint8)
    media.write_video(tmp_path / "clip.mp4", frames, 10)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == expected


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
@pytest.mark.parametrize(
    ("side", "expected"),
    [((8, 1024), (32, 4096)), ((1, 300), (13, 3900)), ((1024, 8), (4096, 32)), ((2, 5000), (2, 5000))],
)
def test_thin_pictures_are_enlarged_less(
    tmp_path: Path, suffix: str, side: tuple[int, int], expected: tuple[int, int]
) -> None:
    path = tmp_path / f"clip{suffix}"
    media.write_video(path, np.zeros((2, *side, 3), np.uint8), 10)
    film = media.stream_frames(path)
    even = 1 if suffix == ".gif" else 2
    assert next(film.frames).shape[:2] == tuple(-(-s // even) * even for s in expected)


def test_what_the_codec_refuses_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text("old")
    with pytest.raises(InputError) as error:
        media.write_video(path, np.zeros((2, 2, 20_000, 3), np.uint8), 10)
    assert str(error.value) == (
        "clip.mp4: cannot be encoded (libx264 refuses frames of this size or rate: "
        "Generic error in an external library); give smaller frames, or write a .gif"
    )
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"


def test_no_enlargement_when_asked(tmp_path: Path) -> None:
    media.write_video(tmp_path / "clip.gif", moving_square(), 10, enlarge=False)
    assert Image.open(tmp_path / "clip.gif").size == (48, 32)


def test_gif_is_exact_for_few_colours_and_loops(tmp_path: Path) -> None:
    frames = saturated()
    frames[1, 0, 0] = frames[3, 1, 1] = 0  # so that no two neighbours are equal: GIF writers join those
    media.write_video(tmp_path / "clip.gif", frames, 10, enlarge=False)
    clip = media.read_clip(tmp_path / "clip.gif")
    assert np.array_equal(clip.frames, frames)
    assert clip.fps == pytest.approx(10)
    assert Image.open(tmp_path / "clip.gif").info["loop"] == 0


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_grey_frames_and_a_single_frame(tmp_path: Path, suffix: str) -> None:
    media.write_video(tmp_path / f"clip{suffix}", moving_square(1)[..., :1], 10)
    clip = media.read_clip(tmp_path / f"clip{suffix}")
    assert len(clip.frames) == 1
    assert abs(int(clip.frames[0, 0, 0, 0]) - 127) <= 3


@pytest.mark.parametrize(
    ("name", "frames", "fps", "message"),
    [
        ("a.flv", moving_square(), 9, "a.flv: cannot write this kind of video; name it .mp4, .webm or .gif"),
        ("a.mp4", moving_square() / 2, 9, "a.mp4: expected uint8 frames T×H×W×C, not float64 (6, 32, 48, 3)"),
        ("a.mp4", moving_square()[:0], 10, "a.mp4: expected uint8 frames T×H×W×C, not uint8 (0, 32, 48, 3)"),
        ("a.mp4", moving_square(), 0, "a.mp4: 0 frames per second is out of range; give up to 1000"),
    ],
)
def test_refused_videos(tmp_path: Path, name: str, frames: np.ndarray, fps: float, message: str) -> None:
    with pytest.raises(InputError) as error:
        media.write_video(tmp_path / name, frames, fps)
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []


def test_png_round_trip(tmp_path: Path) -> None:
    frame = moving_square(1)[0]
    media.write_png(tmp_path / "new" / "frame.png", frame)
    assert np.array_equal(media.read_image(tmp_path / "new" / "frame.png").frames[0], frame)
    assert Image.open(stdio.BytesIO(media.encode_png(frame[..., :1]))).mode == "L"


def test_npz_round_trip_and_equal_bytes(tmp_path: Path) -> None:
    frames = moving_square()
    media.write_npz(tmp_path / "a.npz", frames=frames, path=np.arange(3))
    media.write_npz(tmp_path / "b.npz", frames=frames, path=np.arange(3))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert np.array_equal(media.read_clip(tmp_path / "a.npz").frames, frames)
    with pytest.raises(InputError, match=r"^a\.zip: arrays go to a file named \.npz$"):
        media.write_npz(tmp_path / "a.zip", frames=frames)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), media.atomic_write(path) as temporary:
        temporary.write_text("half of the ne")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with media.atomic_write(path) as temporary:
        assert temporary.suffix == ".txt" and temporary.parent == tmp_path
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_place_names_file_and_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "clip.mp4"
    with pytest.raises(InputError) as error:
        media.write_video(path, moving_square(), 10)
    assert str(error.value).startswith(f"{path}: cannot be written (")
    assert str(error.value).endswith("); choose another place or free some space")
