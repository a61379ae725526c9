"""Small files that would cost much: each is refused in one line, before the cost."""

from __future__ import annotations

import os
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.sample_media import moving_square, write_lossless, write_mjpeg
from vflow.data import media
from vflow.data.datasets.folder import VideoFolder
from vflow.data.media import video
from vflow.errors import InputError


def refused(path: Path, limits: media.Limits = media.DEFAULT_LIMITS) -> str:
    start = time.perf_counter()
    with pytest.raises(InputError) as error:
        media.read_clip(path, limits)
    assert time.perf_counter() - start < 15, "the cost came before the refusal"
    return str(error.value)


def test_later_frames_are_held_to_the_size_of_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_mjpeg(tmp_path / "grows.avi", [(64, 48), (64, 48), (640, 480)])
    assert media.read_clip(path).frames.shape == (3, 48, 64, 3)
    limits = media.Limits(pixels=64 * 64)
    expected = "grows.avi: frame 3 is damaged or exceeds 0 megapixels, the limit; reduce the video"
    converted: list[int] = []
    upright = video._upright
    monkeypatch.setattr(video, "_upright", lambda frame: converted.append(frame.width) or upright(frame))
    assert refused(path, limits) == expected
    with pytest.raises(InputError, match="frame 3"):
        list(media.stream_frames(path, limits).frames)
    assert set(converted) == {64}, "no array was made of the large frame"


def test_sides_are_limited_as_well_as_areas(tmp_path: Path) -> None:
    Image.new("L", (70_000, 1)).save(tmp_path / "line.png")
    expected = "line.png: 70000×1; the limit is 65,535 pixels a side; reduce the image and try again"
    assert refused(tmp_path / "line.png") == expected
    np.save(tmp_path / "line.npy", np.zeros((1, 70_000, 1, 3), np.uint8))
    assert refused(tmp_path / "line.npy") == expected.replace("png: 70000×1", "npy: 1×70000")
    path = write_mjpeg(tmp_path / "grows.avi", [(64, 48), (320, 8)])
    message = refused(path, media.Limits(side=200))
    assert message == "grows.avi: 320×8; the limit is 200 pixels a side; reduce the image and try again"


@pytest.mark.parametrize("suffix", [".gif", ".png", ".mkv", ".avi"])
def test_the_sum_of_decoded_pixels_is_limited(tmp_path: Path, suffix: str) -> None:
    frames = moving_square(9)
    path = tmp_path / f"clip{suffix}"
    if suffix in (".gif", ".png"):
        pictures = [Image.fromarray(frame) for frame in frames]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    else:
        write_lossless(path, frames)
    pixels = frames[..., 0].size
    assert len(media.read_clip(path, media.Limits(decoded_pixels=pixels)).frames) == 9
    expected = f"clip{suffix}: its frames have more than 0 megapixels together, the limit; trim or shrink it"
    few = media.Limits(decoded_pixels=pixels - 1)
    assert refused(path, few) == expected
    assert len(media.read_clip(path, few, max_frames=8).frames) == 8


def test_pictures_of_a_folder_are_summed(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    assert "more than 0 megapixels together" in refused(tmp_path, media.Limits(decoded_pixels=2 * 64))


def test_a_gif_of_many_large_frames_is_refused_from_its_blocks(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gif"
    pictures = [Image.new("P", (2000, 2000), c) for c in range(2)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=20)
    data = path.read_bytes()
    start = data.rindex(b"\x21\xf9")  # control block and picture of the second frame, then the trailer
    path.write_bytes(data[:start] + data[start:-1] * 2500 + b";")
    assert path.stat().st_size < 30_000_000
    assert "megapixels together, the limit" in refused(path)


def test_comments_of_a_gif_are_limited(tmp_path: Path) -> None:
    path = tmp_path / "talks.gif"
    Image.new("P", (8, 8)).save(path)
    block = b"\xff" + b"x" * 255
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\x21\xfe" + block * 40_000 + b"\0;")
    assert refused(path) == "talks.gif: comments of over 64 KiB; export it again without them"
    path.write_bytes(data[:-1] + b"\x21\xfe\x01x\0" * 70_000 + b";")
    assert refused(path) == "talks.gif: comments of over 64 KiB; export it again without them"
    path.write_bytes(data[:-1] + b"\x21\xfe" + block * 40 + b"\0;")
    assert media.read_clip(path).frames.shape == (1, 8, 8, 3)


def test_blocks_of_a_gif_are_limited(tmp_path: Path) -> None:
    path = tmp_path / "blocks.gif"
    Image.new("P", (8, 8)).save(path)
    data = path.read_bytes()
    few = media.Limits(parts=100)
    assert media.read_clip(path, few).frames.shape == (1, 8, 8, 3)
    for blocks in (b"\x21\xff" + b"\x01x" * 4_000 + b"\0", b"\x21\xff\0" * 4_000):
        path.write_bytes(data[:-1] + blocks + b";")
        assert refused(path, few) == "blocks.gif: made of more than 100 parts, the limit; export it again"


def test_pages_of_a_tiff_are_not_counted(tmp_path: Path) -> None:
    directory = struct.pack("<H", 4)
    for tag, value in ((256, 1), (257, 1), (273, 8), (279, 1)):
        directory += struct.pack("<HHII", tag, 4, 1, value)
    page = len(directory) + 4
    pages = (directory + struct.pack("<I", 12 + page * number) for number in range(1, 30_000))
    (tmp_path / "pages.tif").write_bytes(b"II*\0" + struct.pack("<I", 12) + bytes(4) + b"".join(pages))
    start = time.perf_counter()
    assert media.read_image(tmp_path / "pages.tif").notes == ("first of several pages",)
    assert time.perf_counter() - start < 2


def test_boxes_and_packets_are_limited(tmp_path: Path) -> None:
    box = struct.pack(">I", 8) + b"free"
    (tmp_path / "boxes.mp4").write_bytes(struct.pack(">I", 16) + b"ftypisom\0\0\0\0" + box * 200_000)
    expected = "boxes.mp4: made of more than 100,000 parts, the limit; export it again"
    assert refused(tmp_path / "boxes.mp4") == expected
    path = write_lossless(tmp_path / "clip.mkv", moving_square(9), live=True)
    message = "clip.mkv: made of more than 8 parts, the limit; export it again"
    assert refused(path, media.Limits(parts=8)) == message
    with pytest.raises(InputError, match="made of more than 8 parts"):
        media.probe(path, media.Limits(parts=8))


def test_members_of_an_archive_are_limited(tmp_path: Path) -> None:
    path = tmp_path / "many.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(200):
            archive.writestr(f"{number}", b"")
    assert "holds no array" in refused(path)
    assert "made of more than 150 parts" in refused(path, media.Limits(parts=150))
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    size, offset = struct.unpack("<II", data[end + 12 : end + 20])
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 200, 200, size, offset)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    short = data[end : end + 12] + struct.pack("<I", 46) + data[end + 16 :]
    path.write_bytes(data[:end] + record + locator + short)  # in 64 bits, whatever the short record says
    assert "holds no array" in refused(path)
    assert "made of more than 150 parts" in refused(path, media.Limits(parts=150))


def test_processor_time_of_decoding_is_limited(tmp_path: Path) -> None:
    path = write_lossless(tmp_path / "clip.mkv", moving_square(9))
    expected = "clip.mkv: takes more than 0 seconds to decode, the limit; trim or shrink it"
    assert refused(path, media.Limits(decoding_seconds=0)) == expected
    frames = media.stream_frames(path, media.Limits(decoding_seconds=0.5)).frames
    for _ in frames:  # the time of whoever takes the frames does not count
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass


def test_a_rate_that_stretches_a_clip_over_days(tmp_path: Path) -> None:
    path = write_lossless(tmp_path / "slow.avi", moving_square(9))
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 8 + 20  # dwScale and dwRate: frames per 10,000 seconds
    data[at : at + 8] = struct.pack("<II", 10_000, 1)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"^slow.avi: longer than 21600 seconds, the limit; trim it$"):
        media.probe(path, media.TRAINING_LIMITS)


CLAIMS = [
    (".avi", b"strh", 40, struct.pack("<I", 2**31)),  # length of the stream
    (".mp4", b"stts", 12, struct.pack(">I", 2**31 - 1)),  # samples of one duration
    (".mkv", b"\x44\x89\x88", 3, struct.pack(">d", 1e12)),  # duration in milliseconds
]


@pytest.mark.parametrize(("suffix", "field", "offset", "value"), CLAIMS)
def test_a_header_that_claims_billions_of_frames(
    tmp_path: Path, suffix: str, field: bytes, offset: int, value: bytes
) -> None:
    write_lossless(tmp_path / "good.mkv", moving_square(9))
    path = write_lossless(tmp_path / f"liar{suffix}", moving_square(9))
    data = bytearray(path.read_bytes())
    at = data.index(field) + offset
    data[at : at + len(value)] = value
    path.write_bytes(data)
    expected = r"^liar\.\w+: (damaged video \(its header claims|more than 200,000 frames)"
    with pytest.raises(InputError, match=expected):
        media.probe(path, media.TRAINING_LIMITS)
    folder = VideoFolder(tmp_path, frames=4, size=(32, 48, 3), fps=None, split="test")
    assert folder.names == ["good.mkv"] and list(folder.skipped) == [path.name]


@pytest.mark.parametrize("header", ["-" * 9000 + "1", "{'descr': " + "(" * 9000])
def test_headers_that_no_parser_takes(tmp_path: Path, header: str) -> None:
    raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    (tmp_path / "odd.npy").write_bytes(raw)
    assert refused(tmp_path / "odd.npy") == "odd.npy: not a readable NPY; write it with numpy.savez"
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("frames.npy", raw)
    assert refused(tmp_path / "odd.npz") == "odd.npz: not a readable NPZ; write it with numpy.savez"


def test_true_is_no_length(tmp_path: Path) -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (True, 4, 4, 3), }".ljust(117) + "\n"
    raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode() + bytes(48)
    (tmp_path / "odd.npy").write_bytes(raw)
    assert (
        refused(tmp_path / "odd.npy") == "odd.npy: a damaged shape in its header; write it with numpy.savez"
    )


@pytest.mark.parametrize("dtype", ["m8[s]", "M8[s]", "c8", "S1", "V1"])
def test_values_that_are_no_levels(tmp_path: Path, dtype: str) -> None:
    array = np.zeros((2, 4, 4, 3), dtype)
    np.save(tmp_path / "clip.npy", array)
    expected = f"values of type {array.dtype}; give uint8 in 0..255 or floats in 0..1"
    assert refused(tmp_path / "clip.npy") == f"clip.npy: {expected}"
    with pytest.raises(InputError, match="values of type"):
        media.as_frames(array)


def test_pipes_and_devices_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        assert refused(tmp_path / name).startswith(f"{name}: not a regular file; give PNG")
    assert media.list_media(tmp_path) == []


def test_names_come_escaped_and_short(tmp_path: Path) -> None:
    path = tmp_path / "a\nerror: \x1b[31mforged.png"
    path.write_bytes(b"no picture")
    assert refused(path).startswith("a\\nerror: \\x1b[31mforged.png: not an image or video")
    message = refused(tmp_path / ("x" * 480_000))
    assert len(message) < 2_100 and message.endswith("no such file or folder; check the path")
