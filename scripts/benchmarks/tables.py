"""Small tables: the command ``vflow train --config NAME --data points.csv`` against Gaussians.

    python -m scripts.benchmarks.tables --output docs/results/tables.json

Five tables of scikit-learn (iris, wine, breast cancer, diabetes, digits), constant columns left out. Uniform
noise as wide as a column's step, its least difference of two values, is added once (seed 0). Five splits
80 : 20; nats of a test row in the table's own units. The Gaussians have the covariance of Ledoit & Wolf, of
the table as it is and of its standardised columns. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vflow
from scripts.acceptance.report import machine
from vflow import cli
from vflow.models.density import DensityModel

TABLES = ("iris", "wine", "breast_cancer", "diabetes", "digits")
SPLITS = 5
SAME = 1e-9  # of a column's range: values so near are one


def load_table(name: str) -> np.ndarray:
    """Rows (N, D), float64, dequantised."""
    from sklearn import datasets

    rows = getattr(datasets, f"load_{name}")().data.astype(np.float64)
    span = np.ptp(rows, axis=0)
    rows, span = rows[:, span > 0], span[span > 0]
    steps = []
    for column, width in zip(rows.T, span, strict=True):
        differences = np.diff(np.unique(column))
        steps.append(differences[differences > SAME * width].min())
    return rows + np.random.default_rng(0).random(rows.shape) * steps


def divide(rows: np.ndarray, split: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows, 80 : 20."""
    order = np.random.default_rng(split).permutation(len(rows))
    return rows[order[len(rows) // 5 :]], rows[order[: len(rows) // 5]]


def gaussian_nats(train: np.ndarray, test: np.ndarray, *, standardise: bool) -> float:
    """Mean −log p of test rows under the Gaussian of scikit-learn's Ledoit–Wolf covariance."""
    from sklearn.covariance import LedoitWolf

    scale = train.std(0) if standardise else np.ones(train.shape[1])
    fitted = LedoitWolf().fit(train / scale)
    return -float(fitted.score(test / scale)) + float(np.log(scale).sum())


def train_by_command(preset: str, train: np.ndarray, test: np.ndarray, folder: Path) -> dict[str, Any]:
    """Nats of test rows by the command's model; its seconds of processor time without start-up, best step."""
    path, start = folder / "points.csv", time.process_time()
    np.savetxt(path, train, fmt="%.17g", delimiter=",")
    words = ["train", "--config", preset, "--data", str(path), "--output", str(folder / "run")]
    with contextlib.redirect_stderr(io.StringIO()):
        code = cli.main([*words, "--threads", "1", "--device", "cpu"])
    seconds = time.process_time() - start
    if code:
        raise SystemExit(f"the command ended with {code}: vflow {' '.join(words)}")
    with torch.no_grad():
        model = vflow.load(folder / "run")
        assert isinstance(model, DensityModel)
        log_p = model.log_prob(torch.from_numpy(test).float())
    best = json.loads((folder / "run" / "last" / "state" / "state.json").read_text())["progress"]["best_step"]
    return {"nats": -float(log_p.double().mean()), "seconds": round(seconds, 1), "best_step": best}


def measure(names: list[str], preset: str, splits: list[int]) -> Iterator[dict[str, Any]]:
    """One row a table and split."""
    for name in names:
        rows = load_table(name)
        for split in splits:
            train, test = divide(rows, split)
            gaussians = {
                "ledoit_wolf": gaussian_nats(train, test, standardise=False),
                "ledoit_wolf_standardised": gaussian_nats(train, test, standardise=True),
            }
            with tempfile.TemporaryDirectory() as folder:
                made = train_by_command(preset, train, test, Path(folder))
            row = {"table": name, "split": split, "preset": preset, "train": len(train), "dim": rows.shape[1]}
            yield row | {key: round(value, 4) for key, value in (gaussians | made).items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=TABLES, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--preset", default="maf")
    parser.add_argument("--splits", type=int, nargs="+", default=list(range(SPLITS)))
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file to keep the rows in")
    args = parser.parse_args()
    torch.set_num_threads(1)
    above = []
    for row in measure(list(args.tables), args.preset, args.splits):
        above.append(row["nats"] - min(row["ledoit_wolf"], row["ledoit_wolf_standardised"]))
        print(json.dumps(row), flush=True)
        if args.output:
            keep(args.output, row)
    print(f"above the better Gaussian: median {statistics.median(above):.3f}, worst {max(above):.3f} nats")


def keep(path: Path, row: dict[str, Any]) -> None:
    """Store ``row`` in a JSON file in place of an earlier one of its table, split and preset."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    identity = ("table", "split", "preset")
    rows = [other for other in rows if any(other[key] != row[key] for key in identity)]
    rows.append(row | {"machine": machine()})
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
