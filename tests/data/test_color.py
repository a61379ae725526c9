"""Lab against scikit-image, back again, and beyond what screens show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vflow.data.color import lab_to_rgb, rgb_to_lab


def colours() -> np.ndarray:
    """A grid over the whole cube, dark colours (the straight parts of the curves) and random ones."""
    axis = np.linspace(0, 1, 9)
    cube = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    random = np.random.default_rng(0)
    return np.concatenate([cube, 0.05 * random.random((271, 3)), random.random((1000, 3))]).reshape(40, 50, 3)


def planes(image: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_agrees_with_scikit_image(dtype: torch.dtype) -> None:
    skimage = pytest.importorskip("skimage.color")
    image = colours()
    ours = rgb_to_lab(planes(image, dtype))
    assert ours.dtype == dtype and ours.shape == (1, 3, 40, 50)
    assert np.abs(ours[0].permute(1, 2, 0).numpy() - skimage.rgb2lab(image)).max() < 1e-3
    lab = np.stack([np.full((3, 5), 60.0), np.arange(-20.0, 25, 3).reshape(3, 5), np.full((3, 5), 15)], -1)
    back = lab_to_rgb(planes(lab, dtype))[0].permute(1, 2, 0).numpy()
    assert np.abs(back - skimage.lab2rgb(lab)).max() < 1e-3


def test_it_is_exact_whatever_networks_compute_in() -> None:
    rgb = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        there = rgb_to_lab(rgb)
        assert torch.equal(lab_to_rgb(there), lab_to_rgb(rgb_to_lab(rgb)))
    assert torch.equal(there, rgb_to_lab(rgb))


def test_there_and_back() -> None:
    rgb = planes(colours(), torch.float64)
    assert (lab_to_rgb(rgb_to_lab(rgb)) - rgb).abs().max() < 1e-9
    single = rgb.float()
    assert (lab_to_rgb(rgb_to_lab(single)) - single).abs().max() < 1e-4


def test_lab_of_known_colours() -> None:
    rgb = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]])[..., None, None]
    expected = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]])
    assert (rgb_to_lab(rgb)[..., 0, 0] - expected).abs().max() < 0.02


def test_colours_that_no_screen_shows_are_told_by_their_values() -> None:
    """Wide colours come out below 0 or above 1, finite, and lead back to the same Lab."""
    lab = torch.tensor([[60.0, -120, 60], [90, 90, 0], [50, 0, -120], [5, 60, 60]], dtype=torch.float64)
    rgb = lab_to_rgb(lab[..., None, None])
    assert bool(rgb.isfinite().all()) and bool(((rgb < 0) | (rgb > 1)).flatten(1).any(1).all())
    assert (rgb_to_lab(rgb)[..., 0, 0] - lab).abs().max() < 1e-6
