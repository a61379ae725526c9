"""Fidelity of predicted video."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from vflow.metrics.video import Baselines, best_of, diversity, psnr


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
    assert set(predictions) == {"copy last", "training mean", "per-pixel regression"}
    assert all(p.shape == (2, 4, 4, 1) for p in predictions.values())
    np.testing.assert_allclose(predictions["per-pixel regression"], clips[3][2:], atol=0.05)
    np.testing.assert_array_equal(predictions["copy last"], np.stack([context[-1]] * 2))
    np.testing.assert_allclose(
        predictions["training mean"][0], np.mean([c[2:] for c in clips], (0, 1)), rtol=1e-5
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
