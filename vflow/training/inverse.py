"""Training on inverse problems: conditional flows by likelihood, invertible networks by that of (y, z)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vflow.config import TrainingConfig
from vflow.densities.inverse import InverseProblem
from vflow.metrics.calibration import mmd
from vflow.models.flow import PointBatch, VectorFlow
from vflow.models.inverse import InvertibleNetwork
from vflow.randomness import normal
from vflow.training.density import Progress, optimize, trained_parameters

COMPARED = 128  # examples of a batch that MMD compares; its cost grows with their square
OBSERVED_NOISE = 0.05  # deviation of y around what the network makes of x
PADDING_NOISE = 0.02  # of the noise that stands for zeros, so that they carry nothing


def fit_posterior(
    model: VectorFlow, problem: InverseProblem, config: TrainingConfig, seconds: float | None = None
) -> Iterator[Progress]:
    """Fit p(x | y) by maximum likelihood to fresh pairs; as ``vflow.training.density.fit``, a generator."""
    weight, steps = trained_parameters(model)[0], itertools.count()

    def pairs(count: int, key: int | str) -> PointBatch:
        points, observed = problem.pairs(count, config.seed, key)
        return PointBatch(points.to(weight), observed.to(weight))

    model.initialize(pairs(config.actnorm_batch, "first"))

    def loss(share: float) -> Tensor:
        return -model(pairs(config.batch_size, next(steps))).mean()

    yield from optimize(model, loss, config, seconds)


def fit_invertible(
    model: InvertibleNetwork,
    problem: InverseProblem,
    config: TrainingConfig,
    seconds: float | None = None,
    *,
    mmd_weight: float = 0.0,
) -> Iterator[Progress]:
    """Fit an invertible network to fresh pairs by likelihood; as ``fit_posterior``, a generator.

    The loss is the nats of (z, y, padding) under a normal density around (0, y, 0): for y the squared error
    of Ardizzone et al. 2018, while z is judged by its density in place of samples.

    Args:
        mmd_weight: of the paper's other terms, with both directions accumulated before each step: MMD
            between (y, z) and (y, noise), without a gradient through y; MMD between x drawn for given y and
            the prior; the squares of what the padding carries backward.
    """
    weight, steps = trained_parameters(model)[0], itertools.count()

    def loss(share: float) -> Tensor:
        step = next(steps)
        x, y = (part.to(weight) for part in problem.pairs(config.batch_size, config.seed, step))
        padding = _padding(model.width - model.dim, x, config.seed, step, "in")
        made, z, rest, log_det = model.encode(x, padding)
        errors = [z, (made - y) / OBSERVED_NOISE, rest / PADDING_NOISE]
        nats = (0.5 * torch.cat(errors, 1).square().sum(1) - log_det).mean()
        if not mmd_weight:
            return nats
        some, noise = y[:COMPARED], normal(z[:COMPARED].shape, "z", config.seed, step).to(z)
        latent = mmd(torch.cat([made.detach(), z], 1)[:COMPARED], torch.cat([some, noise], 1))
        zeros = _padding(rest.shape[1], some, config.seed, step, "out")
        drawn, again = model.decode(some, noise, zeros)
        backward = share * mmd(drawn, x[:COMPARED])  # faded in: at first the forward direction is wrong
        return nats + mmd_weight * (latent + backward + again.square().sum(1).mean())

    yield from optimize(model, loss, config, seconds)


def _padding(width: int, like: Tensor, *key: int | str) -> Tensor:
    return PADDING_NOISE * normal((len(like), width), "padding", *key).to(like)


def draw_posteriors(
    sample: Callable[[Tensor, Tensor], Tensor], noise_dim: int, observed: Tensor, count: int, seed: int
) -> Tensor:
    """Samples (N, count, D) for observations (N, F); ``sample`` takes noise (B, noise_dim) and y (B, F)."""
    eps = normal((len(observed) * count, noise_dim), "posterior", seed).to(observed)
    with torch.no_grad():
        return sample(eps, observed.repeat_interleave(count, 0)).unflatten(0, (len(observed), count))
