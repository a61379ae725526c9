"""Integer Haar wavelets: exact inverses, means of blocks, bins."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vflow.bijections.integer_haar import MEAN, IntegerHaar, haar_blocks, join_blocks


def images(count: int = 4, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.randint(256, (count, 3, height, width), generator=torch.Generator().manual_seed(0)).byte()


def test_blocks_are_means_and_differences() -> None:
    block = torch.tensor([[[7.0, 2.0], [4.0, 1.0]]])
    mean, rows, upper, lower = haar_blocks(block).flatten().tolist()
    assert (upper, lower) == (5, 3)
    assert (rows, mean) == (4 - 2, 3), "means of rows: 4.5 down to 4, 2.5 down to 2; of both: 3"


@pytest.mark.parametrize("low", [-256, -128, 0])
def test_blocks_join_to_the_image(low: int) -> None:
    image = torch.randint(low, low + 256, (2, 5, 3, 8, 6)).float()
    blocks = haar_blocks(image)
    assert blocks.shape == (2, 5, 4, 3, 4, 3) and torch.equal(blocks, blocks.round())
    assert torch.equal(join_blocks(blocks), image)


def test_blocks_without_differences_are_of_one_value() -> None:
    blocks = torch.zeros(1, 4, 3, 2, 2)
    blocks[:, MEAN] = torch.arange(-6.0, 6).view(3, 2, 2)
    assert torch.equal(join_blocks(blocks), F.interpolate(blocks[:, MEAN], scale_factor=2.0))


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_means_lie_in_place_and_keep_their_level(levels: int) -> None:
    z, side = IntegerHaar(levels).centres(images()), 2**levels
    means = F.avg_pool2d(images().float() - 128, side)
    off = z[..., ::side, ::side] - means
    assert off.abs().max() <= levels and off.mean().abs() < 0.1


def test_any_fraction_stays_in_its_bin_and_comes_back() -> None:
    layer, values = IntegerHaar(3), images()
    x = values + torch.rand(values.shape, generator=torch.Generator().manual_seed(1)).clamp(0.01, 0.99)
    z, density = layer.transform(x)
    assert torch.equal(layer.quantize(z), layer.centres(values)) and not density.any()
    low, high = layer.bounds(values)
    assert ((low < z) & (z < high)).all()
    back, _ = layer.invert(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-4)


def test_bins_are_numbered_as_their_edges_are() -> None:
    layer, values = IntegerHaar(3), images()
    symbols, (edges,) = layer.symbols(values), layer.bin_edges()
    assert len(edges) == 513 and symbols.min() >= 0 and symbols.max() < 512
    centres = layer.centres_of(symbols)
    assert torch.equal(centres, layer.centres(values))
    assert ((edges[symbols] < centres) & (centres < edges[symbols + 1])).all()
    assert torch.equal(layer.values(symbols), values)


def test_extreme_images() -> None:
    layer = IntegerHaar(2)
    for values in (torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 255)):
        assert torch.equal(layer.values(layer.symbols(values.byte())), values.byte())
    stripes = torch.zeros(1, 3, 8, 8).byte()
    stripes[..., ::2] = 255
    assert torch.equal(layer.values(layer.symbols(stripes)), stripes)


def test_wavelets_that_no_image_has_lie_outside_the_grey_levels_and_come_back() -> None:
    layer, z = IntegerHaar(3), torch.full((1, 3, 8, 8), 255.0)
    x, _ = layer.invert(z)
    assert x.max() > 256
    assert torch.equal(layer.transform(x)[0], z)
    values = layer.values((z + 256).long())
    assert torch.equal(values.float(), x.floor().clamp(0, 255))
