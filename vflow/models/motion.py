"""A frame's global displacement as a discrete latent: found by search, coded with a learned prior."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.models.reference import Past, Reference


@final
class Motion(Reference):
    """p(d | past) over displacements d of up to ``reach`` pixels along each axis, as in video coding.

    The encoder takes the d that moves the last frame closest to the new one. The prior depends on the
    displacement before, so that a movement can go on, and on features of the past.

    Args:
        reach: largest displacement in pixels.
        features: size of the vector that describes the past.
    """

    displacements: Tensor
    noise_shape = (1, 1, 1)

    def __init__(self, reach: int, features: int) -> None:
        super().__init__()
        span = range(-reach, reach + 1)
        nearest_first = sorted(product(span, span), key=lambda d: d[0] ** 2 + d[1] ** 2)
        self.register_buffer("displacements", torch.tensor(nearest_first), persistent=False)
        self.unknown = len(nearest_first)
        self.after = nn.Parameter(torch.zeros(self.unknown + 1, self.unknown))
        self.given = nn.Linear(features, self.unknown)
        nn.init.zeros_(self.given.weight)
        nn.init.zeros_(self.given.bias)

    def code(self, past: Past, target: Tensor) -> tuple[Tensor, Tensor]:
        found = self.find(target, past.last)
        log_p = self.log_prob(self.before(past), past.summary).gather(1, found[:, None])[:, 0]
        return log_p, self.move(past.last, found)

    def draw(self, past: Past, eps: Tensor, temperature: float) -> Tensor:
        return self.move(past.last, self.sample(self.before(past), past.summary, eps, temperature))

    def whiten(self, past: Past, target: Tensor) -> Tensor:
        return self.encode(self.find(target, past.last), self.before(past), past.summary)

    @torch.no_grad()
    def fit(self, seen: Sequence[tuple[Past, Tensor]], floor: float = 1e-3) -> None:
        """Start the prior at how often each displacement follows each other, add_densities ``floor``."""
        cells = [self.before(past) * self.unknown + self.find(target, past.last) for past, target in seen]
        counts = torch.bincount(torch.cat(cells), minlength=self.after.numel())
        self.after.copy_((counts + floor).log().view_as(self.after))

    def before(self, past: Past) -> Tensor:
        """Index (B,) of the displacement to the last frame; ``unknown`` where no frame before it is seen."""
        unknown = torch.full_like(past.mask[:, -1], self.unknown, dtype=torch.long)
        if past.frames.shape[1] < 2:
            return unknown
        return torch.where(past.mask[:, -2] > 0, self.find(past.last, past.frames[:, -2]), unknown)

    @torch.no_grad()
    def find(self, target: Tensor, last: Tensor) -> Tensor:
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

    def move(self, frame: Tensor, index: Tensor) -> Tensor:
        """``frame`` (B, C, H, W) moved by displacement ``index`` (B,); edges are repeated."""
        dy, dx = self.displacements[index].unbind(1)
        rows = (torch.arange(frame.shape[2], device=frame.device) - dy[:, None]).clamp(0, frame.shape[2] - 1)
        columns = (torch.arange(frame.shape[3], device=frame.device) - dx[:, None]).clamp(
            0, frame.shape[3] - 1
        )
        batch = torch.arange(len(frame), device=frame.device)[:, None, None]
        return frame.movedim(1, 3)[batch, rows[:, :, None], columns[:, None]].movedim(3, 1)

    def log_prob(self, before: Tensor, features: Tensor) -> Tensor:
        """log p(d | past), (B, displacements): ``before`` (B,) index or ``unknown``; ``features`` (B, F)."""
        return (self.after[before] + self.given(features).float()).log_softmax(1)

    def sample(self, before: Tensor, features: Tensor, eps: Tensor, temperature: float) -> Tensor:
        """Index (B,) drawn by inverting the CDF at Φ(eps), eps (B, 1, 1, 1); temperature 0 takes the mode."""
        logits = self.log_prob(before, features)
        if temperature == 0:
            return logits.argmax(1)
        cumulative = (logits / temperature).softmax(1).double().cumsum(1)
        level = torch.special.ndtr(eps.double()).view(-1, 1) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, level, right=True)[:, 0].clamp_max(self.unknown - 1)

    def encode(self, index: Tensor, before: Tensor, features: Tensor) -> Tensor:
        """eps (B, 1, 1, 1) with which ``sample`` draws ``index`` (B,) at temperature 1: the middle of all.

        Displacements too rare for float32 to tell from their neighbours come back as one of these.
        """
        p = self.log_prob(before, features).softmax(1).double()
        middle = (p.cumsum(1) - p / 2).gather(1, index[:, None]) / p.sum(1, keepdim=True)
        return torch.special.ndtri(middle.clamp(1e-15, 1 - 1e-15)).float().view(-1, 1, 1, 1)
