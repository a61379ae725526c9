"""Reading of media: files and folders in, uint8 frames out.

Everything that a stranger may hand over passes through here. Readers look at a file's bytes, not its name;
check headers before pixels; spend one budget while decoding; and either return a ``Clip``, with notes on
conversions, or raise an ``InputError`` of one line that names the file and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vflow.data.media import arrays, stills, video
from vflow.data.media.clip import Clip, Collector, FrameStream, resize
from vflow.data.media.limits import DEFAULT_LIMITS, Budget, Limits
from vflow.data.media.sniff import (
    IMAGE_SUFFIXES,
    MEDIA_SUFFIXES,
    Kind,
    admit,
    require_exists,
)
from vflow.errors import InputError

PathLike = str | Path
NaturalKey = tuple[tuple[int, int, str], ...]


def natural_key(name: PathLike) -> NaturalKey:
    """Sort key under which frame2 comes before frame10, whatever the case of letters.

    >>> sorted(["f10.png", "F2.png", "f1.png"], key=natural_key)
    ['f1.png', 'F2.png', 'f10.png']
    """
    parts = [part for part in re.split(r"([0-9]+)", str(name).casefold()) if part]
    ranks = [(1, int(part), "") if part.isdecimal() else (2, 0, part) for part in parts]
    return (*ranks, (0, 0, str(name)))  # the name itself decides between f1 and f01


def list_media(folder: PathLike, suffixes: Collection[str] = MEDIA_SUFFIXES) -> list[Path]:
    """Media files directly in ``folder`` (by suffix, hidden ones left out), in natural order."""
    folder = Path(folder)
    require_exists(folder)
    if not folder.is_dir():
        raise InputError(f"{folder.name}: a file where a folder is expected; give the folder that holds it")
    try:
        files = [f for f in folder.iterdir() if f.suffix.lower() in suffixes and f.is_file()]
    except OSError as error:
        why = f"cannot be read ({error.strerror}); check its permissions"
        raise InputError(f"{folder.name}: {why}") from error
    return sorted((f for f in files if not f.name.startswith(".")), key=lambda f: natural_key(f.name))


def read_image(path: PathLike, limits: Limits = DEFAULT_LIMITS) -> Clip:
    """Read a picture at its own size, upright, as 8-bit sRGB.

    An animated GIF, WebP, PNG or AVIF gives all its frames, with their rate; else T is 1 and ``fps`` None.
    Where frames are shown for different times, long ones are repeated; the last is not (``clip.ticks``).

    Raises:
        InputError: not a picture, damaged, or beyond ``limits``.
    """
    path = Path(path)
    kind = _admit_still(path, limits)
    with Budget(limits) as budget:
        collector = Collector(path.name, budget)
        stills.decode(path, kind, collector)
        return collector.clip(None)


def is_video(path: PathLike, limits: Limits = DEFAULT_LIMITS) -> bool:
    """True for a video by its content; animated pictures are none.

    Raises:
        InputError: not a complete file of an accepted kind and size.
    """
    return admit(Path(path), limits).family == "video"


def _admit_still(path: Path, limits: Limits) -> Kind:
    kind = admit(path, limits)
    if kind.family != "still":
        found = "a video" if kind.family == "video" else "an array file"
        kinds = "PNG, JPEG, WebP, TIFF or BMP"
        raise InputError(f"{path.name}: {found}, but an image is expected; give {kinds}")
    return kind


def read_photo(
    path: PathLike, limits: Limits = DEFAULT_LIMITS, *, convert: bool = True
) -> tuple[Clip, np.ndarray | None]:
    """Read a picture as ``read_image`` does, its first frame only, with its opacity apart.

    Args:
        convert: to sRGB; False keeps the numbers of another RGB or grey colour space, with its profile.

    Returns:
        A clip of one frame, whose colours are as stored and not laid on white; and opacity, uint8 (H, W), or
        None where the picture has none.

    Raises:
        InputError: as ``read_image``.
    """
    path = Path(path)
    kind = _admit_still(path, limits)
    with Budget(limits) as budget:
        collector = Collector(path.name, budget, convert=convert)
        alpha = stills.decode_straight(path, kind, collector)
        return collector.clip(None), alpha


def stream_frames(path: PathLike, limits: Limits = DEFAULT_LIMITS) -> FrameStream:
    """Read a video or an animated picture at its own size, frame by frame, so that only one is in memory.

    Unlike in ``read_clip``, each stored frame comes once: where the frame rate varies, ``times`` tells when,
    and ``fps`` is the mean. (An animated picture is decoded as a whole, within ``limits``.)

    Raises:
        InputError: neither, damaged, or beyond ``limits``; of a video also while going through its frames.
    """
    path = Path(path)
    kind = admit(path, limits)
    if kind.family == "video":
        return video.stream(path, kind, limits)
    _admit_still(path, limits)
    with Budget(limits) as budget:
        collector = Collector(path.name, budget)
        stills.decode(path, kind, collector)
        return collector.stream()


def read_clip(
    path: PathLike,
    limits: Limits = DEFAULT_LIMITS,
    max_frames: int | None = None,
    *,
    size: tuple[int, int] | None = None,
    span: video.Span = video.WHOLE,
) -> Clip:
    """Read a clip: a video, an animated or still picture, an npz or npy, or a folder of stills.

    Args:
        path: stills of a folder are taken in natural order of their names.
        max_frames: stop after the first so many; limits on frames and duration do not reach beyond them.
        size: (height, width) to fit each frame to as it comes; without it, frames whose shorter side exceeds
            512 px are reduced to that, and a note says so. Arrays keep their size.
        span: of a video, take frames from so many seconds on and before so many; the rest is not decoded.

    Raises:
        InputError: not readable, damaged, empty, or beyond ``limits``.
    """
    path = Path(path)
    require_exists(path)
    if path.is_dir():
        return _read_folder(path, limits, max_frames, size)
    kind = admit(path, limits)
    with Budget(limits) as budget:
        if kind.family == "array":
            clip = arrays.read(path, kind, budget, max_frames)
            return replace(clip, frames=resize(clip.frames, *size, 3)) if size else clip
        collector = Collector(path.name, budget, size=size, shrink=True, max_frames=max_frames)
        if kind.family == "still":
            stills.decode(path, kind, collector)
            return collector.clip(None)
        return collector.clip(video.decode(path, kind, collector, span))


def read_frames(paths: Sequence[PathLike], limits: Limits = DEFAULT_LIMITS) -> Clip:
    """Read what a prediction starts from: one clip (see ``read_clip``), or several pictures in that order.

    Raises:
        InputError: nothing given, a video among pictures, or as ``read_clip``.
    """
    if not paths:
        raise InputError("no input: give a video, a folder of frames, an npz file, or images")
    if len(paths) == 1:
        return read_clip(paths[0], limits)
    pictures = [Path(path) for path in paths]
    return _read_stills(pictures, f"{len(pictures)} images", limits, None, None)


def _read_folder(folder: Path, limits: Limits, max_frames: int | None, size: tuple[int, int] | None) -> Clip:
    media = list_media(folder)
    stills = [f for f in media if f.suffix.lower() in IMAGE_SUFFIXES]
    if stills:
        return _read_stills(stills, folder.name, limits, max_frames, size)
    if media:
        raise InputError(f"{folder.name}: a folder of videos; give one of them, for example {media[0].name}")
    raise InputError(f"{folder.name}: the folder holds no images; put frames in it (PNG, JPEG, …)")


def _read_stills(
    paths: list[Path], source: str, limits: Limits, max_frames: int | None, size: tuple[int, int] | None
) -> Clip:
    if max_frames is None:
        limits.check_frames(source, len(paths))
    with Budget(limits) as budget:
        collector = Collector(source, budget, size=size, shrink=True, max_frames=max_frames)
        for path in paths:
            kind = admit(path, limits)
            if kind.family != "still":
                why = "not an image; give one video or array alone, or images only"
                raise InputError(f"{path.name}: {why}")
            one = Collector(path.name, budget, size=size, shrink=True, max_frames=1)
            stills.decode(path, kind, one)
            for note in one.notes:
                collector.note(note)
            if not collector.add(one.frames[0], None, grey=one.grey):
                break
        return collector.clip(None)


class Probe(NamedTuple):
    """Length and rate of what ``read_clip`` gives, by a clip's headers.

    ``frames`` is an estimate for containers that do not count, and for videos of variable frame rate.
    """

    frames: int
    fps: float | None


def probe(path: PathLike, limits: Limits = DEFAULT_LIMITS) -> Probe:
    """Length and rate of a clip without decoding it.

    Raises:
        InputError: as ``read_clip``, where the header already shows it.
    """
    path = Path(path)
    require_exists(path)
    if path.is_dir():
        return Probe(sum(f.suffix.lower() in IMAGE_SUFFIXES for f in list_media(path)), None)
    kind = admit(path, limits)
    if kind.family == "array":
        with Budget(limits) as budget:
            clip = arrays.read(path, kind, budget)
            return Probe(len(clip.frames), clip.fps)
    if kind.family == "still":
        return Probe(*stills.probe(path, kind, limits))
    header = video.probe(path, kind, limits)
    known = header.frames or round(header.seconds * (header.fps or 0))
    limits.check_frames(path.name, known)
    limits.check_seconds(path.name, known / header.fps if header.fps else header.seconds)
    return Probe(known or video.count(path, kind, limits), header.fps)
