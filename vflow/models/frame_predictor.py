"""Frame predictor: the reference frame is predicted from the past and a few augmented dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.linear import full_precision
from vflow.bijections.pixel_map import LEVELS
from vflow.config import AugmentationConfig, EncoderConfig
from vflow.models.reference import Past, Reference, warp
from vflow.models.video import fold, scale_bytes
from vflow.nn.encoder import FrameEncoder, ResidualBlock, WindowEncoder
from vflow.nn.layers import NormConv2d
from vflow.nn.modules import ModuleList
from vflow.nn.relu import relu
from vflow.nn.reshape import squeeze, unsqueeze
from vflow.priors.made import SCALE, MADEPrior

ROUNDS = 2  # times that each part is searched for, given the others
HALF = (LEVELS - 1) / 2
KEEP = 5.0  # initial logit of the last frame's pixel, or of the background where there are parts
QUADRATIC = 64.0  # grey levels of error from which on its quadratic term is the larger one


class Parts(NamedTuple):
    """M parts of each frame, each displaced as a whole since the frame before."""

    layers: Tensor  # (B, M, C, H, W), each part alone, 0 elsewhere
    residuals: Tensor  # (B, M, C, H, W), |frame − the frame before, warped by the part's velocity|
    velocities: Tensor  # int64 (B, M, 2), rows and columns from a pixel to where it came from


@torch.no_grad()
def find_parts(frame: Tensor, before: Tensor, num_parts: int, max_displacement: int) -> Parts:
    """Search for ``num_parts`` parts of a frame and their velocities, at most ``max_displacement`` pixels.

    Parts are found in turn, as in matching pursuit (Mallat & Zhang 1993): first the displacement that best
    maps ``before`` to what the other parts leave of the frame, then the pixels of the frame that it explains.
    Frames are (B, C, H, W), with the background subtracted.
    """
    nothing = torch.zeros_like(frame)
    layers, residuals = [nothing] * num_parts, [nothing] * num_parts
    velocities = [frame.new_zeros(len(frame), 2, dtype=torch.int64)] * num_parts
    for part in [*range(num_parts)] * ROUNDS:
        layers[part] = nothing
        velocities[part] = best_displacement(frame - composite(layers), before, max_displacement)
        warped = warp(before, velocities[part])
        residuals[part] = (frame - warped).abs()
        layers[part] = warped.clamp(frame.clamp_max(0), frame.clamp_min(0))
    return Parts(torch.stack(layers, 1), torch.stack(residuals, 1), torch.stack(velocities, 1))


@torch.no_grad()
def find_velocity_changes(parts: Parts, frame: Tensor, max_displacement: int) -> Tensor:
    """Change of each part's velocity on the way to the next frame (B, C, H, W): int64 (B, M, 2)."""
    found = [best_displacement(frame, layer, max_displacement) for layer in parts.layers.unbind(1)]
    return torch.stack(found, 1) - parts.velocities


def advance(parts: Parts, changes: Tensor, max_displacement: int) -> Parts:
    """The parts one frame later, their velocities changed by ``changes`` (B, M, 2)."""
    velocities = (parts.velocities + changes).clamp(-max_displacement, max_displacement)
    layers, residuals = (
        torch.stack([warp(x[:, part], velocities[:, part]) for part in range(velocities.shape[1])], 1)
        for x in (parts.layers, parts.residuals)
    )
    return Parts(layers, residuals, velocities)


def best_displacement(frame: Tensor, before: Tensor, max_displacement: int) -> Tensor:
    """Displacement for which ``before``, warped, has the largest product with ``frame``: int64 (B, 2)."""
    reach = max_displacement
    padded = F.pad(before, (reach, reach, reach, reach), mode="replicate")
    size = [-(-side // 16) * 16 for side in padded.shape[2:]]  # Fourier transforms: no large prime factor
    spectrum = torch.fft.rfft2(frame, size).conj() * torch.fft.rfft2(padded, size)
    side = 2 * reach + 1
    place = torch.fft.irfft2(spectrum.sum(1), size)[:, :side, :side].flatten(1).argmax(1)
    return torch.stack([place // side, place % side], 1) - reach


def composite(layers: Sequence[Tensor]) -> Tensor:
    """At each pixel the layer that differs most from 0."""
    stacked = torch.stack(list(layers))
    return stacked.gather(0, stacked.abs().argmax(0, keepdim=True))[0]


@final
class FramePredictor(Reference):
    """z = a few numbers per frame, its augmented dimensions; the reference is predicted from z and the past.

    The encoder sees frame and past and adds noise, uniform over a width of 1 (as a quantiser with dither
    does; Ballé et al. 2018, *Variational image compression with a scale hyperprior*). The prior is a flow,
    learned as in SVG-LP (Denton & Fergus 2018). Each pixel of the prediction mixes those of the last two
    frames, of a learned background, and a new one, and is rounded. With ``num_parts``, displaced parts of the
    last frame join them (``find_parts``); their velocity changes, dequantised, are the first numbers of z.

    Bytes have no gradient. So in training ``encode`` adds a term of value 0 to log p(z | past), whose
    gradient is that of −``weight`` · Σ (|d| + d² / 64), d being the prediction's error in grey levels.
    """

    def __init__(self, config: AugmentationConfig, frames: int, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.size = config.dimensions
        self.noise_shape = (self.size, 1, 1)
        channels, height, width = size
        pyramid = EncoderConfig(hidden=config.hidden, blocks=1)
        self.frame_encoder = FrameEncoder(channels, pyramid)
        self.window_encoder = WindowEncoder(frames, pyramid)
        scale = 2 ** len(config.hidden)
        self.top = (config.hidden[-1], height // scale, width // scale)
        inner = math.prod(self.top)
        self.prior = MADEPrior(inner + 2 * config.num_parts, self.size)
        self.posterior = _head(2 * inner, 256, config.size, scale=SCALE)  # not lost in the noise at first
        self.code_in = nn.Linear(self.size, inner)
        widths = config.hidden[::-1]
        self.merge = ModuleList([NormConv2d(2 * w, w, 1) for w in widths])
        self.blocks = ModuleList([ResidualBlock(w) for w in widths])
        self.up = ModuleList([NormConv2d(a, b, 1) for a, b in pairwise(widths)])
        cues = 4 * 2 * config.num_parts * channels  # layers and residuals of parts, squeezed
        self.conv_out = NormConv2d(widths[-1] + cues, 4 * (4 + config.num_parts + channels), 3)
        self.background = nn.Parameter(torch.zeros(1, channels, height, width))
        with torch.no_grad():
            self.conv_out.weight.mul_(0.1)
            self.code_in.weight.div_(SCALE)

    def encode(self, past: Past, target: Tensor, eps: Tensor | None) -> tuple[Tensor, Tensor]:
        if eps is None:
            raise ValueError("augmented dimensions need noise: VideoBatch.augmented_eps")
        features, parts = self._features(past), self._parts(past)
        z = self._centre(features, parts, target) + _uniform(eps)
        predicted = self._predict(z, features, parts, past)
        log_p = self.prior.log_prob(z, self._prior_input(features, parts))
        if self.training:
            d = (predicted - scale_bytes(target)).abs() * HALF
            gain = -self.config.weight * (d + d.square() / QUADRATIC).flatten(1).sum(1)
            log_p = log_p + (gain - gain.detach())
        return log_p, _bytes(predicted)

    def sample(self, past: Past, eps: Tensor, temperature: float) -> Tensor:
        features, parts = self._features(past), self._parts(past)
        z = self.prior.sample(self._prior_input(features, parts), temperature * eps.flatten(1))
        return _bytes(self._predict(z, features, parts, past))

    def whiten(self, past: Past, target: Tensor, eps: Tensor | None = None) -> Tensor:
        features, parts = self._features(past), self._parts(past)
        z = self._centre(features, parts, target)
        z = z if eps is None else z + _uniform(eps)
        noise = self.prior.whiten(z, self._prior_input(features, parts))
        return noise.view(len(noise), *self.noise_shape)

    @torch.no_grad()
    def fit(self, pairs: Sequence[tuple[Past, Tensor]]) -> None:
        """Start the background at the median frame, unless it is set already."""
        if not self.background.any():
            frames = torch.cat([target for _, target in pairs])
            self.background.copy_(scale_bytes(frames.median(0, keepdim=True).values))

    def _features(self, past: Past) -> tuple[Tensor, ...]:
        """Features of the window at each level, fine to coarse."""
        mask = past.mask[:, :, None, None, None]
        pyramid = (
            f.unflatten(0, past.mask.shape) for f in self.frame_encoder(scale_bytes(fold(past.frames)))
        )
        features: tuple[Tensor, ...] = self.window_encoder(
            tuple(f * mask.to(f.dtype) for f in pyramid), past.mask
        )
        return features

    def _parts(self, past: Past) -> Parts | None:
        """Parts of the last frame that moved, if any are modelled."""
        if not self.config.num_parts:
            return None
        still = self.background.detach()
        last, before = (frame - still for frame in _last_two(past))
        with full_precision(still):
            return find_parts(last, before, self.config.num_parts, self.config.max_displacement)

    def _prior_input(self, features: Sequence[Tensor], parts: Parts | None) -> Tensor:
        """Input of the flow of z, (B, F)."""
        top = features[-1].flatten(1)
        return top if parts is None else torch.cat([top, parts.velocities.flatten(1).to(top.dtype)], 1)

    def _centre(self, features: Sequence[Tensor], parts: Parts | None, target: Tensor) -> Tensor:
        """z without noise, (B, size): velocity changes of parts, then the network's numbers."""
        own = self.frame_encoder(scale_bytes(target).contiguous(memory_format=torch.channels_last))[-1]
        centre: Tensor = self.posterior(torch.cat([features[-1], own], 1)).float()
        if parts is None:
            return centre
        with full_precision(target):
            changes = find_velocity_changes(
                parts, scale_bytes(target) - self.background.detach(), self.config.max_displacement
            )
        return torch.cat([changes.flatten(1).to(centre.dtype), centre], 1)

    def _predict(self, z: Tensor, features: Sequence[Tensor], parts: Parts | None, past: Past) -> Tensor:
        """Predicted frame, (B, C, H, W) in [−1, 1] or somewhat beyond."""
        h = self.code_in(z).unflatten(1, self.top)
        for level, feature in enumerate(reversed(features)):
            if level:
                h = F.interpolate(self.up[level - 1](h), scale_factor=2.0, mode="nearest")
            h = self.blocks[level](self.merge[level](torch.cat([h, feature.to(h.dtype)], 1)))
        last, before = _last_two(past)
        sources, h = [last, before, self.background.expand_as(last)], relu(h)
        logits = torch.zeros_like(last[:, :1]).repeat(1, 4 + self.config.num_parts, 1, 1)
        logits[:, 0 if parts is None else 2] = KEEP
        if parts is not None:
            changes = z[:, : 2 * self.config.num_parts].detach().round().long().unflatten(1, (-1, 2))
            parts = advance(parts, changes, self.config.max_displacement)
            sources += list((parts.layers + self.background[:, None]).unbind(1))
            logits[:, 3:-1] = 2 * KEEP * parts.layers.abs().amax(2)
            cues = torch.cat([parts.layers, parts.residuals], 1).flatten(1, 2)
            h = torch.cat([h, squeeze(cues).to(h.dtype)], 1)
        made = unsqueeze(self.conv_out(h)).float()
        channels = last.shape[1]
        share = (logits + made[:, :-channels]).softmax(1)[:, :, None]
        return (share * torch.stack([*sources, made[:, -channels:]], 1)).sum(1)


def _last_two(past: Past) -> tuple[Tensor, Tensor]:
    """The last frame and the one before it, (B, C, H, W) in [−1, 1]; twice the same where there is one."""
    last = scale_bytes(past.last)
    if past.frames.shape[1] == 1:
        return last, last
    return last, last + past.mask[:, -2:-1, None, None] * (scale_bytes(past.frames[:, -2]) - last)


def _uniform(eps: Tensor) -> Tensor:
    """Standard-normal noise → uniform noise between −½ and ½."""
    return torch.special.ndtr(eps) - 0.5


def _bytes(x: Tensor) -> Tensor:
    """[−1, 1] → bytes."""
    return ((x.detach() + 1) * HALF).round().clamp(0, LEVELS - 1).to(torch.uint8)


def _head(inputs: int, hidden: int, outputs: int, scale: float) -> nn.Sequential:
    """A network of one hidden layer; weights of the outputs start ``scale`` times as large as usual."""
    linear_out = nn.Linear(hidden, outputs)
    with torch.no_grad():
        linear_out.weight.mul_(scale)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), linear_out)
