"""Reference frames: what a new frame is coded against, and the latent that leads to it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Past(NamedTuple):
    """Frames that B new ones may depend on, a window each."""

    frames: Tensor  # uint8 (B, n, C, H, W), newest last; absent frames are zero
    mask: Tensor  # (B, n) in {0, 1}, 0 where a frame is absent
    summary: Tensor  # (B, F), features of the window for small heads

    @property
    def last(self) -> Tensor:
        """The frame before, uint8 (B, C, H, W)."""
        return self.frames[:, -1]


class Reference(nn.Module, ABC):
    """A latent z per frame, drawn first; it leads to the frame that the new one is coded against.

    An encoder finds z, so log p(x) ≥ E_q(z | x) [log p(z | past) + log p(x | z, past) − log q(z | x)]: a
    valid bound. The noise that draws z is the last of a model's latents.
    """

    noise_shape: tuple[int, int, int]

    @abstractmethod
    def encode(self, past: Past, target: Tensor, eps: Tensor | None) -> tuple[Tensor, Tensor]:
        """log p(z | past) − log q(z | target) in nats, (B,), and the reference, uint8 like ``target``.

        Args:
            target: uint8 (B, C, H, W).
            eps: standard-normal noise of q, (B, D); None where the encoder is deterministic.
        """

    @abstractmethod
    def sample(self, past: Past, eps: Tensor, temperature: float) -> Tensor:
        """Reference of a z drawn by standard-normal ``eps`` (B, *noise_shape); the mode at temperature 0."""

    @abstractmethod
    def whiten(self, past: Past, target: Tensor, eps: Tensor | None = None) -> Tensor:
        """Noise (B, *noise_shape) with which ``sample`` finds the z of ``target`` at temperature 1.

        ``eps`` is that of q, (B, D); None: zero.
        """

    @abstractmethod
    def fit(self, pairs: Sequence[tuple[Past, Tensor]]) -> None:
        """Set what is counted from training data: pasts, and the frames that followed."""


@final
class MotionReference(Reference):
    """The last frame displaced as a whole, z = d: p(d | past) over displacements, as in video coding.

    The encoder takes the d that moves the last frame closest to the new one. The prior depends on the
    displacement before, so that a movement can go on, and on features of the past.

    Args:
        max_displacement: in pixels, along each axis.
        features: size of ``Past.summary``.
    """

    displacements: Tensor
    noise_shape = (1, 1, 1)

    def __init__(self, max_displacement: int, features: int) -> None:
        super().__init__()
        span = range(-max_displacement, max_displacement + 1)
        nearest_first = sorted(product(span, span), key=lambda d: d[0] ** 2 + d[1] ** 2)
        self.register_buffer("displacements", torch.tensor(nearest_first), persistent=False)
        self.no_history = len(nearest_first)
        self.transition_logits = nn.Parameter(torch.zeros(self.no_history + 1, self.no_history))
        self.feature_head = nn.Linear(features, self.no_history)
        nn.init.zeros_(self.feature_head.weight)
        nn.init.zeros_(self.feature_head.bias)

    def encode(self, past: Past, target: Tensor, eps: Tensor | None) -> tuple[Tensor, Tensor]:
        index = self.search(target, past.last)
        log_p = self.log_prob(self.last_displacement(past), past.summary).gather(1, index[:, None])[:, 0]
        return log_p, self.displace(past.last, index)

    def sample(self, past: Past, eps: Tensor, temperature: float) -> Tensor:
        return self.displace(
            past.last,
            self.sample_index(
                self.last_displacement(past), past.summary, eps, 1 / temperature if temperature else math.inf
            ),
        )

    def whiten(self, past: Past, target: Tensor, eps: Tensor | None = None) -> Tensor:
        return self.whiten_index(self.search(target, past.last), self.last_displacement(past), past.summary)

    @torch.no_grad()
    def fit(self, pairs: Sequence[tuple[Past, Tensor]], floor: float = 1e-3) -> None:
        """Start the prior at how often each displacement follows each other, plus ``floor``."""
        cells = [
            self.last_displacement(past) * self.no_history + self.search(target, past.last)
            for past, target in pairs
        ]
        counts = torch.bincount(torch.cat(cells), minlength=self.transition_logits.numel())
        self.transition_logits.copy_((counts + floor).log().view_as(self.transition_logits))

    def last_displacement(self, past: Past) -> Tensor:
        """Index (B,) of the displacement to the last frame; ``no_history`` where none is before it."""
        no_history = torch.full_like(past.mask[:, -1], self.no_history, dtype=torch.long)
        if past.frames.shape[1] < 2:
            return no_history
        return torch.where(past.mask[:, -2] > 0, self.search(past.last, past.frames[:, -2]), no_history)

    @torch.no_grad()
    def search(self, target: Tensor, last: Tensor) -> Tensor:
        """Index (B,) of the displacement that moves ``last`` closest to ``target``, both uint8 (B, C, H, W).

        Closest in summed absolute difference; the shorter displacement wins a tie.
        """
        reach = int(self.displacements.max())
        height, width = last.shape[2:]
        padded = F.pad(last.float(), (reach,) * 4, mode="replicate")
        costs = []
        for dy, dx in self.displacements.tolist():
            moved = padded[:, :, reach - dy : reach - dy + height, reach - dx : reach - dx + width]
            costs.append((moved - target).abs().flatten(1).sum(1))
        return torch.stack(costs, 1).argmin(1)

    def displace(self, frame: Tensor, index: Tensor) -> Tensor:
        """``frame`` (B, C, H, W) displaced by ``index`` (B,); edges are repeated."""
        return warp(frame, -self.displacements[index])

    def log_prob(self, before: Tensor, features: Tensor) -> Tensor:
        """log p(d | past), (B, displacements), by the index ``before`` (B,) and ``features`` (B, F)."""
        return (self.transition_logits[before] + self.feature_head(features).float()).log_softmax(1)

    def sample_index(
        self, before: Tensor, features: Tensor, eps: Tensor, probability_exponent: float = 1.0
    ) -> Tensor:
        """Index (B,) at which the CDF of p^exponent reaches Φ(eps), eps (B, 1, 1, 1); ∞ takes the mode."""
        logits = self.log_prob(before, features)
        if math.isinf(probability_exponent):
            return logits.argmax(1)
        cumulative = (probability_exponent * logits).softmax(1).double().cumsum(1)
        level = torch.special.ndtr(eps.double()).view(-1, 1) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, level, right=True)[:, 0].clamp_max(self.no_history - 1)

    def whiten_index(self, index: Tensor, before: Tensor, features: Tensor) -> Tensor:
        """Noise (B, 1, 1, 1) with which ``sample_index`` draws ``index`` (B,) of p itself: mid-range.

        Displacements too rare for float32 to tell from their neighbours come back as one of those.
        """
        p = self.log_prob(before, features).softmax(1).double()
        middle = (p.cumsum(1) - p / 2).gather(1, index[:, None]) / p.sum(1, keepdim=True)
        return torch.special.ndtri(middle.clamp(1e-15, 1 - 1e-15)).float().view(-1, 1, 1, 1)


def warp(x: Tensor, displacement: Tensor) -> Tensor:
    """x (B, C, H, W), each pixel taken ``displacement`` (B, 2) rows and columns away; edges are repeated."""
    height, width = x.shape[2:]
    rows = (torch.arange(height, device=x.device) + displacement[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) + displacement[:, 1:]).clamp(0, width - 1)
    taken = x.gather(2, rows[:, None, :, None].expand_as(x))
    return taken.gather(3, columns[:, None, None, :].expand_as(x))
