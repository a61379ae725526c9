"""Video models: likelihood models of each frame given the frames before it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from vflow.bijections.base import Bijection
from vflow.bijections.integer_haar import IntegerHaar
from vflow.bijections.pixel_map import LEVELS, HistogramMap, PixelMap, Scaled
from vflow.config import PriorConfig, VideoConfig, WaveletPriorConfig
from vflow.models.base import Condition, LikelihoodModel, Sampled
from vflow.models.dequantizer import build_dequantizer
from vflow.models.glow import Glow, Shapes, latent_shapes
from vflow.nn.actions import ActionEncoder
from vflow.nn.modules import ModuleList
from vflow.priors.temporal import TemporalPrior

Pyramid = tuple[Tensor, ...]


class VideoBatch(NamedTuple):
    """One training batch; ``first`` is the model's ``min_context``, targets are frames first … T−1.

    frames: uint8 (B, T, C, H, W), context first.
    eps: float32 (B, T − first, C, H, W), standard normal: dequantisation noise of the targets.
    window: int64 (B, T − first), past frames each target may see, 1 … min(t, context).
    corrupted_past: uint8 (B, T − 1, C, H, W), what targets see of frames 0 … T − 2; None: those frames.
    sample_eps: float32 (B, N, D) with D = C · H · W, standard normal: noise of N samples of each clip's last
        frame, all levels one after the other; None where no loss needs samples.
    pick: float32 (B, T − first), uniform in [0, 1): selects the groups of latents that estimate a target's
        likelihood; None: all groups are summed.
    augmented_eps: float32 (B, T − first, D), standard normal: noise of augmented dimensions of the targets,
        D being ``config.augmented``; None where there are none.
    actions: float32 (B, T, A), numbers that come with frames, NaN where unknown; None: none are known. A
        target sees its own and those of the frames before it.
    """

    frames: Tensor
    eps: Tensor
    window: Tensor
    corrupted_past: Tensor | None = None
    sample_eps: Tensor | None = None
    pick: Tensor | None = None
    augmented_eps: Tensor | None = None
    actions: Tensor | None = None

    @property
    def first(self) -> int:
        """Frames before the first target."""
        return self.frames.shape[1] - self.eps.shape[1]

    @property
    def targets(self) -> Tensor:
        """Frames to score, uint8 (B · targets, C, H, W)."""
        return fold(self.frames[:, self.first :])

    @property
    def target_eps(self) -> Tensor:
        return fold(self.eps)

    def last_target(self) -> VideoBatch:
        """The same clips with their last frame as the only target."""
        augmented = None if self.augmented_eps is None else self.augmented_eps[:, -1:]
        return self._replace(eps=self.eps[:, -1:], window=self.window[:, -1:], augmented_eps=augmented)


class Rollout(NamedTuple):
    """State of a sampling run: the last n frames and their features or latents, newest last.

    Absent frames are zero.
    """

    frames: Tensor  # uint8 (B, n, C, H, W)
    history: Pyramid  # per level (B, n, C_l, H_l, W_l)
    mask: Tensor  # (B, n) in {0, 1}, 0 where a frame is absent
    chains: Sequence[Bijection]  # the Glow's, matrices inverted once per run
    actions: Tensor | None = None  # (B, n + F, A): of these frames and the next F; NaN where unknown

    @property
    def frame(self) -> Tensor:
        """The newest frame, uint8 (B, C, H, W)."""
        return self.frames[:, -1]


class NoiseSources(NamedTuple):
    """Independent parts of a frame's noise; those of the flow go first, fine to coarse."""

    names: tuple[str, ...]
    shapes: Sequence[tuple[int, ...]]
    levels: int  # number of parts that are the flow's
    glow: int  # number of parts that are the Glow's: the others of the flow are augmented dimensions
    join: Callable[[Sequence[Tensor]], Sequence[Tensor]]
    """Parts (B, \\*shape) → noise (B, C, h, w) per entry of ``latent_shapes``."""


class VideoModel(LikelihoodModel[VideoBatch], ABC):
    """p(x_t | x_<t) of 8-bit frames: each goes through the same Glow, given a window of the past.

    A subclass says what it keeps of past frames (``remember``: latents or features) and how that conditions
    the next one.
    """

    has_reference: ClassVar[bool] = False
    """True where the last of ``latent_shapes`` leads to a reference frame, and is not the Glow's."""
    exact: ClassVar[bool] = False
    """True where the log-likelihood is exact, so that no dequantisation noise enters it."""
    scales_noise: bool = True
    """True where a temperature is a factor of the noise; False where it acts on densities."""
    config: VideoConfig
    flow: Glow

    def __init__(self, config: VideoConfig, features: Sequence[int] | None) -> None:
        super().__init__()
        glow = config.glow
        self.image_shape = (glow.channels, glow.height, glow.width)
        self.dequantizer = build_dequantizer(config.noise, glow.channels, glow.levels)
        self.pixel_map = _pixel_map(config)
        self.flow = Glow(glow, features)
        self.latent_shapes = self.flow.latent_shapes
        self.actions = ActionEncoder(config.context + 1, config.actions) if config.actions else None

    def target_actions(self, batch: VideoBatch) -> Tensor | None:
        """Features of each target's actions (B · targets, E, h, w); None: the model takes none."""
        if self.actions is None:
            return None
        n, targets = self.config.context, batch.window.shape[1]
        rows = batch.actions
        if rows is None:
            rows = self._unknown(len(batch.frames), batch.frames.shape[1])
        padded = torch.cat([self._unknown(len(rows), n), rows], 1)
        index = torch.arange(targets)[:, None] + batch.first + torch.arange(n + 1)[None]
        features: Tensor = self.actions(padded[:, index.to(rows.device)].flatten(0, 1))
        return features

    def next_actions(self, rollout: Rollout) -> Tensor | None:
        """The same of the frame after ``rollout``, (B, E, h, w)."""
        if self.actions is None:
            return None
        rows, count = rollout.actions, self.config.context + 1
        if rows is None or rows.shape[1] < count:
            rows = self._unknown(len(rollout.frames), count)
        features: Tensor = self.actions(rows[:, :count])
        return features

    def _unknown(self, count: int, rows: int) -> Tensor:
        """Rows of unknown actions, (count, rows, A)."""
        assert self.actions is not None
        mean = self.actions.mean
        return mean.new_full((count, rows, len(mean)), math.nan)

    def references(self, batch: VideoBatch) -> Tensor | None:
        """Frames that the batch's targets are coded against, uint8 (B · targets, C, H, W); None: none."""
        return None

    @abstractmethod
    def remember(self, frames: Tensor) -> Pyramid:
        """Latents or features of each frame of uint8 (B, T, C, H, W): per level (B, T, C_l, H_l, W_l)."""

    @abstractmethod
    def condition_next(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> Condition:
        """Condition of the frame after ``rollout``; arguments are those of ``step``."""

    def encode_reference(self, rollout: Rollout, frame: Tensor, eps: Tensor | None) -> tuple[Tensor, ...]:
        """Noise of the reference that ``frame`` (B, C, H, W) is coded against: none, or one tensor.

        ``eps`` (B, D) is that of augmented dimensions, standard normal; None: zero.
        """
        return ()

    @property
    def size_multiple(self) -> int:
        """Number that must divide the sides of frames."""
        return 2**self.config.glow.levels

    def noise_sources(self) -> NoiseSources:
        """Parts of a frame's noise whose effects can be told apart: levels, then a reference's noise."""
        sides = [f"{height}×{width}" for _, height, width in self.flow.latent_shapes]
        names = (*sides, "reference") if self.has_reference else tuple(sides)
        return NoiseSources(names, self.latent_shapes, len(sides), len(sides), tuple)

    def latent_shapes_at(self, height: int, width: int) -> Shapes:
        """``latent_shapes`` for frames of another size; a reference's noise stays as it is.

        Raises:
            ValueError: a side is not divisible by 2^levels.
        """
        own = latent_shapes(self.config.glow, height, width)
        return (*own, *self.latent_shapes[len(own) :])

    @torch.no_grad()
    def fit(self, batches: Sequence[VideoBatch]) -> None:
        """Set the pixel map's table from training clips, if it has one, and the scale of their actions."""
        clean = [batch._replace(corrupted_past=None) for batch in batches]
        self.pixel_map.fit([(batch.targets, self.references(batch)) for batch in clean])
        if self.actions is not None and (rows := [b.actions for b in batches if b.actions is not None]):
            self.actions.fit(torch.cat(rows))

    @torch.no_grad()
    def start(self, context: Tensor, actions: Tensor | None = None) -> Rollout:
        """Encode given frames once: uint8 (B, n, C, H, W), at least ``min_context``; the last n are kept.

        ``actions`` (B, n + F, A) are those of these frames and the next F; later frames are drawn without.
        """
        n = self.config.context
        if actions is not None:
            missing = self._unknown(len(actions), max(0, n - context.shape[1]))
            actions = torch.cat([missing, actions[:, max(0, context.shape[1] - n) :]], 1)
        context = context[:, -n:]
        absent = n - context.shape[1]
        history = tuple(pad_left(h, absent) for h in self.remember(context))
        mask = pad_left(torch.ones(context.shape[:2], dtype=torch.float32, device=context.device), absent)
        return Rollout(pad_left(context, absent), history, mask, self.flow.with_cached_inverse(), actions)

    @torch.no_grad()
    def step(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> tuple[Rollout, Sampled]:
        """Sample the next frame; ``eps`` (B, C, h, w) and ``temperature`` per entry of ``latent_shapes``."""
        condition = self.condition_next(rollout, eps, temperature)
        raw, _ = self.generate(condition, eps, temperature, rollout.chains)
        sampled = Sampled.of(raw)
        newest = self.remember(sampled.frame[:, None])
        history = tuple(
            torch.cat([old[:, 1:], new], 1) for old, new in zip(rollout.history, newest, strict=True)
        )
        mask = torch.cat([rollout.mask[:, 1:], torch.ones_like(rollout.mask[:, :1])], 1)
        frames = torch.cat([rollout.frames[:, 1:], sampled.frame[:, None]], 1)
        actions = None if rollout.actions is None else rollout.actions[:, 1:]
        return Rollout(frames, history, mask, rollout.chains, actions), sampled

    @torch.no_grad()
    def encode_frame(
        self, rollout: Rollout, frame: Tensor, eps: Tensor | None = None, augmented_eps: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """ε = (z − μ) / σ per level of uint8 ``frame`` (B, C, H, W): ``step`` decodes it at temperature 1.

        Args:
            eps: dequantisation noise (B, C, H, W), standard normal; None: zero. With noise, ε is typical of
                the prior; without, the frame lies at its bins' centres, and ε is shorter.
            augmented_eps: the same of augmented dimensions, (B, D).
        """
        reference = self.encode_reference(rollout, frame, augmented_eps)
        condition = self.condition_next(rollout, reference, (1.0,) * len(reference))
        noise = torch.zeros_like(frame, dtype=torch.float32) if eps is None else eps
        return *self.whiten(self.encode_images(frame, noise, condition), condition), *reference


def temporal_priors(
    flow: Glow,
    history: Sequence[int],
    config: PriorConfig,
    frames: int,
    *,
    skip: bool = False,
    mixtures: int = 1,
) -> ModuleList[TemporalPrior]:
    """A prior per level over a window of ``frames`` frames, with ``history`` channels at each level."""
    return ModuleList(
        [
            TemporalPrior(
                shape=shape,
                above=flow.level_channels(level),
                history=history[level],
                frames=frames,
                config=config,
                hidden=config.hidden_at(level),
                skip=skip,
                mixtures=mixtures,
            )
            for level, shape in enumerate(flow.latent_shapes)
        ]
    )


def _pixel_map(config: VideoConfig) -> PixelMap:
    """Map of pixels by name, or as the prior needs it; histogram maps still have to be fitted."""
    if isinstance(config.prior, WaveletPriorConfig):
        return IntegerHaar(config.prior.levels)
    if config.pixel_map == "scaled":
        return Scaled()
    rows = LEVELS if config.pixel_map == "conditional" else 1
    return HistogramMap(config.glow.channels, rows, config.count_exponent)


def fold(frames: Tensor) -> Tensor:
    """(B, T, C, H, W) → (B · T, C, H, W), channels-last in memory."""
    return frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def scale_bytes(frames: Tensor) -> Tensor:
    """Bytes → [−1, 1], float32: input of networks."""
    return frames.float() / ((LEVELS - 1) / 2) - 1


def pad_left(x: Tensor, count: int) -> Tensor:
    """``count`` zero frames in front of x (B, T, …)."""
    zero = x.new_zeros(x.shape[0], count, *x.shape[2:])
    return torch.cat([zero, x], 1) if count else x


def windows(history: Pyramid, batch: VideoBatch, n: int) -> tuple[Pyramid, Tensor]:
    """The n frames before each target: per level (B · targets, n, …), and their mask (B · targets, n).

    ``history`` is per level (B, T − 1 or more, …). Frames outside a target's window are zero.
    """
    targets, device = batch.window.shape[1], batch.window.device
    padded = [pad_left(h, n) for h in history]
    index = (torch.arange(targets)[:, None] + batch.first + torch.arange(n)[None]).to(device)
    lengths = batch.window.clamp_max(n)[..., None]
    mask = (torch.arange(n, device=device) >= n - lengths).float().flatten(0, 1)
    shape = mask[:, :, None, None, None]
    return tuple(p[:, index].flatten(0, 1) * shape.to(p.dtype) for p in padded), mask
