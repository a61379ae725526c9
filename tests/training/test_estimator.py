"""The estimator of scikit-learn: its own checks, its tools, and the same density as the command's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import vflow
from vflow.errors import ConfigError, InputError

SMALL = vflow.DensityEstimator(
    "maf", settings={"model.layers.1.times": 1, "training.validate_every": 5}, max_steps=10, random_state=0
)


def bent(rows: int, seed: int = 0) -> np.ndarray:
    """A cloud that no Gaussian fits, far from 0 and of unequal scales."""
    random = np.random.default_rng(seed)
    first = random.normal(size=rows)
    return np.stack([1000 + first, 0.01 * (first**2 + 0.2 * random.normal(size=rows))], 1)


@parametrize_with_checks([SMALL])
def test_it_is_an_estimator(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_it_learns_more_than_a_gaussian_and_samples_what_it_learned() -> None:
    model = clone(SMALL).set_params(max_steps=150, learning_rate=0.02, settings={"model.layers.1.times": 3})
    model.fit(bent(400))
    test = bent(1000, 1)
    gaussian = GaussianMixture(1).fit(bent(400))
    assert model.score(test) > gaussian.score(test) + 0.3
    assert model.score(test) == pytest.approx(model.score_samples(test).mean())
    drawn = model.sample(2000, random_state=0)
    assert drawn.shape == (2000, 2) and drawn.dtype == np.float64
    assert np.array_equal(model.sample(2000, random_state=0), drawn)
    np.testing.assert_allclose((drawn.mean(0) - test.mean(0)) / test.std(0), 0, atol=0.2)
    assert clone(model).fit(bent(400)).score(test) == model.score(test)


def test_pipelines_grids_and_folds_take_it() -> None:
    rows = bent(120)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SMALL),
        {"densityestimator__max_steps": [1, 5]},
        cv=2,
        error_score="raise",
    )
    best = search.fit(rows).best_estimator_
    assert np.isfinite(best.score_samples(rows)).all()
    scores = cross_val_score(SMALL, rows, cv=3)
    assert scores.shape == (3,) and np.isfinite(scores).all()


def test_whole_numbers_have_probabilities_unless_told_otherwise() -> None:
    random = np.random.default_rng(0)
    rows = np.stack([random.integers(0, 2, 200), random.poisson(3, 200)], 1)
    model = clone(SMALL).fit(rows)
    drawn = model.sample(300)
    assert set(drawn[:, 0]) == {0, 1} and (drawn % 1 == 0).all()
    grid = np.stack(np.meshgrid([-1, 0, 1, 2], np.arange(-20, 40)), -1).reshape(-1, 2)
    assert np.exp(model.score_samples(grid)).sum() == pytest.approx(1, abs=0.05)
    free = clone(SMALL).set_params(dequantize=False).fit(rows)
    assert (free.sample(300) % 1 != 0).any()


def test_few_rows_are_a_gaussian_and_what_has_no_density_is_refused() -> None:
    few = clone(SMALL).fit(bent(4))
    assert np.isfinite(few.score_samples(bent(50, 1))).all()
    with pytest.raises(InputError, match="x2"):
        clone(SMALL).fit(np.stack([np.linspace(0, 1, 30), np.full(30, 0.5)], 1))
    with pytest.raises(ConfigError, match="digits"):
        clone(SMALL).set_params(preset="digits").fit(bent(30))
