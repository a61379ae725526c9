"""VideoFlow: a per-frame Glow with an autoregressive latent prior (Kumar et al. 2020, arXiv 1903.01434)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.base import sum_densities
from vflow.bijections.histogram import HistogramMap
from vflow.config import VideoFlowConfig
from vflow.models.batches import Condition, Pyramid, Rollout, Sampled, VideoBatch, fold, scaled
from vflow.models.dequantizer import build_dequantizer
from vflow.models.frame_predictor import FramePredictor
from vflow.models.glow import Chains, Encoded, Glow, decode
from vflow.models.motion import Motion
from vflow.models.pixel_map import PixelMap, count_values, pixel_map, smooth_transitions
from vflow.models.reference import Past, Reference
from vflow.nn.encoder import FrameEncoder, WindowEncoder
from vflow.nn.modules import ModuleList
from vflow.priors.temporal import TemporalPrior


@final
class VideoFlow(nn.Module):
    """p(x_t | x_<t) of 8-bit frames: dequantisation → pixel map → Glow → temporal prior of each level.

    With ``config.history`` None this is the paper's model: the prior sees the window of past latents.
    Otherwise couplings and prior see features of the past frames themselves, the last n and no others; with
    ``config.motion`` or ``config.foresight`` a guide is drawn first; its noise is the last
    of ``latent_shapes``.
    """

    def __init__(self, config: VideoFlowConfig) -> None:
        super().__init__()
        self.config = config
        glow, history, n = config.glow, config.history, config.context
        self.noise = build_dequantizer(config.noise, glow.channels)
        self.pixels: PixelMap = pixel_map(config)
        self.glow = Glow(glow, history.hidden if history else None)
        self.motion = Motion(config.motion, n * history.hidden[-1]) if config.motion and history else None
        size = (glow.channels, glow.height, glow.width)
        self.foresight = FramePredictor(config.foresight, n, size) if config.foresight and history else None
        self.latent_shapes = self.glow.latent_shapes + ((self.guide.noise_shape,) if self.guide else ())
        self.frame_encoder = FrameEncoder(glow.channels, history) if history else None
        steps = n + 1 if self.guide else n
        self.window_encoder = WindowEncoder(steps, history) if history else None
        self.priors = ModuleList(
            [
                TemporalPrior(
                    channels=c,
                    above=self.glow.level_channels(level),
                    history=history.hidden[level] if history else c,
                    frames=steps,
                    size=min(h, w),
                    config=config.prior,
                    skip=config.prior.skip and history is None,
                )
                for level, (c, h, w) in enumerate(self.glow.latent_shapes)
            ]
        )

    @property
    def guide(self) -> Reference | None:
        """What is drawn before a frame's latents, if anything."""
        return self.motion or self.foresight

    def forward(self, batch: VideoBatch) -> Tensor:
        """Log-likelihood of each example's targets in nats (a lower bound: one draw of the noise), (B,)."""
        return self.frame_log_likelihood(batch).sum(1)

    def frame_log_likelihood(self, batch: VideoBatch) -> Tensor:
        """Log-likelihood of each target frame in nats, (B, T − first)."""
        nats = torch.stack([d.flatten(1).sum(1) for d in self.log_prob_terms(batch)]).sum(0)
        return nats.unflatten(0, batch.window.shape)

    def density_map(self, batch: VideoBatch) -> Tensor:
        """Log-likelihood in nats shared out over pixels, (B, T − first, H, W); sums to each frame's."""
        return sum_densities(self.log_prob_terms(batch)).unflatten(0, batch.window.shape)

    def bits_per_dim(self, nats: Tensor, num_frames: int) -> Tensor:
        """−nats / (ln 2 · C · H · W · num_frames)."""
        glow = self.config.glow
        return -nats / (math.log(2) * glow.channels * glow.height * glow.width * num_frames)

    def log_prob_terms(self, batch: VideoBatch) -> list[Tensor]:
        """All terms of the targets' log-likelihood, each (B · targets, h, w) on its own grid."""
        windows, (latents, passed_up, densities) = self.code(batch)
        priors = [
            prior(window, above).log_prob(z)
            for prior, window, above, z in zip(self.priors, windows, passed_up, latents, strict=True)
        ]
        return [*densities, *priors]

    def code(self, batch: VideoBatch) -> tuple[Pyramid, Encoded]:
        """Windows that the priors see, per level (B · targets, n, …), and the targets' codes."""
        if self.frame_encoder is None:
            return self._code_by_latents(batch)
        given, bits = self._given_frames(batch)
        x, terms = self._continuous(batch.targets, fold(batch.eps), given.reference)
        code = self.glow.encode(x, given.features)
        return given.windows, code._replace(densities=[*bits, *terms, *code.densities])

    def _given_frames(self, batch: VideoBatch) -> tuple[Condition, list[Tensor]]:
        """What each target is coded given; log p of what guides it (B · targets, 1, 1), if anything does."""
        windows, past = self._seen(batch)
        if self.guide is None:
            return self._given(windows, past.mask, past.last), []
        log_p, reference = self.guide.code(past, batch.targets)
        return self._given(windows, past.mask, reference), [log_p[:, None, None]]

    def _seen(self, batch: VideoBatch) -> tuple[Pyramid, Past]:
        """What each target may depend on: features and frames of its window."""
        past = batch.frames[:, :-1] if batch.corrupted_past is None else batch.corrupted_past
        windows, mask = self._windows(self._frame_features(past), batch.first, batch.window)
        (frames,), _ = self._windows((past,), batch.first, batch.window)
        return windows, Past(frames, mask, _summary(windows))

    def _given(self, windows: Pyramid, mask: Tensor, reference: Tensor) -> Condition:
        """Windows (B, n, …) and the frame they lead to."""
        if self.guide is not None:
            led = self._frame_features(reference[:, None])
            windows = tuple(torch.cat(pair, 1) for pair in zip(windows, led, strict=True))
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        return Condition(windows, self._features(windows, mask), reference)

    def _code_by_latents(self, batch: VideoBatch) -> tuple[Pyramid, Encoded]:
        """Windows of past latents and the targets' codes; given frames are coded at noise 0."""
        shape = batch.frames.shape[:2]
        still = torch.zeros_like(batch.eps[:, :1]).expand(-1, batch.first, -1, -1, -1)
        x, terms = self._continuous(fold(batch.frames), fold(torch.cat([still, batch.eps], 1)), None)
        code = self.glow.encode(x, self._features(None, None))
        past = tuple(z.unflatten(0, shape)[:, :-1] for z in code.latents)
        windows, _ = self._windows(past, batch.first, batch.window)
        rows = torch.arange(shape.numel(), device=x.device).unflatten(0, shape)[:, batch.first :].flatten()
        return windows, Encoded(
            tuple(z[rows] for z in code.latents),
            tuple(None if a is None else a[rows] for a in code.passed_up),
            [d[rows] for d in (*terms, *code.densities)],
        )

    @torch.no_grad()
    def fit(self, batches: Sequence[VideoBatch]) -> None:
        """Set what is counted from data: what the guide counts, then the pixel map, if there are any."""
        clean = [batch._replace(corrupted_past=None) for batch in batches]
        if self.guide is not None:
            self.guide.fit([(self._seen(batch)[1], batch.targets) for batch in clean])
        if isinstance(self.pixels, HistogramMap):
            counts = torch.stack([self._values(batch) for batch in clean]).sum(0)
            if self.config.values == "transitions":
                self.pixels.fit(smooth_transitions(counts), self.config.temper, floor=1e-4, tail=2e-3)
            else:
                self.pixels.fit(counts, self.config.temper)

    def _values(self, batch: VideoBatch) -> Tensor:
        targets, given = self.given(batch)
        return count_values(targets, given.reference if self.config.values == "transitions" else None)

    @torch.no_grad()
    def initialize(self, batch: VideoBatch) -> None:
        """Data-dependent start of every ActNorm from one batch, before the model is prepared for training."""
        targets, given = self.given(batch)
        x, _ = self._continuous(targets, fold(batch.eps), given.reference)
        self.glow.initialize(x, given.features)

    @torch.no_grad()
    def reconstruct(self, batch: VideoBatch) -> tuple[Tensor, Tensor]:
        """Dequantised targets (B · targets, C, H, W) in grey levels, and the same encoded and decoded."""
        targets, given = self.given(batch)
        before = given.reference.float()
        x = self.noise(targets.float(), fold(batch.eps), self.pixels.mode(before, targets.float()))[0]
        latents = self.glow.encode(self.pixels.transform(x, before)[0], given.features).latents
        return x, self.pixels.invert(decode(self.glow, latents, given.features), before)[0]

    def given(self, batch: VideoBatch) -> tuple[Tensor, Condition]:
        """The target frames, uint8 (B · targets, C, H, W), and what each is coded given."""
        if self.frame_encoder is not None:
            return batch.targets, self._given_frames(batch)[0]
        given = Condition((), self._features(None, None), fold(batch.frames[:, batch.first - 1 : -1]))
        return batch.targets, given

    @torch.no_grad()
    def start(self, context: Tensor) -> Rollout:
        """Encode given frames once: uint8 (B, n, C, H, W), at least ``min_context``; the last n are kept."""
        n = self.config.context
        context = context[:, -n:]
        if self.frame_encoder is not None:
            history = self._frame_features(context)
        else:
            frames = fold(context)
            x, _ = self._continuous(frames, torch.zeros_like(frames, dtype=torch.float32), None)
            latents = self.glow.encode(x, self._features(None, None)).latents
            history = tuple(z.unflatten(0, context.shape[:2]) for z in latents)
        absent = n - context.shape[1]
        history = tuple(_pad_left(h, absent) for h in history)
        mask = _pad_left(torch.ones(context.shape[:2], device=context.device), absent)
        return Rollout(_pad_left(context, absent), history, mask, self.glow.with_cached_inverse())

    @torch.no_grad()
    def step(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> tuple[Rollout, Sampled]:
        """Sample a frame: per level from the top, prior then inverse; ``eps`` per level (B, C, H, W)."""
        given = self._next_given(rollout, eps[-1], temperature[-1])
        raw, latents = self.generate(given, eps, temperature, rollout.chains)
        sampled = Sampled.of(raw)
        if self.frame_encoder is not None:
            newest = self._frame_features(sampled.frame[:, None])
        else:
            newest = tuple(z[:, None] for z in latents)
        history = tuple(
            torch.cat([old[:, 1:], new], 1) for old, new in zip(rollout.history, newest, strict=True)
        )
        mask = torch.cat([rollout.mask[:, 1:], torch.ones_like(rollout.mask[:, :1])], 1)
        recent = torch.cat([rollout.frames[:, 1:], sampled.frame[:, None]], 1)
        return Rollout(recent, history, mask, rollout.chains), sampled

    def generate(
        self,
        given: Condition,
        eps: Sequence[Tensor],
        temperature: Sequence[float],
        chains: Chains | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Frames before rounding (B, C, H, W), in grey levels, and their latents; ``eps`` as in ``step``."""
        latents: list[Tensor] = []
        h: Tensor | None = None
        for level in reversed(range(len(self.priors))):
            z = self.priors[level](given.windows[level], h).sample(eps[level], temperature[level])
            h = self.glow.decode_level(level, z, h, given.features[level], chains)
            latents.insert(0, z)
        assert h is not None
        raw = self.pixels.invert(h, given.reference.float())[0]
        return torch.where(torch.isfinite(h), raw, h), latents  # a bounded map would hide infinities

    @torch.no_grad()
    def encode_frame(self, rollout: Rollout, frame: Tensor) -> tuple[Tensor, ...]:
        """ε = (z − μ) / σ per level of uint8 ``frame`` (B, C, H, W): ``step`` decodes it at temperature 1."""
        way = None if self.guide is None else self.guide.whiten(_past(rollout), frame)
        given = self._next_given(rollout, way, 1.0)  # with the reference that this noise leads to
        x, _ = self._continuous(frame, torch.zeros_like(frame, dtype=torch.float32), given.reference)
        code = self.glow.encode(x, given.features)
        parts = zip(self.priors, given.windows, code.passed_up, code.latents, strict=True)
        eps = tuple(prior(window, above).whiten(z) for prior, window, above, z in parts)
        return eps if way is None else (*eps, way)

    def _next_given(self, rollout: Rollout, eps: Tensor | None, temperature: float) -> Condition:
        """What the next frame is decoded given; ``eps`` draws its guide, if there is one."""
        if self.frame_encoder is None:
            return Condition(rollout.history, self._features(None, None), rollout.frame)
        reference = rollout.frame
        if self.guide is not None:
            assert eps is not None
            reference = self.guide.draw(_past(rollout), eps, temperature)
        return self._given(rollout.history, rollout.mask, reference)

    def _continuous(self, x: Tensor, eps: Tensor, reference: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Dequantise and map uint8 frames (B, C, H, W): continuous x, and the density terms (B, H, W)."""
        x = x.float()
        context = None if reference is None else reference.float()
        y, weight = self.noise(x, eps, self.pixels.mode(context, x))
        z, density = self.pixels.transform(y, context)
        return z, [weight.sum(1), density]

    def _frame_features(self, frames: Tensor) -> Pyramid:
        """Features of each frame (B, T, C, H, W): per level (B, T, F_l, H_l, W_l)."""
        assert self.frame_encoder is not None
        return tuple(f.unflatten(0, frames.shape[:2]) for f in self.frame_encoder(scaled(fold(frames))))

    def _features(self, windows: Pyramid | None, mask: Tensor | None) -> Sequence[Tensor | None]:
        """What couplings see at each level: features (B, F_l, H_l, W_l), or None without history."""
        if self.window_encoder is None:
            return [None] * len(self.latent_shapes)
        assert windows is not None and mask is not None
        return self.window_encoder(windows, mask)

    def _windows(self, history: Pyramid, first: int, window: Tensor) -> tuple[Pyramid, Tensor]:
        """The n frames before each target: per level (B · targets, n, …), and presence (B · targets, n)."""
        n, targets = self.config.context, window.shape[1]
        padded = [_pad_left(h, n) for h in history]
        index = (torch.arange(targets)[:, None] + first + torch.arange(n)[None]).to(window.device)
        seen = window.clamp_max(n)[..., None]
        mask = (torch.arange(n, device=window.device) >= n - seen).float().flatten(0, 1)
        shape = mask[:, :, None, None, None]
        return tuple(p[:, index].flatten(0, 1) * shape.to(p.dtype) for p in padded), mask


def _past(rollout: Rollout) -> Past:
    return Past(rollout.frames, rollout.mask, _summary(rollout.history))


def _summary(windows: Pyramid) -> Tensor:
    """The coarsest features of a window (B, n, F, H, W), averaged over space: (B, n · F)."""
    return windows[-1].mean((3, 4)).flatten(1)


def _pad_left(x: Tensor, count: int) -> Tensor:
    """``count`` zero frames in front of x (B, T, …)."""
    zero = x.new_zeros(x.shape[0], count, *x.shape[2:])
    return torch.cat([zero, x], 1) if count else x
