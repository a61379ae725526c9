"""Training windows of rain radar: frames advected to where the rain will be, and the frames that came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vflow.config import NowcastConfig
from vflow.config.models import RAIN_LOG_MAXIMUM
from vflow.data.motion import Advected, PairMotion, advect, combine, drift_offsets
from vflow.data.rain import RainSequence, read_npz
from vflow.errors import InputError
from vflow.randomness import generator

MARGIN = 80  # pixels of surroundings kept around a window: what comes from farther away is unknown
CANDIDATES = 6  # places drawn for a window; the one with most rain is likeliest to be taken
HIDDEN_SIDE = 0.12  # probability, per side, that the given frames end inside the window
GAIN = 0.7  # rain rates are scaled by up to exp(± this)


class Window(NamedTuple):
    """Given frames advected into a window, and the frames ahead: uint8 and bool (T, h, w)."""

    given: Advected
    targets: np.ndarray
    observed: np.ndarray


class Event:
    """A radar sequence and the motion between its frames; padded, so that windows may cross its edges."""

    def __init__(self, sequence: RainSequence, context: int, leads: int) -> None:
        border = ((MARGIN, MARGIN), (MARGIN, MARGIN))
        self.frames = np.pad(sequence.frames, ((0, 0), *border))
        self.valid = np.pad(sequence.valid, border)
        self.starts = range(context, len(sequence.frames) - leads + 1)
        self.context = context
        self._pairs = [PairMotion.between(before, after) for before, after in pairwise(sequence.frames)]

    def motion(self, start: int) -> np.ndarray:
        """(x, y) in pixels per frame from the frames before ``start``, a quarter as fine as they are."""
        return combine(self._pairs[start - self.context : start - 1])


class RainWindows:
    """Windows addressed by index: event by event in turn; time, place and view are functions of (key, index).

    Args:
        folder: npz files of radar sequences.
        config: size of windows and numbers of frames.
        names: stems of the files to use.
        size: examples per epoch.
        vary: turn, mirror, scale and hide (training), or only cut (validation). Windows that are not square
            turn by halves.

    Raises:
        InputError: a file cannot be used, is too short, or its frames are smaller than a window.
    """

    def __init__(
        self, folder: str | Path, config: NowcastConfig, names: Sequence[str], size: int, vary: bool
    ) -> None:
        self.config, self.size, self.vary = config, size, vary
        self.events = [self._open(Path(folder) / f"{name}.npz") for name in names]

    def _open(self, path: Path) -> Event:
        event = open_event(path, self.config.context, self.config.glow.channels, self.config.minutes)
        height, width = (side - 2 * MARGIN for side in event.valid.shape)
        side_h, side_w = self.config.glow.height, self.config.glow.width
        if height < side_h or width < side_w:
            raise InputError(f"{path}: frames of {width}×{height} pixels; a window needs {side_w}×{side_h}")
        return event

    def __len__(self) -> int:
        return self.size

    def example(self, index: int, key: tuple[int, ...]) -> Window:
        """Window ``index``, placed by the random numbers that ``key`` names."""
        random = generator("rain window", *key, index)
        event = self.events[index % len(self.events)]
        start = int(random.choice(event.starts))
        row, column = self._place(event, start, random)
        if not self.vary:
            return self._cut(event, start, row, column, gain=1.0, view=None)
        view = hidden_sides((self.config.glow.height, self.config.glow.width), random)
        window = self._cut(event, start, row, column, math.exp(random.uniform(-GAIN, GAIN)), view)
        quarters = int(random.integers(4))
        if self.config.glow.height != self.config.glow.width:
            quarters -= quarters % 2
        for _ in range(quarters):
            window = turned(window)
        return mirrored(window) if random.random() < 0.5 else window

    def _place(self, event: Event, start: int, random: np.random.Generator) -> tuple[int, int]:
        """Top-left corner, in the padded frames, of a window with rain in it, more often than not."""
        height, width = event.valid.shape
        side_h, side_w = self.config.glow.height, self.config.glow.width
        rows = random.integers(MARGIN, height - MARGIN - side_h, CANDIDATES, endpoint=True)
        columns = random.integers(MARGIN, width - MARGIN - side_w, CANDIDATES, endpoint=True)
        weights = []
        for row, column in zip(rows, columns, strict=True):
            area = (slice(row, row + side_h, 4), slice(column, column + side_w, 4))
            rain = float(event.frames[start - 1][area].mean())
            weights.append((rain + 1) * max(0.02, float(event.valid[area].mean())))
        chosen = random.choice(CANDIDATES, p=np.array(weights) / np.sum(weights))
        return int(rows[chosen]), int(columns[chosen])

    def _cut(
        self, event: Event, start: int, row: int, column: int, gain: float, view: tuple[slice, slice] | None
    ) -> Window:
        """The window at (row, column) of the padded frames; of what is given only ``view`` is known."""
        height, width = self.config.glow.height, self.config.glow.width
        context, leads = self.config.context, self.config.glow.channels
        top, left = row - MARGIN, column - MARGIN
        around = (slice(top, row + height + MARGIN), slice(left, column + width + MARGIN))
        table = scaling(gain)
        motion = event.motion(start)
        given = table[event.frames[start - context : start][(slice(None), *around)]]
        known = event.valid[around]
        if view is not None:
            seen = np.zeros_like(known)
            seen[view] = True
            known = known & seen
        inner = tuple(
            slice((side - MARGIN) // 4, (side - MARGIN + s) // 4)
            for side, s in ((row, height), (column, width))
        )
        center = (slice(MARGIN, MARGIN + height), slice(MARGIN, MARGIN + width))
        offsets = drift_offsets(motion[(slice(None), *inner)], given[-1][center], leads).clip(-MARGIN, MARGIN)
        corner, origin = (top - MARGIN, left - MARGIN), (MARGIN, MARGIN)
        advected = advect(given, known, motion, corner, origin, offsets, (height, width))
        targets, observed = [], []
        for lead, (down, right) in enumerate(offsets):
            place = (slice(row + down, row + down + height), slice(column + right, column + right + width))
            targets.append(event.frames[start + lead][place])
            observed.append(event.valid[place])
        return Window(advected, table[np.stack(targets)], np.stack(observed))


@lru_cache(maxsize=32)
def open_event(path: Path, context: int, leads: int, minutes: float) -> Event:
    """The event in an npz file; InputError if it is too short, or its frames are not ``minutes`` apart."""
    sequence = read_npz(path)
    sequence.check_minutes(minutes, str(path))
    if len(sequence.frames) < context + leads:
        raise InputError(f"{path}: {len(sequence.frames)} frames; a window needs {context + leads}")
    return Event(sequence, context, leads)


def event_names(folder: str | Path) -> list[str]:
    """Stems of the npz files in ``folder``, sorted; InputError if there are none."""
    names = sorted(path.stem for path in Path(folder).glob("*.npz"))
    if not names:
        raise InputError(f"{folder}: no npz files of radar sequences in it; give the folder that holds them")
    return names


def read_folder(folder: str | Path, names: Sequence[str] | None = None) -> dict[str, RainSequence]:
    """The radar sequences in ``folder`` by stem; ``names``: only those. InputError if there are none."""
    found = event_names(folder)
    missing = sorted(set(names or ()) - set(found))
    if missing:
        raise InputError(f"{folder}: no {missing[0]}.npz in it; it has {', '.join(found)}")
    return {name: read_npz(Path(folder) / f"{name}.npz") for name in found if names is None or name in names}


def scaling(gain: float) -> np.ndarray:
    """Table of grey levels, uint8 (256,), that multiplies rain rates by ``gain``; rain stays rain."""
    rates = gain * np.expm1(np.arange(256) * (RAIN_LOG_MAXIMUM / 255))
    table = np.rint(np.log1p(rates) * (255 / RAIN_LOG_MAXIMUM)).clip(0, 255).astype(np.uint8)
    table[1:] = np.maximum(table[1:], 1)
    return table


def hidden_sides(size: tuple[int, int], random: np.random.Generator) -> tuple[slice, slice]:
    """Visible part of a window of ``size`` with its margins: sides may end inside, as at a picture's edge."""
    bounds = []
    for side in size:
        first, last = 0, side + 2 * MARGIN
        if random.random() < HIDDEN_SIDE:
            first = MARGIN + int(random.integers(-side // 8, side // 3))
        if random.random() < HIDDEN_SIDE:
            last = side + MARGIN - int(random.integers(-side // 8, side // 3))
        bounds.append(slice(first, max(first + 1, last)))
    return bounds[0], bounds[1]


def turned(window: Window) -> Window:
    """The window turned by a quarter to the left: (row, column) → (side − 1 − column, row)."""
    given = Advected(*(np.rot90(field, axes=(-2, -1)) for field in window.given))
    x, y = given.motion
    return Window(
        given._replace(motion=np.stack([y, -x])),
        np.rot90(window.targets, axes=(-2, -1)),
        np.rot90(window.observed, axes=(-2, -1)),
    )


def mirrored(window: Window) -> Window:
    """The window with left and right exchanged."""
    given = Advected(*(field[..., ::-1] for field in window.given))
    x, y = given.motion
    return Window(
        given._replace(motion=np.stack([-x, y])), window.targets[..., ::-1], window.observed[..., ::-1]
    )
