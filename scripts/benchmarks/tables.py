"""Small tables: the command ``vflow train --config NAME --data points.csv`` against Gaussians.

    python -m scripts.benchmarks.tables --output docs/results/tables.json

Five tables of scikit-learn (iris, wine, breast cancer, diabetes, digits), constant columns left out. Uniform
noise as wide as a column's step, its least difference of two values, is added once (seed 0). Five splits
80 : 20; nats of a test row in the table's own units. The Gaussians have the covariance of Ledoit & Wolf, of
the table as it is and of its standardised columns. With ``--peers`` also, of standardised columns, a mixture
of one to ten Gaussians, and zuko's NSF and MAF (defaults), trained for as many seconds as the command took at
each of three rates; the training rows that the command holds out choose the number of components, the rate
and the step. Needs scikit-learn, and for peers zuko.
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
from vflow import cli
from vflow.data.datasets.points import held_out_rows
from vflow.devices import machine
from vflow.models.density import DensityModel
from vflow.training.density import batches

TABLES = ("iris", "wine", "breast_cancer", "diabetes", "digits")
SPLITS = 5
RATES = (3e-4, 1e-3, 3e-3)  # of zuko's flows
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


def mixture_nats(train: np.ndarray, test: np.ndarray, held: np.ndarray) -> float:
    """Mean −log p of test rows under a mixture of Gaussians, of as many as suit the rows ``held``."""
    from sklearn.mixture import GaussianMixture

    def fitted(count: int, rows: np.ndarray) -> Any:
        return GaussianMixture(count, random_state=0, reg_covar=1e-3).fit(rows)

    count = max(range(1, 11), key=lambda count: fitted(count, train[~held]).score(train[held]))
    return -float(fitted(count, train).score(test))


def zuko_nats(name: str, train: np.ndarray, test: np.ndarray, held: np.ndarray, seconds: float) -> float:
    """Mean −log p of test rows under zuko's flow, by the rate and the step that suit the rows ``held``."""
    import zuko

    own, kept, rows = (torch.from_numpy(part).float() for part in (train[~held], train[held], test))
    best, chosen = float("inf"), float("nan")
    for rate in RATES:
        torch.manual_seed(0)
        flow = getattr(zuko.flows, name)(train.shape[1])
        optimizer = torch.optim.Adam(flow.parameters(), rate)
        start = time.process_time()
        for step, batch in enumerate(batches(own, 64, 0)):
            if time.process_time() - start > seconds:
                break
            loss = -flow().log_prob(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimizer.step()
            if step % 25 == 24:
                with torch.no_grad():
                    if (nats := -float(flow().log_prob(kept).mean())) < best:
                        best, chosen = nats, -float(flow().log_prob(rows).mean())
    return chosen


def peers_nats(train: np.ndarray, test: np.ndarray, seconds: float) -> dict[str, float]:
    """Mean −log p of test rows under the peers, in the table's own units."""
    mean, scale = train.mean(0), train.std(0)
    held, own, rows = held_out_rows(len(train)), (train - mean) / scale, (test - mean) / scale
    found = {f"zuko_{name.lower()}": zuko_nats(name, own, rows, held, seconds) for name in ("NSF", "MAF")}
    found["mixture"] = mixture_nats(own, rows, held)
    return {name: nats + float(np.log(scale).sum()) for name, nats in found.items()}


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


def measure(names: list[str], preset: str, splits: list[int], peers: bool) -> Iterator[dict[str, Any]]:
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
            if peers:
                made |= peers_nats(train, test, made["seconds"])
            row = {"table": name, "split": split, "preset": preset, "train": len(train), "dim": rows.shape[1]}
            yield row | {key: round(value, 4) for key, value in (gaussians | made).items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=TABLES, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--preset", default="maf")
    parser.add_argument("--splits", type=int, nargs="+", default=list(range(SPLITS)))
    parser.add_argument("--peers", action="store_true", help="a mixture and zuko's flows as well")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file to keep the rows in")
    args = parser.parse_args()
    torch.set_num_threads(1)
    above = []
    for row in measure(list(args.tables), args.preset, args.splits, args.peers):
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
