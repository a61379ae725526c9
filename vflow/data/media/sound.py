"""Sound of a film, copied beside another film's pictures."""

from __future__ import annotations

from pathlib import Path

import av

from vflow.data.media.limits import DEFAULT_LIMITS, Budget, Limits
from vflow.data.media.sniff import admit
from vflow.data.media.write import atomic_write

_CARRIED = {".mp4": ("aac", "mp3", "ac3", "alac", "opus", "flac"), ".webm": ("opus", "vorbis")}
"""Codecs that a container carries, and players play."""


def copy_sound(source: Path, target: Path, limits: Limits = DEFAULT_LIMITS) -> str:
    """Copy the first sound track of ``source`` into the film ``target`` as it is, without decoding it.

    The pictures of ``target`` begin at 0. Whichever of sound and pictures begins later in ``source`` comes to
    do so by as much in ``target``.

    Returns a remark where a track has to be left out; empty where it was copied, or there is none.

    Raises:
        InputError: ``source`` is beyond ``limits``, or ``target`` cannot be written.
    """
    kind, budget = admit(source, limits), Budget(limits)
    if kind.family != "video":
        return ""
    try:
        with av.open(str(source.resolve()), format=kind.demuxer) as film:
            if not film.streams.audio:
                return ""
            track = film.streams.audio[0]
            carried, codec = _CARRIED.get(target.suffix.lower(), ()), track.codec_context.name
            if codec.removesuffix("float") not in carried:
                return f"sound is left out: {target.suffix} does not carry {codec}"
            pictures_begin = _start(film.streams.video[0])
            begin = max(0.0, min(pictures_begin, _start(track)))
            options = {"movflags": "+faststart"} if target.suffix.lower() == ".mp4" else {}
            with (
                atomic_write(target) as temporary,
                av.open(str(target.resolve())) as pictures,
                av.open(str(temporary.resolve()), "w", options=options) as joined,
            ):
                shown = joined.add_stream_from_template(pictures.streams.video[0])
                heard = joined.add_stream_from_template(track)
                for packet in pictures.demux(pictures.streams.video[0]):
                    if packet.dts is not None:
                        _move(packet, pictures_begin - begin)
                        packet.stream = shown
                        joined.mux(packet)
                for part in film.demux(track):
                    budget.add_part(source.name)
                    if part.dts is not None:
                        _move(part, -begin)
                        part.stream = heard
                        joined.mux(part)
    except av.FFmpegError as error:
        return f"sound is left out: {error.strerror}"
    return ""


def _start(stream: av.VideoStream | av.AudioStream) -> float:
    """Time of the first packet, in seconds; 0 where it is not known."""
    return float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0


def _move(packet: av.Packet, seconds: float) -> None:
    """Add to a packet's timestamps."""
    later = round(seconds / packet.time_base)
    if packet.dts is not None:
        packet.dts += later
    if packet.pts is not None:
        packet.pts += later
