"""Training of knowledge types, together with the flow they are over or on a frozen one."""

from __future__ import annotations

import itertools
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
CLASSIFIED = 16  # images of a batch whose exclusive type is inferred by Bayes' rule
FITTED, ENCODED = 32_768, 512  # images that types' linear maps are fitted to, and that are encoded at a time
KEPT, REPLACED = 4096, 32  # latents of a frozen flow that are kept, and those encoded anew each step


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
        exclusive, weight: each image has exactly one of the first ``exclusive`` types; ``weight`` · the
            cross-entropy of that type by Bayes' rule is added to the loss (IB-INN, Ardizzone et al. 2020).
    """
    if not frozen:
        first = images[: config.actnorm_batch]
        labels = torch.zeros(len(first), dtype=torch.int64)
        model.base.initialize(ImageBatch(first, labels, _noise(first, config.seed, "first")))
    model.base.requires_grad_(not frozen)
    if frozen:
        model.base.eval()
    with torch.no_grad():
        starts = [
            model.encode(part, _noise(part, config.seed, "first", number))[0]
            for number, part in enumerate(images[:FITTED].split(ENCODED))
        ]
    model.initialize(torch.cat(starts), Types(types.exists[:FITTED], types.codes[:FITTED]))
    random = generator("types", config.seed)

    def encoded(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of images, their latents, and log p(x), nothing known."""
        if frozen:  # the training mode of the whole model would move the base's running averages
            model.base.eval()
        rows = torch.from_numpy(random.integers(len(images), size=count))
        noise = _noise(images[rows], config.seed, int(random.integers(2**31)))
        with torch.set_grad_enabled(not frozen):
            return rows, *model.encode(images[rows], noise)

    def replay() -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and latents of batches; the oldest latents of a store make room for new ones."""
        parts = [encoded(REPLACED)[:2] for _ in range(KEPT // REPLACED)]
        for oldest in itertools.cycle(range(len(parts))):
            rows, latents = (torch.cat(part) for part in zip(*parts, strict=True))
            chosen = torch.from_numpy(random.integers(len(rows), size=config.batch_size))
            yield rows[chosen], latents[chosen]
            parts[oldest] = encoded(REPLACED)[:2]

    store = replay()

    def loss(share: float) -> Tensor:
        if frozen:
            (rows, z), nats = next(store), torch.zeros(())
        else:
            rows, z, nats = encoded(config.batch_size)
        known = Types(types.exists[rows], types.codes[rows])
        keep = torch.from_numpy(random.random(known.exists.shape) >= DROPPED).float()
        value = -(model.log_ratio(z, known.kept(keep)) + nats).mean()
        if weight:
            truth = known.exists[:CLASSIFIED, :exclusive].argmax(1)
            value = value + weight * cross_entropy(
                model.log_posterior(z[:CLASSIFIED], range(exclusive)), truth
            )
        return value

    yield from optimize(model, loss, config, seconds)


def _noise(images: Tensor, *key: int | str) -> Tensor:
    return normal(images.shape, "types-noise", *key)
