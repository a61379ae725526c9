"""Nats of held-out points under a density model, beside the entropy where it is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from vflow.densities import ENERGIES, Energy, target, target_entropy
from vflow.errors import ConfigError
from vflow.models import DensityModel, PointBatch
from vflow.models.importance import ImportanceSample, importance_sample
from vflow.pipelines.common import device_of, evenly_spaced
from vflow.pipelines.density import (
    draw_points,
    open_energy,
    open_points,
    points_picture,
    require_vectors,
    score_rows,
)
from vflow.pipelines.evaluate.report import Evaluation, Progress, Settings, Stage

CHUNK = 2000
ENERGY_SAMPLES = 50_000
DRAWN = 20_000  # points of a picture


@torch.no_grad()
def evaluate_density(model: DensityModel, settings: Settings, stage: Stage) -> Evaluation:
    """Mean −log p of points in nats, and beside a known density how well samples stand for it.

    Of a named density or an energy p: the KL divergences that can be had, and the effective sample size of
    importance weights p / q, as a share of the samples.

    Raises:
        CheckpointError, InputError: the model is no density of vectors, or no points that suit it.
    """
    require_vectors(model)
    config = model.config
    if settings.temperature != 1:
        raise ConfigError("--temperature: densities of vectors have none; leave it out")
    if settings.data in ENERGIES:
        return _evaluate_energy(model, open_energy(settings.data, config), settings, stage("samples"))
    data = open_points(settings.data, settings.split, config)
    index = evenly_spaced(len(data), settings.count(len(data), len(data)))
    points = torch.from_numpy(data.points[index])
    if config.columns:
        log_p = torch.from_numpy(score_rows(model, data, np.array(index)))
    else:
        log_p = _log_prob(model, points, stage("points"))
    figures: dict[str, Any] = {
        "nats": -float(log_p.mean()),
        "nats_standard_error": _standard_error(log_p),
        "bits_per_dim": -float(log_p.mean()) / (math.log(2) * config.dim),
        "nonfinite": int((~log_p.isfinite()).sum()),
    }
    if data.named:
        exact = target(settings.data).log_prob(points.double())
        figures["entropy"] = target_entropy(settings.data)
        figures["kl"] = float((exact - log_p).mean())
    given = None if data.conditions is None else data.conditions[np.resize(index, DRAWN)]
    drawn = draw_points(model, DRAWN, settings.seed, given).points
    if data.named:
        own = torch.from_numpy(drawn)
        log_ratio = _log_prob(model, own, stage("samples")) - target(settings.data).log_prob(own.double())
        figures["reverse_kl"] = float(log_ratio.mean())
        figures["effective_sample_share"] = ImportanceSample(own, -log_ratio).effective_share
    protocol = {"data": settings.data, "split": settings.split, "points": len(points)}
    return Evaluation(figures, protocol, {"points": points_picture(points.numpy(), drawn)})


def _standard_error(values: torch.Tensor) -> float:
    """Standard error of the mean of values (N,); NaN of one alone, which says nothing of it."""
    return float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _log_prob(model: DensityModel, points: torch.Tensor, progress: Progress) -> torch.Tensor:
    """log p, float64 (N,)."""
    parts, device = [], device_of(model)
    for start in range(0, len(points), CHUNK):
        parts.append(model(PointBatch(points[start : start + CHUNK].to(device))).double().cpu())
        progress(min(start + CHUNK, len(points)), len(points))
    return torch.cat(parts)


def _evaluate_energy(
    model: DensityModel, energy: Energy, settings: Settings, progress: Progress
) -> Evaluation:
    """KL(q | p) = E[log q + U] + log Z over samples, and the effective sample size of weights p / q."""
    count = settings.count(10 * ENERGY_SAMPLES, ENERGY_SAMPLES)
    found = importance_sample(model, energy, count, seed=settings.seed, progress=progress)
    nats, log_z = -found.log_weights, energy.log_normalizer()
    figures = {
        "nats": float(nats.mean()),
        "kl": float(nats.mean()) + log_z,
        "log_normalizer": log_z,
        "effective_sample_share": found.effective_share,
        "nonfinite": int((~nats.isfinite()).sum()),
    }
    sheet = points_picture(np.asarray(found.points))
    return Evaluation(figures, {"data": settings.data, "samples": count}, {"points": sheet})
