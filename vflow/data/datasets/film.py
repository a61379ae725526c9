"""One's own film, as it is: files and folders gathered, cut into pieces, and a part of it held out."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vflow.config import VideoConfig
from vflow.data import media
from vflow.data.datasets.cache import CACHE_BYTES, ClipCache
from vflow.data.datasets.folder import CLIP_SUFFIXES, find_clips
from vflow.data.datasets.splits import choose_split
from vflow.disk import file_sha256
from vflow.errors import InputError, counted, printable
from vflow.randomness import generator

PIECE_SECONDS = 5.0
"""Seconds of film that are decoded at a time."""
HELD_OUT, MOST_HELD_OUT = 0.15, 24
"""Share of the film, and the most clips, that training does not see."""
WHOLE_CLIPS = 4
"""Clips from which on whole ones are held out; of fewer the end of each."""
GAP = 0.1
"""Share of a clip between its part for training and its end, a second at most."""
USUAL_RATE = 10.0
"""Frames per second of arrays and folders of frames, where the model has no rate."""
STANDS, JUMPS = 0.25, 25.0
"""Mean change of grey levels from frame to frame up to which nothing moves, and from which it is a cut."""
SLIDES = 0.1
"""Share of frames that move up to which a piece with cuts counts as a slide show."""
_log = logging.getLogger(__name__)


class Piece(NamedTuple):
    """Part of a clip, in seconds."""

    path: Path
    start: float = 0.0
    stop: float = math.inf


class Pieces:
    """Examples cut from pieces of film at a random place, a function of key and index; see ``VideoDataset``.

    Pieces are decoded when first needed. What cannot be used (damaged, too short, still, a slide show) is
    named once a file (logging) and passed over.

    Args:
        seconds: length of each piece.
        config: of the model, whose size, channels and rate the frames get.

    Raises:
        InputError: no piece can be used; of ``example`` and ``clips``.
    """

    def __init__(self, seconds: Mapping[Piece, float], frames: int, config: VideoConfig) -> None:
        self.frames, self.config = frames, config
        order = generator("pieces").permutation(len(seconds))
        self.pieces = [list(seconds)[number] for number in order]
        rate = config.fps or USUAL_RATE
        self._length = max(len(seconds), int(sum(seconds.values()) * rate) // frames)
        self.skipped: dict[Piece, str] = {}
        self._cache = ClipCache(CACHE_BYTES)

    def __len__(self) -> int:
        return self._length

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Example ``index`` cut as ``key`` says: uint8 (frames, height, width, channels)."""
        if not 0 <= index < self._length:
            raise IndexError(f"example {index} of {self._length}")
        for offset in range(len(self.pieces)):
            clip = self._clip(self.pieces[(index + offset) % len(self.pieces)])
            if clip is not None:
                start = int(generator("clip", *key, index).integers(len(clip) - self.frames + 1))
                return clip[start : start + self.frames].copy()
        raise InputError(self._nothing_left())

    def clips(self, count: int, least: int, most: int) -> list[np.ndarray]:
        """The beginnings of up to ``count`` pieces of ``least`` frames or more, of one length up to ``most``.

        Returns:
            uint8 (T, height, width, channels) each.
        """
        found: list[np.ndarray] = []
        for piece in self.pieces:
            if len(found) == count:
                break
            clip = self._clip(piece)
            if clip is not None and len(clip) >= least:
                found.append(clip)
        if not found:
            raise InputError(self._nothing_left())
        shortest = min(most, *map(len, found))
        return [clip[:shortest] for clip in found]

    def _clip(self, piece: Piece) -> np.ndarray | None:
        """The whole piece, fitted; None if it cannot be used."""
        if piece in self.skipped:
            return None
        if (known := self._cache.get(str(piece))) is not None:
            return known
        try:
            clip = read_piece(piece, self.config)
            why = self._fault(clip)
        except InputError as error:
            why = str(error)
        if why:
            if all(other.path != piece.path for other in self.skipped):
                why = why.removeprefix(printable(f"{piece.path.name}: "))
                part = f", from {piece.start:.0f} s on" if piece.start else ""
                _log.warning("skipped %s%s: %s", printable(str(piece.path)), part, why)
            self.skipped[piece] = why
            return None
        self._cache.put(str(piece), clip)
        return clip

    def _fault(self, clip: np.ndarray) -> str:
        """Reason why a fitted piece is useless; empty if there is none."""
        if len(clip) < self.frames:
            return f"{counted(len(clip), 'frame')}, fewer than the {self.frames} that an example needs"
        changes = np.abs(np.diff(clip.astype(np.int16), axis=0)).mean((1, 2, 3))
        if changes.max() <= STANDS:
            return "nothing moves in it"
        flows = (changes > STANDS) & (changes < JUMPS)
        if flows.mean() <= SLIDES and changes.max() >= JUMPS:
            return "a slide show: its pictures stand, and change at once"
        return ""

    def _nothing_left(self) -> str:
        piece, why = next(iter(self.skipped.items()))
        return f"{piece.path}: {why}; none of {counted(len(self.pieces), 'piece')} of film can be used"


def read_piece(piece: Piece, config: VideoConfig) -> np.ndarray:
    """Frames of a piece as the model takes them, uint8 (T, height, width, channels).

    Raises:
        InputError: it cannot be read.
    """
    glow, (path, *span) = config.glow, piece
    size = (glow.height, glow.width)
    is_video = path.is_file() and media.is_video(path, media.TRAINING_LIMITS)
    whole = media.read_clip(path, media.TRAINING_LIMITS, size=size, span=(span[0], span[1]))
    frames = media.fit(whole, height=size[0], width=size[1], channels=glow.channels, fps=config.fps)
    if is_video:
        return frames
    rate = config.fps or whole.fps or USUAL_RATE
    return frames[round(span[0] * rate) : None if span[1] == math.inf else round(span[1] * rate)]


def find_film(paths: Sequence[Path]) -> list[Path]:
    """Clips among files and below folders; a folder that directly holds pictures is one. Copies are left out.

    Raises:
        InputError: something is missing, or there is no clip.
    """
    found: list[Path] = []
    for path in paths:
        media.require_exists(path)
        if not path.is_dir():
            if path.suffix.lower() not in CLIP_SUFFIXES:
                still = "a single picture, in which nothing moves" if _is_picture(path) else "no video"
                _log.warning("skipped %s: %s", printable(str(path)), still)
                continue
            found.append(path)
        elif _is_frames(path):
            found.append(path)
        else:
            found += [path / name for name in find_clips(path, "test")]
    found = list(dict.fromkeys(path.resolve() for path in found))
    if not found:
        raise InputError(f"{paths[0]}: no clip to teach from; give videos, arrays or folders of frames")
    return _without_copies(found)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in media.IMAGE_SUFFIXES


def _is_frames(folder: Path) -> bool:
    files = media.list_media(folder)
    return bool(files) and all(_is_picture(file) for file in files)


def _without_copies(paths: Sequence[Path]) -> list[Path]:
    """``paths`` without files whose bytes another has: one of two copies might be held out."""
    sizes = [path.stat().st_size if path.is_file() else -1 for path in paths]
    kept: dict[tuple[int, str], Path] = {}
    for path, size in zip(paths, sizes, strict=True):
        alone = size < 0 or sizes.count(size) == 1
        key = size, str(path) if alone else file_sha256(path)
        if key in kept:
            _log.warning("skipped %s: a copy of %s", printable(str(path)), printable(kept[key].name))
        kept.setdefault(key, path)
    return list(kept.values())


def measure_film(paths: Sequence[Path], rate: float | None) -> dict[Path, float]:
    """Seconds of each clip by its header; what cannot be read is named (logging) and left out.

    Args:
        rate: frames per second of clips without a clock.

    Raises:
        InputError: none can be read; names the first.
    """
    seconds: dict[Path, float] = {}
    faults: list[str] = []
    for path in paths:
        try:
            found = media.probe(path, media.TRAINING_LIMITS)
        except InputError as error:
            faults.append(str(error))
            why = str(error).removeprefix(printable(f"{path.name}: "))
            _log.warning("skipped %s: %s", printable(str(path)), why)
            continue
        seconds[path] = found.frames / (found.fps or rate or USUAL_RATE)
    if not seconds:
        raise InputError(faults[0])
    return seconds


def divide_film(seconds: Mapping[Path, float], least: float) -> tuple[dict[Piece, float], dict[Piece, float]]:
    """Pieces to train on and pieces held out, each with its seconds: no frame is in both.

    Of four clips or more 15% are held out whole, chosen by hash of their names below the folder that holds
    all; of fewer the end of each, after a gap.

    Args:
        least: seconds that a held-out clip needs.

    Raises:
        InputError: too little film; names a file, and says how much is needed.
    """
    root = os.path.commonpath([path.parent for path in seconds])
    names = {path: path.relative_to(root).as_posix() for path in seconds}
    long = [names[path] for path, length in seconds.items() if length >= least]
    train: dict[Piece, float] = {}
    held: dict[Piece, float] = {}
    if len(long) >= WHOLE_CLIPS:
        count = min(max(1, round(HELD_OUT * len(long))), MOST_HELD_OUT)
        chosen = choose_split(long, "validation", "film", count, "clip")
        for path, length in seconds.items():
            (held if names[path] in chosen else train).update(_cut(path, 0.0, length, last=True))
        return train, held
    for path, length in seconds.items():
        end = length - max(HELD_OUT * length, 1.2 * least)
        upto = end - min(1.0, GAP * length)
        if upto >= least:
            train |= _cut(path, 0.0, upto)
            held |= _cut(path, end, length, last=True)
        else:
            train |= _cut(path, 0.0, length, last=True)
    if not held:
        path, length = max(seconds.items(), key=lambda item: item[1])
        need = f"give a clip of {math.ceil(2.5 * least)} s, or {WHOLE_CLIPS} of {math.ceil(least)} s"
        raise InputError(f"{path}: {length:.1f} s of film, too little to teach from; {need}")
    return train, held


def _cut(path: Path, start: float, stop: float, *, last: bool = False) -> dict[Piece, float]:
    """Pieces of about ``PIECE_SECONDS``; the ``last`` one of a clip goes on to its end."""
    count = max(1, round((stop - start) / PIECE_SECONDS))
    edges = [float(edge) for edge in np.linspace(start, stop, count + 1)]
    ends = [*edges[1:-1], math.inf if last else stop]
    return {Piece(path, low, high): (stop - start) / count for low, high in zip(edges, ends, strict=False)}
