"""From a photo or clip to its lossless file and the sizes of others, and back: the path of the tab."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from vflow.catalog import superseded_codec
from vflow.compression.codec import Progress, compress_frames, decompress_frames, made_with
from vflow.compression.container import SUFFIX, Header, unpack
from vflow.compression.entropy import require_coder
from vflow.data import media
from vflow.data.lossless import coded_bits
from vflow.data.stills import still_bytes
from vflow.errors import CheckpointError, InputError, VflowError
from vflow.pipelines.compress import (
    CODEC_CONFIGS,
    DEFAULTS,
    Source,
    WouldLose,
    read_source,
    write_pixels,
)

from ..shared.context import AppContext
from ..shared.faces import reduced_size
from ..shared.jobs import in_thread
from ..shared.turns import work_time

T = TypeVar("T")
FAMILY, VIDEO = "codec", "videoflow"
CLOCK = "compress"
MAX_PHOTO_PIXELS = 12_600_000  # 12 megapixels: 4 minutes of one core, and 1.4 GB
MAX_PIXELS = 2_000_000  # of all frames of a clip
MAX_FLOW_PIXELS = 200_000  # of clips that a video flow decodes, 5,000 pixels a second
FEWEST_FRAMES = 16  # of a clip that is made shorter
CONVERT, SHORTEN = "8bit", "smaller"
"""What can be done to an upload that the page does not take; the name of its new file ends so."""
CODED, DECODED = 0.4, 0.75  # shares of the time after which a photo is coded, and decoded again
STILLS = {"png": "PNG (oxipng)", "webp": "WebP, lossless"}


class Stopped(Exception):
    """The person pressed Stop."""


class Stage(NamedTuple):
    """Work under way, in words, and the share of all work that is done."""

    text: str
    share: float


class TooLarge(InputError):
    """A photo or clip with more pixels than the page takes.

    Attributes:
        shape: (H, W) or (T, H, W).
    """

    def __init__(self, message: str, shape: tuple[int, ...]) -> None:
        super().__init__(message)
        self.shape = shape

    @property
    def smaller(self) -> tuple[int, int, int]:
        """Frames, height and width that the page takes: of large frames smaller ones, and several."""
        size = self.shape[-2], self.shape[-1]
        if len(self.shape) == 2:
            return 1, *reduced_size(size, MAX_PHOTO_PIXELS)
        height, width = reduced_size(size, MAX_PIXELS // FEWEST_FRAMES)
        return min(self.shape[0], MAX_PIXELS // (height * width)), height, width

    @property
    def way(self) -> str:
        """Words on ``smaller``."""
        count, height, width = self.smaller
        size = f"{width:,}×{height:,}"
        if len(self.shape) == 2:
            return f"Reduce to {size}"
        reduced = "" if (height, width) == self.shape[-2:] else f", reduced to {size}"
        return f"Take the first {count} frames{reduced}"


class Refusal(NamedTuple):
    """Reason for which the page does not take an upload; words of buttons by action; a command that does."""

    error: VflowError
    ways: dict[str, str]
    command: str = ""


@dataclass(frozen=True)
class Size:
    """Bytes that a format takes; ``kind`` is ours, other (lossless formats), raw, given, or lossy."""

    label: str
    bytes: int
    kind: str = "other"


@dataclass(frozen=True)
class Compressed:
    """A lossless file on disk beside other formats of the same pixels; it was decoded again and compared.

    ``costs``: bits of each pixel of a picture, float32 (H, W); None where they are not known.
    """

    path: Path
    frames: np.ndarray
    sizes: tuple[Size, ...]
    seconds: float
    notes: tuple[str, ...]
    profile: bytes
    costs: np.ndarray | None = None

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
    profile: bytes


def read(upload: str | None) -> Source:
    """Pixels of an upload.

    Raises:
        InputError: not readable, or too large for the page.
    """
    path = _given(upload)
    source = read_source(path)
    pixels = _pixels(source)
    most = MAX_PHOTO_PIXELS if source.frames.ndim == 3 else MAX_PIXELS
    if pixels > most:
        raise TooLarge(
            f"{path.name}: {pixels:,} pixels, and the page takes {most:,}; "
            "use vflow compress on the command line",
            source.frames.shape[:-1],
        )
    return source


def refusal(upload: str) -> Refusal | None:
    """Reason for which the page does not take an upload, and ways on; None where it takes it."""
    path = Path(upload)
    try:
        if not is_coded(upload):
            read(upload)
    except WouldLose as error:
        return Refusal(error, {CONVERT: f"Convert: {error.loss}"})
    except TooLarge as error:
        command = shlex.join(["vflow", "compress", path.name, "--output", "compressed"])
        return Refusal(error, {SHORTEN: error.way}, command)
    except VflowError as error:
        return Refusal(error, {})
    return None


def converted(upload: str, action: str, folder: Path) -> Path:
    """A file in ``folder`` that the page takes in place of an upload.

    Args:
        action: ``CONVERT``, to the pixels that a person sees on white, of 8 bits; or ``SHORTEN``, to as many
            frames, or a photo as large, as the page takes.

    Raises:
        InputError: another action, or the upload cannot be read any more.
    """
    if action not in (CONVERT, SHORTEN):
        raise InputError(f"{Path(upload).name}: no such change; press one of the buttons")
    path, most, size = Path(upload), None, None
    if action == SHORTEN:
        try:
            read(upload)
        except TooLarge as error:
            most, size = error.smaller[0], error.smaller[1:]
    if path.suffix.lower() in (*media.ARRAY_SUFFIXES, *media.VIDEO_SUFFIXES):
        clip = media.read_clip(path, max_frames=most, size=size)
    else:
        clip = media.read_image(path)  # at its own size
    frames = (clip.frames[..., :1] if clip.grey else clip.frames)[:most]
    if size:
        frames = media.resize(frames, size[0], size[1], frames.shape[-1])
    target = folder / f"{path.stem}-{action}{'.npz' if len(frames) > 1 else '.png'}"
    if len(frames) > 1:
        media.write_npz(target, frames=frames, **({} if clip.fps is None else {"fps": clip.fps}))
    else:
        media.write_png(target, frames[0])
    return target


def compress(
    app: AppContext, upload: str | None, source: Source, should_stop: Callable[[], bool]
) -> Generator[Stage, None, Compressed]:
    """Write the lossless file of an upload's pixels, decode it again, and measure other formats.

    Raises:
        InputError: the file cannot be written. CheckpointError: no codec of its kind. Stopped: as
            ``should_stop`` says.
    """
    began, path = work_time(), _given(upload)
    require_coder()
    pictures = source.frames if source.frames.ndim == 4 else source.frames[None]
    model = codec_for(app, source.kind)
    clock = app.jobs.clock(CLOCK, _work(source))
    coded = yield from _reported(
        "Coding",
        (0, CODED),
        should_stop,
        lambda progress: compress_frames(
            model, source.frames, fps=source.fps, profile=source.profile, progress=progress
        ),
    )
    data = coded.data
    decoded = yield from _reported(
        "Decoding again, to compare",
        (CODED, DECODED),
        should_stop,
        lambda progress: decompress_frames(model, data, progress=progress).frames,
    )
    if not np.array_equal(decoded, pictures):
        raise InputError(
            f"{path.name}: its decoded pixels differ, so no file was made; please report this file"
        )
    target = app.runs.new_folder() / f"{path.stem}{SUFFIX}"
    target.write_bytes(data)
    others = yield from _others(pictures, source.profile, should_stop)
    sizes = (
        Size("Pixels", pictures.size, "raw"),
        Size(f"Your {path.suffix[1:].upper()}", path.stat().st_size, _given_kind(path)),
        *others,
        Size("vflow", len(data), "ours"),
    )
    clock.frame_done()
    seconds = work_time() - began
    return Compressed(target, pictures, sizes, seconds, source.notes, source.profile, coded.costs)


def restore(
    app: AppContext, upload: str | None, should_stop: Callable[[], bool]
) -> Generator[Stage, None, Restored]:
    """Write the pixels of a .vflow file: a PNG, or an npz of a clip.

    Raises:
        InputError: not a whole .vflow file, or too large for the page.
        CheckpointError: coded with a checkpoint that is not on offer. Stopped: as ``should_stop`` says.
    """
    began, path = work_time(), _given(upload)
    require_coder()
    data = path.read_bytes()
    header, _ = unpack(data, path.name)
    most = MAX_PHOTO_PIXELS if header.frames == 1 else MAX_PIXELS
    limit = MAX_FLOW_PIXELS if header.arithmetic else most
    if header.height * header.width * header.frames > limit:
        raise InputError(f"{path.name}: more than {limit:,} pixels; use vflow decompress")
    model = codec_of(app, header, path.name)
    found = yield from _reported(
        "Decoding",
        (0, 1),
        should_stop,
        lambda progress: decompress_frames(model, data, source=path.name, progress=progress),
    )
    target = write_pixels(found, app.runs.new_folder(), path.stem)
    return Restored(target, found.frames, len(data), work_time() - began, found.profile)


def _reported(
    text: str, span: tuple[float, float], should_stop: Callable[[], bool], work: Callable[[Progress], T]
) -> Generator[Stage, None, T]:
    """Result of a codec's work; yields how far it is, and ends it as soon as a person has pressed Stop.

    ``span``: shares of all work that are done before it, and after.
    """
    first, last = span

    def reporting(report: Callable[[Stage], None]) -> T:
        def progress(done: int, total: int) -> None:
            if should_stop():
                raise Stopped
            report(Stage(text, first + (last - first) * done / total))

        return work(progress)

    yield Stage(text, first)
    if should_stop():
        raise Stopped
    return (yield from in_thread(reporting))


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
    unknown = "made with a codec that is not on offer; start the app with --checkpoints FOLDER"
    raise CheckpointError(f"{source}: {superseded_codec(header.checkpoint, '--checkpoints') or unknown}")


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
    return max(1, _pixels(source) // 4096)


def _pixels(source: Source) -> int:
    return source.frames.size // source.frames.shape[-1]


def _given(upload: str | None) -> Path:
    if not upload:
        raise InputError("no file given; add a photo, a video, or a .vflow file")
    return Path(upload)


def _given_kind(path: Path) -> str:
    return "lossy" if path.suffix.lower() in (".jpg", ".jpeg") else "given"


def _others(
    pictures: np.ndarray, profile: bytes, should_stop: Callable[[], bool]
) -> Generator[Stage, None, tuple[Size, ...]]:
    """Other lossless formats: of stills, or of clips."""
    measures: dict[str, Callable[[], int]] = {
        label: partial(still_bytes, pictures[0], name, profile) for name, label in STILLS.items()
    }
    if len(pictures) > 1:
        measures = {"H.264, lossless (x264)": lambda: -(-coded_bits(pictures, "x264") // 8)}
    sizes = []
    for done, (label, measure) in enumerate(measures.items()):
        if should_stop():
            raise Stopped
        yield Stage(f"Measuring {label}", DECODED + (1 - DECODED) * done / len(measures))
        sizes.append(Size(label, measure()))
    return tuple(sizes)
