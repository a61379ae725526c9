"""Autoregressive, coupling and elementwise flows on vectors, made of increasing functions of one number."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from vflow.bijections.base import Context
from vflow.bijections.coupling import Coupling
from vflow.bijections.element import Element
from vflow.bijections.reshape import Partition
from vflow.bijections.vector import VectorBijection
from vflow.nn.masked import AutoregressiveNet


@final
class Autoregressive(VectorBijection):
    """z_i = f(x_i; net_i(x_{<i}, context)), "<" in the order of ``net``.

    Papamakarios et al. 2017, *Masked Autoregressive Flow*, with ``element`` affine; Durkan et al. 2019 with
    splines; Uria et al. 2013 with mixtures. Data to latent takes one pass of ``net``, latent to data D. The
    ``Inverse`` of this map is an inverse autoregressive flow (Kingma et al. 2016): the other way round.

    Args:
        element: the function f.
        net: gives ``element.count`` parameters per element of x.
    """

    def __init__(self, element: Element, net: AutoregressiveNet) -> None:
        super().__init__()
        self.element, self.net = element, net

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        z, log_slope = self.element.forward(x, self.net(x, context).to(x.dtype))
        return z, log_slope.sum(1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        run = self.net.prepare(context)
        x, ladj = torch.zeros_like(z), torch.zeros_like(z[:, 0])
        for index in self.net.order.argsort().tolist():
            h = run(x)[:, index].to(z.dtype)
            value, log_slope = self.element.inverse(z[:, index], h)
            x = torch.cat([x[:, :index], value[:, None], x[:, index + 1 :]], 1)
            ladj = ladj + log_slope
        return x, ladj


@final
class ElementCoupling(Coupling[tuple[Tensor]]):
    """z₂ = f(x₂; net(x₁, context)) elementwise, z₁ = x₁, for any element f (Durkan et al. 2019, section 2.1).

    ``net`` has C₂ · ``element.count`` outputs, the parameters of each changed channel side by side.
    """

    def __init__(self, element: Element, net: nn.Module, partition: Partition) -> None:
        super().__init__(net, partition)
        self.element = element

    def element_parameters(self, h: Tensor) -> tuple[Tensor]:
        return (h.unflatten(1, (-1, self.element.count)).movedim(2, -1),)

    def element_transform(self, changed: Tensor, parameters: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        moved, log_slope = self.element.forward(changed, *parameters)
        return moved, log_slope.sum(1)

    def element_inverse(self, changed: Tensor, parameters: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        moved, log_slope = self.element.inverse(changed, *parameters)
        return moved, log_slope.sum(1)


@final
class Elementwise(VectorBijection):
    """z_i = f(x_i; h_i) with a learned h_i per element; with a context, h_i + A_i · context."""

    def __init__(self, element: Element, dim: int, features: int = 0) -> None:
        super().__init__()
        self.width = dim
        self.element = element
        self.h = nn.Parameter(torch.zeros(dim, element.count))
        self.context_in = nn.Linear(features, dim * element.count, bias=False) if features else None
        if self.context_in is not None:
            nn.init.zeros_(self.context_in.weight)

    def _table(self, x: Tensor, context: Context) -> Tensor:
        h = self.h.expand(len(x), *self.h.shape)
        if self.context_in is None or context is None:
            return h
        return h + self.context_in(context).unflatten(1, self.h.shape)

    def transform_vectors(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        z, log_slope = self.element.forward(x, self._table(x, context))
        return z, log_slope.sum(1)

    def invert_vectors(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        x, log_slope = self.element.inverse(z, self._table(z, context))
        return x, log_slope.sum(1)
