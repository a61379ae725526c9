"""Density of vectors as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from vflow.config import DensityConfig, load_preset
from vflow.data.datasets.points import Points, Table, default_names, describe_columns
from vflow.errors import ConfigError
from vflow.pipelines.density import check_spread, sample, score_rows
from vflow.training.args import table_settings
from vflow.training.points import fit_rows

try:
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "DensityEstimator needs scikit-learn; install vflow-torch's extra 'sklearn' "
        "(in its checkout: pip install -e '.[sklearn]')"
    ) from error


class DensityEstimator(DensityMixin, BaseEstimator):
    """Normalizing flow with the methods of scikit-learn's density estimators.

    It is trained as ``vflow train`` trains a preset on a table: from the Gaussian of the rows' shrunk
    covariance, until rows held out get no more likely, then as long on all rows. Columns need no scaling. It
    computes in float32 and on the CPU.

    Args:
        preset: name of a density's preset or a YAML file (``vflow config spline`` prints one).
        settings: entries to change, such as ``{"training.patience": 4, "model.layers.1.times": 2}``.
        max_steps: of training; None: those of the preset for a table, 2000.
        learning_rate: None: that of the preset for a table.
        dequantize: columns of whole numbers are such: noise of [0, 1) is added in training, samples are
            rounded down, and scores have their probability. Otherwise all numbers are taken as they are.
        random_state: of training; as of other estimators.

    Attributes:
        model_: the ``vflow.models.DensityModel``.
        n_features_in_: D.
        feature_names_in_: names of the columns, if X had any.

    Examples:
        >>> rows = np.random.default_rng(0).normal(size=(200, 3))
        >>> flow = vflow.DensityEstimator(max_steps=2, random_state=0).fit(rows)
        >>> flow.score_samples(rows).shape, flow.sample(4).shape
        ((200,), (4, 3))
    """

    def __init__(
        self,
        preset: str = "spline",
        *,
        settings: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        learning_rate: float | None = None,
        dequantize: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.preset = preset
        self.settings = settings
        self.max_steps = max_steps
        self.learning_rate = learning_rate
        self.dequantize = dequantize
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows X (N, D); ``y`` is not used.

        Raises:
            ValueError: X is no matrix of finite numbers, or has a single row.
            VflowError: a setting cannot be used, or a column is constant.
        """
        rows = self._rows(X, reset=True)
        names = tuple(map(str, getattr(self, "feature_names_in_", default_names(rows.shape[1]))))
        columns = describe_columns(Table(names, rows, np.ones(len(rows), dtype=bool)), [], "X")
        if not self.dequantize:
            columns = [column.model_copy(update={"kind": "number"}) for column in columns]
        numbers = np.array([column.kind == "number" for column in columns])
        check_spread("X", rows[:, numbers], [name for name, free in zip(names, numbers, strict=True) if free])
        given = {"training.max_steps": self.max_steps, "training.learning_rate": self.learning_rate}
        model = load_preset(self.preset).model
        if not isinstance(model, DensityConfig):
            raise ConfigError(f"preset {self.preset}: models no vectors; choose one such as spline or maf")
        preset = load_preset(
            self.preset,
            {
                "model.dim": rows.shape[1],
                "model.columns": [column.model_dump() for column in columns],
                **table_settings(len(rows), model),
                "training.seed": int(check_random_state(self.random_state).randint(2**31 - 1)),
                **{key: value for key, value in given.items() if value is not None},
                **(self.settings or {}),
            },
        )
        self.model_ = fit_rows(preset, rows)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """log p of each row of X (N, D) in nats, float64 (N,)."""
        check_is_fitted(self)
        return score_rows(self.model_, Points.of(self._rows(X, reset=False), self.model_.config.columns))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log p of the rows of X (N, D), in nats."""
        return float(self.score_samples(X).mean())

    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> np.ndarray:
        """Rows (n_samples, D) drawn from the density, float64; ``random_state`` names their noise."""
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return sample(self.model_, n_samples, seed).astype(np.float64)

    def _rows(self, X: Any, *, reset: bool) -> np.ndarray:
        """X as float32 (N, D)."""
        X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_min_samples=2 if reset else 1)
        rows: np.ndarray = X.astype(np.float32)
        if not np.isfinite(rows).all():
            raise ValueError("X holds a number beyond float32; scale its column")
        return rows
