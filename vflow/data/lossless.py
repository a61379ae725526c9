"""Sizes of frames in lossless video codecs, and in the lossy files they come from."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from vflow.data.media import probe, video
from vflow.data.media.limits import TRAINING_LIMITS
from vflow.data.media.sniff import admit
from vflow.errors import InputError

# Codec and pixel format for colour and for grey, and options. H.264 in RGB: in YUV it would not be lossless.
_CODECS: dict[str, tuple[tuple[str, str], tuple[str, str], dict[str, str]]] = {
    "x264": (("libx264rgb", "rgb24"), ("libx264", "gray"), {"qp": "0", "preset": "veryslow"}),
    "ffv1": (("ffv1", "bgr0"), ("ffv1", "gray"), {"level": "3"}),
}
CODECS = tuple(_CODECS)
_LOSSLESS = {"ffv1", "huffyuv", "ffvhuff", "utvideo", "png", "apng", "rawvideo", "qtrle", "gif", "magicyuv"}
_H264_LOSSLESS = {"gbrp", "yuv444p"}  # formats of the one profile that lossless H.264 has; taken for it


def coded_bits(frames: np.ndarray, codec: str) -> int:
    """Bits of ``frames``, uint8 (T, H, W, C), in a codec: ``x264`` (veryslow, one thread) or ``ffv1``.

    Counts packets; headers and containers are left out.

    Raises:
        InputError: PyAV lacks the codec.
    """
    color, grey, options = _CODECS[codec]
    name, layout = color if frames.shape[-1] == 3 else grey
    try:
        context = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
    except (av.FFmpegError, ValueError) as error:  # a codec by an unknown name is PyAV's ValueError
        raise InputError(f"{codec}: this PyAV has no {name}; pip install av") from error
    context.height, context.width = frames.shape[1:3]
    context.pix_fmt, context.framerate, context.options = layout, 10, options  # type: ignore[assignment]
    context.thread_count = 1
    source = "rgb24" if frames.shape[-1] == 3 else "gray"
    pictures = frames if frames.shape[-1] == 3 else frames[..., 0]
    size = 0
    for frame in pictures:
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=source)
        size += sum(packet.size for packet in context.encode(picture.reformat(format=layout)))
    return 8 * (size + sum(packet.size for packet in context.encode(None)))


def bits_after(frames: np.ndarray, context: int, codec: str) -> float:
    """Bits per value of the frames after the first ``context``: all of them less those of the first alone."""
    spent = coded_bits(frames, codec) - coded_bits(frames[:context], codec)
    return spent / frames[context:].size


def stored_bits(path: Path) -> float | None:
    """Bits per value that a lossy video file takes on disk, in RGB at its own size; None for others.

    Raises:
        InputError: it cannot be read.
    """
    if path.is_dir():
        return None
    kind = admit(path, TRAINING_LIMITS)
    if kind.family != "video" or not _is_lossy(path):
        return None
    header, frames = video.probe(path, kind, TRAINING_LIMITS), probe(path, TRAINING_LIMITS).frames
    return 8 * path.stat().st_size / max(1, 3 * header.width * header.height * frames)


def _is_lossy(path: Path) -> bool:
    with av.open(str(path.resolve())) as container:
        context = container.streams.video[0].codec_context
        maybe_lossless = context.name == "h264" and context.pix_fmt in _H264_LOSSLESS
        return context.name not in _LOSSLESS and not maybe_lossless
