from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from tests.compression.support import noise, smooth
from vflow.compression.color import (
    _steps,
    decode_pixels,
    encode_remainder,
    jfif_to_rgb,
    rates_size,
    rgb_to_jfif,
    round_to_jfif,
    to_planes,
)
from vflow.compression.entropy import Decoder, Encoder

pytest.importorskip("constriction")


def jpeg(pixels: np.ndarray) -> np.ndarray:
    """What a JPEG file of ``pixels`` decodes to."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return np.asarray(Image.open(buffer))


def test_every_triple_gives_colours_that_lead_back_to_such_a_triple() -> None:
    values = range(0, 256, 15)
    triples = np.array(list(itertools.product(values, values, values)), np.uint8)[None]
    unclipped = jfif_to_rgb(triples)
    pixels = unclipped.clip(0, 255).astype(np.uint8)
    inside = ((unclipped >= 0) & (unclipped <= 255)).all(-1)
    back = jfif_to_rgb(rgb_to_jfif(pixels)).clip(0, 255)
    assert (back == pixels).all(-1)[inside].all()


def test_photos_that_were_jpeg_files_become_luma_and_chroma() -> None:
    color_map, planes = to_planes(jpeg(smooth(48, 64)))
    assert color_map == "jfif"
    assert np.abs(np.diff(planes[..., 1].astype(int), axis=1)).mean() < 1


def test_other_pictures_are_rounded() -> None:
    converted = to_planes(noise(20, 20))
    assert converted.color_map == "rounded"
    assert np.array_equal(converted.planes, round_to_jfif(noise(20, 20)))


def test_no_colour_is_more_than_a_step_from_its_triple_s_own() -> None:
    for red in range(0, 256, 17):
        green, blue = np.meshgrid(np.arange(256), np.arange(256))
        pixels = np.stack([np.full_like(green, red), green, blue], -1)
        triples = round_to_jfif(pixels)
        assert 0 <= triples.min() <= triples.max() <= 255
        assert np.abs(pixels - jfif_to_rgb(triples).clip(0, 255)).max() <= 1


def test_steps_are_in_order_of_length() -> None:
    assert [list(step) for step in _steps(1)[:2]] == [[0, 0, 0], [-1, 0, 0]]
    assert len(_steps(1)) == 27


def round_trip(pixels: np.ndarray) -> tuple[str, float]:
    """Check that ``pixels`` come back; the colour map, and the bits per pixel of the remainder."""
    converted, encoder = to_planes(pixels), Encoder()
    rates = encode_remainder(converted, pixels, encoder)
    assert len(rates) == rates_size(converted.color_map)
    assert np.array_equal(decode_pixels(converted, rates, Decoder(encoder.finish())), pixels)
    return converted.color_map, encoder.information / pixels[..., 0].size


@pytest.mark.parametrize("wrong", [0, 1, 25])
def test_pixels_come_back_with_their_corrections(wrong: int) -> None:
    pixels = jpeg(smooth(40, 56)).copy()
    random = np.random.default_rng(wrong)
    rows, columns = random.integers(0, 40, wrong), random.integers(0, 56, wrong)
    pixels[rows, columns, 0] += 1
    color_map, bits = round_trip(pixels)
    assert color_map == "jfif"
    assert bits < 0.05 + 20 * wrong / pixels[..., 0].size


def test_rounded_pixels_come_back_for_two_bits_each() -> None:
    color_map, bits = round_trip(smooth(40, 56))
    assert color_map == "rounded"
    assert 1.5 < bits < 2.3
    assert round_trip(noise(31, 20))[0] == "rounded"


def test_even_areas_cost_little_to_round() -> None:
    pixels = np.tile(np.array([[[13, 200, 77]], [[90, 3, 4]]], np.uint8), (8, 50, 1))
    assert round_trip(pixels)[1] < 0.2
