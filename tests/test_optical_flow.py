"""Optical flow, and frames that go on moving along it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from vflow.optical_flow import extrapolate, next_frames, optical_flow


def drifting(frames: int, channels: int = 1, side: int = 96) -> np.ndarray:
    """Smooth texture that moves by (1.5, 0.5) pixels a frame, uint8 (frames, side, side, channels)."""
    noise = np.random.default_rng(0).normal(size=(2 * side, 2 * side, channels)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3).reshape(noise.shape)
    texture = np.clip(128 + 50 * smooth / smooth.std(), 0, 255)
    drift = [np.array([[1, 0, 1.5 * k - 20], [0, 1, 0.5 * k - 20]], np.float32) for k in range(frames)]
    made = [cv2.warpAffine(texture, each, (side, side), flags=cv2.INTER_CUBIC) for each in drift]
    return np.rint(np.clip(np.stack(made), 0, 255)).astype(np.uint8).reshape(frames, side, side, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("many", [False, True])
def test_frames_go_on_with_the_last_motion(channels: int, many: bool) -> None:
    film = drifting(7, channels)
    found = extrapolate(film[:3], 4) if many else next_frames(film[1], film[2])
    true = film[3:] if many else film[3]
    assert found.shape == (4 if many else 2, 96, 96, channels)
    assert found.dtype == (np.float32 if many else np.uint8)
    inside = np.s_[:, 16:-16, 16:-16]
    copied = np.abs(film[2:3].astype(float) - true)[inside].mean((1, 2, 3))
    assert (np.abs(found.astype(float) - true)[inside].mean((1, 2, 3)) < 0.3 * copied).all()


def test_flow_does_not_depend_on_the_number_of_threads() -> None:
    before, after = (frame[..., 0] for frame in drifting(2, side=256))
    threads, found = cv2.getNumThreads(), []
    try:
        for count in (1, 2, 3, 8):
            cv2.setNumThreads(count)
            with ThreadPoolExecutor(4) as pool:
                found += pool.map(lambda _: optical_flow(before, after), range(8))
            assert cv2.getNumThreads() == count
    finally:
        cv2.setNumThreads(threads)
    assert all(np.array_equal(found[0], each) for each in found)
