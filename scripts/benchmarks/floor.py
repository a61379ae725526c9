"""Lower bound on the time of a training step, from measured speeds of convolutions and memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from scripts.benchmarks.models import glow_config
from scripts.benchmarks.timing import Step, alternate
from scripts.benchmarks.train import Setting

COPIED = 2**28  # bytes copied to measure memory
PASSES = 3  # forward, and the gradients of inputs and of weights


def floor(setting: Setting) -> dict[str, object]:
    """Lower bound on the seconds of one training step of the default Glow, in ``setting.dtype``."""
    config = glow_config(setting.depth, setting.hidden)
    flops, elements, steps = 0.0, 0, {}
    for level in range(config.levels):
        channels, side = config.channels * 2 ** (level + 2), config.height // 2 ** (level + 1)
        shapes = [(channels // 2, setting.hidden, 3), (setting.hidden, setting.hidden, 1)]
        shapes.append((setting.hidden, channels, 3))
        for inputs, outputs, kernel in shapes:
            flops += PASSES * 2.0 * setting.batch * side**2 * inputs * outputs * kernel**2 * setting.depth
            elements += setting.batch * side**2 * (inputs + outputs) * setting.depth
            steps[f"{inputs}→{outputs}, {kernel}×{kernel} at {side}²"] = convolution(
                setting, inputs, outputs, kernel, side
            )
    seconds = alternate(steps, setting.repeats, setting.clock)
    convolutions = setting.depth * sum(seconds.values())
    size = torch.empty((), dtype=setting.dtype).element_size()
    bandwidth = 2 * COPIED / alternate({"copy": copying(setting)}, setting.repeats, setting.clock)["copy"]
    # Each pass of a convolution reads one of its sides and writes or reads the other.
    moved = PASSES * elements * size
    return {
        "gflop": round(flops / 1e9, 2),
        "convolutions_s": round(convolutions, 4),
        "convolutions_gflops": round(flops / convolutions / 1e9, 1),
        "moved_gb": round(moved / 1e9, 3),
        "bandwidth_gb_s": round(bandwidth / 1e9, 2),
        "moved_s": round(moved / bandwidth, 4),
        "frames_per_s": round(setting.batch / convolutions, 2),
        "by_shape_ms": {name: round(1e3 * value, 3) for name, value in seconds.items()},
        "dtype": str(setting.dtype).removeprefix("torch."),
        "threads": setting.threads,
        "clock": setting.clock,
    }


def convolution(setting: Setting, inputs: int, outputs: int, kernel: int, side: int) -> Step:
    """Forward and backward of a single channels-last convolution."""
    kind: dict[str, Any] = {"device": setting.device, "dtype": setting.dtype}

    def tensor(*shape: int) -> Tensor:
        return torch.randn(*shape, **kind).contiguous(memory_format=torch.channels_last)

    x, weight = tensor(setting.batch, inputs, side, side), tensor(outputs, inputs, kernel, kernel)
    bias, grad = torch.zeros(outputs, **kind), tensor(setting.batch, outputs, side, side)
    for leaf in (x, weight, bias):
        leaf.requires_grad_()

    def step() -> None:
        y = F.conv2d(x, weight, bias, padding=kernel // 2)
        torch.autograd.grad(y, [x, weight, bias], grad)

    return step


def copying(setting: Setting) -> Step:
    """A copy too large for any cache."""
    source = torch.ones(COPIED // 4, device=setting.device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)
