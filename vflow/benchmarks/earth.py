"""Places on the Earth (Mathieu & Nickel 2020): mean −log p of test places in nats, per unit of area of S²."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vflow.benchmarks.base import UNCONFIRMED, Benchmark, Row, checked
from vflow.benchmarks.von_mises_fisher import best_mixture
from vflow.config import DensityConfig, load_preset
from vflow.data.datasets.points import read_points, unit_vectors
from vflow.models import DensityModel, PointBatch
from vflow.randomness import forked_rng, generator
from vflow.training.density import fit, nats_of

SHARE = 10  # one in so many rows is for validation, and for test
SETS = {
    "volcanoes": "volerup.csv",
    "earthquakes": "quakes_all.csv",
    "floods": "flood.csv",
    "fires": "fire.csv",
}
PUBLISHED = {
    "volcanoes": (-2.02, -4.92, -7.93),
    "earthquakes": (-0.09, -0.19, -0.28),
    "floods": (0.62, 0.48, 0.42),
    "fires": (-1.03, -1.33, -1.86),
}


class Split(NamedTuple):
    """Unit vectors float32 (N, 3)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(degrees: np.ndarray, seed: int, *, places: bool) -> Split:
    """80 : 10 : 10 of latitudes and longitudes (N, 2); with ``places`` equal rows count once."""
    rows = np.unique(degrees, axis=0) if places else degrees
    rows = rows[generator("earth", seed).permutation(len(rows))]
    part = len(rows) // SHARE
    points = unit_vectors(rows)
    return Split(points[2 * part :], points[part : 2 * part], points[:part])


def figures(parts: Split, seed: int) -> dict[str, float]:
    """Test figures of the preset ``earth`` and of the mixture, both stopped and chosen by validation."""
    preset = load_preset("earth", {"training.seed": seed})
    assert isinstance(preset.model, DensityConfig)
    train, held, test = (torch.from_numpy(part) for part in parts)
    size = min(preset.training.batch_size, max(64, len(train) // 8))
    training = preset.training.model_copy(update={"batch_size": size})
    with forked_rng(seed):
        model = DensityModel(preset.model)
        for _ in fit(model, train, training, validation=PointBatch(held), patience=training.patience):
            pass
    log_p = -nats_of(model, PointBatch(test)).numpy()
    places, judged = (part.astype(np.float64) for part in parts[:2])
    mixture, components = best_mixture(places, judged, seed)
    known = {row.tobytes() for row in parts.train}
    return {
        "nats": -float(log_p.mean()),
        "mixture": -float(mixture.log_prob(parts.test.astype(np.float64)).mean()),
        "components": components,
        "largest": float(log_p.max()),
        "seen": float(np.mean([row.tobytes() in known for row in parts.test])),
    }


def run(folder: Path, seeds: range) -> Iterator[Row]:
    """A row for each set and kind of split."""
    paths = {path.name: path for path in checked(folder, "earth")}
    for places in (True, False):
        for name, file in SETS.items():
            degrees = read_points(paths[file])
            found = [figures(split(degrees, seed, places=places), seed) for seed in seeds]
            column = {key: np.array([one[key] for one in found]) for key in found[0]}
            gain = column["mixture"] - column["nats"]
            moser, rsgm, matching = (None, None, None) if places else PUBLISHED[name]
            yield {
                "set": name,
                "splits": "distinct places" if places else "rows as published",
                "nats": _spread(column["nats"]),
                "mixture": _spread(column["mixture"]),
                "gain": _spread(gain),
                "components": "–".join(str(int(end(column["components"]))) for end in (np.min, np.max)),
                "largest": f"{column['largest'].max():.1f}",
                "seen": f"{column['seen'].mean():.1%}",
                "moser": moser,
                "rsgm": rsgm,
                "matching": matching,
            }


def _spread(values: np.ndarray) -> str:
    """Mean over splits, and standard deviation if there are several."""
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


BENCHMARK = Benchmark(
    "places on the Earth: volcanoes, earthquakes, floods, fires",
    "earth",
    run,
    {
        "set": "set",
        "splits": "split by",
        "nats": "preset `earth`, nats",
        "mixture": "mixture of von Mises–Fisher, nats",
        "gain": "ahead by",
        "components": "its components",
        "largest": "largest log p of a test row",
        "seen": "test rows equal to a training row",
        "moser": f"Moser flow ({UNCONFIRMED})",
        "rsgm": f"RSGM ({UNCONFIRMED})",
        "matching": f"Riemannian flow matching ({UNCONFIRMED})",
    },
    "Mean −log p of test rows on the unit sphere, less is better: mean and standard deviation over random "
    "splits 80 : 10 : 10; validation stops training and chooses the mixture's size. Rows as published hold "
    "equal places in training and test, so spikes buy likelihood there; splits by distinct place, each once, "
    "do not. Published: Moser flow (Rozen et al. 2021), Riemannian score-based models (De Bortoli et al. "
    "2022), Riemannian flow matching (Chen & Lipman 2024). Data: NOAA NGDC, Dartmouth Flood Observatory, "
    "NASA FIRMS",
)
