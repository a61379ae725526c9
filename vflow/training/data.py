"""Stateless training stream: every batch is a function of (seed, position)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from vflow.config import TrainingConfig
from vflow.data.augment import corrupt
from vflow.data.datasets.types import VideoDataset
from vflow.models import CodecBatch, ImageBatch, Model, NowcastBatch, PointBatch, VideoBatch
from vflow.randomness import generator, normal
from vflow.training.logging import Samples

T = TypeVar("T")
READY = 3  # steps whose batches are loaded ahead
FULL_WINDOW = 0.75  # share of targets that see the whole window, the case met in sampling


@dataclass(frozen=True)
class Sampler:
    """An endless stream of examples: epoch after epoch, each in an order that is f(seed, epoch).

    Position p of the stream is example ``permutation(seed, p // N)[p % N]``; batches may straddle
    epochs, and no example is dropped.

    Args:
        dataset: index-addressable clips.
        seed: of order, crops, noise and windows.
        min_context: first target frame, the shortest window.
        context: longest window.
        corruption: share of examples whose past frames are damaged.
        num_samples: samples of each clip's last frame for a loss on samples; 0: none.
        picks: some groups of latents stand for all of a target's.
    """

    dataset: VideoDataset
    seed: int
    min_context: int
    context: int
    corruption: float = 0.0
    num_samples: int = 0
    picks: bool = False

    def batch(self, start: int, size: int) -> VideoBatch:
        """Examples ``start … start + size - 1`` of the stream, on the CPU."""
        return collate([self._example(position) for position in range(start, start + size)])

    def frames(self, position: int) -> np.ndarray:
        """The clip at ``position``: uint8 (T, C, H, W)."""
        epoch, index = locate(self.seed, position, len(self.dataset))
        clip = self.dataset.example(index, (self.seed, epoch))
        return np.ascontiguousarray(clip.transpose(0, 3, 1, 2))

    def _example(self, position: int) -> VideoBatch:
        epoch, index = locate(self.seed, position, len(self.dataset))
        frames = self.frames(position)
        targets = np.arange(self.min_context, len(frames))
        window = draw_windows(targets, self.min_context, self.context, (self.seed, epoch, index))
        made = example(frames, window, self.min_context, ("train", self.seed, epoch, index))
        if self.num_samples:
            shape = (self.num_samples, frames[0].size)
            made = made._replace(sample_eps=normal(shape, "guesses", self.seed, epoch, index))
        if self.picks:
            made = made._replace(pick=draw_picks(len(targets), (self.seed, epoch, index)))
        random = generator("corrupt", self.seed, epoch, index)
        if random.random() >= self.corruption:
            return made
        return made._replace(corrupted_past=torch.from_numpy(corrupt(frames[:-1], random)))


def locate(seed: int, position: int, length: int) -> tuple[int, int]:
    """(epoch, example index) at ``position`` of the stream over ``length`` examples."""
    epoch, offset = divmod(position, length)
    return epoch, int(permutation(seed, epoch, length)[offset])


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    """Order of the examples in ``epoch``: int64 (length,)."""
    return generator("order", seed, epoch).permutation(length)


def draw_windows(targets: np.ndarray, shortest: int, context: int, key: tuple[int, ...]) -> np.ndarray:
    """Past frames that each target may see: all of min(t, context), or uniform from ``shortest`` up to it."""
    random = generator("window", *key)
    longest = np.minimum(targets, context)
    drawn = random.integers(shortest, longest, endpoint=True)
    return np.where(random.random(len(targets)) < FULL_WINDOW, longest, drawn)


def draw_picks(targets: int, key: tuple[int, ...]) -> Tensor:
    """A number in [0, 1) for each target, float32 (targets,): stratified, in random order."""
    random = generator("pick", *key)
    picks = (random.permutation(targets) + random.random(targets)) / targets
    return torch.from_numpy(picks.astype(np.float32))


def example(
    frames: np.ndarray, window: np.ndarray, min_context: int, key: tuple[int | str, ...]
) -> VideoBatch:
    """One example, without a batch dimension: ``frames`` uint8 (T, C, H, W), noise named by ``key``."""
    eps = normal((len(frames) - min_context, *frames.shape[1:]), *key)
    return VideoBatch(torch.from_numpy(frames), eps, torch.from_numpy(window.astype(np.int64)))


def collate(examples: list[VideoBatch]) -> VideoBatch:
    """Stack examples into a batch."""
    batch = VideoBatch(*(torch.stack(tensors) for tensors in zip(*(e[:3] for e in examples), strict=True)))
    if examples[0].sample_eps is not None:
        eps = torch.stack([e.sample_eps for e in examples if e.sample_eps is not None])
        batch = batch._replace(sample_eps=eps)
    if examples[0].pick is not None:
        batch = batch._replace(pick=torch.stack([e.pick for e in examples if e.pick is not None]))
    if all(e.corrupted_past is None for e in examples):
        return batch
    return batch._replace(
        corrupted_past=torch.stack(
            [e.frames[:-1] if e.corrupted_past is None else e.corrupted_past for e in examples]
        )
    )


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


M = TypeVar("M", bound=Model, contravariant=True)
B = TypeVar("B", VideoBatch, ImageBatch, NowcastBatch, CodecBatch, PointBatch)
S = TypeVar("S", bound=Sized)


class DataModule(Protocol[M, B]):
    """Training stream, validation examples and sample grids for models ``M``; batches lie on the CPU.

    All is a function of the preset and the arguments, so there is no state to save. ``DATA_MODULES`` in
    setup.py maps a model's configuration to its data module.

    Attributes:
        length: training examples per epoch; ``usable``: those that are not left out, as far as known.
        frames: pictures per example, for rates; ``targets``: those whose likelihood counts.
        statistics_examples: training examples that fitted statistics (pixel maps, tables) are counted on.
        held_out: validation examples, possibly none; ``chunk``: those per forward pass.
    """

    @property
    def length(self) -> int: ...
    @property
    def usable(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def targets(self) -> int: ...
    @property
    def statistics_examples(self) -> int: ...
    @property
    def held_out(self) -> int: ...
    @property
    def chunk(self) -> int: ...

    def batch(self, start: int, size: int) -> B:
        """Examples ``start … start + size - 1`` of the endless training stream."""

    def validation(self, indices: Sequence[int]) -> B | None:
        """Held-out examples with fixed noise; None if what they are in cannot be read."""

    def probe(self, count: int) -> B:
        """The first ``count`` held-out examples (or all), for the round trip."""

    def bits(self, model: M, batch: B) -> Tensor:
        """bits/dim of each target, (B, targets)."""

    def draw(self, model: M, device: torch.device, cancelled: Callable[[], bool]) -> Samples | None:
        """Samples at temperature 1 with the same noise each time; None when cancelled."""


@dataclass(frozen=True)
class Splits(Generic[S]):
    """Training examples and those held out (None: there are none), each of one picture or point.

    What most data modules have in common; see ``DataModule``.
    """

    train: S
    held: S | None
    seed: int

    @property
    def length(self) -> int:
        return len(self.train)

    @property
    def usable(self) -> int:
        return self.length

    @property
    def frames(self) -> int:
        return 1

    @property
    def targets(self) -> int:
        return 1

    @property
    def statistics_examples(self) -> int:
        return 0

    @property
    def held_out(self) -> int:
        return len(self.held) if self.held else 0


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
