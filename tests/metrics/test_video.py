"""Fidelity of predicted video."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from vflow.metrics.video import (
    Baselines,
    at_fifth,
    best_of,
    diversity,
    faulty,
    gradient_energy,
    moved,
    psnr,
)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_psnr_of_known_errors() -> None:
    target = np.full((3, 4, 5, 3), 100, np.uint8)
    prediction = target.copy()
    prediction[1] += 10
    prediction[2, ..., 0] = 90  # below: unsigned arithmetic would wrap
    values = psnr(prediction, target)
    assert values.shape == (3,) and math.isinf(values[0])
    assert values[1] == pytest.approx(20 * math.log10(255 / 10))
    assert values[2] == pytest.approx(10 * math.log10(255**2 / (100 / 3)))


def test_best_of_chooses_one_sample_for_the_whole_clip() -> None:
    target = np.full((2, 4, 4, 1), 100, np.uint8)
    samples = np.stack(
        [target + np.array(d, np.uint8)[:, None, None, None] for d in ((1, 60), (5, 5), (60, 1))]
    )
    index, scores = best_of(samples, target)
    assert index == 1
    np.testing.assert_allclose(scores, 20 * math.log10(255 / 5))


def test_diversity() -> None:
    zero = np.zeros((2, 3, 4, 4, 1), np.uint8)
    assert diversity(zero) == 0 and np.isnan(diversity(zero[:1]))
    assert diversity(np.stack([zero[0], zero[0] + 7])) == pytest.approx(7)
    assert diversity(np.stack([zero[0], zero[0], zero[0] + 6])) == pytest.approx(4)


def test_diversity_holds_a_pair_at_a_time() -> None:
    samples = noise(8, 50, 50, 3)
    x = samples.reshape(8, -1).astype(np.float64)
    first, second = np.triu_indices(8, 1)
    expected = np.sqrt(((x[first] - x[second]) ** 2).mean(1)).mean()
    tracemalloc.start()
    found = diversity(samples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == pytest.approx(expected, rel=1e-14) and peak < 4 * 8 * samples[0].size


def test_baselines_recover_a_linear_world() -> None:
    """x_t = 40 + 0.5 · x_0 per pixel, except one pixel that never changes."""
    clips = []
    for seed in range(30):
        first = 2 * (noise(4, 4, 1, seed=seed) // 4).astype(np.float64)
        first[0, 0] = 80
        clips.append(np.stack([first, first, 40 + 0.5 * first, 40 + 0.5 * first]).astype(np.uint8))
    fitted = Baselines.fit(iter(clips), context=2)
    context = clips[3][:2]
    predictions = fitted.predict(context)
    assert set(predictions) == {"copy_last", "training_mean", "regression"}
    assert all(p.shape == (2, 4, 4, 1) for p in predictions.values())
    np.testing.assert_allclose(predictions["regression"], clips[3][2:], atol=0.05)
    np.testing.assert_array_equal(predictions["copy_last"], np.stack([context[-1]] * 2))
    np.testing.assert_allclose(
        predictions["training_mean"][0], np.mean([c[2:] for c in clips], (0, 1)), rtol=1e-5
    )


def test_continuations_are_the_changes_after_the_nearest_training_frames() -> None:
    """Training clips start at 10, 60, 100 and grow by 1, 2, 3 a frame; 95 is near 100 and 60."""
    clips = [np.full((4, 8, 8, 1), start, np.uint8) for start in (10, 60, 100)]
    for step, clip in enumerate(clips, 1):
        clip[2:] += np.array([step, 2 * step], np.uint8)[:, None, None, None]
    context = np.full((2, 8, 8, 1), 95, np.uint8)
    found = Baselines.fit(clips, context=2).continuations(context, 2)
    assert found.dtype == np.uint8 and found[:, :, 0, 0, 0].tolist() == [[98, 101], [97, 99]]
    assert len(Baselines.fit(clips, context=2).continuations(context, 20)) == 3, "all there are"
    bright = Baselines.fit(clips, context=2).continuations(np.full((1, 8, 8, 1), 254, np.uint8), 1)
    assert (bright == 255).all(), "limited, not wrapped"


def test_baselines_need_clips() -> None:
    with pytest.raises(ValueError, match="no clips to fit on"):
        Baselines.fit([], context=1)


def test_the_fifth_frame_is_that_of_the_future_best_until_then() -> None:
    """Errors of 3, 2 and 0 grey levels there; the second is wrong before it, the third after it."""
    target = np.full((6, 4, 4, 1), 100, np.uint8)
    futures = np.stack([target + 3, target + 2, target])
    futures[1, :4] += 5
    futures[2, 5] += 100
    found = at_fifth(futures, target, {"copy_last": target + 10})
    db = [10 * np.log10(255**2 / error) for error in (9, 4, 1, 100)]
    assert found["best"] == pytest.approx(db[2]), "a hit counts as an error of 1"
    assert found["mean"] == pytest.approx(np.mean(db[:3])) and found["copy_last"] == pytest.approx(db[3])
    assert found["of_mean"] == pytest.approx(10 * np.log10(255**2 / (5 / 3) ** 2))


def test_gradient_energy_is_counted_where_things_move() -> None:
    last = np.zeros((32, 32, 1), np.uint8)
    target = last[None].copy()
    target[0, 4:8, 4:8] = 50
    where = moved(last, target)
    assert where[0, 2:10, 2:10].all() and where.sum() == 64
    assert gradient_energy(target, where)[0] == 16 * 50**2
    checked = np.indices((32, 32)).sum(0)[None, ..., None] % 2 * 10
    assert gradient_energy(checked, where)[0] == 2 * 64 * 10**2


def test_blank_frozen_and_noisy_frames_are_told() -> None:
    last = np.repeat(np.arange(0, 64, 2, dtype=np.uint8)[:, None, None], 32, 1)
    target = np.stack([last, last])
    target[1, 8:16, 8:16] += 60
    blank, right = np.full_like(target, 30), target.copy()
    frozen, noisy = np.stack([last, last]), noise(2, 32, 32, 1)
    found = faulty(np.stack([right, blank, frozen, noisy]), last, target)
    assert found.tolist() == [
        [[False] * 2, [True] * 2, [False] * 2, [False] * 2],
        [[False] * 2, [False] * 2, [False, True], [False] * 2],
        [[False] * 2, [False] * 2, [False] * 2, [True] * 2],
    ]
