"""Data modules of training, and what they share: a stream that is a function of (seed, position)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from vflow.config import TrainingConfig
from vflow.models import CodecBatch, ImageBatch, NowcastBatch, PointBatch, VideoBatch
from vflow.randomness import generator

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
READY = 3  # steps whose batches are loaded ahead


@dataclass(frozen=True)
class Samples:
    """A picture of samples, uint8 (H, W, C), and perhaps the same playing; faults before rounding.

    animation: uint8 (T, H, W, C), shown at ``fps``; None for stills.
    """

    picture: np.ndarray
    nonfinite: int
    out_of_range: int
    animation: np.ndarray | None = None
    fps: float = 1.0


def locate(seed: int, position: int, length: int) -> tuple[int, int]:
    """(epoch, example index) at ``position`` of the stream over ``length`` examples."""
    epoch, offset = divmod(position, length)
    return epoch, int(permutation(seed, epoch, length)[offset])


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    """Order of the examples in ``epoch``: int64 (length,)."""
    return generator("order", seed, epoch).permutation(length)


def begins(start: int, batch_size: int) -> int:
    """Stream position of the global batch that ``start`` lies in: names what all its parts have in common."""
    return start - start % batch_size


def share(start: int, batch_size: int, rank: int, world: int, accumulate: int) -> list[tuple[int, int]]:
    """(start, size) of each micro-batch of process ``rank`` in the global batch that begins at ``start``."""
    size = batch_size // (world * accumulate)
    first = start + rank * accumulate * size
    return [(first + i * size, size) for i in range(accumulate)]


class Prefetcher(Generic[T]):
    """Loads the next steps' batches in a thread while the present one computes.

    Args:
        load: batches of the step that begins at a stream position.
        start: position of the first step.
        stride: positions per step.
        depth: steps to keep ready.
    """

    def __init__(self, load: Callable[[int], list[T]], start: int, stride: int, depth: int = READY) -> None:
        self._load = load
        self._next = start
        self._stride = stride
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        self._ready: deque[Future[list[T]]] = deque()
        for _ in range(depth):
            self._submit()

    def _submit(self) -> None:
        self._ready.append(self._pool.submit(self._load, self._next))
        self._next += self._stride

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __next__(self) -> list[T]:
        future = self._ready.popleft()
        self._submit()
        return future.result()


B = TypeVar("B", VideoBatch, ImageBatch, NowcastBatch, CodecBatch, PointBatch)
S = TypeVar("S", bound=Sized)


@dataclass(frozen=True)
class DataModule(ABC, Generic[S, B]):
    """Training stream, validation examples and sample grids of a kind of model; batches lie on the CPU.

    All is a function of the preset and the arguments, so there is no state to save. ``Family.data`` in
    setup.py maps a model's configuration to its data module.

    Attributes:
        train, held: training examples, and those held out (None: there are none).
        chunk: validation examples per forward pass.
    """

    train: S
    held: S | None
    seed: int
    chunk: ClassVar[int]

    @property
    def length(self) -> int:
        """Training examples per epoch."""
        return len(self.train)

    @property
    def usable(self) -> int:
        """Training examples that are not left out, as far as known."""
        return self.length

    @property
    def frames(self) -> int:
        """Pictures per example, for rates."""
        return 1

    @property
    def targets(self) -> int:
        """Pictures per example whose likelihood counts."""
        return 1

    @property
    def statistics_examples(self) -> int:
        """Training examples that fitted statistics (pixel maps, tables) are counted on."""
        return 0

    @property
    def held_out(self) -> int:
        """Validation examples, possibly none."""
        return len(self.held) if self.held else 0

    def places(self, start: int, size: int) -> list[tuple[int, int]]:
        """(epoch, example index) of examples ``start … start + size - 1`` of the stream."""
        return [locate(self.seed, position, self.length) for position in range(start, start + size)]

    @abstractmethod
    def batch(self, start: int, size: int) -> B:
        """Examples ``start … start + size - 1`` of the endless training stream."""

    @abstractmethod
    def validation(self, indices: Sequence[int]) -> B | None:
        """Held-out examples with fixed noise; None if what they are in cannot be read."""

    def probe(self, count: int) -> B:
        """The first ``count`` held-out examples (or all), for the round trip."""
        batch = self.validation(range(min(count, self.held_out)))
        assert batch is not None
        return batch

    @abstractmethod
    def bits(self, model: Any, batch: B) -> Tensor:
        """bits/dim of each target, (B, targets)."""

    @abstractmethod
    def draw(self, model: Any, device: torch.device, cancelled: Callable[[], bool]) -> Samples | None:
        """Samples at temperature 1 with the same noise each time; None when cancelled."""

    def describe(self, model: Any, *, refitted: bool) -> dict[str, Any]:
        """Figures of the training data under a model, for its checkpoint: none.

        ``refitted``: it was trained on what is held out, too.
        """
        return {}


def micro_batches(
    data: DataModule[Any, B], config: TrainingConfig, start: int, accelerator: Accelerator
) -> list[B]:
    """This process's share of the global batch that begins at stream position ``start``."""
    world, rank = accelerator.num_processes, accelerator.process_index
    parts = share(start, config.batch_size, rank, world, config.accumulate)
    return [data.batch(first, size) for first, size in parts]


def on_device(batch: B, device: torch.device) -> B:
    """The batch on ``device``."""
    moved: list[Any] = [t.to(device, non_blocking=True) if isinstance(t, Tensor) else t for t in batch]
    return type(batch)(*moved)
