"""Inverse of increasing functions that have none in closed form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 100


def invert_increasing(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], target: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """x with f(x) = ``target``, elementwise, and the log-derivative of the inverse there.

    Newton steps that stay inside a shrinking bracket, halving it where they would leave. An element that has
    converged stays, so its value does not depend on others in its batch. One last step outside ``no_grad``
    carries the gradient to ``target`` and to what ``function`` depends on.

    Args:
        function: x → f(x) and log f'(x), both shaped like x.
        target: values of f.
        low: a bound of x from below, shaped like ``target``.
        high: a bound of x from above.
    """
    with torch.no_grad():
        low, high = low.expand_as(target), high.expand_as(target)
        x = 0.5 * (low + high)
        step, done = high - low, torch.zeros_like(target, dtype=torch.bool)
        for _ in range(STEPS):
            value, log_derivative = function(x)
            beyond = value > target
            high, low = torch.where(beyond, x, high), torch.where(beyond, low, x)
            newton = x - (value - target) * (-log_derivative).exp()
            # a Newton step must stay in the bracket and be less than half as long as the step before
            good = (newton >= low) & (newton <= high) & ((newton - x).abs() <= 0.5 * step.abs())
            following = torch.where(good, newton, 0.5 * (low + high))
            step, x = following - x, torch.where(done, x, following)
            done = done | (step.abs() <= 4 * torch.finfo(x.dtype).eps * (1 + x.abs()))
            if bool(done.all()):
                break
    value, log_derivative = function(x)
    root = x - (value - target) * (-log_derivative.detach()).exp()
    return root, -function(root)[1]
