"""Classes told apart by Bayes' rule, as a further aim (IB-INN: Ardizzone et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vflow.config import ContrastConfig
from vflow.models import Digits, ImageBatch


def contrast_penalty(model: Digits, batch: ImageBatch, config: ContrastConfig) -> Tensor:
    """``weight`` · cross-entropy of p(y | x) ∝ p(x | y) in nats, over one in ``every`` images.

    Scaled so that the mean over equal micro-batches is that of the whole batch.
    """
    classes = model.config.classes
    images, labels, eps = (t[:: config.every] for t in batch[:3])
    under_all = ImageBatch(
        images.repeat_interleave(classes, 0),
        torch.arange(classes, device=labels.device).repeat(len(images)),
        eps.repeat_interleave(classes, 0),
    )
    nats = model(under_all).unflatten(0, (len(images), classes))
    return config.weight * cross_entropy(nats, labels)
