"""Inverse of increasing functions that have none in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

STEPS = 100
Increasing = Callable[[Tensor], tuple[Tensor, Tensor]]  # x → f(x) and log f'(x), both shaped like x


def invert_increasing(
    function: Increasing, target: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """x with f(x) = ``target``, elementwise, and the log-derivative of the inverse there.

    Newton steps that stay inside a shrinking bracket, halving it where they would leave. An element that has
    converged stays, so its value does not depend on others in its batch. Both outputs have first and second
    derivatives (see ``polish``).

    Args:
        function: x → f(x) and log f'(x), both shaped like x.
        target: values of f.
        low: a bound of x from below, shaped like ``target``.
        high: a bound of x from above.
    """
    tolerance = 4 * torch.finfo(target.dtype).eps
    with torch.no_grad():
        low, high = low.expand_as(target), high.expand_as(target)
        x = 0.5 * (low + high)
        size, done = (high - low).abs(), torch.zeros_like(target, dtype=torch.bool)
        for _ in range(STEPS):
            value, log_derivative = function(x)
            beyond = value > target
            high, low = torch.where(beyond, x, high), torch.where(beyond, low, x)
            newton = x - (value - target) * (-log_derivative).exp()
            # a Newton step must stay in the bracket and be less than half as long as the step before
            good = (newton >= low).logical_and_(newton <= high)
            good.logical_and_((newton - x).abs_() <= size.mul_(0.5))
            following = torch.where(good, newton, (low + high).mul_(0.5))
            size, x = (following - x).abs_(), torch.where(done, x, following)
            done.logical_or_(size <= tolerance * (1 + x.abs()))
            if bool(done.all()):
                break
    return polish(function, target, x)


def polish(function: Increasing, target: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Newton steps from a solution x, which has no graph, and the log-derivative of the inverse there.

    A step carries first derivatives to ``target`` and to what ``function`` depends on. Where these are wanted
    another one follows: Newton steps double the order of what is right, so higher derivatives are right, too.
    """
    value, log_derivative = function(x)
    x = x - (value - target) * (-log_derivative.detach()).exp()
    value, log_derivative = function(x)
    if not (torch.is_grad_enabled() and value.requires_grad):
        return x, -log_derivative
    step = (target - value) * (-log_derivative).exp()
    return with_higher_order((x, -log_derivative), (step, log_derivative - function(x + step)[1]))


def with_higher_order(values: tuple[Tensor, Tensor], changes: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Sums of ``values``, right to first derivatives, and ``changes``, which are 0 but for higher ones.

    Backward passes without ``create_graph`` leave the changes out, which would take as long as all the rest.
    """
    first, second = _HigherOrder.apply(*values, *changes)
    return first, second


class _HigherOrder(torch.autograd.Function):
    """Two values plus two changes, where the changes, and their gradients, are 0 up to rounding."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, step: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        return x + step, y + change

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return (*gradients, *(gradients if torch.is_grad_enabled() else (None, None)))

    @staticmethod
    def jvp(ctx: Any, x: Any, y: Any, step: Any, change: Any) -> Any:
        return x + step, y + change
