"""A frame's global displacement as a discrete latent: found by search, coded with a learned prior."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@final
class Motion(nn.Module):
    """p(d | past) over displacements d of up to ``reach`` pixels along each axis, as in video coding.

    The encoder takes the d that moves the last frame closest to the new one, a deterministic q(d | x), so
    log p(x) ≥ log p(d) + log p(x | d): a valid bound. The prior depends on the displacement before, so that a
    movement can go on, and on features of the past.

    Args:
        reach: largest displacement in pixels.
        features: size of the vector that describes the past.
    """

    displacements: Tensor

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
        nn.init.zeros_(self.given.bias)

    @torch.no_grad()
    def fit(self, traces: Sequence[tuple[Tensor, Tensor]], floor: float = 1e-3) -> None:
        """Start the prior at how often each displacement follows each other in ``traces``, plus ``floor``."""
        cells = torch.cat([(before * self.unknown + found).flatten() for before, found in traces])
        self.after.copy_(
            (torch.bincount(cells, minlength=self.after.numel()) + floor).log().view_as(self.after)
        )

    def trace(self, frames: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        """Displacements before and to each target of uint8 frames (B, T, C, H, W): two indices (B, targets).

        The first is ``unknown`` where ``window`` (B, targets), the past frames in sight, holds but one.
        """
        first, pairs = frames.shape[1] - window.shape[1], frames[:, 1:].shape[:2]
        found = self.find(frames[:, 1:].flatten(0, 1), frames[:, :-1].flatten(0, 1)).unflatten(0, pairs)
        unknown = torch.full_like(found[:, :1], self.unknown)
        before = torch.cat([unknown, found], 1)[:, first - 1 : -1]
        return torch.where(window > 1, before, unknown), found[:, first - 1 :]

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

    def log_probability(self, before: Tensor, features: Tensor) -> Tensor:
        """log p(d | past), (B, displacements): ``before`` (B,) index or ``unknown``; ``features`` (B, F)."""
        return (self.after[before] + self.given(features).float()).log_softmax(1)

    def sample(self, before: Tensor, features: Tensor, eps: Tensor, temperature: float) -> Tensor:
        """Index (B,) drawn by inverting the CDF at Φ(eps), eps (B, 1, 1, 1); temperature 0 takes the mode."""
        logits = self.log_probability(before, features)
        if temperature == 0:
            return logits.argmax(1)
        cumulative = (logits / temperature).softmax(1).double().cumsum(1)
        level = torch.special.ndtr(eps.double()).view(-1, 1) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, level, right=True)[:, 0].clamp_max(self.unknown - 1)

    def encode(self, index: Tensor, before: Tensor, features: Tensor) -> Tensor:
        """eps (B, 1, 1, 1) with which ``sample`` draws ``index`` (B,) at temperature 1: the middle of all.

        Displacements too rare for float32 to tell from their neighbours come back as one of these.
        """
        p = self.log_probability(before, features).softmax(1).double()
        middle = (p.cumsum(1) - p / 2).gather(1, index[:, None]) / p.sum(1, keepdim=True)
        return torch.special.ndtri(middle.clamp(1e-15, 1 - 1e-15)).float().view(-1, 1, 1, 1)
