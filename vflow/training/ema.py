"""Exponential moving average of weights: the weights that are validated, sampled from and shipped."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """Averages of a model's parameters, float32.

    Args:
        model: the prepared model; its present weights start the average.
        decay: the final decay; early steps use min(decay, (1 + step) / (10 + step)), so that the
            random start is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._names = [name for name, _ in model.named_parameters()]
        self._shadow = [p.detach().clone() for p in model.parameters()]

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the weights after update number ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = [p.detach() for p in model.parameters()]
        get_ema_multi_avg_fn(decay)(self._shadow, weights, step)

    def tensors(self) -> dict[str, Tensor]:
        """Averages by parameter name."""
        return dict(zip(self._names, self._shadow, strict=True))

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take averages written by ``tensors``."""
        for name, value in zip(self._names, self._shadow, strict=True):
            value.copy_(tensors[name])

    @torch.no_grad()
    def copy_to(self, target: nn.Module, model: nn.Module) -> None:
        """Put the averages, and the buffers of ``model``, into ``target``, an unprepared copy of it."""
        averages = self.tensors()
        for name, parameter in target.named_parameters():
            parameter.copy_(averages[name])
        buffers = dict(model.named_buffers())
        for name, buffer in target.named_buffers():
            buffer.copy_(buffers[name])
