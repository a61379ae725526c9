"""From a photo or clip to its lossless file and the sizes of others, and back: the path of the tab."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vflow.compression.codec import Progress, compress_frames, decompress_frames, made_with
from vflow.compression.container import SUFFIX, Header, unpack
from vflow.compression.entropy import require_coder
from vflow.data.lossless import coded_bits
from vflow.data.stills import still_bytes
from vflow.errors import CheckpointError, InputError, VflowError
from vflow.pipelines.compress import CODEC_CONFIGS, DEFAULTS, Source, read_source, write_pixels

from ..shared.context import AppContext

FAMILY, VIDEO = "codec", "videoflow"
CLOCK = "compress"
MAX_PIXELS = 2_000_000
MAX_FLOW_PIXELS = 200_000  # of clips that a video flow decodes, 5,000 pixels a second
STILLS = {"png": "PNG (oxipng)", "webp": "WebP, lossless"}


class Stopped(Exception):
    """The person pressed Stop."""


@dataclass(frozen=True)
class Size:
    """Bytes that a format takes; ``kind`` is ours, other (lossless formats), raw, given, or lossy."""

    label: str
    bytes: int
    kind: str = "other"


@dataclass(frozen=True)
class Compressed:
    """A lossless file on disk beside other formats of the same pixels; it was decoded again and compared."""

    path: Path
    frames: np.ndarray
    sizes: tuple[Size, ...]
    seconds: float
    notes: tuple[str, ...]

    @property
    def bits_per_dim(self) -> float:
        """Bits on disk per value."""
        return 8 * self.path.stat().st_size / self.frames.size

    def report(self) -> dict[str, Any]:
        """Figures for programs."""
        return {
            "bytes": self.path.stat().st_size,
            "raw_bytes": self.frames.size,
            "bits_per_dim": self.bits_per_dim,
            "sizes": {size.label: size.bytes for size in self.sizes},
        }


@dataclass(frozen=True)
class Restored:
    """Pixels of a lossless file, on disk as PNG or npz."""

    path: Path
    frames: np.ndarray
    coded_bytes: int
    seconds: float


def read(upload: str | None) -> Source:
    """Pixels of an upload.

    Raises:
        InputError: not readable, or too large for the page.
    """
    path = _given(upload)
    source = read_source(path)
    pixels = source.frames.size // 3
    if pixels > MAX_PIXELS:
        raise InputError(
            f"{path.name}: {pixels:,} pixels, and the page takes {MAX_PIXELS:,}; "
            "use vflow compress on the command line"
        )
    return source


def compress(
    app: AppContext, upload: str | None, source: Source, should_stop: Callable[[], bool]
) -> Compressed:
    """Write the lossless file of an upload's pixels, decode it again, and measure other formats.

    Raises:
        InputError: the file cannot be written. CheckpointError: no codec of its kind. Stopped: as
            ``should_stop`` says.
    """
    began, path = time.monotonic(), _given(upload)
    require_coder()
    pictures = source.frames if source.frames.ndim == 4 else source.frames[None]
    model, progress = codec_for(app, source.kind), _stopping(should_stop)
    clock = app.jobs.clock(CLOCK, _work(source))
    data = compress_frames(model, source.frames, fps=source.fps, progress=progress).data
    if not np.array_equal(decompress_frames(model, data, progress=progress).frames, pictures):
        raise InputError(
            f"{path.name}: its decoded pixels differ, so no file was made; please report this picture"
        )
    target = app.runs.new_folder() / f"{path.stem}{SUFFIX}"
    target.write_bytes(data)
    sizes = (
        Size("Pixels", pictures.size, "raw"),
        Size(f"As uploaded ({path.suffix[1:].upper()})", path.stat().st_size, _given_kind(path)),
        *_others(pictures),
        Size("vflow", len(data), "ours"),
    )
    clock.frame_done()
    return Compressed(target, pictures, sizes, time.monotonic() - began, source.notes)


def restore(app: AppContext, upload: str | None, should_stop: Callable[[], bool]) -> Restored:
    """Write the pixels of a .vflow file: a PNG, or an npz of a clip.

    Raises:
        InputError: not a whole .vflow file, or too large for the page.
        CheckpointError: coded with a checkpoint that is not on offer. Stopped: as ``should_stop`` says.
    """
    began, path = time.monotonic(), _given(upload)
    require_coder()
    data = path.read_bytes()
    header, _ = unpack(data, path.name)
    limit = MAX_FLOW_PIXELS if header.arithmetic else MAX_PIXELS
    if header.height * header.width * header.frames > limit:
        raise InputError(f"{path.name}: more than {limit:,} pixels; use vflow decompress")
    model, progress = codec_of(app, header, path.name), _stopping(should_stop)
    found = decompress_frames(model, data, source=path.name, progress=progress)
    target = write_pixels(found, app.runs.new_folder(), path.stem)
    return Restored(target, found.frames, len(data), time.monotonic() - began)


def _stopping(should_stop: Callable[[], bool]) -> Progress:
    """Progress of a codec that ends its work as soon as a person has pressed Stop."""

    def progress(done: int, total: int) -> None:
        if should_stop():
            raise Stopped

    return progress


def is_coded(upload: str | None) -> bool:
    """True for a .vflow file, by its name."""
    return upload is not None and Path(upload).suffix.lower() == SUFFIX


def codec_for(app: AppContext, kind: str) -> Any:
    """The codec of pictures or clips: the one that ships if it is on offer, else the first.

    Raises:
        CheckpointError: none on offer.
    """
    fitting = [n for n in app.models.names(FAMILY) if isinstance(app.models.config(n), CODEC_CONFIGS[kind])]
    if not fitting:
        recipe = f"vflow train --recipe {DEFAULTS[kind]}"
        raise CheckpointError(f"no codec of {kind}s on offer; {recipe} makes one")
    return app.models.load(DEFAULTS[kind] if DEFAULTS[kind] in fitting else fitting[0], FAMILY)


def codec_of(app: AppContext, header: Header, source: str) -> Any:
    """The codec that a file was made with.

    Raises:
        CheckpointError: it is not on offer.
    """
    kinds = tuple(kind for some in CODEC_CONFIGS.values() for kind in some)
    for name in app.models.names(FAMILY, VIDEO):
        if isinstance(app.models.config(name), kinds):
            model = app.models.load(name, FAMILY, VIDEO)
            if made_with(model, header):
                return model
    raise CheckpointError(
        f"{source}: made with a codec that is not on offer; start the app with --checkpoints FOLDER"
    )


def expected_seconds(app: AppContext, upload: str | None) -> float | None:
    """Time that an upload will take to compress; None where nothing is known, or it is not to be coded."""
    if not upload or is_coded(upload) or app.jobs.expected(CLOCK, 1) is None:
        return None  # before a first run nothing is decoded for it
    work = _work_of(upload)
    return None if work is None else app.jobs.expected(CLOCK, work)


@lru_cache(maxsize=16)
def _work_of(upload: str) -> int | None:
    """Cost of an upload; None where it cannot be read. Gradio names uploads by their content."""
    try:
        return _work(read(upload))
    except VflowError:
        return None


def _work(source: Source) -> int:
    return max(1, source.frames.size // 3 // 4096)


def _given(upload: str | None) -> Path:
    if not upload:
        raise InputError("no file given; add a photo, a clip, or a .vflow file")
    return Path(upload)


def _given_kind(path: Path) -> str:
    return "lossy" if path.suffix.lower() in (".jpg", ".jpeg") else "given"


def _others(pictures: np.ndarray) -> list[Size]:
    """Other lossless formats: of stills, or of clips."""
    if len(pictures) > 1:
        return [Size("H.264, lossless (x264)", -(-coded_bits(pictures, "x264") // 8))]
    return [Size(label, still_bytes(pictures[0], name)) for name, label in STILLS.items()]
