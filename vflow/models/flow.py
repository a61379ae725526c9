"""Flows on vectors: the density of bijections over a base density."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, distributed, nn

from vflow.bijections import Bijection, Chain, Inverse
from vflow.bijections.fold import Fold
from vflow.bijections.residual import ContinuousFlow
from vflow.densities import Density, EnergyFunction
from vflow.densities.base import check_rows
from vflow.errors import InputError, counted
from vflow.nn.modules import ModuleList


class PointBatch(NamedTuple):
    """Points to score, or noise of samples that an energy scores.

    points: float32 (B, D); with an energy standard-normal noise, (B, noise_dim).
    condition: float32 (B, F) or None.
    energy: U of points, and of their conditions where there are any, for a fit to exp(−U) / Z by reverse KL;
        None: a fit to ``points`` by likelihood.
    weight: β of the energy.
    """

    points: Tensor
    condition: Tensor | None = None
    energy: EnergyFunction | None = None
    weight: float = 1.0


def evaluate_energy(energy: EnergyFunction, x: Tensor, condition: Tensor | None = None) -> Tensor:
    """U in nats, (B,), of points (B, D), and of their conditions (B, F) where there are any.

    Raises:
        InputError: ``energy`` returns something else.
    """
    value = energy(x) if condition is None else energy(x, condition)
    if not isinstance(value, Tensor) or value.shape != (len(x),):
        got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"the energy of {len(x)} points must be a tensor ({len(x)},); got {got}")
    return value


class VectorFlow(nn.Module, ABC):
    """p(x) = p(z) |det ∂z/∂x| with z the image of x under a chain of bijections.

    Points are matrices (B, D), conditions (B, F), all of the parameters' type. A model with features needs a
    condition wherever one may be given, a model without takes none; what does not suit is an InputError.
    Log-densities are in nats, on a manifold per unit of its area.

    Folds among the layers make p(x) a mixture (see ``Fold``); sampling then takes one more number for each.

    Attributes:
        dim: D.
        features: F.
        given: map that standardises conditions, or None.
        started: initialised, or to be trained as it is; else the first training step (in training mode, with
            gradients) calls ``initialize`` with its batch.
        noise_dim: standard-normal numbers that one sample takes.
    """

    def __init__(
        self,
        layers: Sequence[Bijection | Fold],
        base: Density,
        features: int,
        given: Bijection | None = None,
    ) -> None:
        super().__init__()
        flows: list[list[Bijection]] = [[]]
        folds = []
        for layer in layers:
            if isinstance(layer, Fold):
                folds.append(layer)
                flows.append([])
            else:
                flows[-1].append(layer)
        self.flows = ModuleList([Chain(flow) for flow in flows])
        self.folds = ModuleList(folds)
        self.base = base
        self.given = given
        self.dim, self.features = base.dim, features
        self.noise_dim = base.noise_dim + len(folds)
        self.started = False

    def forward(self, batch: PointBatch) -> Tensor:
        """Nats of each example, (B,): log p(x), or of samples x judged by an energy −log q(x) − β U(x)."""
        if batch.energy is None:
            return self.log_prob(batch.points, batch.condition)
        x, log_q = self.sample_with_log_prob(batch.points, batch.condition)
        return -(log_q + batch.weight * evaluate_energy(batch.energy, x, batch.condition))

    def log_prob(self, points: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p(x | condition), (B,), of ``points`` (B, D)."""
        self._check("points", points, self.dim, condition)
        if self._starts():
            self._start(PointBatch(points, condition))
        z, density, _ = self._encode(points, condition)
        return self.base.log_prob(z) + density

    def _start(self, batch: PointBatch | None) -> None:
        """Initialise from a first training step's batch; all processes get what the first one has.

        Without a batch, where a flow is trained on its own samples, all parts start as they are. Either way
        none is initialised again.
        """
        if batch is not None:
            self.initialize(batch)
            if distributed.is_available() and distributed.is_initialized():
                for value in self.state_dict().values():
                    distributed.broadcast(value, 0)
        self.started = True
        for name, buffer in self.named_buffers():
            if name.endswith(".initialized"):
                buffer.fill_(True)

    def _starts(self) -> bool:
        return not self.started and self.training and torch.is_grad_enabled()

    def _check(self, name: str, rows: Tensor, width: int, condition: Tensor | None) -> None:
        """Refuse points, or noise, and a condition that do not suit the model.

        Raises:
            InputError: names the shape and type that they must have.
        """
        weight = next(self.parameters(), None)
        dtype = None if weight is None else weight.dtype
        check_rows(name, rows, width, dtype)
        features = self.features
        if condition is None:
            if features:
                raise InputError(f"the density needs a condition: a tensor ({len(rows)}, {features})")
        elif not features:
            raise InputError("the density takes no condition: it has features 0")
        else:
            check_rows("condition", condition, features, dtype)
            if len(condition) != len(rows):
                raise InputError(
                    f"{counted(len(condition), 'condition')} for {len(rows)} {name}; give each one"
                )

    def bits_per_dim(self, nats: Tensor, count: int = 1) -> Tensor:
        """−nats / (ln 2 · D · count), of log-densities of ``count`` points."""
        return -nats / (math.log(2) * self.dim * count)

    def _context(self, condition: Tensor | None) -> Tensor | None:
        """Context of the layers, (B, F, 1, 1)."""
        context: Tensor | None = _as_images(condition)
        return self.given.transform(context)[0] if self.given and context is not None else context

    def _encode(self, points: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Latents (B, D) of points (B, D), log p(x) − log p(z), (B,), and noise of each fold's side, (B,)."""
        x, context = _as_images(points), self._context(condition)
        density = torch.zeros_like(points[:, 0])
        sides = []
        for index, flow in enumerate(self.flows):
            if index:
                sides.append(torch.where(x[:, 0, 0, 0] < 0, math.inf, -math.inf))
                x, change = self.folds[index - 1].transform(x)
                density = density + change.flatten()
            x, change = flow.transform(x, context)
            density = density + change.flatten()
        return x.flatten(1), density, sides

    def sample(self, eps: Tensor, condition: Tensor | None = None) -> Tensor:
        """Samples (B, D) from standard-normal noise (B, noise_dim)."""
        return self.sample_with_log_prob(eps, condition)[0]

    def sample_with_log_prob(self, eps: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Samples (B, D) from standard-normal noise, and their log-densities (B,): one pass back."""
        self._check("eps", eps, self.noise_dim, condition)
        if self._starts():
            self._start(None)
        z = self.base.sample(eps[:, : self.base.noise_dim])
        x, density = self._decode(z, eps[:, self.base.noise_dim :].unbind(1), condition)
        return x, self.base.log_prob(z) + density

    def _decode(
        self, z: Tensor, sides: Sequence[Tensor], condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Inverse of ``_encode``: points (B, D) and log p(x) − log p(z), (B,)."""
        x, context = _as_images(z), self._context(condition)
        density = torch.zeros_like(z[:, 0])
        for index in reversed(range(len(self.flows))):
            x, change = self.flows[index].invert(x, context)
            density = density - change.flatten()
            if index:
                x, change = self.folds[index - 1].invert(x, sides[index - 1])
                density = density - change.flatten()
        return x.flatten(1), density

    @torch.no_grad()
    def reconstruct(self, batch: PointBatch) -> tuple[Tensor, Tensor]:
        """Points (B, D), and the same encoded and decoded; of an energy its samples."""
        points = batch.points if batch.energy is None else self.sample(batch.points, batch.condition)
        self._check("points", points, self.dim, batch.condition)
        z, _, sides = self._encode(points, batch.condition)
        return points, self._decode(z, sides, batch.condition)[0]

    @torch.no_grad()
    def stages(self, eps: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """Images of noise (B, noise_dim) after each layer, from a sample of the base to one of the data.

        Layers of an inverted chain, and steps of a continuous flow, count one by one.
        """
        self._check("eps", eps, self.noise_dim, condition)
        z = self.base.sample(eps[:, : self.base.noise_dim])
        x, context = _as_images(z), self._context(condition)
        stages = [z]
        for index in reversed(range(len(self.flows))):
            for step in _decoding_steps(self.flows[index]):
                x = step(x, context)[0]
                stages.append(x.flatten(1))
            if index:
                x = self.folds[index - 1].invert(x, eps[:, self.base.noise_dim + index - 1])[0]
                stages.append(x.flatten(1))
        return stages

    def fit(self, batches: Sequence[PointBatch]) -> None:
        """Nothing is counted before training."""

    @torch.no_grad()
    def initialize(self, batch: PointBatch) -> None:
        """Set data-dependent parameters from the points of ``batch``, of an energy its noise."""
        name, width = ("points", self.dim) if batch.energy is None else ("eps", self.noise_dim)
        self._check(name, batch.points, width, batch.condition)
        if self.given and batch.condition is not None:
            self.given.initialize(_as_images(batch.condition))
        x, context = _as_images(batch.points[:, : self.dim]), self._context(batch.condition)
        for index, flow in enumerate(self.flows):
            if index:
                x = self.folds[index - 1].transform(x)[0]
            x = flow.initialize(x, context)
        self.base.initialize(x.flatten(1))
        self.started = True


@final
class Flow(VectorFlow):
    """Density put together in Python, of layers and a base of one's own or the library's.

    Args:
        layers: from data to latent, bijections of vectors stored as (B, D, 1, 1), and folds.
        base: density of the latents.
        features: numbers of a condition; the layers get it as context (B, F, 1, 1).

    Raises:
        InputError: a part of another type.
    """

    def __init__(self, layers: Sequence[Bijection | Fold], base: Density, *, features: int = 0) -> None:
        layers = list(layers)  # an iterator can be read once alone
        for index, layer in enumerate(layers):
            if not isinstance(layer, Bijection | Fold):
                raise InputError(
                    f"layers[{index}] is of type {type(layer).__name__}; give bijections (vflow.bijections)"
                )
        if not isinstance(base, Density):
            raise InputError(f"base is of type {type(base).__name__}; give a density (vflow.densities)")
        super().__init__(layers, base, features)


Step = Callable[[Any, Any], tuple[Tensor, Tensor]]


def _decoding_steps(flow: Chain) -> Iterator[Step]:
    """Maps from latent to data, one for each layer; a chain inside it, as on a sphere, is one layer."""
    for layer in reversed(flow.layers):
        if isinstance(layer, Inverse):
            yield from _encoding_steps(layer.bijection)
        elif isinstance(layer, ContinuousFlow):
            yield from (partial(layer.invert_step, index) for index in reversed(range(layer.steps)))
        else:
            yield layer.invert


def _encoding_steps(inverted: Bijection) -> Iterator[Step]:
    """Maps from latent to data of a layer, or of each in a chain, that the flow contains inverted."""
    for layer in inverted.layers if isinstance(inverted, Chain) else [inverted]:
        if isinstance(layer, ContinuousFlow):
            yield from (partial(layer.transform_step, index) for index in range(layer.steps))
        else:
            yield layer.transform


def _as_images(x: Any) -> Any:
    """(B, D) → (B, D, 1, 1); None stays None."""
    return None if x is None else x[:, :, None, None]
