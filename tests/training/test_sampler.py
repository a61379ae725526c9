from __future__ import annotations

import numpy as np
import pytest
import torch

from vflow.config import DataConfig, VideoFlowConfig
from vflow.models import VideoBatch
from vflow.training.data import Prefetcher, locate, permutation, share
from vflow.training.videos import Videos, draw_windows


class Ramp:
    """Clip ``index`` is filled with its index; the first pixel tells the key's epoch."""

    def __len__(self) -> int:
        return 10

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        clip = np.full((5, 4, 4, 1), index, np.uint8)
        clip[0, 0, 0, 0] = key[1]
        return clip


def make(seed: int = 3, corruption: float = 0.0, num_samples: int = 0) -> Videos:
    config, data = VideoFlowConfig(min_context=1, context=2), DataConfig(corruption=corruption)
    return Videos(Ramp(), None, seed, config, data, num_samples)


def test_every_epoch_visits_each_example_once_in_its_own_order() -> None:
    epochs = [[locate(3, 10 * epoch + i, 10)[1] for i in range(10)] for epoch in range(3)]
    assert all(sorted(order) == list(range(10)) for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(permutation(3, 1, 10)) == epochs[1]


def test_a_batch_is_a_function_of_seed_and_position() -> None:
    first, again, other = make().batch(7, 6), make().batch(7, 6), make(seed=4).batch(7, 6)
    assert (
        all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True))
        and first.corrupted_past is None
    )
    assert not torch.equal(first.eps, other.eps)
    parts = [make().batch(7 + i, 1) for i in range(6)]
    assert torch.equal(first.eps, torch.cat([part.eps for part in parts]))


def test_corruption_is_a_function_of_seed_and_position_and_spares_the_targets() -> None:
    first, again, other = make(3, 0.5).batch(0, 10), make(3, 0.5).batch(0, 10), make(4, 0.5).batch(0, 10)
    assert (
        first.corrupted_past is not None
        and again.corrupted_past is not None
        and other.corrupted_past is not None
    )
    assert torch.equal(first.corrupted_past, again.corrupted_past) and not torch.equal(
        first.corrupted_past, other.corrupted_past
    )
    assert torch.equal(first.frames, make(3).batch(0, 10).frames)
    damaged = [
        not torch.equal(past, frames[:-1])
        for past, frames in zip(first.corrupted_past, first.frames, strict=True)
    ]
    assert 1 <= sum(damaged) <= 9


def test_noise_of_samples_is_a_function_of_seed_and_position() -> None:
    sampler = make(num_samples=2)
    whole, parts = sampler.batch(7, 4).sample_eps, [sampler.batch(7 + i, 1).sample_eps for i in range(4)]
    assert whole is not None and whole.shape == (4, 2, 16)
    assert torch.equal(whole, torch.cat([part for part in parts if part is not None]))
    assert make().batch(0, 2).sample_eps is None


def test_a_batch_may_straddle_epochs_and_noise_differs_between_them() -> None:
    batch = make().batch(8, 4)
    assert batch.frames[:, 0, 0, 0, 0].tolist() == [0, 0, 1, 1]
    sampler = make()
    index = locate(3, 0, 10)[1]
    later = next(p for p in range(10, 20) if locate(3, p, 10)[1] == index)
    assert not torch.equal(sampler.batch(0, 1).eps, sampler.batch(later, 1).eps)


def test_shapes_and_types() -> None:
    batch = make().batch(0, 2)
    assert batch.frames.shape == (2, 5, 1, 4, 4) and batch.frames.dtype == torch.uint8
    assert batch.eps.shape == (2, 4, 1, 4, 4) and batch.eps.dtype == torch.float32
    assert batch.window.shape == (2, 4) and batch.window.dtype == torch.int64


def test_windows_are_full_three_times_in_four_and_never_out_of_bounds() -> None:
    targets = np.arange(2, 12)
    drawn = np.stack([draw_windows(targets, 2, 6, (0, 0, i)) for i in range(2000)])
    longest = np.minimum(targets, 6)
    assert drawn.min() == 2 and (drawn <= longest).all()
    # The last target draws from 2..6: full with chance 0.75 + 0.25 / 5.
    assert abs((drawn[:, -1] == 6).mean() - 0.8) < 0.03
    assert (drawn[:, 0] == 2).all()


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (1, 4), (2, 2)])
def test_shares_cover_the_global_batch(world: int, accumulate: int) -> None:
    parts = [part for rank in range(world) for part in share(16, 8, rank, world, accumulate)]
    covered = [position for start, size in parts for position in range(start, start + size)]
    assert covered == list(range(16, 24))


def test_prefetcher_gives_batches_in_order_and_passes_errors_on() -> None:
    sampler = make()

    def load(start: int) -> list[VideoBatch]:
        if start >= 12:
            raise ValueError("no more")
        return [sampler.batch(start, 4)]

    with Prefetcher(load, 4, 4) as batches:
        for start in (4, 8):
            assert torch.equal(next(batches)[0].eps, sampler.batch(start, 4).eps)
        with pytest.raises(ValueError, match="no more"):
            next(batches)
