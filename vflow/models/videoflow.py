"""VideoFlow: a per-frame Glow with an autoregressive latent prior (Kumar et al. 2020, arXiv 1903.01434)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from vflow.bijections.base import total
from vflow.bijections.dequantize import AnchoredNoise, GaussianNoise, Stochastic, UniformNoise
from vflow.bijections.histogram import LEVELS
from vflow.config import VideoFlowConfig
from vflow.models.glow import Encoded, Glow
from vflow.models.pixels import PixelMap, fit_pixels, pixel_map
from vflow.nn.history import FrameEncoder, WindowEncoder
from vflow.nn.modules import Modules
from vflow.priors.temporal import TemporalPrior

NOISES: dict[str, type[Stochastic]] = {
    "uniform": UniformNoise,
    "gaussian": GaussianNoise,
    "anchored": AnchoredNoise,
}
Pyramid = tuple[Tensor, ...]


class VideoBatch(NamedTuple):
    """One training batch; ``first`` is the model's ``min_context``, targets are frames first … T−1.

    frames: uint8 (B, T, C, H, W), context first.
    eps: float32 (B, T − first, C, H, W), standard normal: dequantisation noise of the targets.
    window: int64 (B, T − first), past frames each target may see, 1 … min(t, context).
    """

    frames: Tensor
    eps: Tensor
    window: Tensor


class Rollout(NamedTuple):
    """State of a sampling run: the newest frame and the history of the last n, newest last."""

    frame: Tensor  # uint8 (B, C, H, W)
    history: Pyramid  # per level (B, n, C_l, H_l, W_l), absent frames zero
    present: Tensor  # (B, n) in {0, 1}


class Sampled(NamedTuple):
    """One sampled frame and what was found in it before rounding."""

    frame: Tensor  # uint8 (B, C, H, W)
    raw: Tensor  # float32 (B, C, H, W), grey levels, before rounding; a value v fills [v, v + 1)
    nonfinite: Tensor  # int64 (B,), values that are NaN or infinite
    out_of_range: Tensor  # int64 (B,), values more than 0.1 grey levels outside 0 … 256


@final
class VideoFlow(nn.Module):
    """p(x_t | x_<t) of 8-bit frames: dequantisation → pixel map → Glow → temporal prior of each level.

    With ``config.history`` None this is the paper's model: the prior sees the window of past latents.
    Otherwise couplings and prior see features of the past frames themselves, the last n and no others.
    """

    def __init__(self, config: VideoFlowConfig) -> None:
        super().__init__()
        self.config = config
        glow, history, n = config.glow, config.history, config.context
        self.noise = NOISES[config.noise]()
        self.pixels: PixelMap = pixel_map(config)
        self.glow = Glow(glow, history.hidden if history else None)
        self.latent_shapes = self.glow.latent_shapes
        self.frame_encoder = FrameEncoder(glow.channels, history) if history else None
        self.window_encoder = WindowEncoder(n, history) if history else None
        self.priors = Modules(
            [
                TemporalPrior(
                    channels=c,
                    above=self.glow.level_channels(level),
                    history=history.hidden[level] if history else c,
                    frames=n,
                    size=min(h, w),
                    config=config.prior,
                    skip=config.prior.skip and history is None,
                )
                for level, (c, h, w) in enumerate(self.latent_shapes)
            ]
        )

    def forward(self, batch: VideoBatch) -> Tensor:
        """Log-likelihood of each example's targets in nats (a lower bound: one draw of the noise), (B,)."""
        return self.frame_log_likelihood(batch).sum(1)

    def frame_log_likelihood(self, batch: VideoBatch) -> Tensor:
        """Log-likelihood of each target frame in nats, (B, T − first)."""
        nats = torch.stack([d.flatten(1).sum(1) for d in self.densities(batch)]).sum(0)
        return nats.unflatten(0, batch.window.shape)

    def density_map(self, batch: VideoBatch) -> Tensor:
        """Log-likelihood in nats shared out over pixels, (B, T − first, H, W); sums to each frame's."""
        return total(self.densities(batch)).unflatten(0, batch.window.shape)

    def bits_per_dim(self, nats: Tensor, num_frames: int) -> Tensor:
        """−nats / (ln 2 · C · H · W · num_frames)."""
        glow = self.config.glow
        return -nats / (math.log(2) * glow.channels * glow.height * glow.width * num_frames)

    def densities(self, batch: VideoBatch) -> list[Tensor]:
        """All terms of the targets' log-likelihood, each (B · targets, h, w) on its own grid."""
        coded = self._code_by_latents(batch) if self.frame_encoder is None else self._code_by_frames(batch)
        windows, (latents, aboves, densities) = coded
        priors = [
            prior(window, above).log_density(z)
            for prior, window, above, z in zip(self.priors, windows, aboves, latents, strict=True)
        ]
        return [*densities, *priors]

    def _code_by_frames(self, batch: VideoBatch) -> tuple[Pyramid, Encoded]:
        """Windows of frame features and the targets' codes, which depend on them."""
        first = batch.frames.shape[1] - batch.eps.shape[1]
        past = batch.frames[:, :-1]
        windows, present = self._windows(self._frame_features(past), first, batch.window)
        x, terms = self._continuous(batch.frames[:, first:], batch.eps, past[:, first - 1 :])
        code = self.glow.encode(x, self._features(windows, present))
        return windows, code._replace(densities=[*terms, *code.densities])

    def _code_by_latents(self, batch: VideoBatch) -> tuple[Pyramid, Encoded]:
        """Windows of past latents and the targets' codes; given frames are coded at their bins' centres."""
        shape = batch.frames.shape[:2]
        first = shape[1] - batch.eps.shape[1]
        eps = torch.cat([torch.zeros_like(batch.eps[:, :1]).expand(-1, first, -1, -1, -1), batch.eps], 1)
        x, terms = self._continuous(batch.frames, eps, None)
        code = self.glow.encode(x, self._features(None, None))
        past = tuple(z.unflatten(0, shape)[:, :-1] for z in code.latents)
        windows, _ = self._windows(past, first, batch.window)
        rows = torch.arange(shape[0] * shape[1], device=x.device).unflatten(0, shape)[:, first:].flatten()
        return windows, Encoded(
            tuple(z[rows] for z in code.latents),
            tuple(None if a is None else a[rows] for a in code.aboves),
            [d[rows] for d in (*terms, *code.densities)],
        )

    def initialize(self, batch: VideoBatch) -> None:
        """Data-dependent start from one batch: the pixel map's counts, then every ActNorm.

        Call once, before the model is prepared for training.
        """
        with torch.no_grad():
            fit_pixels(self.pixels, batch.frames, self.config.temper)
            first = batch.frames.shape[1] - batch.eps.shape[1]
            windows, present = None, None
            if self.frame_encoder is not None:
                past = self._frame_features(batch.frames[:, :-1])
                windows, present = self._windows(past, first, batch.window)
            features = self._features(windows, present)
            before = batch.frames[:, first - 1 : -1]
            x, _ = self._continuous(batch.frames[:, first:], batch.eps, before)
            self.glow.initialize(x, features)

    @torch.no_grad()
    def start(self, context: Tensor) -> Rollout:
        """Encode given frames once: uint8 (B, n, C, H, W), at least ``min_context``; the last n are kept."""
        n = self.config.context
        context = context[:, -n:]
        if self.frame_encoder is not None:
            history = self._frame_features(context)
        else:
            shape = (*context.shape[:2], *context.shape[2:])
            x, _ = self._continuous(context, torch.zeros(shape, device=context.device), None)
            latents = self.glow.encode(x, self._features(None, None))[0]
            history = tuple(z.unflatten(0, context.shape[:2]) for z in latents)
        absent = n - context.shape[1]
        history = tuple(_pad_left(h, absent) for h in history)
        present = _pad_left(torch.ones(context.shape[:2], device=context.device), absent)
        return Rollout(context[:, -1], history, present)

    @torch.no_grad()
    def step(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> tuple[Rollout, Sampled]:
        """Sample a frame: per level from the top, prior then inverse; ``eps`` per level (B, C, H, W)."""
        features = self._features(rollout.history, rollout.present)
        latents: list[Tensor] = []
        h: Tensor | None = None
        for level in reversed(range(len(eps))):
            z = self.priors[level](rollout.history[level], h).sample(eps[level], temperature[level])
            h = self.glow.decode_level(level, z, h, features[level])
            latents.insert(0, z)
        assert h is not None
        raw = self.pixels.invert(h, rollout.frame.float())[0]
        sampled = self._to_bytes(torch.where(torch.isfinite(h), raw, h))  # a bounded map would hide infinities
        if self.frame_encoder is not None:
            newest = self._frame_features(sampled.frame[:, None])
        else:
            newest = tuple(z[:, None] for z in latents)
        history = tuple(
            torch.cat([old[:, 1:], new], 1) for old, new in zip(rollout.history, newest, strict=True)
        )
        present = torch.cat([rollout.present[:, 1:], torch.ones_like(rollout.present[:, :1])], 1)
        return Rollout(sampled.frame, history, present), sampled

    def _continuous(self, frames: Tensor, eps: Tensor, before: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Dequantise and map frames (B, T, …): x (B · T, C, H, W), and the density terms."""
        x, eps = _fold(frames).float(), _fold(eps)
        context = None if before is None else _fold(before).float()
        y, weight = self.noise(x, eps, self.pixels.mode(context, x))
        z, density = self.pixels.transform(y, context)
        return z, [weight.sum(1), density]

    def _frame_features(self, frames: Tensor) -> Pyramid:
        """Features of each frame (B, T, C, H, W): per level (B, T, F_l, H_l, W_l)."""
        assert self.frame_encoder is not None
        scaled = _fold(frames).float() / ((LEVELS - 1) / 2) - 1
        return tuple(f.unflatten(0, frames.shape[:2]) for f in self.frame_encoder(scaled))

    def _features(self, windows: Pyramid | None, present: Tensor | None) -> Sequence[Tensor | None]:
        """What couplings see at each level: features (B, F_l, H_l, W_l), or None without history."""
        if self.window_encoder is None:
            return [None] * len(self.latent_shapes)
        assert windows is not None and present is not None
        return self.window_encoder(windows, present)

    def _windows(self, history: Pyramid, first: int, window: Tensor) -> tuple[Pyramid, Tensor]:
        """The n frames before each target: per level (B · targets, n, …), and presence (B · targets, n)."""
        n, targets = self.config.context, window.shape[1]
        padded = [_pad_left(h, n) for h in history]
        index = (torch.arange(targets)[:, None] + first + torch.arange(n)[None]).to(window.device)
        seen = window.clamp_max(n)[..., None]
        present = (torch.arange(n, device=window.device) >= n - seen).float().flatten(0, 1)
        shape = present[:, :, None, None, None]
        return tuple(p[:, index].flatten(0, 1) * shape.to(p.dtype) for p in padded), present

    @staticmethod
    def _to_bytes(raw: Tensor) -> Sampled:
        finite = torch.isfinite(raw)
        outside = (raw < -0.1) | (raw > LEVELS + 0.1)
        frame = torch.where(finite, raw, 0).floor().clamp(0, LEVELS - 1).to(torch.uint8)
        return Sampled(frame, raw, (~finite).flatten(1).sum(1), (outside & finite).flatten(1).sum(1))


def _fold(frames: Tensor) -> Tensor:
    """(B, T, C, H, W) → (B · T, C, H, W), channels-last in memory."""
    return frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _pad_left(x: Tensor, count: int) -> Tensor:
    """``count`` zero frames in front of x (B, T, …)."""
    zero = x.new_zeros(x.shape[0], count, *x.shape[2:])
    return torch.cat([zero, x], 1) if count else x
