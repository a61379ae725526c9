"""What a run is fed and judged by: all of training that depends on the kind of model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from vflow.config import TrainingConfig
from vflow.models import ImageBatch, Model, VideoBatch
from vflow.training.sampler import share
from vflow.training.samples import Samples

M = TypeVar("M", bound=Model, contravariant=True)
B = TypeVar("B", VideoBatch, ImageBatch)


class Material(Protocol[M, B]):
    """The training stream, the held-out examples and the pictures of progress, for models ``M``.

    Batches lie on the CPU. Everything is a function of the preset and the arguments, so there is nothing to
    save. ``OPENERS`` in setup.py chooses one by the model's configuration.
    """

    @property
    def length(self) -> int:
        """Training examples per epoch."""
        ...

    @property
    def frames(self) -> int:
        """Pictures per example, for rates."""
        ...

    @property
    def targets(self) -> int:
        """Pictures per example whose likelihood is the objective."""
        ...

    @property
    def counted(self) -> int:
        """Training examples that parts set by counting are fitted to."""
        ...

    @property
    def held_out(self) -> int:
        """Validation examples; possibly none."""
        ...

    @property
    def chunk(self) -> int:
        """Validation examples per forward pass."""
        ...

    def batch(self, start: int, size: int) -> B:
        """Examples ``start … start + size - 1`` of the endless training stream."""
        ...

    def validation(self, indices: Sequence[int]) -> B:
        """Held-out examples with fixed noise."""
        ...

    def probe(self, count: int) -> B:
        """The first ``count`` held-out examples (or all), for the round trip."""
        ...

    def bits(self, model: M, batch: B) -> Tensor:
        """bits/dim of each target, (B, targets)."""
        ...

    def draw(self, model: M, device: torch.device, cancelled: Callable[[], bool]) -> Samples | None:
        """Samples at temperature 1 with the same noise each time; None when cancelled."""
        ...


def micro_batches(
    material: Material[Any, B], config: TrainingConfig, start: int, accelerator: Accelerator
) -> list[B]:
    """This process's share of the global batch that begins at stream position ``start``."""
    world, rank = accelerator.num_processes, accelerator.process_index
    parts = share(start, config.batch_size, rank, world, config.accumulate)
    return [material.batch(first, size) for first, size in parts]


def on_device(batch: B, device: torch.device) -> B:
    """The batch on ``device``."""
    moved: list[Any] = [t.to(device, non_blocking=True) if isinstance(t, Tensor) else t for t in batch]
    return type(batch)(*moved)
