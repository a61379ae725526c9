"""Video decoding with PyAV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from vflow.data.media.clip import MAX_RATE, OTHER_SIZES, Collector, FrameStream, Loss, measure_rate, resize
from vflow.data.media.limits import Budget, Limits
from vflow.data.media.sniff import Kind
from vflow.errors import InputError

# Below this many pixels a frame, starting decoder threads costs more than it gains; above that many, frames
# that are decoded side by side take too much memory.
_THREADS_FROM, _THREADS_TO = 256 * 256, 4096 * 2304


Span = tuple[float, float]
"""Part of a video: frames shown from so many seconds on, and before so many."""
WHOLE: Span = (0.0, math.inf)


class Header(NamedTuple):
    """Contents of a container's header: 0 or None where it does not say."""

    width: int
    height: int
    fps: float | None
    frames: int
    seconds: float
    bits: int

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on what decoding to 8 bits a channel loses."""
        return (f"{self.bits}-bit samples scaled to 8 bits",) if self.bits > 8 else ()


def probe(path: Path, kind: Kind, limits: Limits) -> Header:
    """Read the header of a video; no frame is decoded.

    Raises:
        InputError: no decodable video track, or frames beyond ``limits``.
    """
    try:
        with av.open(_location(path), format=kind.demuxer) as container:
            if not container.streams.video:
                raise InputError(_damaged(path, "it has no readable video track"))
            stream = container.streams.video[0]
            codec = stream.codec_context
            if codec is None:
                raise InputError(_damaged(path, "there is no decoder for it"))
            if codec.width < 1 or codec.height < 1:
                raise InputError(_damaged(path, "it has no readable video track"))
            limits.check_size(path.name, codec.width, codec.height)
            rate = float(stream.average_rate) if stream.average_rate else None
            if rate is not None and not 0 < rate <= MAX_RATE:
                rate = None
            seconds = container.duration / 1e6 if container.duration else 0.0
            if stream.frames > (size := path.stat().st_size):
                claim = f"its header claims {stream.frames:,} frames in {size:,} bytes"
                raise InputError(_damaged(path, claim))
            bits = max((part.bits for part in codec.format.components), default=8) if codec.format else 8
            return Header(codec.width, codec.height, rate, stream.frames, seconds, bits)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(_damaged(path, _reason(error))) from error


def count(path: Path, kind: Kind, limits: Limits) -> int:
    """Frames of a video whose header does not say, found without decoding them.

    Raises:
        InputError: damaged, or beyond ``limits``.
    """
    budget, frames = Budget(limits), 0
    try:
        with av.open(_location(path), format=kind.demuxer) as container:
            for packet in container.demux(container.streams.video[0]):
                budget.add_part(path.name)
                frames += packet.size > 0
                limits.check_frames(path.name, frames)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(_damaged(path, _reason(error))) from error
    return frames


def decode(path: Path, kind: Kind, collector: Collector, span: Span = WHOLE) -> float | None:
    """Decode the part ``span`` into ``collector`` until it has enough; returns the header's frame rate.

    Raises:
        InputError: damaged, without frames, or beyond the collector's limits.
    """
    header = probe(path, kind, collector.limits)
    if collector.max_frames is None:
        _check_length(path, header, collector.limits)
    for text in header.notes:
        collector.note(text)
    for frame, time in _frames(path, kind, collector.budget, span):
        if not collector.add(frame, time):
            break
    return header.fps


def stream(path: Path, kind: Kind, limits: Limits) -> FrameStream:
    """Frames as they are decoded, all of the first one's size, and their rate by the packets' timestamps.

    The header's rate need not be that of the frames: Matroska's is what its writer declared.

    Raises:
        InputError: damaged, without frames, or beyond ``limits``; also while iterating.
    """
    header = probe(path, kind, limits)
    _check_length(path, header, limits)
    known = _timestamps(path, kind, limits)
    if known.size:
        limits.check_seconds(path.name, float(known[-1] - known[0]))
    rate, constant = measure_rate(known, header.fps)
    times, losses = list[float](), list[Loss]()
    frames = _resized_to_first(path, kind, limits, times, losses, 1 / rate if rate else 0.0)
    length = known.size or header.frames or count(path, kind, limits)
    varying = None if constant else times
    return FrameStream(frames, rate, header.notes, varying, length=length, losses=losses)


def _timestamps(path: Path, kind: Kind, limits: Limits) -> np.ndarray:
    """Seconds (T,) from which frames are shown, in order, found without decoding them.

    Empty where not all packets tell, or where they jump back, as in clips joined byte by byte.
    """
    budget, shown, decoded = Budget(limits), list[float](), list[int]()
    try:
        with av.open(_location(path), format=kind.demuxer) as container:
            for packet in container.demux(container.streams.video[0]):
                budget.add_part(path.name)
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    return np.empty(0)
                shown.append(float(packet.pts * packet.time_base))
                decoded += [] if packet.dts is None else [packet.dts]
    except (av.FFmpegError, ValueError) as error:
        raise InputError(_damaged(path, _reason(error))) from error
    return np.empty(0) if np.any(np.diff(decoded) < 0) else np.sort(shown)


def _resized_to_first(
    path: Path, kind: Kind, limits: Limits, times: list[float], losses: list[Loss], step: float
) -> Iterator[np.ndarray]:
    """Frames, whose times from the first one on go to ``times``; those that have none follow by ``step``.

    A change of their size goes to ``losses``.
    """
    first: tuple[int, ...] = ()
    start: float | None = None
    for number, (frame, time) in enumerate(_frames(path, kind, Budget(limits)), 1):
        limits.check_frames(path.name, number)
        start = time if start is None else start
        follows = times[-1] + step if times else 0.0
        times.append(follows if time is None or start is None else time - start)
        first = first or frame.shape[:2]
        if frame.shape[:2] != first:
            losses[:] = [Loss(OTHER_SIZES, "cut it where the size changes")]
            frame = resize(frame[None], first[0], first[1], 3)[0]
        yield frame


def _check_length(path: Path, header: Header, limits: Limits) -> None:
    limits.check_frames(path.name, header.frames)
    limits.check_seconds(path.name, header.seconds)
    limits.check_decoded_pixels(path.name, header.frames * header.width * header.height)


def _frames(
    path: Path, kind: Kind, budget: Budget, span: Span = WHOLE
) -> Iterator[tuple[np.ndarray, float | None]]:
    """RGB frames of a part, uint8 (H, W, 3), upright, with their times in seconds; at least one."""
    number, codec = 0, None
    try:
        with av.open(_location(path), format=kind.demuxer) as container:
            stream = container.streams.video[0]
            codec = stream.codec_context
            # FFmpeg holds this limit before it allocates a frame; it counts whole blocks, hence the margin.
            codec.options = {"max_pixels": str(budget.limits.pixels + budget.limits.pixels // 8)}
            threads = _THREADS_FROM <= codec.width * codec.height <= _THREADS_TO
            stream.thread_type = "AUTO" if threads else "SLICE"
            codec.thread_count = 0 if threads else 1
            begins = float((stream.start_time or 0) * (stream.time_base or 0))
            if span[0]:
                container.seek(round((begins + span[0]) * 1e6))  # to the key frame before
            ended = False
            for packet in container.demux(stream):
                budget.add_part(path.name)
                with budget.timed(path.name):
                    frames = packet.decode()
                for frame in frames:
                    at = 0.0 if frame.time is None else frame.time - begins
                    if span[0] and at < span[0]:
                        continue
                    if ended := at >= span[1]:
                        break
                    if frame.is_corrupt:
                        raise InputError(_damaged(path, f"frame {number + 1} is corrupt"))
                    budget.add_frame(path.name, frame.width, frame.height)
                    with budget.timed(path.name):
                        rgb = _upright(frame)
                    yield rgb, frame.time
                    number += 1
                if ended:
                    break
    except (av.FFmpegError, ValueError) as error:
        if codec is not None and codec.width == 0:  # FFmpeg forgets a size that it refuses
            most = f"{budget.limits.pixels / 1e6:,.0f} megapixels, the limit"
            message = f"{path.name}: frame {number + 1} is damaged or exceeds {most}; reduce the video"
            raise InputError(message) from error
        raise InputError(_damaged(path, f"frame {number + 1}: {_reason(error)}")) from error
    if not number:
        raise InputError(_damaged(path, "no frame could be decoded"))


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB pixels turned by the display matrix: phones store upright recordings sideways."""
    rgb = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def _damaged(path: Path, why: str) -> str:
    return f"{path.name}: damaged video ({why}); export or upload it again"


def _location(path: Path) -> str:
    """Absolute path, so that FFmpeg cannot take a file's name for a protocol."""
    return str(path.resolve())


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return text[:1].lower() + text[1:]
