"""Encoding of media files, each written whole or not at all."""

from __future__ import annotations

import filecmp
import io
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from PIL import Image

from vflow.data.media.limits import DEFAULT_LIMITS
from vflow.disk import real_path, sync
from vflow.errors import InputError

OTHER_OUTPUT = "choose another --output, or --on-existing overwrite"
EXISTS = f"exists; {OTHER_OUTPUT}"
"""What errors say of a file that may not be replaced."""


@contextmanager
def atomic_write(path: str | Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes the place of ``path`` when the block succeeds.

    The suffix is kept, since writers choose the format by it. Missing folders are made.

    Args:
        replace: False refuses to replace a file of other bytes.

    Raises:
        InputError: the folder cannot be written, or ``path`` exists and may not be replaced.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not replace and path.exists() and not filecmp.cmp(temporary, path, shallow=False):
            raise InputError(f"{path}: {EXISTS}")
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written, or made, before the work whose results go there.

    Raises:
        InputError: naming the folder and the cause.
    """
    whole = folder.absolute()
    try:
        there = next(path for path in (whole, *whole.parents) if path.exists())
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise _unwritable(folder, error) from error


def check_keeps(inputs: Iterable[Path], outputs: Iterable[Path], flag: str = "--output") -> None:
    """Refuse outputs that would replace inputs, files or what lies directly in folders, wherever links lead.

    Args:
        flag: that which names another place.

    Raises:
        InputError: naming the input.
    """
    given = {real_path(file) for path in inputs for file in (path.iterdir() if path.is_dir() else [path])}
    for path in given & {real_path(output) for output in outputs}:
        raise InputError(f"{path}: the output would replace the input; choose another {flag}")


def _unwritable(path: Path, error: OSError) -> InputError:
    why = error.strerror or error
    return InputError(f"{path}: cannot be written ({why}); choose another place or free some space")


def write_png(path: str | Path, frame: np.ndarray) -> None:
    """Write one picture, uint8 (H, W, C) with C 1, 3 or 4 (opacity last), or (H, W), at its own pixels."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(encode_png(frame))


def encode_png(frame: np.ndarray, profile: bytes = b"") -> bytes:
    """PNG bytes of one picture, uint8 (H, W, C) with C 1, 3 or 4 (opacity last), or (H, W).

    ``profile``: ICC profile of its colours; sRGB where there is none.
    """
    buffer = io.BytesIO()
    _picture(frame).save(buffer, "PNG", icc_profile=profile or None)
    return buffer.getvalue()


def encode_webp(frame: np.ndarray) -> bytes:
    """WebP bytes of one picture, uint8 as for ``encode_png``, nearly as it is: for thumbnails."""
    buffer = io.BytesIO()
    _picture(frame).save(buffer, "WEBP", quality=70)
    return buffer.getvalue()


def _picture(frame: np.ndarray) -> Image.Image:
    return Image.fromarray(frame[..., 0] if frame.ndim == 3 and frame.shape[-1] == 1 else frame)


def write_npz(path: str | Path, /, **arrays: Any) -> None:
    """Write named arrays to a compressed npz; the same arrays give the same bytes."""
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"{path.name}: arrays go to a file named .npz")
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **arrays)


PREVIEW_SIDE = 256
LONGEST_SIDE = 4096  # what players and their hardware decode; libx264 opens 16,384 at most
_BT601 = 6  # SMPTE 170M in H.273: what players assume of small pictures anyway, now also said
_CODECS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    ".mp4": ("libx264", {"crf": "14", "preset": "medium"}, {"movflags": "+faststart"}),
    ".webm": ("libvpx-vp9", {"crf": "16", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}, {}),
}
_MILLISECOND = Fraction(1, 1000)


class Add(Protocol):
    """Function that takes the next frame, uint8 (H, W, C), and where the rate varies when it begins."""

    def __call__(self, frame: np.ndarray, time: float | None = None, /) -> None: ...


def write_video(path: str | Path, frames: np.ndarray, fps: float, *, enlarge: bool = True) -> None:
    """Write a preview: .mp4 (H.264, yuv420p, faststart), .webm (VP9) or .gif (loops).

    Colours of mp4 and webm are only close to the frames' own; npz and png keep them.

    Args:
        frames: uint8 (T, H, W, C), C 1 or 3.
        fps: frames per second (a GIF counts in hundredths of a second).
        enlarge: repeat pixels by a whole number until the shorter side has at least 256 or the longer one
            would exceed 4096.

    Raises:
        InputError: another suffix, no frames, frames that the codec refuses, or an unwritable file.
    """
    if frames.ndim != 4 or frames.shape[-1] not in (1, 3) or frames.size == 0 or frames.dtype != np.uint8:
        raise InputError(
            f"{Path(path).name}: expected uint8 frames T×H×W×C, not {frames.dtype} {frames.shape}"
        )
    with video_writer(path, fps, enlarge=enlarge) as add:
        for frame in frames:
            add(frame)


@contextmanager
def video_writer(path: str | Path, fps: float, *, enlarge: bool = True) -> Iterator[Add]:
    """Write a preview frame by frame, so that only one is in memory (of a GIF all are, a byte a pixel).

    Yields a function that takes the next frame, uint8 (H, W, C), all of one size. Where the rate varies it
    also takes the time in seconds from which each frame is shown, and ``fps`` is the mean. Arguments and
    errors are those of ``write_video``.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix != ".gif" and suffix not in _CODECS:
        raise InputError(f"{path.name}: cannot write this kind of video; name it .mp4, .webm or .gif")
    if not 0 < fps <= 1000:
        raise InputError(f"{path.name}: {fps} frames per second is out of range; give up to 1000")
    writer = _write_gif if suffix == ".gif" else _write_av
    with atomic_write(path) as temporary, writer(temporary, path.name, fps) as add:
        yield lambda frame, time=None, /: add(_enlarge(frame) if enlarge else _to_rgb(frame), time)


def _enlarge(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    factor = max(1, min(-(-PREVIEW_SIDE // min(height, width)), LONGEST_SIDE // max(height, width)))
    return np.repeat(np.repeat(_to_rgb(frame), factor, axis=0), factor, axis=1)


def _to_rgb(frame: np.ndarray) -> np.ndarray:
    return np.repeat(frame, 3, axis=-1) if frame.shape[-1] == 1 else frame


def _pad_even(frame: np.ndarray) -> np.ndarray:
    """Repeat the last row or column where a side is odd: yuv420p halves both."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _require_frames(name: str, made: Sequence[object]) -> None:
    if not made:
        raise InputError(f"{name}: no frames to write; give a clip that has some")


@contextmanager
def _write_gif(path: Path, name: str, fps: float) -> Iterator[Add]:
    # Browsers slow down anything shorter than 2 hundredths.
    duration: int | list[int] = max(20, round(100 / fps) * 10)
    pictures: list[Image.Image] = []
    times: list[float] = []

    def add(frame: np.ndarray, time: float | None = None, /) -> None:
        if time is not None:
            times.append(time)
        DEFAULT_LIMITS.check_memory(name, (len(pictures) + 1) * frame[..., 0].size)
        pictures.append(Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE))

    yield add
    _require_frames(name, pictures)
    if times:
        begins = np.rint(100 * np.array([*times, times[-1] + 1 / fps])).astype(int)
        duration = [max(20, 10 * int(step)) for step in np.diff(begins)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration, loop=0)


@contextmanager
def _write_av(path: Path, name: str, fps: float) -> Iterator[Add]:
    streams: list[VideoStream] = []
    shown = -1  # milliseconds
    codec, _, options = _CODECS[path.suffix.lower()]
    try:
        with av.open(str(path.resolve()), "w", options=options) as container:

            def add(frame: np.ndarray, time: float | None = None, /) -> None:
                nonlocal shown
                frame = _pad_even(frame)
                if not streams:
                    streams.append(_stream(container, path, fps, frame.shape[:2]))
                    if time is not None:
                        streams[0].codec_context.time_base = streams[0].time_base = _MILLISECOND
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601)
                if time is not None:
                    shown = max(shown + 1, round(1000 * time))
                    picture.pts, picture.time_base = shown, _MILLISECOND
                container.mux(streams[0].encode(picture))

            yield add
            _require_frames(name, streams)
            container.mux(streams[0].encode(None))
    except OSError:  # PyAV's own among them: what the disk refuses
        raise
    except av.FFmpegError as error:
        why = f"{codec} refuses frames of this size or rate: {error.strerror}"
        remedy = "give smaller frames, or write a .gif"
        raise InputError(f"{name}: cannot be encoded ({why}); {remedy}") from error


def _stream(container: OutputContainer, path: Path, fps: float, size: tuple[int, ...]) -> VideoStream:
    codec, options, _ = _CODECS[path.suffix.lower()]
    rate = Fraction(fps).limit_denominator(1000)
    stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT601
    context.color_range = ColorRange.MPEG
    return stream
