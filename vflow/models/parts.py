"""Parts of a frame that move as wholes: told apart by how they came, and moved on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

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
def find_turns(parts: Parts, frame: Tensor, reach: int) -> Tensor:
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
