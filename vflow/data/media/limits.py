"""What decoding yields (``Clip``), what it may cost (``Limits``), and fitting frames in size and time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vflow.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What one input may cost; held while decoding, from headers where they tell and by counting where not.

    ``pixels`` per picture or video frame, ``frames`` and ``seconds`` per clip, ``file_bytes`` on disk,
    ``memory_bytes`` of decoded frames (of an array that is converted: of it and the frames together).
    """

    pixels: int = 64_000_000
    frames: int = 3_000
    seconds: float = 300.0
    file_bytes: int = 512 * 2**20
    memory_bytes: int = 2**30

    def check_pixels(self, source: str, width: int, height: int) -> None:
        """Refuse a picture too large to decode (``width`` × ``height`` from its header)."""
        if width * height > self.pixels:
            raise InputError(too_many_pixels(source, width * height, self))

    def check_frames(self, source: str, count: int) -> None:
        """Refuse clips of more than ``frames`` frames."""
        if count > self.frames:
            raise InputError(f"{source}: more than {self.frames:,} frames, the limit; trim it")

    def check_seconds(self, source: str, seconds: float, remedy: str = "trim it") -> None:
        """Refuse clips longer than ``seconds``."""
        if seconds > self.seconds:
            raise InputError(f"{source}: longer than {self.seconds:g} seconds, the limit; {remedy}")

    def check_memory(self, source: str, decoded_bytes: int) -> None:
        """Refuse what decodes to more than ``memory_bytes``."""
        if decoded_bytes > self.memory_bytes:
            most = f"{self.memory_bytes / 2**20:,.0f} MiB"
            raise InputError(f"{source}: decodes to more than {most}, the limit; trim or shrink it")


DEFAULT_LIMITS = Limits()


def too_many_pixels(source: str, pixels: int, limits: Limits) -> str:
    """The message for a picture of more than ``limits.pixels``."""
    return (
        f"{source}: {pixels / 1e6:,.0f} megapixels; the limit is {limits.pixels / 1e6:,.0f}; "
        "reduce the picture and try again"
    )


@dataclass(frozen=True)
class Clip:
    """Decoded frames.

    Attributes:
        frames: uint8 (T, H, W, 3), sRGB.
        fps: frames per second, or None where the source has no clock (stills, arrays).
        source: name of the file or folder, for messages.
        notes: what was done on the way, for people ("rotated as its EXIF tag says", …).
    """

    frames: np.ndarray
    fps: float | None
    source: str
    notes: tuple[str, ...] = ()


def resize(frames: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """Centre-crop to the aspect of ``height`` × ``width``, scale, and convert to ``channels``.

    Area averaging when shrinking, linear interpolation when enlarging; grey is Rec. 601 luma. Frames that
    fit already come back unchanged.

    Args:
        frames: uint8 (T, H, W, C), C 1 or 3.
        channels: 1 or 3.

    Returns:
        uint8 (T, height, width, channels).
    """
    cropped = _crop(frames, height, width)
    if cropped.shape[1:3] != (height, width):
        shrinks = height * width < cropped.shape[1] * cropped.shape[2]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        scaled = [cv2.resize(frame, (width, height), interpolation=method) for frame in cropped]
        cropped = np.stack(scaled).reshape(len(frames), height, width, frames.shape[-1])
    if channels == cropped.shape[-1]:
        return np.ascontiguousarray(cropped)
    if channels == 3:
        return np.repeat(cropped, 3, axis=-1)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None] for frame in np.ascontiguousarray(cropped)]
    return np.stack(grey)


def _crop(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """The largest centred part of ``frames`` with the aspect of ``height`` × ``width``."""
    old_height, old_width = frames.shape[1:3]
    if old_width * height > old_height * width:
        keep = max(1, round(old_height * width / height))
        left = (old_width - keep) // 2
        return frames[:, :, left : left + keep]
    keep = max(1, min(old_height, round(old_width * height / width)))
    top = (old_height - keep) // 2
    return frames[:, top : top + keep]


def retime(count: int, fps: float | None, target: float | None) -> np.ndarray:
    """Indices (int64) of the frames that play ``count`` frames of ``fps`` at ``target`` frames per second.

    Nearest frame, aligned to the last one, since that is where a prediction goes on. All of them when a rate
    is unknown or the two agree within 2%.
    """
    if fps is None or target is None or abs(target / fps - 1) < 0.02 or count < 2:
        return np.arange(count)
    kept = int(np.floor((count - 1) * target / fps + 1e-6)) + 1
    back = np.rint(np.arange(kept) * fps / target).astype(np.int64)
    return np.maximum(count - 1 - back, 0)[::-1]


def fit(clip: Clip, *, height: int, width: int, channels: int, fps: float | None) -> np.ndarray:
    """Fit a clip to what a model was trained on, in time (``retime``) and size (``resize``).

    Returns:
        uint8 (T', height, width, channels); T' = T unless both frame rates are known and differ.
    """
    keep = retime(len(clip.frames), clip.fps, fps)
    if len(keep) > len(clip.frames):  # repeated only when they are small
        return resize(clip.frames, height, width, channels)[keep]
    return resize(clip.frames[keep], height, width, channels)
