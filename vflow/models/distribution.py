"""Models as distributions of ``torch.distributions``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import singledispatch
from typing import Any, ClassVar, Self, final

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, constraints

from vflow.errors import CheckpointError, InputError
from vflow.models.flow import VectorFlow
from vflow.models.image import ConditionalFlow, ImageBatch


@singledispatch
def distribution(model: nn.Module, condition: Tensor | None = None) -> ModelDistribution:
    """The ``torch.distributions.Distribution`` of a model, given a condition where it takes one.

    Its noise is that of torch's global generator. Its parameters are those of the model, so gradients reach
    them through ``log_prob`` and, of a flow on vectors, ``rsample``.

    Args:
        model: a ``Flow`` or ``DensityModel``, which have ``log_prob``; or a flow over images given a label or
            an image, such as ``Digits``, which has ``log_prob_bound``.
        condition: (…, F) numbers of a flow on vectors, (…) labels, or (…, C, H, W) images; the leading
            dimensions are the batch shape.

    Raises:
        CheckpointError: a model of another kind. InputError: the condition does not suit the model.

    Examples:
        >>> flow = vflow.flows.MAF(features=3, context=2, transforms=2).eval()
        >>> density = vflow.distribution(flow, torch.zeros(2))
        >>> density.log_prob(density.sample((5,))).shape
        torch.Size([5])
    """
    raise CheckpointError(f"{type(model).__name__}: no distribution of one example; use its own methods")


class ModelDistribution(Distribution, ABC):
    """Distribution of a model's examples given a condition."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self, model: Any, condition: Tensor | None, dims: int, event: Sequence[int], batch: Sequence[int] = ()
    ) -> None:
        self.model, self.condition, self._dims = model, condition, dims
        if condition is not None:
            if condition.ndim < dims:
                raise InputError(
                    f"condition has shape {tuple(condition.shape)}; give {dims} dimensions or more"
                )
            batch = condition.shape[: condition.ndim - dims]
        super().__init__(Size(batch), Size(event))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same for a larger batch shape."""
        batch, given = Size(batch_shape), self.condition
        if given is not None:
            given = given.expand(*batch, *given.shape[given.ndim - self._dims :])
        new = type(self).__new__(type(self))
        ModelDistribution.__init__(new, self.model, given, self._dims, self.event_shape, batch)
        return new

    def _given(self, shape: Size) -> Tensor | None:
        """The condition of each example of ``shape``, in one row."""
        if self.condition is None:
            return None
        own = self.condition.shape[self.condition.ndim - self._dims :]
        return self.condition.expand(*shape, *own).reshape(-1, *own)

    def _flat(self, value: Tensor) -> tuple[Tensor, Tensor | None, Size]:
        """Examples in one row, their conditions, and the shape that they had."""
        if self._validate_args:
            self._validate_sample(value)
        if value.shape[value.ndim - len(self.event_shape) :] != self.event_shape:
            # said here too, since packages turn torch's checks off for all: zuko does
            raise ValueError(f"examples end in {tuple(self.event_shape)}; these are {tuple(value.shape)}")
        shape = torch.broadcast_shapes(value.shape[: value.ndim - len(self.event_shape)], self.batch_shape)
        rows = value.expand(*shape, *self.event_shape).reshape(-1, *self.event_shape)
        return rows, self._given(shape), shape

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Examples, sample shape + batch shape + event shape, without gradients."""
        shape = self._extended_shape(Size(sample_shape))
        batch = shape[: len(shape) - len(self.event_shape)]
        with torch.no_grad():
            return self._draw(math.prod(batch), self._given(batch)).reshape(shape)

    @abstractmethod
    def _draw(self, count: int, condition: Tensor | None) -> Tensor:
        """Examples (count, …), given conditions (count, …)."""


@final
class FlowDistribution(ModelDistribution):
    """p(x | condition) of a flow on vectors, in the model's own type; nats."""

    has_rsample = True
    support = constraints.real_vector

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of vectors (…, D), shaped as their batch."""
        rows, condition, shape = self._flat(value)
        log_p: Tensor = self.model.log_prob(rows, condition)
        return log_p.reshape(shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Vectors, differentiable in the model's parameters and the condition."""
        shape = self._extended_shape(Size(sample_shape))
        return self._draw(math.prod(shape[:-1]), self._given(shape[:-1])).reshape(shape)

    def _draw(self, count: int, condition: Tensor | None) -> Tensor:
        like = next(self.model.parameters(), torch.zeros(()))
        eps = torch.randn(count, self.model.noise_dim, dtype=like.dtype, device=like.device)
        vectors: Tensor = self.model.sample(eps, condition)
        return vectors


@final
class ImageDistribution(ModelDistribution):
    """Images, uint8 (…, C, H, W), given a label or an image, by a flow whose likelihood has a bound alone."""

    support = constraints.independent(constraints.integer_interval(0, 255), 3)

    def log_prob_bound(self, value: Tensor) -> Tensor:
        """Lower bound of log P of images in nats, shaped as their batch: one draw of dequantisation noise.

        Its mean over draws is at most log P (Theis et al. 2016).
        """
        rows, condition, shape = self._flat(value)
        eps = torch.randn(rows.shape, device=rows.device)
        nats: Tensor = self.model(ImageBatch(rows, condition, eps))  # type: ignore[arg-type]
        return nats.reshape(shape)

    def _draw(self, count: int, condition: Tensor | None) -> Tensor:
        device = next(self.model.parameters()).device
        shapes = self.model.latent_shapes
        eps = [torch.randn(count, *latent, device=device) for latent in shapes]
        images: Tensor = self.model.decode(eps, condition, [1.0] * len(shapes)).frame
        return images


@distribution.register
def _(model: VectorFlow, condition: Tensor | None = None) -> FlowDistribution:
    if (model.features > 0) != (condition is not None):
        raise InputError(
            f"the model takes {model.features} numbers as its condition; give (…, {model.features})"
        )
    return FlowDistribution(model, condition, 1, [model.dim])


@distribution.register
def _(model: ConditionalFlow, condition: Tensor | None = None) -> ImageDistribution:
    if condition is None:
        raise InputError("the model needs a condition: labels (…), or images (…, C, H, W)")
    return ImageDistribution(model, condition, 0 if condition.dtype == torch.int64 else 3, model.image_shape)
