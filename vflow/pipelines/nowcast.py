"""Members of a rain forecast. Noise is named by (seed, content of the given frames, pair, block, level).

Members come in pairs of opposite noise (antithetic sampling, Hammersley & Morton 1956): each is a sample of
the model, and together they estimate means and probabilities better than independent ones would. Variances
they do not: a pair lies on both sides of the mean, so Σ (x − mean)² / (N − 1) is up to N / (N − 1) times too
large, for two members twice. Frames ahead are drawn in blocks, as many at once as the model knows; a further
block is given what was drawn. Members run in chunks of one fixed size, so member k is the same whatever the
number of members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vflow.config import NowcastConfig
from vflow.data.motion import Advected, advect, drift_offsets, estimate_motion
from vflow.data.rain import RainSequence, least_level, to_rate
from vflow.errors import InputError, counted
from vflow.models import Nowcast
from vflow.models.nowcast import planes
from vflow.optical_flow import check_size
from vflow.pipelines.common import (
    Counts,
    Temperature,
    as_array,
    config_of,
    device_of,
    temperature_or_suggested,
)
from vflow.randomness import content_hash, normal
from vflow.tasks.video.settings import NowcastSettings, PredictSettings

CHUNK = 4
MEMBERS, FRAMES = (NowcastSettings.model_fields[name].default for name in ("num_samples", "num_frames"))
"""Members and frames of a forecast, unless others are asked for."""


@dataclass(frozen=True)
class Ensemble:
    """Members of a forecast.

    frames: uint8 (N, T, H, W), grey level round(255 · ln(1 + R) / ln 101); 0 where nothing is known.
    valid: bool (H, W): where something is known. nonfinite: values that had to be replaced by dry.
    """

    frames: np.ndarray
    valid: np.ndarray
    nonfinite: int = 0

    @property
    def rates(self) -> np.ndarray:
        """mm/h, float32 (N, T, H, W), NaN where nothing is known."""
        rates = to_rate(self.frames)
        rates[..., ~self.valid] = np.nan
        return rates

    def probability(self, threshold: float) -> np.ndarray:
        """Share of members with ``threshold`` mm/h or more, float32 (T, H, W), NaN where nothing is known."""
        share: np.ndarray = (self.frames >= least_level(threshold)).mean(0, dtype=np.float32)
        share[..., ~self.valid] = np.nan
        return share


class Window(NamedTuple):
    """Window of the frames ahead: it covers the given area in all of them (see vflow.data.motion)."""

    origin: tuple[int, int]
    offsets: np.ndarray
    size: tuple[int, int]

    @classmethod
    def around(cls, area: tuple[int, int], offsets: np.ndarray, multiple: int) -> Window:
        """The smallest window, of sides that ``multiple`` divides, that covers ``area`` at ``offsets``."""
        first, last = offsets.min(0), offsets.max(0)
        needed = np.array(area) + last - first
        size = -(-needed // multiple) * multiple
        return cls((int(-last[0]), int(-last[1])), offsets, (int(size[0]), int(size[1])))

    def cut(self, drawn: np.ndarray, area: tuple[int, int]) -> np.ndarray:
        """The given area in each frame ahead: (…, T, h, w) → (…, T, H, W)."""
        parts = []
        for lead, (down, right) in enumerate(self.offsets):
            top, left = -self.origin[0] - down, -self.origin[1] - right
            parts.append(drawn[..., lead, top : top + area[0], left : left + area[1]])
        return np.stack(parts, -3)


def nowcast_config(model: nn.Module) -> NowcastConfig:
    """The model's configuration.

    Raises:
        CheckpointError: the model does not nowcast rain.
    """
    return config_of(model, NowcastConfig)


def nowcast(
    model: nn.Module,
    frames: np.ndarray | Tensor,
    *,
    valid: np.ndarray | Tensor | None = None,
    num_frames: int = FRAMES,
    num_samples: int = MEMBERS,
    temperature: Temperature | None = None,
    seed: int = 0,
) -> Ensemble:
    """Draw members of a rain forecast at the size of ``frames``, the model's minutes apart.

    Args:
        model: from ``vflow.load``.
        frames: uint8 (n, H, W), newest last, grey levels round(255 · ln(1 + R) / ln 101) of R in mm/h, as
            ``vflow.data.rain.to_levels(R)`` gives them; the last ``model.config.context`` are used.
        valid: bool (H, W), where they are known; None: everywhere.
        num_frames: frames ahead, 1..1000.
        num_samples: members, 1..10000.
        temperature: scale of the noise, 0..2; None: as the checkpoint suggests.
        seed: names the noise.

    Returns:
        Members as grey levels (``frames``) or mm/h (``rates``).

    Raises:
        InputError: too few frames, too small ones, rates in place of grey levels, or nothing known.
            CheckpointError: another kind of model. ConfigError: a setting is out of range.

    Examples:
        >>> rates = np.zeros((4, 64, 64))
        >>> rates[:, 24:40, 24:40] = 5.0  # mm/h
        >>> ensemble = vflow.nowcast(vflow.load("rain"), to_levels(rates), num_frames=2, num_samples=2)
        >>> ensemble.rates.shape
        (2, 2, 64, 64)
    """
    temperature = temperature_or_suggested(temperature, nowcast_config(model))
    settings = PredictSettings.of(
        num_frames=num_frames, num_samples=num_samples, temperature=temperature, seed=seed
    )
    known = None if valid is None else as_array(valid, "valid")
    sequence = RainSequence.of(as_array(frames, "frames"), known)
    return draw_ensemble(model, sequence.frames, settings, valid=sequence.valid)


def given_frames(frames: np.ndarray, context: int, start: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The ``context`` frames of (T, H, W) from ``start`` on, or the last, and all that follow.

    Raises:
        InputError: ``start`` is too late.
    """
    first = len(frames) - context if start is None else start
    if first + context > len(frames):
        most = len(frames) - context
        raise InputError(f"start {start}: too late in {len(frames)} frames of radar; {most} at most")
    return frames[first : first + context], frames[first + context :]


def check_given(frames: np.ndarray, config: NowcastConfig, source: str = "frames") -> None:
    """Refuse frames (n, H, W) that a nowcast cannot start from.

    Raises:
        InputError: too few, or too small; names ``source``.
    """
    if len(frames) < config.context:
        found = counted(len(frames), "frame")
        raise InputError(f"{source}: {found}; a nowcast needs the last {config.context}: add earlier ones")
    check_size(frames, source)


def draw_ensemble(
    model: nn.Module,
    frames: np.ndarray,
    settings: PredictSettings,
    *,
    valid: np.ndarray | None = None,
    motion: np.ndarray | None = None,
    pairs: bool = True,
) -> Ensemble:
    """All members as ``settings`` say. Arguments and errors are those of ``iterate_members``."""
    parts = list(iterate_members(model, frames, settings, valid=valid, motion=motion, pairs=pairs))
    known = np.ones(parts[0].frames.shape[-2:], bool) if valid is None else np.asarray(valid, bool)
    nonfinite = sum(part.counts.nonfinite for part in parts)
    return Ensemble(np.concatenate([part.frames for part in parts]), known, nonfinite)


class Members(NamedTuple):
    """Members ``first``, ``first + 1``, …: uint8 (n, T, H, W); and counts of values replaced by dry."""

    first: int
    frames: np.ndarray
    counts: Counts

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self.frames)


@torch.no_grad()
def iterate_members(
    model: nn.Module,
    frames: np.ndarray,
    settings: PredictSettings,
    *,
    valid: np.ndarray | None = None,
    motion: np.ndarray | None = None,
    pairs: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Members]:
    """Members at the size of ``frames``, chunk by chunk; ends early when ``should_stop()`` is true.

    Args:
        frames: uint8 (n, H, W) grey levels, newest last; the last ``config.context`` are used.
        valid: bool (H, W), where they are known; None: everywhere.
        motion: (x, y) in pixels per frame, (2, H/4, W/4); estimated from the frames when not given.
        pairs: members 2k and 2k + 1 have opposite noise; False: all are independent.

    Raises:
        InputError: too few frames, too small ones, rates in place of grey levels, or nothing known.
            CheckpointError: ``model`` is of another kind.
    """
    config = nowcast_config(model)
    assert isinstance(model, Nowcast)
    sequence = RainSequence.of(np.asarray(frames)[-config.context :], valid)
    given, known = sequence.frames, sequence.valid
    check_given(given, config)
    field = estimate_motion(given) if motion is None else motion
    drawing = _Drawing(model, field, settings, content_hash(given), pairs)
    first = drawing.decoder(given, known)
    ahead = settings.num_frames
    for start in range(0, settings.num_samples, CHUNK):
        drawn, bad = drawing.members(first, 0, range(start, min(start + CHUNK, settings.num_samples)))
        for block in range(1, -(-ahead // model.leads)):
            parts = []
            for member, past in enumerate(drawn, start):
                if should_stop():
                    return
                newest = np.concatenate([given, past])[-config.context :]
                decode = drawing.decoder(newest, np.ones_like(known))
                part, more = drawing.members(decode, block, range(member, member + 1))
                parts.append(part)
                bad += more
            drawn = np.concatenate([drawn, np.concatenate(parts)], 1)
        yield Members(start, drawn[:, :ahead] * known, Counts(nonfinite=bad))
        if should_stop():
            return


def ceiling(advected: Advected, radius: int) -> np.ndarray:
    """Highest grey levels to be drawn, float32 (T, h, w): those of the given frames within ``radius`` pixels.

    Noise in log rain has tails that no radar shows; the bound cuts them. Where the newest frame says nothing
    so near, it is the highest of all. 255 for a radius of 0.
    """
    if not radius:
        return np.full_like(advected.known, 255)
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    highest = np.stack([cv2.dilate(level.max(0), square) for level in advected.level])
    near = np.stack([cv2.dilate(known, square) for known in advected.known])
    return np.where(near > 0, highest, advected.level.max())


class BlockDecoder:
    """Frames ahead of given ones, as many as the model draws at once, as a function of the flow's noise.

    Args:
        given: uint8 (n, H, W), the model's ``context`` frames. known: bool (H, W), where they are known.
        motion: (x, y) in pixels per frame, (2, H/4, W/4); estimated when not given.

    Attributes:
        shapes: (C, h, w) of each level's noise, fine to coarse.
    """

    def __init__(
        self, model: Nowcast, given: np.ndarray, known: np.ndarray, motion: np.ndarray | None = None
    ) -> None:
        field = estimate_motion(given) if motion is None else motion
        self.model, self.area = model, (given.shape[1], given.shape[2])
        offsets = drift_offsets(field, given[-1], model.leads)
        self.window = Window.around(self.area, offsets, 2**model.config.glow.levels)
        advected = advect(given, known, field, (0, 0), self.window.origin, offsets, self.window.size)
        self.ceiling = ceiling(advected, model.config.bound_radius)
        self.device = device_of(model)
        with torch.no_grad():
            self.condition = model.features(torch.from_numpy(planes(*advected))[None].to(self.device))
        self.shapes = model.latent_shapes_at(*self.window.size)

    @torch.no_grad()
    def __call__(self, eps: Sequence[Tensor], temperature: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Members uint8 (N, T, H, W) of noise (N, C, h, w) per level; counts (N,) of values not finite."""
        many = self.condition.repeat(len(eps[0]))
        made, _ = self.model.generate(many, [e.to(self.device) for e in eps], temperature)
        levels = made.nan_to_num(0.0, 0.0, 0.0).clamp_min(0)
        levels = torch.minimum(levels, torch.from_numpy(self.ceiling).to(self.device)).to(torch.uint8)
        faults = self.window.cut((~made.isfinite()).cpu().numpy(), self.area)
        return self.window.cut(levels.cpu().numpy(), self.area), faults.sum((1, 2, 3))


class _Drawing(NamedTuple):
    """Parts that all members of a forecast share."""

    model: Nowcast
    motion: np.ndarray
    settings: PredictSettings
    key: str
    pairs: bool

    def decoder(self, given: np.ndarray, known: np.ndarray) -> BlockDecoder:
        """The frames after ``given``, as many at once as the model knows."""
        return BlockDecoder(self.model, given, known, self.motion)

    def members(self, decode: BlockDecoder, block: int, which: range) -> tuple[np.ndarray, int]:
        """``which`` members of a block, up to a chunk, uint8 (N, T, H, W); count of bad values."""
        chunk = CHUNK if block == 0 else 1  # 1 where each member has a past of its own
        padded = range(which.start, which.start + chunk)
        eps = [self._noise(shape, padded, block, level) for level, shape in enumerate(decode.shapes)]
        frames, nonfinite = decode(eps, self.settings.levels(len(decode.shapes)))
        return frames[: len(which)], int(nonfinite[: len(which)].sum())

    def _noise(self, shape: tuple[int, int, int], members: range, block: int, level: int) -> torch.Tensor:
        """Standard-normal noise of ``members``; that of pairs is opposite (antithetic sampling)."""
        named = (divmod(m, 2) if self.pairs else (m, 0) for m in members)
        seed, key = self.settings.seed, self.key
        return torch.stack(
            [(-1) ** odd * normal(shape, seed, key, name, block, level) for name, odd in named]
        )


class Area(NamedTuple):
    """A rectangle of a radar picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def first_reached(frames: np.ndarray, area: Area, threshold: float) -> np.ndarray:
    """Index of the first frame with ``threshold`` mm/h or more anywhere in ``area``; −1: none has.

    uint8 grey levels (…, T, H, W) → int64 (…).
    """
    reached = (frames[(..., *area.slices)] >= least_level(threshold)).any((-2, -1))
    first: np.ndarray = np.where(reached.any(-1), reached.argmax(-1), -1)
    return first
