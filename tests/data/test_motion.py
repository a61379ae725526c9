"""Motion of rain and semi-Lagrangian extrapolation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vflow.data.motion import advect, drift_offsets, estimate_motion, liveliest
from vflow.errors import InputError


def field(seed: int = 0, side: int = 192) -> np.ndarray:
    """Smooth random rain, uint8 (side, side), half of it dry."""
    noise = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip(smooth / smooth.std() * 60, 0, 255).astype(np.uint8)


def moving(x: int, y: int, count: int = 4) -> np.ndarray:
    return np.stack([np.roll(field(), (k * y, k * x), (0, 1)) for k in range(count)])


def constant(x: float, y: float, side: int = 192) -> np.ndarray:
    return np.broadcast_to(np.array([x, y], np.float32)[:, None, None], (2, side // 4, side // 4))


@pytest.mark.parametrize(("x", "y"), [(3, 0), (-2, 4)])
def test_motion_of_a_shifted_field_is_the_shift(x: int, y: int) -> None:
    motion = estimate_motion(moving(x, y))
    assert motion.shape == (2, 48, 48)
    inner = motion[:, 10:-10, 10:-10]
    np.testing.assert_allclose(inner[0], x, atol=0.5)
    np.testing.assert_allclose(inner[1], y, atol=0.5)


def test_motion_without_rain_is_zero() -> None:
    assert not estimate_motion(np.zeros((4, 64, 64), np.uint8)).any()


@pytest.mark.parametrize("size", [(4, 4), (11, 300), (12, 300), (15, 64), (300, 12)])
def test_frames_too_small_for_optical_flow_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(
        InputError, match=f"^frames: {size[1]}×{size[0]} pixels; give frames of 16×16 or more"
    ):
        estimate_motion(np.zeros((4, *size), np.uint8))


@pytest.mark.parametrize("size", [(16, 16), (16, 300), (300, 16), (17, 40)])
def test_the_smallest_frames_have_motion(size: tuple[int, int]) -> None:
    rain = np.random.default_rng(0).integers(0, 90, (4, *size), np.uint8)
    assert np.isfinite(estimate_motion(rain)).all()


def test_offsets_are_the_rains_mean_motion() -> None:
    motion = constant(2.4, -1.0).copy()
    motion[:, :, 24:] = 9.0
    frame = field()
    frame[:, 96:] = 0  # what moves otherwise is dry
    assert drift_offsets(motion, frame, 3).tolist() == [[-1, 2], [-2, 5], [-3, 7]]


def test_advected_frames_lie_where_the_motion_puts_them() -> None:
    frames, offsets = moving(3, -2), np.array([[-2, 3], [-4, 6]])
    known = np.ones((192, 192), bool)
    found = advect(frames, known, constant(3, -2), (0, 0), (64, 64), offsets, (32, 48))
    expected = frames[-1, 64:96, 64:112]  # the window drifts as the rain does
    assert found.level.shape == (2, 4, 32, 48)
    for lead in range(2):
        for age in range(4):
            np.testing.assert_allclose(found.level[lead, age], expected, atol=1e-2)
    np.testing.assert_allclose(found.rain[0], expected > 0, atol=1e-3)
    np.testing.assert_allclose(found.motion[0], 3, atol=1e-5)


def test_offsets_say_where_a_window_lies() -> None:
    frames, known = moving(3, -2), np.ones((192, 192), bool)
    still = advect(frames, known, constant(3, -2), (0, 0), (64, 64), np.zeros((2, 2), int), (32, 32))
    np.testing.assert_allclose(
        still.level[1, 0], np.roll(frames[-1], (-4, 6), (0, 1))[64:96, 64:96], atol=1e-2
    )


def test_what_comes_from_outside_or_from_unknown_pixels_is_unknown() -> None:
    frames, known = moving(0, 0), np.ones((192, 192), bool)
    known[:, :40] = False
    offsets = np.zeros((1, 2), int)
    found = advect(frames, known, constant(8, 0), (0, 0), (0, 0), offsets, (64, 64))
    assert not found.known[0, :, :47].any() and not found.level[0, :, :, :47].any()
    assert found.known[0, :, 49:].all()
    outside = advect(frames, known | True, constant(8, 0), (0, 0), (-16, -16), offsets, (64, 64))
    assert not outside.known[0, :15].any() and not outside.known[0, :, :23].any()


def test_corner_places_frames_on_a_larger_motion_field() -> None:
    motion = np.zeros((2, 48, 48), np.float32)
    motion[0, :, 24:] = 8.0  # moves in the right half alone
    frames, known = moving(0, 0)[:, :64, :64], np.ones((64, 64), bool)
    offsets = np.zeros((1, 2), int)
    left = advect(frames, known, motion, (0, 0), (16, 16), offsets, (32, 32))
    right = advect(frames, known, motion, (0, 128), (16, 16), offsets, (32, 32))
    np.testing.assert_allclose(left.level[0, 0], frames[-1, 16:48, 16:48], atol=1e-3)
    np.testing.assert_allclose(right.level[0, 0], frames[-1, 16:48, 8:40], atol=1e-3)


def test_the_liveliest_part_is_where_most_changes() -> None:
    frames = np.zeros((20, 4, 4, 3), np.uint8)
    frames[12:] = 40
    frames[13:] = 90
    start = liveliest(frames, 3, 2)
    assert start <= 11 and start + 5 > 13  # both changes lie in the five frames
    assert liveliest(frames[:1], 3, 2) == 0 and liveliest(frames[:12], 3, 2) == 0
