"""Importance sampling of unnormalised densities with a flow as the proposal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vflow.densities import EnergyFunction
from vflow.errors import InputError
from vflow.models.flow import VectorFlow, evaluate_energy
from vflow.randomness import normal

CHUNK = 2000  # samples at once


@dataclass(frozen=True)
class ImportanceSample:
    """Samples of a flow q with their importance weights exp(−U) / q.

    Samples whose weight is not finite count as samples of weight 0.

    Attributes:
        points: (N, D).
        log_weights: −U(x) − log q(x), float64 (N,).
    """

    points: Tensor
    log_weights: Tensor

    @property
    def log_normalizer(self) -> float:
        """Estimate of log Z = log ∫ exp(−U), in nats; −∞ where no weight is finite."""
        return float(self._finite.logsumexp(0)) - math.log(len(self.log_weights))

    @property
    def effective_share(self) -> float:
        """Effective sample size (Σ w)² / Σ w² over N, in [0, 1]: 1 where q is exp(−U) / Z."""
        kept = self._finite
        if not len(kept):
            return 0.0
        return float((2 * kept.logsumexp(0) - (2 * kept).logsumexp(0)).exp()) / len(self.log_weights)

    def mean(self, values: Tensor) -> Tensor:
        """Self-normalised estimate Σ w f / Σ w of the mean of f under exp(−U) / Z.

        Args:
            values: f at each of ``points``, (N, …), numbers or, for the probability of an event, truths. The
                result is (…), in float64 where values are not floats.

        Raises:
            InputError: another number of values, or no weight is finite.
        """
        found = self.log_weights.isfinite()
        if len(values) != len(found):
            raise InputError(f"{len(values)} values for {len(found)} samples; give each one")
        if not found.any():
            raise InputError("no sample has a finite weight; fit the flow to the energy first")
        if not values.is_floating_point():
            values = values.double()
        weights = self._finite.softmax(0).to(values)
        return torch.tensordot(weights, values[found], dims=1)

    @property
    def _finite(self) -> Tensor:
        return self.log_weights[self.log_weights.isfinite()]


@torch.no_grad()
def importance_sample(
    model: VectorFlow,
    energy: EnergyFunction,
    count: int,
    *,
    condition: Tensor | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportanceSample:
    """Samples of ``model`` weighted for exp(−U) / Z (Müller et al. 2019, *Neural Importance Sampling*).

    Args:
        energy: U, see ``vflow.training.density.fit_energy``.
        count: N.
        condition: one for all samples, (F,), of a model with F features.
        seed: of the noise; the same seed gives the same samples.
        progress: called with the samples drawn so far, and ``count``.

    Raises:
        InputError: ``count`` is below 1, the condition does not suit the model, or what ``energy`` returns is
            no tensor (B,).
    """
    if count < 1:
        raise InputError(f"count {count}: must be at least 1")
    if condition is not None:
        if not model.features:
            raise InputError("the density takes no condition: it has features 0")
        if not isinstance(condition, Tensor) or condition.shape != (model.features,):
            got = tuple(condition.shape) if isinstance(condition, Tensor) else type(condition).__name__
            raise InputError(f"condition must be one row, a tensor ({model.features},); got {got}")
    weight = next(model.parameters(), torch.zeros(()))
    points, log_weights = [], []
    for part in normal((count, model.noise_dim), "evaluate", seed).split(CHUNK):
        given = None if condition is None else condition.expand(len(part), -1)
        x, log_q = model.sample_with_log_prob(part.to(weight), given)
        log_weights.append(-(log_q + evaluate_energy(energy, x, given)).double().cpu())
        points.append(x.cpu())
        progress(sum(map(len, points)), count)
    return ImportanceSample(torch.cat(points), torch.cat(log_weights))
