"""Hostile files, made from a seed: damaged media, odd names, archives, pickles, sizes and kinds."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.sample_media import moving_square, png_header, write_lossless
from vflow.data import media

Rng = np.random.Generator
SUFFIXES = (
    *(".png", ".jpg", ".gif", ".webp", ".bmp", ".tif", ".avif", ".heic"),
    *(".mp4", ".mkv", ".avi", ".npz", ".npy"),
)
NAMES = ("a\nerror: forged", "\x1b[31mred", "<img src=x>", "‮gnp", "x" * 200, "-rf", "..png", "%s{0}", "ä☃")


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, int]]:
        return os.mkdir, (str(self.mark), 0o700)


def write_media(path: Path) -> bytes:
    """Bytes of a small intact clip or picture in the format of ``path``."""
    frames = moving_square(3, 16, 16)
    if path.suffix in media.VIDEO_SUFFIXES:
        write_lossless(path, frames)
    elif path.suffix == ".npz":
        np.savez(path, frames=frames)
    elif path.suffix == ".npy":
        np.save(path, frames)
    else:
        Image.fromarray(frames[0]).save(path)
    return path.read_bytes()


def truncated(rng: Rng, folder: Path, mark: Path) -> Path:
    path = folder / f"cut{rng.choice(SUFFIXES)}"
    data = write_media(path)
    path.write_bytes(data[: rng.integers(0, len(data))])
    return path


def fuzzed(rng: Rng, folder: Path, mark: Path) -> Path:
    path = folder / f"fuzz{rng.choice(SUFFIXES)}"
    data = bytearray(write_media(path))
    for place in rng.integers(0, len(data) if rng.random() < 0.5 else min(len(data), 64), 6):
        data[place] = rng.integers(256)
    path.write_bytes(data)
    return path


def misnamed(rng: Rng, folder: Path, mark: Path) -> Path:
    data = write_media(folder / f"a{rng.choice(SUFFIXES)}")
    path = folder / f"other{rng.choice(SUFFIXES)}"
    path.write_bytes(data)
    return path


def named(rng: Rng, folder: Path, mark: Path) -> Path:
    path = folder / f"{rng.choice(NAMES)}{rng.choice(SUFFIXES)}"
    path.write_bytes(rng.bytes(100))
    return path


def archive(rng: Rng, folder: Path, mark: Path) -> Path:
    path, array = folder / "archive.npz", io.BytesIO()
    np.save(array, moving_square(2, 16, 16))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as members:
        name = str(rng.choice(["../frames.npy", "/tmp/frames.npy", "frames.npy", "link", "a/b.npy"]))
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o120777 << 16 if name == "link" else 0
        members.writestr(info, "/etc/passwd" if name == "link" else array.getvalue())
        if rng.random() < 0.3:
            members.writestr("frames.npy", np.zeros(2**26, np.uint8).tobytes())
    return path


def pickled(rng: Rng, folder: Path, mark: Path) -> Path:
    path = folder / f"pickle{rng.choice(['.npy', '.npz', '.pt', '.png'])}"
    if path.suffix == ".npy":
        np.save(path, np.array([Payload(mark)], object), allow_pickle=True)
    elif path.suffix == ".npz":
        np.savez(path, frames=np.array([Payload(mark)], object))
    else:
        path.write_bytes(pickle.dumps(Payload(mark)))
    return path


def numbers(rng: Rng, folder: Path, mark: Path) -> Path:
    path = folder / "numbers.npz"
    arrays = (
        np.full((2, 16, 16, 3), np.nan, np.float32),
        np.full((2, 16, 16, 3), np.inf, np.float64),
        np.zeros((0, 16, 16, 3), np.uint8),
        np.zeros((2, 0, 16, 3), np.uint8),
        np.zeros((1, 1, 1, 3), np.uint8),
        np.zeros((5_000, 8, 8, 3), np.uint8),
        np.zeros((2, 16, 16, 7), np.uint8),
        np.zeros((2, 16, 16, 3), "m8[s]"),
        np.zeros((2, 16, 16), "U4"),
        np.zeros((2, 16, 16), [("a", "u1")]),
        np.zeros((2,) * 12, np.uint8),
    )
    np.savez_compressed(path, frames=arrays[rng.integers(len(arrays))])
    return path


def sized(rng: Rng, folder: Path, mark: Path) -> Path:
    path = folder / "size.png"
    width, height = (int(2 ** rng.uniform(0, 31)) for _ in range(2))
    path.write_bytes(png_header(width, height))
    return path


def other_kind(rng: Rng, folder: Path, mark: Path) -> Path:
    path = folder / f"other{rng.choice(SUFFIXES)}"
    kind = rng.integers(7)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.symlink_to("/dev/zero")
    elif kind == 2:
        path.symlink_to(path)
    elif kind == 3:
        path.mkdir()
    else:
        texts = (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"#EXTM3U\n/etc/passwd\n", b"\x7fELF\2\1\1")
        path.write_bytes(texts[kind - 4])
    return path


MAKERS = (truncated, fuzzed, misnamed, named, archive, pickled, numbers, sized, other_kind)
