"""Arrays of frames: what their rate and their memory may be, and how much of them is converted."""

from __future__ import annotations

import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from tests.data.sample_media import moving_square
from vflow.data import media
from vflow.errors import InputError


def refused(path: Path, limits: media.Limits = media.DEFAULT_LIMITS) -> str:
    """The one line with which reading and probing ``path`` fail."""
    messages = set()
    for read in (media.read_clip, media.probe):
        with pytest.raises(InputError) as error:
            read(path, limits)
        messages.add(str(error.value))
    (message,) = messages
    assert "\n" not in message
    return message


@pytest.mark.parametrize("fps", [0, -5, 1000.5, np.nan, np.inf, 1j, "fast", [10.0, 12.0], []])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, fps: object) -> None:
    np.savez(tmp_path / "clip.npz", frames=moving_square(3), fps=fps)  # type: ignore[arg-type]
    expected = "fps must be one number above 0 and up to 1000; store another, or leave it out"
    assert refused(tmp_path / "clip.npz") == f"clip.npz: {expected}"


@pytest.mark.parametrize("fps", [1000, 0.5, np.float32(0.5), np.array([12.0]), np.array([[12]])])
def test_a_rate_is_any_kind_of_number(tmp_path: Path, fps: float) -> None:
    np.savez(tmp_path / "clip.npz", frames=moving_square(3), fps=fps)
    assert media.read_clip(tmp_path / "clip.npz").fps == float(np.max(fps))


def test_a_rate_that_makes_a_clip_of_days(tmp_path: Path) -> None:
    path = tmp_path / "lapse.npz"
    np.savez_compressed(path, frames=np.zeros((500, 4, 4, 3), np.uint8), fps=0.001)
    remedy = "store an fps of 2 or more (of a time-lapse the one it is played at), or leave fps out"
    assert refused(path) == f"lapse.npz: longer than 300 seconds, the limit; trim it, or {remedy}"
    assert media.read_clip(path, max_frames=1).frames.shape == (1, 4, 4, 3)
    np.savez_compressed(path, frames=np.zeros((500, 4, 4, 3), np.uint8), fps=2)
    assert len(media.read_clip(path).frames) == 500
    np.savez_compressed(path, frames=np.zeros((1, 4, 4, 3), np.uint8), fps=0.001)
    assert media.read_clip(path).fps == 0.001, "one frame has no length"


@pytest.mark.parametrize(
    ("array", "needed"),
    [
        (np.zeros((4, 8, 8, 3), np.uint8), 768),
        (np.zeros((4, 8, 8, 1), np.uint8), 256 + 768),
        (np.zeros((4, 8, 8), np.uint8), 256 + 768),
        (np.zeros((4, 8, 8, 3), bool), 768 + 768),
        (np.zeros((4, 8, 8, 3), np.float16), 1536 + 768),
        (np.zeros((4, 8, 8, 3), np.float64), 6144 + 768),
        (np.asfortranarray(np.zeros((4, 8, 8, 3), np.uint8)), 768 + 768),
    ],
)
def test_memory_counts_what_is_stored_and_what_it_becomes(
    tmp_path: Path, array: np.ndarray, needed: int
) -> None:
    np.savez(tmp_path / "a.npz", frames=array)
    np.save(tmp_path / "a.npy", array)
    for path in (tmp_path / "a.npz", tmp_path / "a.npy"):
        assert media.read_clip(path, media.Limits(memory_bytes=needed)).frames.shape == (4, 8, 8, 3)
        expected = f"{path.name}: decodes to more than 0 MiB, the limit; trim or shrink it"
        assert refused(path, media.Limits(memory_bytes=needed - 1)) == expected


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool", "uint8"])
def test_conversion_takes_the_memory_of_its_result(dtype: str) -> None:
    for frames, channels in ((1, 1), (1, 3), (8, 1), (8, 3)):
        array = np.zeros((frames, 512, 2048 // frames, channels), dtype)
        tracemalloc.start()
        result = media.as_frames(array)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert result.nbytes == 3 * 2**20
        assert peak < 1.2 * result.nbytes


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_floats_are_rounded_to_the_nearest_level(dtype: str, layout: str) -> None:
    array = np.random.default_rng(0).random((5, 40, 50, 3)).astype(dtype, order=layout)  # type: ignore[call-overload]
    expected = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    assert np.array_equal(media.as_frames(array), expected)
    grey = media.as_frames(array[..., :1])
    assert np.array_equal(grey, np.repeat(expected[..., :1], 3, -1))
    assert grey.flags.c_contiguous


def test_only_frames_that_are_wanted_are_converted(tmp_path: Path) -> None:
    array = moving_square(12) / 255
    array[5] = np.nan
    np.savez(tmp_path / "a.npz", frames=array, fps=10.0)
    np.save(tmp_path / "a.npy", array)
    limits = media.Limits(frames=5, seconds=0.4)
    for path in (tmp_path / "a.npz", tmp_path / "a.npy"):
        assert np.array_equal(media.read_clip(path, limits, max_frames=5).frames, moving_square(5))
        assert refused(path, limits) == f"{path.name}: more than 5 frames, the limit; trim it"
    np.save(tmp_path / "picture.npy", moving_square(1)[0])
    clip = media.read_clip(tmp_path / "picture.npy", media.Limits(frames=1), max_frames=1)
    assert np.array_equal(clip.frames, moving_square(1)), "rows are no frames"


def test_an_entry_beside_the_frames_does_not_pass_unseen(tmp_path: Path) -> None:
    """NumPy prefers an entry ``frames`` to ``frames.npy``, whose header is the one that was looked at."""
    path = tmp_path / "two.npz"
    np.savez(path, frames=moving_square(2))
    large = BytesIO()
    np.save(large, np.zeros((9, 8, 8, 3), np.uint8))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("frames", large.getvalue())
    assert np.array_equal(media.read_clip(path).frames, moving_square(2))
