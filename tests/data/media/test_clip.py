"""Fitting in size and time."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.sample_media import moving_square
from vflow.data.media import Clip, fit, resize, retime


def test_right_size_is_untouched() -> None:
    frames = moving_square()
    assert np.array_equal(resize(frames, 32, 48, 3), frames)
    grey = frames[..., :1]
    assert np.array_equal(resize(grey, 32, 48, 1), grey)


def test_centre_crop_before_scaling() -> None:
    frames = np.zeros((1, 20, 60, 3), np.uint8)
    frames[:, :, 20:40] = 200
    assert np.all(resize(frames, 20, 20, 3) == 200)
    assert np.all(resize(frames.swapaxes(1, 2), 40, 40, 3) == 200)


def test_shrinking_averages_areas() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    expected = np.rint(frames.reshape(2, 16, 4, 16, 4, 3).mean((2, 4)))
    assert np.abs(resize(frames, 16, 16, 3).astype(int) - expected).max() <= 1


def test_enlarging_one_pixel() -> None:
    frames = np.full((1, 1, 1, 3), (1, 2, 3), np.uint8)
    assert np.array_equal(resize(frames, 64, 64, 3), np.broadcast_to(frames, (1, 64, 64, 3)))


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (3, 7), (65, 63)])
def test_odd_sizes_all_fit(size: tuple[int, int]) -> None:
    frames = np.full((2, *size, 3), 77, np.uint8)
    for channels in (1, 3):
        out = resize(frames, 32, 48, channels)
        assert out.shape == (2, 32, 48, channels)
        assert np.all(out == 77)


def test_grey_is_luma_and_grey_becomes_colour() -> None:
    frames = np.full((1, 4, 4, 3), (255, 0, 0), np.uint8)
    assert np.all(resize(frames, 4, 4, 1) == 76)
    assert resize(resize(frames, 4, 4, 1), 8, 8, 3).shape == (1, 8, 8, 3)
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, None, :, None], 3, axis=-1)
    assert np.array_equal(resize(levels, 1, 256, 1)[..., 0], levels[..., 0])


def test_retime_keeps_the_last_frame() -> None:
    assert retime(7, 30, 10).tolist() == [0, 3, 6]
    assert retime(9, 30, 10).tolist() == [2, 5, 8]
    assert retime(3, 5, 10).tolist() == [0, 0, 1, 2, 2] or retime(3, 5, 10).tolist() == [0, 1, 1, 2, 2]
    assert retime(100, 25, 10)[-3:].tolist() == [94, 97, 99] or retime(100, 25, 10)[-1] == 99


@pytest.mark.parametrize(("fps", "target"), [(None, 10), (10, None), (10, 10), (29.97, 30), (9.95, 10)])
def test_retime_leaves_equal_or_unknown_rates(fps: float | None, target: float | None) -> None:
    assert retime(5, fps, target).tolist() == [0, 1, 2, 3, 4]
    assert retime(1, 30, 10).tolist() == [0]


def test_retime_is_regular_over_long_clips() -> None:
    kept = retime(900, 29.97, 8)
    assert kept[-1] == 899 and kept[0] >= 0
    assert set(np.diff(kept).tolist()) <= {3, 4}
    assert len(kept) == int(899 * 8 / 29.97) + 1


def test_frames_are_repeated_when_they_are_small() -> None:
    clip = Clip(moving_square(3), 5.0, "clip")
    out = fit(clip, height=16, width=16, channels=3, fps=10)
    assert np.array_equal(out, resize(clip.frames[retime(3, 5, 10)], 16, 16, 3)) and len(out) == 5


def test_fit_does_all_at_once() -> None:
    clip = Clip(moving_square(13), 20.0, "clip")
    out = fit(clip, height=16, width=16, channels=1, fps=10)
    assert out.shape == (7, 16, 16, 1) and out.dtype == np.uint8
    assert np.array_equal(out, resize(clip.frames[::2], 16, 16, 1))
