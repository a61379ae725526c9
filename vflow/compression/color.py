"""Reversible colour maps: what a photo's pixels become before they are coded.

Photos are coded as whole numbers (Y, Cb, Cr) of JFIF, of which there are only a quarter as many as (R, G, B).
Chroma is smooth, and the pixels of a former JPEG file come from such numbers, so few of them need corrections
("jfif"). Other pictures are coded as they are, green first ("rgb"), if the model can; if not, about four of
their colours round to the same (Y, Cb, Cr), and each pixel's choice among them is coded as well, in about two
bits ("rounded"). A picture whose channels are equal is coded as one plane ("grey").
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from vflow.errors import InputError

if TYPE_CHECKING:
    from vflow.compression.entropy import Decoder, Encoder

ColorMap = Literal["rgb", "jfif", "rounded", "grey"]
COLOR_MAPS = get_args(ColorMap)
FEW = 0.02  # share of pixels to correct, up to which "jfif" is chosen
GREEN_FIRST = (1, 0, 2)
NEUTRAL = 128  # Cb and Cr of grey
_MANY = 0.5  # share of pixels that come from no (Y, Cb, Cr), from which on none is searched for
_HALF = 1 << 15
_REACH = 2  # in that search, of each number
_CORRECTION_BITS = 3
_RATE_UNIT = 1 << 16
_NOTHING = struct.Struct("")
_RATES = {
    "rgb": _NOTHING,
    "jfif": struct.Struct("<HH"),
    "rounded": struct.Struct("<H"),
    "grey": _NOTHING,
}


class Converted(NamedTuple):
    """Planes that a colour map makes of pixels, uint8 (H, W, 3)."""

    color_map: ColorMap
    planes: np.ndarray


def _fixed(x: float) -> int:
    return int(x * 65536 + 0.5)


def _steps(reach: int) -> list[np.ndarray]:
    """Whole steps of three coordinates up to ``reach`` along each, short ones first."""
    steps = itertools.product(range(-reach, reach + 1), repeat=3)
    return [np.array(step, np.int32) for step in sorted(steps, key=lambda s: (sum(x * x for x in s), s))]


def jfif_to_rgb(planes: np.ndarray) -> np.ndarray:
    """(Y, Cb, Cr) → (R, G, B) before clipping to 0 … 255, int32 (..., 3): libjpeg's 16-bit fixed point."""
    y, cb, cr = np.moveaxis(planes.astype(np.int32), -1, 0)
    cb, cr = cb - NEUTRAL, cr - NEUTRAL
    red = y + ((_fixed(1.402) * cr + _HALF) >> 16)
    green = y + ((-_fixed(0.34414) * cb - _fixed(0.71414) * cr + _HALF) >> 16)
    blue = y + ((_fixed(1.772) * cb + _HALF) >> 16)
    return np.stack([red, green, blue], -1)


def round_to_jfif(pixels: np.ndarray) -> np.ndarray:
    """(R, G, B) → (Y, Cb, Cr), int32 (..., 3) in 0 … 255, as libjpeg rounds; colours share triples."""
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    chroma = (NEUTRAL << 16) + _HALF - 1
    y = (_fixed(0.299) * red + _fixed(0.587) * green + _fixed(0.114) * blue + _HALF) >> 16
    cb = (-_fixed(0.16874) * red - _fixed(0.33126) * green + _fixed(0.5) * blue + chroma) >> 16
    cr = (_fixed(0.5) * red - _fixed(0.41869) * green - _fixed(0.08131) * blue + chroma) >> 16
    return np.stack([y, cb, cr], -1)


def rgb_to_jfif(pixels: np.ndarray) -> np.ndarray:
    """A triple (Y, Cb, Cr), uint8 (H, W, 3), that gives each of ``pixels``, uint8 (H, W, 3), if there is one.

    Where rounding the real-valued map gives none, triples up to 2 away are tried, near ones first.
    """
    found = round_to_jfif(pixels)
    missed = (jfif_to_rgb(found).clip(0, 255) != pixels).any(-1)
    if missed.mean() < _MANY:
        start, wanted = found[missed], pixels[missed]
        best, pending = start.copy(), np.arange(len(start))
        for step in _steps(_REACH):
            tried = (start[pending] + step).clip(0, 255)
            hit = (jfif_to_rgb(tried).clip(0, 255) == wanted[pending]).all(-1)
            best[pending[hit]] = tried[hit]
            pending = pending[~hit]
        found[missed] = best
    return found.astype(np.uint8)


def is_grey(pixels: np.ndarray) -> bool:
    """True where all channels of ``pixels``, uint8 (..., C), are equal."""
    return bool((pixels == pixels[..., :1]).all())


def to_planes(pixels: np.ndarray, direct: bool = False) -> Converted:
    """Planes of ``pixels``, uint8 (H, W, 3).

    They are (Y, Cb, Cr), and the map "jfif" if all but a few pixels come from such triples; if not, they are
    (green, red, blue) where ``direct``, else rounded (Y, Cb, Cr).
    """
    planes = rgb_to_jfif(pixels)
    difference = pixels - jfif_to_rgb(planes).clip(0, 255)
    limit = 1 << (_CORRECTION_BITS - 1)
    fits = difference.min(initial=0) >= -limit and difference.max(initial=0) < limit
    if fits and difference.any(-1).mean() <= FEW:
        return Converted("jfif", planes)
    if direct:
        return Converted("rgb", pixels[..., GREEN_FIRST])
    return Converted("rounded", round_to_jfif(pixels).astype(np.uint8))


def encode_remainder(converted: Converted, pixels: np.ndarray, encoder: Encoder) -> bytes:
    """Add to ``encoder`` what ``pixels`` have beyond their planes; returns rates, ``rates_size`` bytes."""
    match converted.color_map:
        case "jfif":
            return _encode_corrections(converted.planes, pixels, encoder)
        case "rounded":
            return _encode_choices(converted.planes, pixels, encoder)
        case "rgb" | "grey":
            return b""


def decode_pixels(converted: Converted, rates: bytes, decoder: Decoder) -> np.ndarray:
    """Pixels, uint8 (H, W, 3), of planes and what ``encode_remainder`` wrote."""
    match converted.color_map:
        case "jfif":
            return _decode_corrections(converted.planes, rates, decoder)
        case "rounded":
            return _decode_choices(converted.planes, rates, decoder)
        case "rgb":
            return converted.planes[..., np.argsort(GREEN_FIRST)]
        case "grey":
            return converted.planes[..., :1].repeat(3, -1)


def rates_size(color_map: ColorMap) -> int:
    """Bytes that ``encode_remainder`` returns."""
    return _RATES[color_map].size


def _rate(flags: np.ndarray) -> int:
    """Share of ``flags`` that are set, in 1/65536; 0 only if none is."""
    if not flags.any():
        return 0
    return min(max(1, round(_RATE_UNIT * float(flags.mean()))), _RATE_UNIT - 1)


def _encode_corrections(planes: np.ndarray, pixels: np.ndarray, encoder: Encoder) -> bytes:
    unclipped = jfif_to_rgb(planes)
    difference = pixels - unclipped.clip(0, 255)
    wrong, at_limit = difference.any(-1), _at_limit(unclipped)
    rates = []
    for where in (~at_limit, at_limit):
        flags = wrong[where]
        rates.append(_rate(flags))
        if rates[-1]:
            encoder.bits(flags, rates[-1] / _RATE_UNIT)
            shifted = difference[where][flags].ravel() + (1 << (_CORRECTION_BITS - 1))
            for bit in range(_CORRECTION_BITS):
                encoder.bits((shifted >> bit) & 1, 0.5)
    return _RATES["jfif"].pack(*rates)


def _decode_corrections(planes: np.ndarray, rates: bytes, decoder: Decoder) -> np.ndarray:
    unclipped = jfif_to_rgb(planes)
    pixels, at_limit = unclipped.clip(0, 255), _at_limit(unclipped)
    for rate, where in zip(_RATES["jfif"].unpack(rates), (~at_limit, at_limit), strict=True):
        if not rate:
            continue
        rows, columns = np.nonzero(where)
        flags = decoder.bits(len(rows), rate / _RATE_UNIT).astype(bool)
        shifted = np.zeros(3 * int(flags.sum()), np.int32)
        for bit in range(_CORRECTION_BITS):
            shifted |= decoder.bits(shifted.size, 0.5) << bit
        pixels[rows[flags], columns[flags]] += shifted.reshape(-1, 3) - (1 << (_CORRECTION_BITS - 1))
    if pixels.min(initial=0) < 0 or pixels.max(initial=0) > 255:
        raise InputError("the coded corrections lead out of 0 … 255")
    return pixels.astype(np.uint8)


def _at_limit(unclipped: np.ndarray) -> np.ndarray:
    """Pixels (H, W) one of whose colours is 0 or 255 or was clipped to it: where corrections are likely."""
    return np.asarray(((unclipped <= 0) | (unclipped >= 255)).any(-1))


class _Choices:
    """Colours that round to each of ``triples`` (N, 3), as steps from the triple's own colour."""

    def __init__(self, triples: np.ndarray) -> None:
        self.steps = np.stack(_steps(1))  # a test goes through all colours: none needs a longer step
        self.own = jfif_to_rgb(triples).clip(0, 255)
        self.possible = np.empty((len(self.steps), len(triples)), bool)
        for index, step in enumerate(self.steps):
            tried = self.own + step
            inside = ((tried >= 0) & (tried <= 255)).all(-1)
            self.possible[index] = inside & (round_to_jfif(tried) == triples).all(-1)

    def encode(self, pixels: np.ndarray, encoder: Encoder) -> None:
        """Add which one each of ``pixels`` (N, 3) is, all being equally likely."""

        def decide(index: int, pending: np.ndarray, probability: np.ndarray) -> np.ndarray:
            found = (self.own[pending] + self.steps[index] == pixels[pending]).all(-1)
            encoder.bits(found, probability)
            return found

        self._walk(decide)

    def decode(self, decoder: Decoder) -> np.ndarray:
        """Pixels, int32 (N, 3), as ``encode`` added them."""

        def decide(index: int, pending: np.ndarray, probability: np.ndarray) -> np.ndarray:
            return decoder.bits(pending.size, probability).astype(bool)

        return self.own + self.steps[self._walk(decide)]

    def _walk(self, decide: Callable[[int, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Steps taken (N,): step by step, ``decide`` says which of the pixels that may take one do.

        A pixel's last possible step needs no decision.
        """
        chosen = np.full(len(self.own), -1)
        left = self.possible.sum(0)
        for index, possible in enumerate(self.possible):
            open_ = possible & (chosen < 0)
            chosen[open_ & (left == 1)] = index
            pending = np.flatnonzero(open_ & (left > 1))
            if pending.size:
                chosen[pending[decide(index, pending, 1.0 / left[pending])]] = index
            left -= possible
        return np.maximum(chosen, 0)


def _repeats(planes: np.ndarray) -> np.ndarray:
    """Pixels (H, W) whose triple is that of their left neighbour."""
    equal = (planes[:, 1:] == planes[:, :-1]).all(-1)
    return np.pad(equal, ((0, 0), (1, 0)))


def _encode_choices(planes: np.ndarray, pixels: np.ndarray, encoder: Encoder) -> bytes:
    """Add each pixel's choice: its left neighbour's if triples are equal and it is the same, or any."""
    repeats = _repeats(planes)
    differs = np.pad((pixels[:, 1:] != pixels[:, :-1]).any(-1), ((0, 0), (1, 0)))
    rate = _rate(differs[repeats])
    if rate:
        encoder.bits(differs[repeats], rate / _RATE_UNIT)
    new = ~repeats | differs
    _Choices(planes[new].astype(np.int32)).encode(pixels[new], encoder)
    return _RATES["rounded"].pack(rate)


def _decode_choices(planes: np.ndarray, rates: bytes, decoder: Decoder) -> np.ndarray:
    (rate,) = _RATES["rounded"].unpack(rates)
    repeats = _repeats(planes)
    new = ~repeats
    if rate:
        new[repeats] = decoder.bits(int(repeats.sum()), rate / _RATE_UNIT).astype(bool)
    pixels = np.zeros(planes.shape, np.uint8)
    pixels[new] = _Choices(planes[new].astype(np.int32)).decode(decoder)
    columns = np.where(new, np.arange(planes.shape[1]), 0)
    source = np.maximum.accumulate(columns, 1)  # the pixel that a repeated one copies
    return np.take_along_axis(pixels, source[..., None], 1)
