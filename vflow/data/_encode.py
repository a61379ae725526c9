"""Writing of media, each file whole or not at all."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from vflow.disk import sync
from vflow.errors import InputError

if TYPE_CHECKING:
    from av.video.stream import VideoStream

PREVIEW_SIDE = 256
_BT601 = 6  # SMPTE 170M in H.273: what players assume of small pictures anyway, now also said
_CODECS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    ".mp4": ("libx264", {"crf": "14", "preset": "medium"}, {"movflags": "+faststart"}),
    ".webm": ("libvpx-vp9", {"crf": "16", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}, {}),
}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes the place of ``path`` when the block succeeds.

    The suffix is kept, since writers choose the format by it. Missing folders are made.

    Raises:
        InputError: the folder cannot be written; the message names the file and the cause.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place or free some space"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_video(path: str | Path, frames: np.ndarray, fps: float, *, enlarge: bool = True) -> None:
    """Write a preview: .mp4 (H.264, yuv420p, faststart), .webm (VP9) or .gif (loops).

    Colours of mp4 and webm are only close to the frames' own; npz and png keep them.

    Args:
        frames: uint8 (T, H, W, C), C 1 or 3.
        fps: frames per second (a GIF counts in hundredths of a second).
        enlarge: repeat pixels by a whole number until the shorter side has at least 256.

    Raises:
        InputError: another suffix, no frames, a file that cannot be written, or no PyAV.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix != ".gif" and suffix not in _CODECS:
        raise InputError(f"{path.name}: cannot write this kind of video; name it .mp4, .webm or .gif")
    if frames.ndim != 4 or frames.shape[-1] not in (1, 3) or frames.size == 0 or frames.dtype != np.uint8:
        raise InputError(f"{path.name}: expected uint8 frames T×H×W×C, not {frames.dtype} {frames.shape}")
    if not 0 < fps <= 1000:
        raise InputError(f"{path.name}: {fps} frames per second is out of range; give up to 1000")
    factor = -(-PREVIEW_SIDE // min(frames.shape[1:3])) if enlarge else 1
    frames = np.repeat(np.repeat(_colour(frames), factor, axis=1), factor, axis=2)
    with atomic_write(path) as temporary:
        if suffix == ".gif":
            _write_gif(temporary, frames, fps)
        else:
            _write_av(temporary, _even(frames), fps)


def _colour(frames: np.ndarray) -> np.ndarray:
    return np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames


def _even(frames: np.ndarray) -> np.ndarray:
    """Repeat the last row or column where a side is odd: yuv420p halves both."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _write_gif(path: Path, frames: np.ndarray, fps: float) -> None:
    # Browsers slow down anything shorter than 2 hundredths.
    duration = max(20, round(100 / fps) * 10)
    pictures = [Image.fromarray(f).quantize(256, dither=Image.Dither.NONE) for f in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration, loop=0)


def _write_av(path: Path, frames: np.ndarray, fps: float) -> None:
    try:
        import av
        from av.video.reformatter import ColorRange, Colorspace
    except ImportError as error:
        raise InputError(f"{path.suffix} needs PyAV to be written; pip install av, or choose gif") from error
    codec, options, container_options = _CODECS[path.suffix.lower()]
    with av.open(str(path.resolve()), "w", options=container_options) as container:
        rate = Fraction(fps).limit_denominator(1000)
        stream = cast("VideoStream", container.add_stream(codec, rate=rate, options=options))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT601
        context.color_range = ColorRange.MPEG
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def write_png(path: str | Path, frame: np.ndarray) -> None:
    """Write one picture, uint8 (H, W, C) with C 1 or 3, or (H, W), at its own pixels."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(image_bytes_png(frame))


def image_bytes_png(frame: np.ndarray) -> bytes:
    """PNG bytes of one picture, uint8 (H, W, C) with C 1 or 3, or (H, W)."""
    buffer = io.BytesIO()
    Image.fromarray(frame[..., 0] if frame.ndim == 3 and frame.shape[-1] == 1 else frame).save(buffer, "PNG")
    return buffer.getvalue()


def write_npz(path: str | Path, /, **arrays: Any) -> None:
    """Write named arrays to a compressed npz; the same arrays give the same bytes."""
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"{path.name}: arrays go to a file named .npz")
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **arrays)
