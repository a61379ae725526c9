"""Decoding of video files: PyAV, or OpenCV where PyAV is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vflow.data.media.clip import MAX_RATE, Collector, resize
from vflow.data.media.limits import Limits
from vflow.data.media.sniff import Kind
from vflow.errors import InputError

try:
    import av
except ImportError:  # some machines have OpenCV alone
    av = None  # type: ignore[assignment]

# Below this many pixels a frame, starting decoder threads costs more than it gains.
_THREADS_FROM = 256 * 256


class Header(NamedTuple):
    """What a container says about its video: 0 or None where it does not say."""

    width: int
    height: int
    fps: float | None
    frames: int
    seconds: float


def probe(path: Path, kind: Kind) -> Header:
    """Read the header of a video; no frame is decoded.

    Raises:
        InputError: no decodable video track.
    """
    header = _probe_opencv(path) if av is None else _probe_av(path, kind)
    if header.fps is not None and not 0 < header.fps <= MAX_RATE:
        header = header._replace(fps=None)
    if header.width < 1 or header.height < 1:
        raise InputError(_damaged(path, "it has no readable video track"))
    return header


def count(path: Path, kind: Kind, most: int) -> int:
    """Frames of a video whose header does not say, at most ``most`` + 1; found without decoding them.

    Raises:
        InputError: damaged.
    """
    frames = _packets_opencv(path) if av is None else _packets_av(path, kind)
    return sum(1 for _ in islice(frames, most + 1))


def decode(path: Path, kind: Kind, collector: Collector, limits: Limits) -> float | None:
    """Decode into ``collector`` until it has enough; returns the header's frame rate.

    Raises:
        InputError: damaged, without frames, or beyond ``limits``.
    """
    header = probe(path, kind)
    limits.check_pixels(path.name, header.width, header.height)
    if collector.max_frames is None:
        limits.check_frames(path.name, header.frames)
        limits.check_seconds(path.name, header.seconds)
    frames = _frames_opencv(path) if av is None else _frames_av(path, kind)
    for frame, time in frames:
        if not collector.add(frame, time):
            break
    if not collector.frames:
        raise InputError(_damaged(path, "no frame could be decoded"))
    return header.fps


def stream(path: Path, kind: Kind, limits: Limits) -> tuple[float | None, Iterator[np.ndarray]]:
    """The header's frame rate, and frames uint8 (H, W, 3) as they are decoded, all of the first one's size.

    Raises:
        InputError: damaged, without frames, or beyond ``limits``; also while iterating.
    """
    header = probe(path, kind)
    limits.check_pixels(path.name, header.width, header.height)
    limits.check_frames(path.name, header.frames)
    limits.check_seconds(path.name, header.seconds)
    return header.fps, _streamed(path, kind, limits)


def _streamed(path: Path, kind: Kind, limits: Limits) -> Iterator[np.ndarray]:
    count, first = 0, (0, 0)
    for frame, _ in _frames_opencv(path) if av is None else _frames_av(path, kind):
        count += 1
        limits.check_frames(path.name, count)
        first = frame.shape[:2] if count == 1 else first
        yield frame if frame.shape[:2] == first else resize(frame[None], *first, 3)[0]
    if not count:
        raise InputError(_damaged(path, "no frame could be decoded"))


def _damaged(path: Path, why: str) -> str:
    return f"{path.name}: damaged video ({why}); export or upload it again"


def _location(path: Path) -> str:
    """An absolute path, so that FFmpeg cannot take a file's name for a protocol."""
    return str(path.resolve())


def _probe_av(path: Path, kind: Kind) -> Header:
    try:
        with av.open(_location(path), format=kind.demuxer) as container:
            if not container.streams.video:
                raise InputError(_damaged(path, "it has no readable video track"))
            stream = container.streams.video[0]
            codec = stream.codec_context
            if codec is None:
                raise InputError(_damaged(path, "there is no decoder for it"))
            seconds = container.duration / 1e6 if container.duration else 0.0
            rate = float(stream.average_rate) if stream.average_rate else None
            return Header(codec.width, codec.height, rate, stream.frames, seconds)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(_damaged(path, _reason(error))) from error


def _packets_av(path: Path, kind: Kind) -> Iterator[object]:
    try:
        with av.open(_location(path), format=kind.demuxer) as container:
            yield from (packet for packet in container.demux(container.streams.video[0]) if packet.size)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(_damaged(path, _reason(error))) from error


def _frames_av(path: Path, kind: Kind) -> Iterator[tuple[np.ndarray, float | None]]:
    """RGB frames, uint8 (H, W, 3), upright, with their times in seconds."""
    count = 0
    try:
        with av.open(_location(path), format=kind.demuxer) as container:
            stream = container.streams.video[0]
            small = stream.codec_context.width * stream.codec_context.height < _THREADS_FROM
            stream.thread_type = "SLICE" if small else "AUTO"
            stream.codec_context.thread_count = 1 if small else 0
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise InputError(_damaged(path, f"frame {count} is corrupt"))
                rgb = frame.to_ndarray(format="rgb24")
                # Phones store upright recordings sideways, with a display matrix.
                turns = round(frame.rotation / 90) % 4
                yield (np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb), frame.time
                count += 1
    except (av.FFmpegError, ValueError) as error:
        raise InputError(_damaged(path, f"frame {count}: {_reason(error)}")) from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return text[:1].lower() + text[1:]


def _capture(path: Path) -> cv2.VideoCapture:
    location = _location(path)
    try:
        location.encode()
    except UnicodeEncodeError as error:  # not UTF-8: OpenCV would crash, and Python with it
        remedy = "rename it, or pip install av"
        raise InputError(f"{path.name}: OpenCV cannot open a file of this name; {remedy}") from error
    return cv2.VideoCapture(location, cv2.CAP_FFMPEG)


def _probe_opencv(path: Path) -> Header:
    capture = _capture(path)
    try:
        if not capture.isOpened():
            raise InputError(_damaged(path, "it has no readable video track"))
        rate = capture.get(cv2.CAP_PROP_FPS)
        frames = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))  # negative where the index is missing
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        return Header(width, height, rate or None, frames, frames / rate if rate else 0.0)
    finally:
        capture.release()


def _packets_opencv(path: Path) -> Iterator[object]:
    capture = _capture(path)
    try:
        while capture.grab():
            yield None
    finally:
        capture.release()


def _frames_opencv(path: Path) -> Iterator[tuple[np.ndarray, float | None]]:
    """As ``_frames_av``; OpenCV applies the rotation itself and says nothing of damaged frames."""
    capture = _capture(path)
    count, expected = 0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    try:
        while True:
            read, frame = capture.read()
            if not read:
                break
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            count += 1
    finally:
        capture.release()
    # Counts are estimates in Matroska, and edit lists hide a few frames, hence the half.
    if count < expected // 2:
        raise InputError(_damaged(path, f"only {count} of {expected} frames could be decoded"))
