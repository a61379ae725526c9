"""Parts of a frame that move as wholes: told apart by how they came, and moved on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.histogram import LEVELS
from vflow.bijections.linear import full_precision
from vflow.config import EncoderConfig, FramePredictorConfig
from vflow.models.batches import fold, scaled
from vflow.models.reference import Past, Reference
from vflow.nn.encoder import FrameEncoder, ResidualBlock, WindowEncoder
from vflow.nn.layers import NormConv2d
from vflow.nn.modules import ModuleList
from vflow.nn.relu import relu
from vflow.nn.reshape import squeeze, unsqueeze
from vflow.priors.made import SCALE, MADEPrior

ROUNDS = 2  # times that each part is looked for, given the others


class Parts(NamedTuple):
    """M parts of each frame."""

    layers: Tensor  # (B, M, C, H, W), each part alone, 0 elsewhere
    strayed: Tensor  # (B, M, C, H, W), |frame − what the frame before, moved by the part's step, looks like|
    steps: Tensor  # int64 (B, M, 2), rows and columns from a pixel to where it came from


@torch.no_grad()
def find_parts(frame: Tensor, before: Tensor, moves: int, reach: int) -> Parts:
    """Search for ``moves`` parts of a frame, and for the steps of up to ``reach`` pixels by which they came.

    One after the other, as in matching pursuit (Mallat & Zhang 1993): the step that leads ``before`` to what
    the other parts leave of the frame, then what of the frame it explains. Frames (B, C, H, W), less what
    stands still.
    """
    nothing = torch.zeros_like(frame)
    layers, strayed = [nothing] * moves, [nothing] * moves
    steps = [frame.new_zeros(len(frame), 2, dtype=torch.int64)] * moves
    for part in [*range(moves)] * ROUNDS:
        layers[part] = nothing
        steps[part] = best_step(frame - together(layers), before, reach)
        led = moved(before, steps[part])
        strayed[part] = (frame - led).abs()
        layers[part] = led.clamp(frame.clamp_max(0), frame.clamp_min(0))
    return Parts(torch.stack(layers, 1), torch.stack(strayed, 1), torch.stack(steps, 1))


@torch.no_grad()
def find_velocity_changes(parts: Parts, frame: Tensor, reach: int) -> Tensor:
    """How each part's step changes on the way to the next frame (B, C, H, W): int64 (B, M, 2)."""
    steps = [best_step(frame, layer, reach) for layer in parts.layers.unbind(1)]
    return torch.stack(steps, 1) - parts.steps


def move_on(parts: Parts, turns: Tensor, reach: int) -> Parts:
    """The parts after their next step: as they came, but for ``turns`` (B, M, 2), and within ``reach``."""
    steps = (parts.steps + turns).clamp(-reach, reach)
    moves = range(steps.shape[1])
    layers, strayed = (
        torch.stack([moved(x[:, part], steps[:, part]) for part in moves], 1)
        for x in (parts.layers, parts.strayed)
    )
    return Parts(layers, strayed, steps)


def moved(x: Tensor, step: Tensor) -> Tensor:
    """x (B, C, H, W) with each pixel taken from ``step`` (B, 2) rows and columns further on; edges go on."""
    height, width = x.shape[2:]
    rows = (torch.arange(height, device=x.device) + step[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) + step[:, 1:]).clamp(0, width - 1)
    taken = x.gather(2, rows[:, None, :, None].expand_as(x))
    return taken.gather(3, columns[:, None, None, :].expand_as(x))


def best_step(frame: Tensor, before: Tensor, reach: int) -> Tensor:
    """The step for which ``before``, moved, has the largest product with ``frame``: int64 (B, 2)."""
    padded = F.pad(before, (reach, reach, reach, reach), mode="replicate")
    size = [-(-side // 16) * 16 for side in padded.shape[2:]]  # Fourier transforms: no large prime factor
    spectrum = torch.fft.rfft2(frame, size).conj() * torch.fft.rfft2(padded, size)
    side = 2 * reach + 1
    place = torch.fft.irfft2(spectrum.sum(1), size)[:, :side, :side].flatten(1).argmax(1)
    return torch.stack([place // side, place % side], 1) - reach


def together(layers: Sequence[Tensor]) -> Tensor:
    """At each pixel the layer that differs most from 0."""
    stacked = torch.stack(list(layers))
    return stacked.gather(0, stacked.abs().argmax(0, keepdim=True))[0]


HALF = (LEVELS - 1) / 2
KEEP = 5.0  # logit with which a pixel at first keeps its value, or shows the background where parts move
STRAY = 64.0  # grey levels: larger errors count by their square


@final
class FramePredictor(Reference):
    """k: whole numbers per frame. The flow codes each frame against what is predicted from k and the past.

    The encoder sees frame and past and rounds (Ballé et al. 2018, *Variational image compression with a scale
    hyperprior*); the prior is learned as in SVG-LP (Denton & Fergus 2018), number by number. Each pixel of
    the prediction mixes those of the last two frames, of a still background that all clips share, and a new
    one, and is rounded: what stands still is met to the byte. With ``moves``, parts of the last frame that
    move as wholes join them (``find_parts``); how they turn are the first numbers of the code.

    Bytes have no gradient. So in training ``code`` adds a term of value 0 to log p(k | past), whose gradient
    is that of −``weight`` · Σ (|d| + d² / 64), d being the prediction's error in grey levels.
    """

    def __init__(self, config: FramePredictorConfig, frames: int, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.size = config.code + 2 * config.moves
        self.noise_shape = (self.size, 1, 1)
        channels, height, width = size
        pyramid = EncoderConfig(hidden=config.hidden, blocks=1)
        self.frame_encoder = FrameEncoder(channels, pyramid)
        self.window_encoder = WindowEncoder(frames, pyramid)
        scale = 2 ** len(config.hidden)
        self.top = (config.hidden[-1], height // scale, width // scale)
        inner = math.prod(self.top)
        self.prior = MADEPrior(inner + 2 * config.moves, self.size)
        self.posterior = _head(2 * inner, 256, config.code, scale=SCALE)  # not all rounded to 0 at first
        self.enter = nn.Linear(self.size, inner)
        widths = config.hidden[::-1]
        self.join = ModuleList([NormConv2d(2 * w, w, 1) for w in widths])
        self.blocks = ModuleList([ResidualBlock(w) for w in widths])
        self.up = ModuleList([NormConv2d(a, b, 1) for a, b in pairwise(widths)])
        cues = 4 * 2 * config.moves * channels  # moved parts and how far they strayed, squeezed
        self.leave = NormConv2d(widths[-1] + cues, 4 * (4 + config.moves + channels), 3)
        self.background = nn.Parameter(torch.zeros(1, channels, height, width))
        with torch.no_grad():
            self.leave.weight.mul_(0.1)
            self.enter.weight.div_(SCALE)

    def code(self, past: Past, target: Tensor) -> tuple[Tensor, Tensor]:
        features, parts = self._features(past), self._parts(past)
        exact = self._exact(features, parts, target)
        k = exact + (exact.round() - exact).detach()
        predicted = self._predict(k, features, parts, past)
        log_p = self.prior.log_prob(k, self._known(features, parts))
        if self.training:
            d = (predicted - scaled(target)).abs() * HALF
            gain = -self.config.weight * (d + d.square() / STRAY).flatten(1).sum(1)
            log_p = log_p + (gain - gain.detach())
        return log_p, _bytes(predicted)

    def draw(self, past: Past, eps: Tensor, temperature: float) -> Tensor:
        features, parts = self._features(past), self._parts(past)
        k = self.prior.draw(self._known(features, parts), temperature * eps.flatten(1))
        return _bytes(self._predict(k, features, parts, past))

    def whiten(self, past: Past, target: Tensor) -> Tensor:
        features, parts = self._features(past), self._parts(past)
        exact = self._exact(features, parts, target)
        eps = self.prior.whiten(exact.round(), self._known(features, parts))
        return eps.view(len(eps), *self.noise_shape)

    @torch.no_grad()
    def fit(self, seen: Sequence[tuple[Past, Tensor]]) -> None:
        """Start the background at the median of what followed, where it is not set yet."""
        if not self.background.any():
            frames = torch.cat([target for _, target in seen])
            self.background.copy_(scaled(frames.median(0, keepdim=True).values))

    def _features(self, past: Past) -> tuple[Tensor, ...]:
        """Features of the window at each level, fine to coarse."""
        mask = past.mask[:, :, None, None, None]
        pyramid = (f.unflatten(0, past.mask.shape) for f in self.frame_encoder(scaled(fold(past.frames))))
        features: tuple[Tensor, ...] = self.window_encoder(
            tuple(f * mask.to(f.dtype) for f in pyramid), past.mask
        )
        return features

    def _parts(self, past: Past) -> Parts | None:
        """What moved as a whole in the last frame, beside what stands still."""
        if not self.config.moves:
            return None
        still = self.background.detach()
        last, before = (frame - still for frame in _last_two(past))
        with full_precision(still):
            return find_parts(last, before, self.config.moves, self.config.reach)

    def _known(self, features: Sequence[Tensor], parts: Parts | None) -> Tensor:
        """What the code's prior depends on, (B, F)."""
        top = features[-1].flatten(1)
        return top if parts is None else torch.cat([top, parts.steps.flatten(1).to(top.dtype)], 1)

    def _exact(self, features: Sequence[Tensor], parts: Parts | None, target: Tensor) -> Tensor:
        """The code before rounding, (B, code + 2 · moves): how parts turn, then what a network says."""
        own = self.frame_encoder(scaled(target).contiguous(memory_format=torch.channels_last))[-1]
        exact: Tensor = self.posterior(torch.cat([features[-1], own], 1)).float()
        if parts is None:
            return exact
        with full_precision(target):
            turns = find_velocity_changes(parts, scaled(target) - self.background.detach(), self.config.reach)
        return torch.cat([turns.flatten(1).to(exact.dtype), exact], 1)

    def _predict(self, k: Tensor, features: Sequence[Tensor], parts: Parts | None, past: Past) -> Tensor:
        """The frame that k leads to, (B, C, H, W) in [−1, 1] or somewhat beyond."""
        h = self.enter(k).unflatten(1, self.top)
        for level, feature in enumerate(reversed(features)):
            if level:
                h = F.interpolate(self.up[level - 1](h), scale_factor=2.0, mode="nearest")
            h = self.blocks[level](self.join[level](torch.cat([h, feature.to(h.dtype)], 1)))
        last, before = _last_two(past)
        sources, h = [last, before, self.background.expand_as(last)], relu(h)
        logits = torch.zeros_like(last[:, :1]).repeat(1, 4 + self.config.moves, 1, 1)
        logits[:, 0 if parts is None else 2] = KEEP
        if parts is not None:
            turns = k[:, : 2 * self.config.moves].detach().round().long().unflatten(1, (-1, 2))
            parts = move_on(parts, turns, self.config.reach)
            sources += list((parts.layers + self.background[:, None]).unbind(1))
            logits[:, 3:-1] = 2 * KEEP * parts.layers.abs().amax(2)
            cues = torch.cat([parts.layers, parts.strayed], 1).flatten(1, 2)
            h = torch.cat([h, squeeze(cues).to(h.dtype)], 1)
        made = unsqueeze(self.leave(h)).float()
        channels = last.shape[1]
        share = (logits + made[:, :-channels]).softmax(1)[:, :, None]
        return (share * torch.stack([*sources, made[:, -channels:]], 1)).sum(1)


def _last_two(past: Past) -> tuple[Tensor, Tensor]:
    """The last frame and the one before it, (B, C, H, W) in [−1, 1]; twice the same where there is one."""
    last = scaled(past.last)
    if past.frames.shape[1] == 1:
        return last, last
    return last, last + past.mask[:, -2:-1, None, None] * (scaled(past.frames[:, -2]) - last)


def _bytes(x: Tensor) -> Tensor:
    """[−1, 1] → bytes."""
    return ((x.detach() + 1) * HALF).round().clamp(0, LEVELS - 1).to(torch.uint8)


def _head(inputs: int, hidden: int, outputs: int, scale: float) -> nn.Sequential:
    """A network of one hidden layer; the weights for the outputs start ``scale`` times as large as usual."""
    leave = nn.Linear(hidden, outputs)
    with torch.no_grad():
        leave.weight.mul_(scale)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), leave)
