"""Training on inverse problems: conditional flows by likelihood, invertible networks by four losses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vflow.config import TrainingConfig
from vflow.densities.inverse import InverseProblem
from vflow.metrics.calibration import mmd
from vflow.models.density import DensityModel, PointBatch
from vflow.models.inverse import InvertibleNetwork
from vflow.randomness import normal
from vflow.training.density import Progress, optimize

LATENT, BACKWARD = 1.0, 1.0  # weights of MMD beside nats
OBSERVED_NOISE = 0.05  # deviation of y around what the network makes of x
PADDING_NOISE = 0.02  # of the noise that stands for zeros, so that they carry nothing


def fit_posterior(
    model: DensityModel, problem: InverseProblem, config: TrainingConfig, seconds: float | None = None
) -> Iterator[Progress]:
    """Fit p(x | y) by maximum likelihood to fresh pairs; as ``vflow.training.density.fit``, a generator."""
    x, y = problem.pairs(config.actnorm_batch, config.seed, "first")
    model.initialize(PointBatch(x, y))
    steps = itertools.count()

    def loss(share: float) -> Tensor:
        points, observed = problem.pairs(config.batch_size, config.seed, next(steps))
        return -model.log_prob(points, observed).mean()

    yield from optimize(model, loss, config, seconds)


def fit_invertible(
    model: InvertibleNetwork, problem: InverseProblem, config: TrainingConfig, seconds: float | None = None
) -> Iterator[Progress]:
    """Fit an invertible network to fresh pairs; both directions are accumulated before each step.

    Forward: nats of (z, y, padding) under a normal density around (0, y, 0), which for y is the squared error
    of Ardizzone et al. 2018 and for z says more than samples do; and MMD between (y, z) and (y, noise),
    without a gradient through y. Backward: MMD between x drawn for given y and the prior, and the squares of
    what the padding carries.
    """
    steps = itertools.count()

    def loss(share: float) -> Tensor:
        step = next(steps)
        x, y = problem.pairs(config.batch_size, config.seed, step)
        made, z, rest, log_det = model.encode(
            x, _padding(model.width - model.dim, x, config.seed, step, "in")
        )
        noise = normal(z.shape, "z", config.seed, step)
        errors = [z, (made - y) / OBSERVED_NOISE, rest / PADDING_NOISE]
        nats = 0.5 * torch.cat(errors, 1).square().sum(1) - log_det
        latent = mmd(torch.cat([made.detach(), z], 1), torch.cat([y, noise], 1))
        zeros = _padding(rest.shape[1], x, config.seed, step, "out")
        drawn, again = model.decode(y, noise, zeros)
        backward = share * mmd(drawn, x)  # faded in: at first the forward direction is wrong
        return nats.mean() + LATENT * latent + BACKWARD * backward + again.square().sum(1).mean()

    yield from optimize(model, loss, config, seconds)


def _padding(width: int, like: Tensor, *key: int | str) -> Tensor:
    return PADDING_NOISE * normal((len(like), width), "padding", *key)


def draw_posteriors(
    sample: Callable[[Tensor, Tensor], Tensor], noise_dim: int, observed: Tensor, count: int, seed: int
) -> Tensor:
    """Samples (N, count, D) for observations (N, F); ``sample`` takes noise (B, noise_dim) and y (B, F)."""
    eps = normal((len(observed) * count, noise_dim), "posterior", seed)
    with torch.no_grad():
        return sample(eps, observed.repeat_interleave(count, 0)).unflatten(0, (len(observed), count))
