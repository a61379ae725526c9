"""From a photo or clip to its lossless file and the sizes of others, and back: the path of the tab."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import gradio as gr
import numpy as np

from vflow.catalog import superseded_codec
from vflow.compression.codec import Progress, compress_frames, decompress_frames, made_with
from vflow.compression.container import Header, unpack
from vflow.compression.entropy import require_coder
from vflow.data import media
from vflow.data.lossless import coded_bits
from vflow.data.stills import still_bytes
from vflow.errors import CheckpointError, InputError, VflowError
from vflow.pipelines.common import Counts
from vflow.pipelines.compress import (
    CODEC_CONFIGS,
    DEFAULTS,
    Source,
    WouldLose,
    read_source,
    write_pixels,
)
from vflow.registry import families

from ..shared import html as shared
from ..shared.context import AppContext
from ..shared.events import html_block
from ..shared.examples import CAMERA_PHOTOS
from ..shared.faces import Face, Job, reduced_size
from ..shared.jobs import Clock, in_thread
from . import html

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
EXPLAINED = (
    '<p class="vf-explain">A photo or video becomes a lossless .vflow file: what the '
    "model finds likely takes few bits. A .vflow file becomes an image or clip again. "
    "Photos that were once JPEGs gain most. Photos must be 8-bit RGB or grey; their colour "
    "profile is kept. Of a video its frames are kept, as decoded to 8-bit RGB, without sound.</p>"
)


@dataclass(frozen=True)
class Stage:
    """Work under way, in words, the share of all work that is done, and at the end what it made."""

    text: str
    share: float
    made: Any = None

    counts: ClassVar[Counts] = Counts()


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
    notes: tuple[str, ...]
    profile: bytes
    costs: np.ndarray | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent

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
    profile: bytes

    @property
    def folder(self) -> Path:
        return self.path.parent


def read(upload: str) -> Source:
    """Pixels of an upload.

    Raises:
        InputError: not readable, or too large for the page.
    """
    path = Path(upload)
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


@lru_cache(maxsize=16)
def refusal(upload: str) -> str:
    """HTML on why the page does not take an upload, and the ways on; empty where it takes it.

    Raises:
        VflowError: it cannot be read.
    """
    try:
        if not is_coded(upload):
            read(upload)
    except WouldLose as error:
        return shared.refused(str(error), shared.way_on(CONVERT, f"Convert: {error.loss}"))
    except TooLarge as error:
        command = shlex.join(["vflow", "compress", Path(upload).name, "--output", "compressed"])
        told = shared.command(command, "Or all of it on the command line:")
        return shared.refused(str(error), shared.way_on(SHORTEN, error.way), told)
    return ""


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


def _reported(
    text: str, first: float, last: float, work: Callable[[Progress], T]
) -> Generator[Stage, None, T]:
    """Result of a codec's work; yields how far it is, from the share ``first`` of all work to ``last``."""

    def reporting(report: Callable[[Stage], None]) -> T:
        return work(lambda done, total: report(Stage(text, first + (last - first) * done / total)))

    yield Stage(text, first)
    return (yield from in_thread(reporting))


def is_coded(upload: str) -> bool:
    """True for a .vflow file, by its name."""
    return Path(upload).suffix.lower() == media.CODED_SUFFIX


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


def expected_seconds(app: AppContext, name: str | None, uploads: Sequence[str] | None) -> float | None:
    """Time that an upload will take to compress; None where nothing is known, or it is not to be coded."""
    if not uploads or is_coded(uploads[0]) or app.jobs.expected(CLOCK, 1) is None:
        return None  # before a first run nothing is decoded for it
    work = _work_of(uploads[0])
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


def _given_kind(path: Path) -> str:
    return "lossy" if path.suffix.lower() in (".jpg", ".jpeg") else "given"


def _others(pictures: np.ndarray, profile: bytes) -> Generator[Stage, None, tuple[Size, ...]]:
    """Other lossless formats: of stills, or of clips."""
    measures: dict[str, Callable[[], int]] = {
        label: partial(still_bytes, pictures[0], name, profile) for name, label in STILLS.items()
    }
    if len(pictures) > 1:
        measures = {"H.264, lossless (x264)": lambda: -(-coded_bits(pictures, "x264") // 8)}
    sizes = []
    for done, (label, measure) in enumerate(measures.items()):
        yield Stage(f"Measuring {label}", DECODED + (1 - DECODED) * done / len(measures))
        sizes.append(Size(label, measure()))
    return tuple(sizes)


def _pictures(source: Source) -> np.ndarray:
    """uint8 (T, H, W, C)."""
    return source.frames if source.frames.ndim == 4 else source.frames[None]


class CompressFace(Face):
    """A lossless file beside other formats of the same pixels."""

    tab = further = "compress"
    noun, verb, past, added = "file", "Compress or restore", "done", "a photo, a video, or a .vflow file"
    label = "Photo, video, npz or .vflow file"
    downloads = ("",)
    outputs: ClassVar[tuple[str, ...]] = ("file.vflow", "report")
    chooses = keeps = False
    pictures = CAMERA_PHOTOS
    timed_as_one, most = True, 1

    def begin(self, app: AppContext, checkpoint: str | None, settings: Any, files: Sequence[str] = ()) -> Job:
        require_coder()
        path, source = Path(files[0]), read(files[0])
        return Job(self, None, settings, codec_for(app, source.kind), path.stem, (path,), source)

    def clock(self, app: AppContext, job: Job) -> Clock | None:
        return app.jobs.clock(CLOCK, _work(job.given))

    def total(self, job: Job) -> int:
        return 100

    def done(self, job: Job) -> int:
        return round(100 * job.results[-1].share) if job.results else 0

    def steps(self, job: Job, should_stop: Callable[[], bool]) -> Iterator[Stage]:
        made = yield from self.stages(job)
        yield Stage("Writing the file", 1, made)

    def stages(self, job: Job) -> Generator[Stage, None, Any]:
        """Code the upload, decode it again and compare, and measure other formats.

        Raises:
            InputError: the decoded pixels differ.
        """
        source, model, pictures = job.given, job.model, _pictures(job.given)

        def code(progress: Progress) -> Any:
            options = {"fps": source.fps, "profile": source.profile, "progress": progress}
            return compress_frames(model, source.frames, **options)

        coded = yield from _reported("Coding", 0, CODED, code)
        decode = partial(decompress_frames, model, coded.data)
        back = yield from _reported(
            "Decoding again, to compare", CODED, DECODED, lambda progress: decode(progress=progress)
        )
        if not np.array_equal(back.frames, pictures):
            name = job.paths[0].name
            raise InputError(
                f"{name}: its decoded pixels differ, so no file was made; please report this file"
            )
        return coded, (yield from _others(pictures, source.profile))

    def step(self, job: Job, rest: str) -> str:
        return f"{job.results[-1].text} · {job.done}%" if job.results else "Reading the file…"

    def stopped(self, job: Job) -> str:
        return "" if job.done == job.total else "Stopped before it was done."

    def drawn(self, job: Job) -> str:
        return "Compressed"

    def notes(self, job: Job) -> Sequence[str]:
        return job.given.notes

    def save(self, app: AppContext, job: Job, folder: Path) -> Any:
        source, upload, (coded, others) = job.given, job.paths[0], job.results[-1].made
        path, pictures = folder / f"{job.name}{media.CODED_SUFFIX}", _pictures(source)
        path.write_bytes(coded.data)
        sizes = (
            Size("Pixels", pictures.size, "raw"),
            Size(f"Your {upload.suffix[1:].upper()}", upload.stat().st_size, _given_kind(upload)),
            *others,
            Size("vflow", len(coded.data), "ours"),
        )
        return Compressed(path, pictures, sizes, source.notes, source.profile, coded.costs)

    def reply(self, result: Any, remarks: Sequence[str]) -> Sequence[Any]:
        return [result.path, {**result.report(), **({"remarks": remarks} if remarks else {})}]

    def files(self, result: Any) -> Sequence[Path]:
        return [result.path]

    def empty(self, text: str = "Add a photo, a video or a .vflow file and press the button.") -> str:
        return html.empty(text)

    def uploaded(self, path: str) -> str:
        return self.empty() if refusal(path) else super().uploaded(path)

    def refusal(self, path: str, setting: Any) -> str:
        return refusal(path)

    def made_smaller(self, path: str, action: str, left: float, top: float, folder: Path, most: int) -> str:
        return str(converted(path, action, folder))

    def shown(self, job: Job, result: Any) -> str:
        return html.compressed(result)

    def examples(self, app: AppContext) -> gr.HTML | None:
        html_block(EXPLAINED)
        return super().examples(app)


class RestoreFace(CompressFace):
    """The pixels of a .vflow file: a PNG, or an npz of a clip."""

    further, outputs = "decompress", ("pixels",)

    def begin(self, app: AppContext, checkpoint: str | None, settings: Any, files: Sequence[str] = ()) -> Job:
        require_coder()
        path = Path(files[0])
        data = path.read_bytes()
        header, _ = unpack(data, path.name)
        most = MAX_PHOTO_PIXELS if header.frames == 1 else MAX_PIXELS
        limit = MAX_FLOW_PIXELS if header.arithmetic else most
        if header.height * header.width * header.frames > limit:
            raise InputError(f"{path.name}: more than {limit:,} pixels; use vflow decompress")
        return Job(self, None, settings, codec_of(app, header, path.name), path.stem, (path,), data)

    def clock(self, app: AppContext, job: Job) -> None:
        """None: it is quick."""

    def stages(self, job: Job) -> Generator[Stage, None, Any]:
        decode = partial(decompress_frames, job.model, job.given, source=job.paths[0].name)
        return _reported("Decoding", 0, 1, lambda progress: decode(progress=progress))

    def drawn(self, job: Job) -> str:
        return "Restored"

    def notes(self, job: Job) -> Sequence[str]:
        return ()

    def save(self, app: AppContext, job: Job, folder: Path) -> Restored:
        found = job.results[-1].made
        return Restored(write_pixels(found, folder, job.name), found.frames, len(job.given), found.profile)

    def reply(self, result: Restored, remarks: Sequence[str]) -> Sequence[Any]:
        return [result.path]

    def shown(self, job: Job, result: Restored) -> str:
        return html.restored(result)


class EitherFace(CompressFace):
    """The page, which compresses what is no .vflow file, and restores what is one."""

    def begin(self, app: AppContext, checkpoint: str | None, settings: Any, files: Sequence[str] = ()) -> Job:
        return (RESTORE if is_coded(files[0]) else COMPRESS).begin(app, checkpoint, settings, files)


COMPRESS, RESTORE, FACE = (face(families()[FAMILY]) for face in (CompressFace, RestoreFace, EitherFace))
