"""Outliers of tables by ``vflow.DensityEstimator``, beside scikit-learn's isolation forest and mixture.

    python -m examples.outliers breast_cancer wine

Each learns 70% of one class alone (benign tumours, the first cultivar) and scores the rest of it and all
other rows; the figure is the area under the ROC curve, the chance that an outlier scores below an inlier. All
have their defaults (the mixture 3 components, its rows standardised). Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import vflow

INLIERS = {"breast_cancer": 1, "wine": 0, "digits": 0}
"""Table → label of its inliers."""


def estimators(seed: int, **settings: Any) -> dict[str, Any]:
    """Estimators by name; ``settings`` are those of the flow."""
    return {
        "flow": vflow.DensityEstimator(random_state=seed, **settings),
        "IsolationForest": IsolationForest(random_state=seed),
        "GaussianMixture": make_pipeline(StandardScaler(), GaussianMixture(3, random_state=seed)),
    }


def measure(table: str, seed: int = 0, **settings: Any) -> list[dict[str, Any]]:
    """A row an estimator: area under the ROC curve and seconds of processor time."""
    data = getattr(datasets, f"load_{table}")()
    inside = data.target == INLIERS[table]
    own = data.data[inside][np.random.default_rng(seed).permutation(inside.sum())]
    count = int(0.7 * len(own))
    rows = np.concatenate([own[count:], data.data[~inside]])
    outlier = np.arange(len(rows)) >= len(own) - count
    found = []
    for name, estimator in estimators(seed, **settings).items():
        start = time.process_time()
        scores = estimator.fit(own[:count]).score_samples(rows)
        seconds = round(time.process_time() - start, 1)
        area = round(float(roc_auc_score(outlier, -scores)), 4)
        found.append({"table": table, "estimator": name, "area": area, "seconds": seconds})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=["breast_cancer", "wine"], metavar="TABLE")
    parser.add_argument("--preset", default="spline")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for table in args.tables:
        if table not in INLIERS:
            parser.error(f"{table}: give {', '.join(INLIERS)}")
        for row in measure(table, preset=args.preset):
            print(
                f"{row['table']:<14} {row['estimator']:<16} {row['area']:.4f}  {row['seconds']:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
