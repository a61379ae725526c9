"""Training of knowledge types, together with the flow they are over or on a frozen one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vflow.config import TrainingConfig
from vflow.models.image import ImageBatch
from vflow.models.knowledge import Knowledge, Types
from vflow.randomness import generator, normal
from vflow.training.density import Progress, optimize

DROPPED = 0.2  # share of what is known that training leaves out, so that less than all of it can be given
TOLD_APART = 8  # images of a batch whose exclusive types are told apart


def fit_types(
    model: Knowledge,
    images: Tensor,
    types: Types,
    config: TrainingConfig,
    seconds: float | None = None,
    *,
    frozen: bool = True,
    exclusive: int = 0,
    weight: float = 0.0,
) -> Iterator[Progress]:
    """Maximise log p(x | κ) of uint8 images (N, C, H, W); a generator, as ``vflow.training.density.fit``.

    Args:
        frozen: the base flow stays as it is, so only log p(z | κ) is learned.
        exclusive, weight: of the first so many types each image has one; to the loss comes ``weight`` · the
            cross-entropy of which one it is by Bayes' rule (as in IB-INN, Ardizzone et al. 2020).
    """
    first = torch.arange(min(config.actnorm_batch, len(images)))
    if not frozen:
        labels = torch.zeros(len(first), dtype=torch.int64)
        model.base.initialize(ImageBatch(images[first], labels, _noise(images[first], config.seed, "first")))
    model.base.requires_grad_(not frozen)
    with torch.no_grad():
        start = model.encode(images[first], _noise(images[first], config.seed, "first"))[0]
    model.initialize(start, Types(types.exists[first], types.codes[first]))
    random = generator("types", config.seed)

    def loss(share: float) -> Tensor:
        rows = torch.from_numpy(random.integers(len(images), size=config.batch_size))
        known = Types(types.exists[rows], types.codes[rows])
        keep = torch.from_numpy(random.random(known.exists.shape) >= DROPPED).float()
        with torch.set_grad_enabled(not frozen):
            z, nats = model.encode(
                images[rows], _noise(images[rows], config.seed, int(random.integers(2**31)))
            )
        value = -(model.log_ratio(z, known.kept(keep)) + (0 if frozen else nats)).mean()
        if weight:
            truth = known.exists[:TOLD_APART, :exclusive].argmax(1)
            value = value + weight * cross_entropy(
                model.log_posterior(z[:TOLD_APART], range(exclusive)), truth
            )
        return value

    yield from optimize(model, loss, config, seconds)


def _noise(images: Tensor, *key: int | str) -> Tensor:
    return normal(images.shape, "types-noise", *key)
