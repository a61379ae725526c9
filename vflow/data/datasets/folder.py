"""Clips from any folder of videos or of frame folders."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import numpy as np

from vflow.config import ActionsConfig
from vflow.data import media
from vflow.data.actions import actions_beside
from vflow.data.datasets.cache import CACHE_BYTES, ClipCache
from vflow.data.datasets.splits import Split, choose_split
from vflow.errors import InputError, counted, printable
from vflow.randomness import generator

CLIP_SUFFIXES = (*media.VIDEO_SUFFIXES, ".gif", *media.ARRAY_SUFFIXES)
LONGER_CLIPS = "raise model.fps, or add longer clips"
_SPLIT_FOLDERS = ("train", "test", "val", "valid", "validation")
_log = logging.getLogger(__name__)


class VideoFolder:
    """Clips cut from the videos (mp4, avi, mkv, webm, mov, gif), arrays or frame folders under a folder.

    A folder that holds pictures is one clip; others are searched. Each clip is resampled to ``fps``, cropped
    to the aspect of ``size`` and scaled. Training and validation cut at a random start (a
    function of key and index), with as many examples as clips of ``frames`` fit in; "test" takes each file
    once, from its start.

    A file that cannot be read, or is too short, is reported once (logging) and skipped; see ``skipped``. One
    that shows it only while decoding is replaced by the next clip. Of training clips a line says how many are
    used, where some are not.

    Args:
        path: the folder.
        frames: per example.
        size: (height, width, channels), 1 (grey) or 3 of the latter.
        fps: rate that clips with a clock are resampled to; None keeps their own.
        split: "train" and "validation" divide the files 95 : 5 by hash of their names; "test" is all.
        held_out: number of files for validation, in place of 5%.
        remedy: for clips that are all too short, as the error ends.
        actions: files with actions of this kind lie beside the clips (``actions_beside``); a clip without is
            skipped.

    Attributes:
        lengths: frames at ``fps`` of each usable clip, as headers have it.

    Raises:
        InputError: no clip found, none readable, or all too short; the message says what to change.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        frames: int,
        size: tuple[int, int, int],
        fps: float | None,
        split: Split,
        held_out: int | None = None,
        remedy: str = LONGER_CLIPS,
        actions: ActionsConfig | None = None,
    ) -> None:
        self.path, self.frames, self.fps, self.split = Path(path), frames, fps, split
        self.size = size
        self.skipped: dict[str, str] = {}
        self._wanted = actions
        self._rows: dict[str, np.ndarray] = {}
        self._headers: dict[str, tuple[int, float | None]] = {}
        self._cache, self._remedy = ClipCache(CACHE_BYTES), remedy
        self._use(self._probe(choose_split(find_clips(self.path, split), split, str(path), held_out, "clip")))

    def __len__(self) -> int:
        return self._length

    def with_frames(self, frames: int) -> VideoFolder:
        """Same folder with examples of ``frames`` frames, as many as now or more, without reading it again.

        Raises:
            InputError: all clips are too short.
            ValueError: fewer frames, for which clips may have been left out.
        """
        if frames < self.frames:
            raise ValueError(f"frames {frames}: open the folder anew for fewer than {self.frames}")
        other = copy.copy(self)
        other.frames, other.skipped, other._cache = frames, dict(self.skipped), ClipCache(CACHE_BYTES)
        long = {name: count for name, count in self.lengths.items() if count >= frames}
        if not long:
            raise InputError(other._all_too_short(max(self.lengths.values())))
        for name, count in self.lengths.items():
            if name not in long:
                other._skip(name, other._too_short(name, count, *self._headers[name]))
        other._use(long)
        return other

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Example ``index`` cut as ``key`` says: uint8 (frames, height, width, channels).

        Raises:
            InputError: no clip of the folder can be decoded.
        """
        return self.with_actions(index, key)[0]

    def with_actions(self, index: int, key: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None]:
        """The same, and its frames' actions, float32 (frames, A); None where none were asked for."""
        if not 0 <= index < self._length:
            raise IndexError(f"example {index} of {self._length}")
        for offset in range(len(self.names)):
            name = self.names[(index + offset) % len(self.names)]
            clip = self._clip(name)
            if clip is not None:
                last = len(clip) - self.frames
                start = 0 if self.split == "test" else int(generator("clip", *key, index).integers(last + 1))
                part, rows = slice(start, start + self.frames), self._rows.get(name)
                return clip[part].copy(), None if rows is None else rows[part]
        raise InputError(self._nothing_left())

    def whole(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """A clip of ``names`` and its actions, uint8 (T, H, W, C) and float32 (T, A); None if it has none."""
        clip, rows = self._clip(name), self._rows.get(name)
        return None if clip is None or rows is None else (clip, rows)

    def _use(self, lengths: dict[str, int]) -> None:
        self.lengths, self.names = lengths, list(lengths)
        cut = sum(lengths.values()) // (len(lengths) * self.frames)
        self._length = len(lengths) * (1 if self.split == "test" else max(1, cut))

    def _probe(self, names: list[str]) -> dict[str, int]:
        """Frames per usable clip, from headers; the others are reported."""
        lengths: dict[str, int] = {}
        longest, short = 0, False
        for name in names:
            try:
                own, fps = media.probe(self.path / name, media.TRAINING_LIMITS)
                self._read_actions(name, own, fps)
            except InputError as error:
                self._skip(name, str(error))
                continue
            self._headers[name] = own, fps
            count = len(media.retime(own, fps, self.fps))
            longest = max(longest, count)
            if count < self.frames:
                short = True
                self._skip(name, self._too_short(name, count, own, fps))
            else:
                lengths[name] = count
        if lengths:
            if self.split == "train" and len(lengths) < len(names):
                remedy = f"; for the short ones, {self._remedy}" if short else ""
                used = f"{len(lengths)} of {len(names)} training clips used{remedy}"
                _log.warning("%s: %s", printable(str(self.path)), used)
            return lengths
        if longest:
            raise InputError(self._all_too_short(longest))
        raise InputError(self._nothing_left())

    def _read_actions(self, name: str, count: int, fps: float | None) -> None:
        """Keep the actions of a clip of ``count`` frames, where they are wanted."""
        if self._wanted is None:
            return
        actions = actions_beside(self.path / name, self._wanted.size, self._wanted.names)
        actions.check_count(count, name)
        self._rows[name] = actions.at(media.retime(count, fps, self.fps), fps)

    def _clip(self, name: str) -> np.ndarray | None:
        """The whole clip, fitted: uint8 (T, height, width, channels); None if it cannot be used."""
        if name in self.skipped:
            return None
        clip = self._cache.get(name)
        if clip is not None:
            return clip
        height, width, channels = self.size
        try:
            read = media.read_clip(self.path / name, media.TRAINING_LIMITS, size=(height, width))
        except InputError as error:
            self._skip(name, str(error))
            return None
        clip = media.fit(read, height=height, width=width, channels=channels, fps=self.fps)
        if len(clip) < self.frames:
            self._skip(name, self._too_short(name, len(clip), len(read.frames), read.fps))
            return None
        self._cache.put(name, clip)
        return clip

    def _skip(self, name: str, why: str) -> None:
        if name not in self.skipped:
            self.skipped[name] = why
            why = why.removeprefix(printable(f"{Path(name).name}: "))
            _log.warning("skipped %s: %s", printable(str(self.path / name)), why)

    def _too_short(self, name: str, count: int, own: int, fps: float | None) -> str:
        """Line on a clip of ``own`` frames at ``fps``, which are ``count`` at the model's rate."""
        frames = counted(own, "frame")
        if count != own:
            frames += f" at {fps:.4g} fps, {count} at the model's {self.fps:g} fps"
        return f"{Path(name).name}: {frames}, fewer than the {self.frames} an example needs"

    def _all_too_short(self, longest: int) -> str:
        rate = f" at {self.fps:g} fps" if self.fps else ""
        return (
            f"{self.path}: every {self._kind} clip is shorter than {self.frames} frames "
            f"(longest: {longest}{rate}); {self._remedy}"
        )

    @property
    def _kind(self) -> str:
        return "training" if self.split == "train" else self.split

    def _nothing_left(self) -> str:
        first = next(iter(self.skipped.values()))
        return f"{self.path}: no {self._kind} clip can be used; the first of {len(self.skipped)}: {first}"


def find_clips(root: Path, split: Split) -> list[str]:
    """Clips under ``root`` as relative POSIX paths, in natural order.

    Pictures in ``root`` itself are no clip; a warning says so as training data are opened.

    Raises:
        InputError: missing, a file, without clips, or holding splits of its own.
    """
    own = [n for n in _SPLIT_FOLDERS if (root / n).is_dir()]
    if len(own) > 1:
        parts = ", ".join(own)
        raise InputError(f"{root}: holds splits of its own ({parts}); give one, such as {root / own[0]}")
    found: list[str] = []
    pictures = 0
    pending = [root]
    while pending:
        folder = pending.pop()
        files = media.list_media(folder)
        films = {f.stem for f in files if f.suffix.lower() in media.VIDEO_SUFFIXES}
        beside = {f for f in files if f.suffix == ".npz" and f.stem in films}  # actions, and no clips
        clips = (f for f in files if f.suffix.lower() in CLIP_SUFFIXES and f not in beside)
        found += [f.relative_to(root).as_posix() for f in clips]
        stills = sum(f.suffix.lower() in media.STILL_SUFFIXES for f in files)
        if folder == root:
            pictures = stills
        elif stills:
            found.append(folder.relative_to(root).as_posix())
        inside = (f for f in folder.iterdir() if not f.name.startswith("."))
        pending += [f for f in inside if f.is_dir() and not f.is_symlink()]
    remedy = "put the frames of each clip into a folder in it"
    unused = f"pictures directly in it ({pictures}) are not used; {remedy}"
    if not found and pictures:
        raise InputError(f"{root}: no clips found; {unused}")
    if not found:
        raise InputError(
            f"{root}: no clips found; put videos there (mp4, avi, mkv, webm, gif) or folders of frames"
        )
    if pictures and split == "train":
        _log.warning("%s: %s", printable(str(root)), unused)
    return sorted(found, key=media.natural_key)
