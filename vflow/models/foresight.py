"""A small code per frame and the frame predicted from it: a discrete latent for things that move and turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.histogram import LEVELS
from vflow.config import ForesightConfig, HistoryConfig
from vflow.models.batches import fold, scaled
from vflow.models.guide import Guide, Past
from vflow.nn.history import FrameEncoder, ResidualBlock, WindowEncoder
from vflow.nn.layers import NormConv2d
from vflow.nn.modules import Modules
from vflow.nn.reshape import squeeze, unsqueeze

HALF = (LEVELS - 1) / 2
KEEP = 5.0  # logit with which a pixel at first keeps its value
STRAY = 64.0  # grey levels: larger errors count by their square
APART = 0.3  # how much a kernel at first prefers its own directions, beside a match of at most 1
SHARP = 10.0  # factor of the logits of kernels, which nearly all lead to one place in the end
SPAN = 3.0  # |log σ| of the code's prior stays below this


@final
class Steering(nn.Module):
    """Kernels that move a frame as a whole (CDNA, Finn et al. 2016).

    They start from where the last frame matches the one before, as what moved so far goes on, and each from
    its own share of the directions, as things part.

    Args:
        inputs: numbers known of each frame.
        moves: kernels.
        reach: they span −reach … reach along each axis.
    """

    def __init__(self, inputs: int, moves: int, reach: int) -> None:
        super().__init__()
        self.reach, side = reach, 2 * reach + 1
        self.net = _head(inputs + side**2, 256, moves * side**2)
        self.net[-1].bias = nn.Parameter(_directions(moves, reach).flatten())
        self.steepness = nn.Parameter(torch.ones(moves, 1))

    def forward(self, known: Tensor, last: Tensor, before: Tensor) -> Tensor:
        """Where each kernel takes its pixel from, summing to 1: (B, moves, side, side)."""
        size = (last.square().sum((1, 2, 3)) * before.square().sum((1, 2, 3))).add(1e-6).sqrt()
        side = 2 * self.reach + 1
        match = torch.einsum("bchw,bcijhw->bij", last, shifts(before, self.reach)) / size[:, None, None]
        flat = match.flatten(1)
        logits = self.net(torch.cat([known, flat.to(known.dtype)], 1)).float().unflatten(1, (-1, side**2))
        logits = SHARP * (logits + self.steepness * flat[:, None])
        return logits.softmax(2).unflatten(2, (side, side))


def _directions(moves: int, reach: int) -> Tensor:
    """How much each kernel prefers each place at first, by the angle between them: (moves, side, side)."""
    place = torch.arange(-reach, reach + 1.0)
    towards = 2 * math.pi * (torch.arange(moves) + 0.5) / moves
    angle = torch.atan2(place[:, None], place[None])
    return APART * torch.cos(angle - towards[:, None, None]) * (place[:, None].abs() + place.abs() > 0)


def shifts(x: Tensor, reach: int) -> Tensor:
    """x (B, C, H, W) taken from (i − reach, j − reach) further on: a view (B, C, side, side, H, W)."""
    height, width = x.shape[2:]
    return _padded(x, reach).unfold(2, height, 1).unfold(3, width, 1)


def moved_by(kernels: Tensor, x: Tensor) -> Tensor:
    """x (B, C, H, W) under each of the kernels (B, M, side, side): (B, M, C, H, W), by Fourier transforms."""
    height, width = x.shape[2:]
    padded = _padded(x, kernels.shape[-1] // 2)
    size = padded.shape[2:]
    product = torch.fft.rfft2(padded)[:, None] * torch.fft.rfft2(kernels, size).conj()[:, :, None]
    return torch.fft.irfft2(product, size)[..., :height, :width]


def _padded(x: Tensor, reach: int) -> Tensor:
    return F.pad(x, (reach, reach, reach, reach), mode="replicate")


@final
class Foresight(Guide):
    """k: whole numbers per frame. The flow codes each frame against what is predicted from k and the past.

    p(k | past) is a Gaussian summed over bins of width 1; the encoder sees frame and past and rounds (Ballé
    et al. 2018, *Variational image compression with a scale hyperprior*); its prior is learned as in SVG-LP
    (Denton & Fergus 2018). Each pixel of the prediction mixes those of the last two frames, of a still
    background that all clips share, and a new one, and is rounded: what stands still is met to the byte.
    With ``moves``, copies of the last frame join them, each moved as a whole (CDNA, Finn et al. 2016).

    Bytes have no gradient. So in training ``code`` adds a term of value 0 to log p(k | past), whose gradient
    is that of −``weight`` · Σ (|d| + d² / 64), d being the prediction's error in grey levels.
    """

    def __init__(self, config: ForesightConfig, frames: int, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.noise_shape = (config.code, 1, 1)
        channels, height, width = size
        pyramid = HistoryConfig(hidden=config.hidden, blocks=1)
        self.frame_encoder = FrameEncoder(channels, pyramid)
        self.window_encoder = WindowEncoder(frames, pyramid)
        scale = 2 ** len(config.hidden)
        self.top = (config.hidden[-1], height // scale, width // scale)
        inner = math.prod(self.top)
        self.prior = _head(inner, 128, 2 * config.code)
        self.posterior = _head(2 * inner, 256, config.code)
        self.enter = nn.Linear(config.code, inner)
        widths = config.hidden[::-1]
        self.join = Modules([NormConv2d(2 * w, w, 1) for w in widths])
        self.blocks = Modules([ResidualBlock(w) for w in widths])
        self.up = Modules([NormConv2d(a, b, 1) for a, b in pairwise(widths)])
        cues = 4 * 2 * config.moves * channels
        self.leave = NormConv2d(widths[-1] + cues, 4 * (4 + config.moves + channels), 3)
        self.steering = Steering(inner + config.code, config.moves, config.reach) if config.moves else None
        self.background = nn.Parameter(torch.zeros(1, channels, height, width))
        with torch.no_grad():
            self.leave.weight.mul_(0.1)

    def code(self, past: Past, target: Tensor) -> tuple[Tensor, Tensor]:
        features = self._features(past)
        exact = self._exact(features, target)
        k = exact + (exact.round() - exact).detach()
        predicted = self._predict(k, features, past)
        log_p = self._log_probability(k, *self._prior(features)).sum(1)
        if self.training:
            d = (predicted - scaled(target)).abs() * HALF
            gain = -self.config.weight * (d + d.square() / STRAY).flatten(1).sum(1)
            log_p = log_p + (gain - gain.detach())
        return log_p, _bytes(predicted)

    def draw(self, past: Past, eps: Tensor, temperature: float) -> Tensor:
        features = self._features(past)
        mean, log_scale = self._prior(features)
        k = (mean + temperature * log_scale.exp() * eps.flatten(1)).round()
        return _bytes(self._predict(k, features, past))

    def whiten(self, past: Past, target: Tensor) -> Tensor:
        features = self._features(past)
        mean, log_scale = self._prior(features)
        eps = (self._exact(features, target).round() - mean) * (-log_scale).exp()
        return eps.view(len(eps), *self.noise_shape)

    @torch.no_grad()
    def fit(self, seen: Sequence[tuple[Past, Tensor]]) -> None:
        """Start the background at the mean of what followed, where it is not set yet."""
        if not self.background.any():
            frames = torch.cat([target for _, target in seen])
            self.background.copy_(scaled(frames).mean(0, keepdim=True))

    def _features(self, past: Past) -> tuple[Tensor, ...]:
        """Features of the window at each level, fine to coarse."""
        present = past.present[:, :, None, None, None]
        pyramid = (f.unflatten(0, past.present.shape) for f in self.frame_encoder(scaled(fold(past.frames))))
        features: tuple[Tensor, ...] = self.window_encoder(
            tuple(f * present.to(f.dtype) for f in pyramid), past.present
        )
        return features

    def _prior(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and log σ of the code given the past, each (B, code)."""
        mean, log_scale = self.prior(features[-1]).float().chunk(2, 1)
        return mean, SPAN * torch.tanh(log_scale / SPAN)

    def _exact(self, features: Sequence[Tensor], target: Tensor) -> Tensor:
        """The code before rounding, (B, code)."""
        own = self.frame_encoder(scaled(target).contiguous(memory_format=torch.channels_last))[-1]
        exact: Tensor = self.posterior(torch.cat([features[-1], own], 1)).float()
        return exact

    @staticmethod
    def _log_probability(k: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        """log of the Gaussian's mass in k ± ½, in float64; exact in the tails."""
        distance, scale = (k - mean).abs().double(), log_scale.exp().double()
        near = torch.special.log_ndtr((0.5 - distance) / scale)
        far = torch.special.log_ndtr((-0.5 - distance) / scale)
        return (near + torch.log1p(-(far - near).exp())).float()

    def _predict(self, k: Tensor, features: Sequence[Tensor], past: Past) -> Tensor:
        """The frame that k leads to, (B, C, H, W) in [−1, 1] or somewhat beyond."""
        h = self.enter(k).unflatten(1, self.top)
        for level, feature in enumerate(reversed(features)):
            if level:
                h = F.interpolate(self.up[level - 1](h), scale_factor=2.0, mode="nearest")
            h = self.blocks[level](self.join[level](torch.cat([h, feature.to(h.dtype)], 1)))
        last = scaled(past.last)
        before = scaled(past.frames[:, -2]) if past.frames.shape[1] > 1 else last
        seen = past.present[:, -2:-1, None, None] if past.frames.shape[1] > 1 else 1.0
        before = last + seen * (before - last)
        sources, h = [last, before, self.background.expand_as(last)], F.relu(h)
        if self.steering is not None:
            moved, strayed = self._moved(k, features[-1], last, before)
            sources += moved
            h = torch.cat([h, squeeze(torch.cat(moved + strayed, 1)).to(h.dtype)], 1)
        made = unsqueeze(self.leave(h)).float()
        channels = last.shape[1]
        logits = made[:, :-channels]
        kept = torch.zeros_like(logits[:1, :, :1, :1])
        kept[:, 0] = KEEP
        share = (logits + kept).softmax(1)[:, :, None]
        return (share * torch.stack([*sources, made[:, -channels:]], 1)).sum(1)

    def _moved(
        self, k: Tensor, top: Tensor, last: Tensor, before: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The last frame under each kernel, and how far the kernel was from leading to it, moved likewise.

        What differs from the background says how the last frame moved.
        """
        assert self.steering is not None
        known = torch.cat([top.flatten(1), k.to(top.dtype)], 1)
        with torch.autocast(last.device.type, enabled=False):
            still = self.background.detach()
            kernels = self.steering(known.float(), last - still, before - still)
            moved = moved_by(kernels, last)
            strayed = (last[:, None] - moved_by(kernels, before)).abs()
            one = kernels.flatten(0, 1)[:, None]
            strayed = moved_by(one, strayed.flatten(0, 1)).view_as(moved)
        return list(moved.unbind(1)), list(strayed.unbind(1))


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def _bytes(x: Tensor) -> Tensor:
    """[−1, 1] → bytes."""
    return ((x.detach() + 1) * HALF).round().clamp(0, LEVELS - 1).to(torch.uint8)
