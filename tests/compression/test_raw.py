"""Frames that would take more bytes coded than as they are."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.compression.support import LATTICE, clip_codec, noise, photo_codec, smooth, video_flow
from vflow.compression import codec, container
from vflow.compression.codec import compress_frames, decompress_frames
from vflow.compression.container import CodedFrame
from vflow.config import ClipCodecConfig
from vflow.errors import InputError
from vflow.models import ClipCodec
from vflow.models.codec import Codec

HEADER = 48 + 8 + 1 + 4
"""Bytes of a file beside the raw pixels of its only frame."""


def marks(data: bytes) -> list[tuple[bool, bool]]:
    return [(frame.alone, frame.raw) for frame in container.unpack(data, "a")[1]]


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (40, 30)])
def test_noise_takes_eight_bits_a_value_and_a_header(size: tuple[int, int]) -> None:
    pixels = noise(*size)
    coded = compress_frames(photo_codec(), pixels)
    assert len(coded.data) == pixels.size + HEADER and coded.data[4] == container.VERSION
    assert coded.frames[0].bits == 8 * (pixels.size + 9)
    assert np.array_equal(decompress_frames(photo_codec(), coded.data).frames[0], pixels)
    assert compress_frames(photo_codec(), pixels).data == coded.data


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make", [photo_codec, clip_codec])
def test_grey_noise_takes_one_channel(make: Callable[[], Codec], channels: int) -> None:
    model, grey = make(), noise(9, 11)[..., :1].repeat(channels, -1)
    pixels = grey if make is photo_codec else grey[None]
    data = compress_frames(model, pixels).data
    assert len(data) == 9 * 11 + HEADER
    assert np.array_equal(decompress_frames(model, data).frames.reshape(pixels.shape), pixels)


def store(monkeypatch: pytest.MonkeyPatch, chosen: Callable[[CodedFrame, int], bool]) -> None:
    """Store the frames raw that ``chosen`` takes, given the frame and its number, and code the others."""
    number = itertools.count()
    monkeypatch.setattr(
        codec,
        "_shorter",
        lambda frame, raw: frame._replace(data=raw, raw=True) if chosen(frame, next(number)) else frame,
    )


@pytest.mark.parametrize("make", [clip_codec, video_flow])
def test_frames_after_a_raw_one_are_coded_given_it(
    make: Callable[[], Codec], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, clip = make(), np.stack([smooth(8, 8, seed) for seed in range(5)])
    store(monkeypatch, lambda frame, number: number % 2 == 1)
    data = compress_frames(model, clip).data
    assert marks(data) == [(False, number % 2 == 1) for number in range(5)]
    assert np.array_equal(decompress_frames(model, data).frames, clip)


def test_a_raw_frame_may_be_the_first_after_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    following = LATTICE.model_copy(update={"references": 2, "max_displacement": 2})
    torch.manual_seed(0)
    model = ClipCodec(ClipCodecConfig(first=LATTICE, following=following)).eval()
    scenes = smooth(24, 24), smooth(24, 24, 5)[:, ::-1]
    clip = np.stack([scenes[0], scenes[0], scenes[1], scenes[1]])
    store(monkeypatch, lambda frame, number: frame.alone)
    data = compress_frames(model, clip).data
    assert marks(data) == [(False, False), (False, False), (True, True), (False, False)]
    assert np.array_equal(decompress_frames(model, data).frames, clip)


def test_damaged_raw_frames_are_refused() -> None:
    model, data = photo_codec(), compress_frames(photo_codec(), noise(6, 5)).data

    def forged(place: int, value: int) -> bytes:
        body = data[:place] + bytes([value]) + data[place + 1 : -4]
        return body + struct.pack("<I", zlib.crc32(body))

    for place in range(len(data)):
        with pytest.raises(InputError, match=r"^hill: [^\n]+$"):
            decompress_frames(
                model, data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :], source="hill"
            )
    for place, value in ((4, 5), (56, 4), (56, 0), (24, 5), (60, data[60] ^ 1)):
        # an earlier version; no mark; not raw; other height; other pixels
        with pytest.raises(InputError, match=r"^hill: [^\n]+$"):
            decompress_frames(model, forged(place, value), source="hill")
