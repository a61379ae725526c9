"""VideoFlow whose prior codes a frame's latents on ever finer lattices given past latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from vflow.bijections.pixel_map import BinnedMap
from vflow.config import LatticeVideoFlowConfig, WaveletPriorConfig
from vflow.models.base import Condition
from vflow.models.glow import Chains, Encoded, decode
from vflow.models.video import NoiseSources, Pyramid, Rollout, VideoBatch, VideoModel, fold, windows
from vflow.priors.gaussian_mixture import GaussianMixture
from vflow.priors.lattice import LatticePrior, Places
from vflow.priors.wavelet import WaveletPrior

EDGE = 0.02  # grey levels that encoded pixels keep from the edges of their bins, against rounding


@final
class LatticeVideoFlow(VideoModel):
    """p(z_t | z_<t) = Π_g p(z_t⁽ᵍ⁾ | z_t⁽<ᵍ⁾, z_<t), z_t the latents of frame t by one unconditional Glow.

    The Glow has squeezes and splits and no steps, so a latent is a pixel through the pixel map, or an integer
    wavelet. One prior serves the latents of all levels, joined to a latent image and coded group by group:
    ``LatticePrior`` on ever finer lattices, ``WaveletPrior`` from block means on. It reads past frames
    and those already known of z_t at the centres of their bins (``quantize``). So P(x_t) is exact: the
    product of the masses that the prior gives to the bins. It is what variational dequantisation (Ho et al.
    2019) bounds, with equality if the noise is the prior cut to the bin.
    """

    exact: ClassVar[bool] = True
    scales_noise = False
    pixel_map: BinnedMap

    def __init__(self, config: LatticeVideoFlowConfig) -> None:
        super().__init__(config, None)
        self.config: LatticeVideoFlowConfig = config
        channels, prior = config.glow.channels, config.prior
        self.prior: LatticePrior | WaveletPrior
        if isinstance(prior, WaveletPriorConfig):
            self.prior = WaveletPrior(channels, config.context, prior, config.actions)
        else:
            self.prior = LatticePrior(channels, config.context, prior)

    def log_prob_terms(self, batch: VideoBatch) -> list[Tensor]:
        """log P of each target's pixels, exact; with ``batch.pick`` an unbiased estimate from some groups."""
        condition, values = self.condition_targets(batch), batch.targets
        seen, bounds = self.pixel_map.centres(values), self.pixel_map.bounds(values)
        total = torch.zeros_like(seen)
        if batch.pick is None:
            for at, density in self._groups(seen, condition):
                total[at] = density.log_mass(*(bound[at] for bound in bounds))
            return [total.sum(1)]
        for at, density, share in self.prior.picked(seen, batch.pick.flatten(), condition.past):
            mass = density.log_mass(*(bound[at] for bound in bounds))
            total = total.index_put(at, mass / share)
        return [total.sum(1)]

    def whiten(self, code: Encoded, condition: Condition) -> tuple[Tensor, ...]:
        z = self.flow.join(code.latents)
        eps = torch.zeros_like(z, dtype=torch.float64)
        for at, density in self._groups(self.pixel_map.quantize(z), condition):
            eps[at] = density.whiten(z[at])
        return self.flow.separate(eps)

    def generate(
        self,
        condition: Condition,
        eps: Sequence[Tensor],
        temperature: Sequence[float],
        chains: Chains | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """As the base class says, but all latents are drawn, group by group, before the flow's inverse.

        A temperature acts on each latent's density, not on its noise (``GaussianMixture.tempered``).
        """
        noise = self.flow.join([e * (t > 0) for e, t in zip(eps, temperature, strict=True)])
        temperatures = self.flow.join([torch.full_like(e, t) for e, t in zip(eps, temperature, strict=True)])
        z, sweep = torch.zeros_like(noise, dtype=torch.float32), self.prior.sweep(condition.past)
        for group in range(self._count(noise)):
            at, density = sweep(self.pixel_map.quantize(z), group)
            own = temperatures[at]
            if not bool(own.any()):
                z[at] = density.mode()
                continue
            if not bool((own == 1).all()):
                density = density.tempered(own)
            z[at] = density.sample(noise[at]).float()
        latents = list(self.flow.separate(z))
        x = decode(self.flow, latents, condition.features, chains)
        raw = self.to_pixels(x, condition)
        return torch.where(torch.isfinite(x), raw, x), latents

    def condition_targets(self, batch: VideoBatch) -> Condition:
        past = batch.frames[:, :-1] if batch.corrupted_past is None else batch.corrupted_past
        (latents,), mask = windows(self.remember(past), batch, self.config.context)
        return self._condition(latents, mask, self.target_actions(batch))

    def condition_next(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> Condition:
        return self._condition(rollout.history[0], rollout.mask, self.next_actions(rollout))

    @torch.no_grad()
    def encode_frame(
        self, rollout: Rollout, frame: Tensor, eps: Tensor | None = None, augmented_eps: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Noise of z drawn from its prior cut to each pixel's bin; without ``eps``, of its median there.

        So ε is standard normal over frames of the model. Neither the bins' centres nor uniform noise in them
        would do: where the prior is far narrower than a bin, most of the bin lies many deviations off.
        """
        condition, seen = self.condition_next(rollout, (), ()), self.pixel_map.centres(frame)
        level = torch.full_like(seen, 0.5) if eps is None else torch.special.ndtr(eps)
        low, high = (self.pixel_map.transform(frame + inside)[0] for inside in (EDGE, 1 - EDGE))
        code = torch.zeros_like(seen, dtype=torch.float64)
        for at, density in self._groups(seen, condition):
            code[at] = density.draw_within(low[at], high[at], level[at])
        return self.flow.separate(code)

    @torch.no_grad()
    def code_frame(self, past: Tensor, choose: Callable[[GaussianMixture, Tensor], Tensor]) -> Tensor:
        """Frame uint8 (1, C, H, W) after ``past`` uint8 (1, n, C, H, W), group by group.

        ``choose`` gets the density of a group's latents (N,) and the edges of the M bins there, (N, M + 1),
        and gives the numbers of their bins, int64 (N,), as ``pixel_map.symbols`` counts them. The next
        group's density follows from them.
        """
        sweep = self.prior.sweep(self.condition_next(self.start(past), (), ()).past)
        symbols, edges = torch.zeros_like(past[:, -1], dtype=torch.int64), self.pixel_map.bin_edges()
        channel = torch.arange(symbols.shape[1])[:, None, None].expand_as(symbols) % len(edges)
        for group in range(self._count(symbols)):
            at, density = sweep(self.pixel_map.centres_of(symbols), group)
            symbols[at] = choose(density, edges[channel[at]])
        return self.pixel_map.values(symbols)

    def remember(self, frames: Tensor) -> Pyramid:
        """Images of uint8 frames (B, T, C, H, W) on the scale of their latents, the same shape."""
        return (self.pixel_map.separate(fold(frames)).unflatten(0, frames.shape[:2]),)

    @property
    def size_multiple(self) -> int:
        return math.lcm(super().size_multiple, self.config.prior.multiple)

    def noise_sources(self) -> NoiseSources:
        """The noise of each lattice, by its stride."""
        strides = self.prior.strides(*self.image_shape[1:])
        values = sorted(set(strides.flatten().tolist()))

        def join(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
            own = [part * (strides == stride).to(part) for part, stride in zip(parts, values, strict=True)]
            return self.flow.separate(torch.stack(own).sum(0))

        names = tuple(f"stride {stride}" for stride in values)
        return NoiseSources(names, [self.image_shape] * len(values), len(values), len(values), join)

    def _condition(self, latents: Tensor, mask: Tensor, actions: Tensor | None) -> Condition:
        """Condition on windows of what ``remember`` keeps (N, n, C, H, W), and on features of actions."""
        if isinstance(self.prior, WaveletPrior):
            past: Any = self.prior.past(latents, mask, actions)
        else:
            past = self.prior.past(latents, mask)
        return Condition([], [None] * self.config.glow.levels, past=past)

    def _count(self, z: Tensor) -> int:
        """Number of groups."""
        return int(self.prior.order(*z.shape[2:]).max()) + 1

    def _groups(self, seen: Tensor, condition: Condition) -> Iterator[tuple[Places, GaussianMixture]]:
        """Places of each group's latents (B, C, H, W), and their density given those of ``seen`` before."""
        sweep = self.prior.sweep(condition.past)
        for group in range(self._count(seen)):
            yield sweep(seen, group)
