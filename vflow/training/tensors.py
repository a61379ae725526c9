"""Gathering and scattering tensors that may be sharded over processes (FSDP2's DTensor)."""

from __future__ import annotations

import torch
from torch import Tensor


def full(value: Tensor) -> Tensor:
    """The whole tensor; a collective call when ``value`` is sharded."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


@torch.no_grad()
def fill(target: Tensor, value: Tensor) -> None:
    """Copy a whole ``value`` into ``target``, each process its own shard."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    value = value.to(target.device, target.dtype)
    if isinstance(target, DTensor):
        value = distribute_tensor(value, target.device_mesh, target.placements)
    target.copy_(value)
