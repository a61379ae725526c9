"""ActNorm: one learned scale and shift per channel, set from the first batch."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn import functional as across

from vflow.bijections.base import Bijection, Context

SPEED = 3.0  # the scale is exp(SPEED · log_scale): a higher learning rate for it (Kingma & Dhariwal 2018)

LEAST = 1e-6  # standard deviation of a channel that is not constant


@final
class ActNorm(Bijection):
    """z = (x + shift) · scale per channel (Kingma & Dhariwal 2018, section 3.1).

    ``initialize`` gives each channel of that batch mean 0 and variance 1, and those that are constant there
    mean 0 alone; a persistent buffer remembers it. A map that comes uninitialised to its first training step
    (in training mode, with gradients) takes that step's batch, over all processes.
    """

    initialized: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialized", torch.tensor(False))
        self._known = False  # that the buffer is set, which on a GPU it would take a wait to read

    def affine_parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """(shift, scale, log scale), each (C,): what both directions use."""
        log_scale = SPEED * self.log_scale
        return self.shift, log_scale.exp(), log_scale

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        self.ensure_initialized(x)
        shift, scale, log_scale = self.affine_parameters()
        return (x + shift[:, None, None]) * scale[:, None, None], constant_density(x, log_scale.sum())

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        self.ensure_initialized(z, inverse=True)
        shift, scale, log_scale = self.affine_parameters()
        return z / scale[:, None, None] - shift[:, None, None], constant_density(z, -log_scale.sum())

    @property
    def starts(self) -> bool:
        """True in a training step before which nothing is known to have initialised it."""
        return not self._known and self.training and torch.is_grad_enabled()

    def ensure_initialized(self, x: Tensor, *, inverse: bool = False) -> None:
        """``calibrate`` on the batch of a training step, over all processes, if nothing did so before.

        The condition lies on the host: it costs no wait for the device, and compiled steps are free of it.
        """
        if self.starts:
            self.calibrate(x, inverse=inverse, processes=None)

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._known = False

    @torch.no_grad()
    def calibrate(self, x: Tensor, *, inverse: bool = False, processes: int | None = 1) -> None:
        """Set scale and shift from the batch ``x`` (B, C, H, W), once.

        Args:
            inverse: the inverse of this map shall give the batch mean 0 and variance 1.
            processes: see ``batch_statistics``.
        """
        self._known = True
        if self.initialized:
            return
        mean, variance = batch_statistics(x.double(), processes)
        deviation = variance.sqrt()
        # a constant channel, as of a batch of one vector, has no scale to go by
        log_deviation = torch.where(deviation > LEAST, deviation + LEAST, 1.0).log()
        self.shift.copy_(mean * (-log_deviation).exp() if inverse else -mean)
        self.log_scale.copy_((log_deviation if inverse else -log_deviation) / SPEED)
        self.initialized.fill_(True)

    def initialize(self, x: Tensor, context: Context = None) -> Tensor:
        self.calibrate(x)
        return self.transform(x)[0]

    def initialize_inverse(self, z: Tensor, context: Context = None) -> Tensor:
        self.calibrate(z, inverse=True)
        return self.invert(z)[0]


def awaits_first_batch(module: nn.Module) -> bool:
    """True in a training step before which an ActNorm inside ``module`` is not known to be initialised."""
    return any(isinstance(part, ActNorm) and part.starts for part in module.modules())


def constant_density(x: Tensor, value: Tensor) -> Tensor:
    """The same density ``value`` at each position: (B, H, W)."""
    return value.expand(x.shape[0], x.shape[2], x.shape[3])


def batch_statistics(x: Tensor, processes: int | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) of each channel of x (B, C, H, W), over the batches of all processes.

    Args:
        processes: that call this together; 1: this one alone, None: all.
    """
    mean = x.mean((0, 2, 3))
    if processes is None:
        together = distributed.is_available() and distributed.is_initialized()
        processes = distributed.get_world_size() if together else 1
    if processes > 1:
        mean = across.all_reduce(mean) / processes
    variance = (x - mean[:, None, None]).square().mean((0, 2, 3))
    if processes > 1:
        variance = across.all_reduce(variance) / processes
    return mean, variance
