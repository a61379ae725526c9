from __future__ import annotations

import struct
import zlib

import pytest

from vflow.compression.container import CodedFrame, Header, check_checkpoint, frame_bits, pack, unpack
from vflow.errors import CheckpointError, InputError

HEADER = Header("clip", "jfif", "0f" * 16, 32, 48, 2, 12.5)
FRAMES = [CodedFrame(1, b"abc"), CodedFrame(2**32 - 1, b"")]
DATA = pack(HEADER, FRAMES)


def resigned(data: bytes) -> bytes:
    """``data`` with a checksum that fits."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


def test_header_and_frames_come_back() -> None:
    assert unpack(DATA, "a") == (HEADER, FRAMES)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_has_no_clock(channels: int) -> None:
    header = HEADER._replace(kind="picture", frames=1, fps=None, channels=channels)
    assert unpack(pack(header, FRAMES[:1]), "a")[0] == header


@pytest.mark.parametrize("arithmetic", ["", "torch 2"])
def test_a_color_profile_comes_back(arithmetic: str) -> None:
    header = HEADER._replace(kind="picture", frames=1, fps=None, arithmetic=arithmetic, profile=b"acsp\0")
    data = pack(header, FRAMES[:1])
    assert unpack(data, "a") == (header, FRAMES[:1])
    with pytest.raises(InputError, match="makes no sense"):  # versions before had none
        unpack(resigned(data[:4] + b"\x03" + data[5:]), "a")


def test_frames_that_are_coded_alone_come_back() -> None:
    frames = [FRAMES[0], FRAMES[1]._replace(alone=True)]
    data = pack(HEADER, frames)
    assert unpack(data, "a") == (HEADER, frames)
    bits = frame_bits(frames)
    assert bits == [8 * 12, 8 * 9] and len(data) == len(pack(HEADER, FRAMES)) + 2
    for place, value in ((4, 4), (56, 2)):  # an earlier version; neither yes nor no
        forged = bytearray(data)
        forged[place] = value
        with pytest.raises(InputError, match=r"^hill: .* makes? no sense"):
            unpack(resigned(bytes(forged)), "hill")


def test_a_changed_byte_is_refused() -> None:
    for place in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[place] ^= 16
        with pytest.raises(InputError, match=r"^hill\.vflow: [^\n]+$"):
            unpack(bytes(damaged), "hill.vflow")


def test_a_file_cut_short_is_refused() -> None:
    for size in range(len(DATA)):
        with pytest.raises(InputError, match=r"hill\.vflow: (cut short|not a \.vflow file)"):
            unpack(DATA[:size], "hill.vflow")


def test_a_longer_file_is_refused() -> None:
    with pytest.raises(InputError, match="damaged"):
        unpack(DATA + b"x", "a")


@pytest.mark.parametrize(
    ("offset", "layout", "value", "message"),
    [
        (5, "B", 7, "makes no sense"),
        (6, "B", 9, "makes no sense"),
        (7, "B", 2, "makes no sense"),
        (7, "B", 1, "not where its header says"),
        (24, "<I", 0, "makes no sense"),
        (36, "<d", float("nan"), "makes no sense"),
        (28, "<I", 2**31, "more than vflow decodes"),
        (32, "<I", 2**31, "more than vflow decodes"),
        (32, "<I", 3, "frames are not where"),
        (32, "<I", 1, "frames are not where"),
        (52, "<I", 1000, "frames are not where"),
    ],
)
def test_a_forged_header_is_refused(offset: int, layout: str, value: float, message: str) -> None:
    forged = bytearray(DATA)
    struct.pack_into(layout, forged, offset, value)
    with pytest.raises(InputError, match=message):
        unpack(resigned(bytes(forged)), "a")


def test_another_checkpoint_is_refused() -> None:
    check_checkpoint(HEADER, "0f" * 32, "a")
    with pytest.raises(CheckpointError, match=r"^a: coded with checkpoint 0f0f0f0f0f0f…, not 0a"):
        check_checkpoint(HEADER, "0a" * 32, "a")
