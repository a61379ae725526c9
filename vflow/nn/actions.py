"""Network that reads the numbers that come with frames, such as a robot's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from vflow.config import ActionsConfig

VALUES, CHANGES = (
    5.0,
    8.0,
)  # deviations beyond which values, and their changes from frame to frame, look alike
LEAST = 1e-3  # deviations below it are of numbers that stay


@final
class ActionEncoder(nn.Module):
    """Features of a frame on a coarse grid, from its actions and those of the frames before.

    It sees the newest values and the changes that led to them, standardised. Cells have weights of their own,
    so what moves where can be learned without sight of it.

    Args:
        frames: rows of a window, the newest last: those of the past frames, and the frame's own.
    """

    mean: Tensor
    scale: Tensor
    step: Tensor

    def __init__(self, frames: int, config: ActionsConfig) -> None:
        super().__init__()
        self.config = config
        for name in ("mean", "scale", "step"):
            self.register_buffer(name, torch.full((config.size,), float(name != "mean")))
        self.net = nn.Sequential(
            nn.Linear(frames * config.size, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.channels * config.grid**2),
        )

    def forward(self, window: Tensor) -> Tensor:
        """(N, frames, A), NaN in rows that are not known → (N, E, grid, grid), zero without the newest row.

        Older rows that are not known count as equal to the newest.
        """
        known = torch.isfinite(window).all(2)
        newest = torch.where(known[:, -1:], window[:, -1], self.mean)
        rows = torch.where(known[..., None], window, newest[:, None])
        values = ((newest - self.mean) / self.scale).clamp(-VALUES, VALUES)
        changes = (rows.diff(dim=1) / self.step).clamp(-CHANGES, CHANGES)
        made = self.net(torch.cat([values, changes.flatten(1)], 1))
        side = self.config.grid
        return made.unflatten(1, (self.config.channels, side, side)) * known[:, -1, None, None, None]

    @torch.no_grad()
    def fit(self, rows: Tensor) -> None:
        """Set the standardisation from clips' actions (B, T, A)."""
        known = torch.isfinite(rows).all(2)
        if not bool(known.any()):
            return
        values, changes = rows[known], rows.diff(dim=1)[known[:, 1:] & known[:, :-1]]
        self.mean.copy_(values.mean(0))
        self.scale.copy_(values.std(0, correction=0).clamp_min(LEAST))
        self.step.copy_(changes.square().mean(0).sqrt().clamp_min(LEAST))
