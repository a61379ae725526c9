"""Small media files for tests, made on the spot."""

from __future__ import annotations

import io
import re
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageCms

LOSSLESS = {".mp4": ("libx264rgb", "rgb24"), ".mkv": ("ffv1", "bgr0"), ".avi": ("ffv1", "bgr0")}


def moving_square(count: int = 6, height: int = 32, width: int = 48) -> np.ndarray:
    """A coloured square that moves right by 2 px a frame on grey: uint8 (T, H, W, 3)."""
    frames = np.full((count, height, width, 3), 127, np.uint8)
    for t in range(count):
        left = (2 * t) % (width - 8)
        frames[t, 8:16, left : left + 8] = 255, 0, 0
    return frames


def write_lossless(path: Path, frames: np.ndarray, fps: int = 10, *, live: bool = False) -> Path:
    """A video that decodes to exactly ``frames`` (RGB H.264 in mp4, FFV1 in mkv and avi).

    ``live``: as recorders write Matroska, whose header says nothing of its length.
    """
    codec, layout = LOSSLESS[path.suffix]
    options = {"qp": "0"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", container_options={"live": "1"} if live else {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = layout
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def foreign_profile(color: str = "RGB") -> bytes:
    """ICC profile of colours that are not sRGB (red and green changed over), or of grey."""
    if color == "L":
        return _grey_profile()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    named = srgb.replace("sRGB".encode("utf-16-be"), "Mine".encode("utf-16-be"))
    return named.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")


def _grey_profile() -> bytes:
    """ICC profile, version 2, of grey of gamma 2: description, white point and tone curve."""
    text = b"Mine grey"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 8 + 3 + 67),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 0x200) + bytes(2),
    }
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    fields = struct.pack(">I", offset + len(body)), bytes(4), struct.pack(">I", 0x2400000), b"mntrGRAYXYZ "
    white = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    head = b"".join(fields) + bytes(12) + b"acsp" + bytes(28) + white
    return head + bytes(128 - len(head)) + table + body


def write_mjpeg(path: Path, sizes: list[tuple[int, int]]) -> Path:
    """An AVI whose frames are JPEG pictures of these sizes; its header tells of the first alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = "yuvj420p"
        for number, size in enumerate(sizes):
            buffer = io.BytesIO()
            Image.new("RGB", size, (9, 120, 200)).save(buffer, "JPEG")
            packet = av.Packet(buffer.getvalue())
            packet.stream, packet.time_base = stream, Fraction(1, 10)
            packet.pts = packet.dts = number
            container.mux(packet)
    return path


def write_uneven(path: Path, codec: str, milliseconds: list[int]) -> Path:
    """A video whose frame i, of grey level 25 i, is shown from ``milliseconds[i]`` on."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for level, time in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 25 * level, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_stills(folder: Path, frames: np.ndarray, pattern: str = "frame{}.png") -> Path:
    """A folder of PNGs, numbered without leading zeros."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / pattern.format(number))
    return folder


def png_header(width: int, height: int) -> bytes:
    """A PNG of any announced size, with hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def damage(path: Path) -> Path:
    """Overwrite the coded pictures of an mp4 and leave its structure as it is."""
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + 4
    length = struct.unpack(">I", data[start - 8 : start - 4])[0] - 8
    data[start : start + length] = np.random.default_rng(0).bytes(length)
    path.write_bytes(data)
    return path


def turned_mp4(path: Path, frames: np.ndarray) -> Path:
    """A video whose display matrix turns it by 90° clockwise, as phones write it."""
    data = bytearray(write_lossless(path, frames).read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def write_mnist(root: Path, train: int = 200, test: int = 20) -> Path:
    """MNIST's four IDX files; digit i is a rectangle whose brightness names it."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count, first in (("train", train, 1), ("t10k", test, 230)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 4:24, 8:20] = (first + np.arange(count))[:, None, None]
        labels = (np.arange(count) % 10).astype(np.uint8)
        header = struct.pack(">4i", 2051, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">2i", 2049, count)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return root


def write_jumping(path: Path, frames: np.ndarray) -> Path:
    """A lossless mkv of 10 frames a second whose clock starts anew with every cluster of six frames."""
    options = {"cluster_time_limit": "500", "write_crc32": "0"}
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    cluster = b"\x1f\x43\xb6\x75"  # its ID; E7 is that of its time
    first, *others = path.read_bytes().split(cluster)
    anew = [re.sub(rb"\xe7\x82..", b"\xe7\x82\0\0", other, count=1, flags=re.DOTALL) for other in others]
    path.write_bytes(cluster.join([first, *anew]))
    return path
