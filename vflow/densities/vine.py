"""Vine copulas with kernel-density margins (Bedford & Cooke 2002; Nagler & Czado 2016), by pyvinecopulib."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from vflow.densities.base import Density
from vflow.errors import ConfigError, InputError

EDGE = 1e-6  # of the unit cube, whose faces quantiles do not reach


@final
class Vine(Density):
    """p(x) = |det W| Π f_d(y_d) · Π c_e, y = W (x − m): kernel margins, copulas c_e of a vine's pairs.

    Fitted once, to ``points``, one margin and one pair at a time; it has no parameters to train, and computes
    in float64 on the CPU, without gradients. Pair copulas are local likelihoods, so that dependence may have
    any form.

    Args:
        points: (N, D), D ≥ 2.
        whiten: W and m give the points mean 0 and covariance I first, so that what is linear in their
            dependence is exact, and smoothing blurs the rest alone; else y = x.

    Raises:
        ConfigError: pyvinecopulib is not installed. InputError: later, where a gradient is wanted.
    """

    def __init__(self, points: Tensor, *, whiten: bool = False) -> None:
        super().__init__()
        try:
            from pyvinecopulib import BicopFamily, FitControlsVinecop, Vinedist
        except ImportError as error:
            raise ConfigError("pyvinecopulib is not installed; pip install 'vflow-torch[vine]'") from error
        self.dim = self.noise_dim = points.shape[1]
        points = points.double().cpu()
        # x = factor · y + mean; no buffers, since ``distribution`` stays in float64 on the CPU, too
        self.mean, self.factor = torch.zeros(self.dim).double(), torch.eye(self.dim).double()
        if whiten:
            self.mean, self.factor = points.mean(0), torch.linalg.cholesky(torch.cov(points.T))
        controls = FitControlsVinecop(family_set=[BicopFamily.tll])
        self.distribution = Vinedist.from_data(self._whitened(points), controls)

    def _whitened(self, x: Tensor) -> np.ndarray:
        """y (B, D), float64, of x (B, D)."""
        _refuse_gradient(x)
        centred = (x.double().cpu() - self.mean).T
        return torch.linalg.solve_triangular(self.factor, centred, upper=False).T.contiguous().numpy()

    def _log_prob(self, nats: np.ndarray, like: Tensor) -> Tensor:
        return (torch.from_numpy(nats) - self.factor.diagonal().log().sum()).to(like)

    def _log_density(self, x: Tensor) -> Tensor:
        return self._log_prob(self.distribution.logpdf(self._whitened(x)), x)

    def margins_log_prob(self, x: Tensor) -> Tensor:
        """log |det W| Π f_d(y_d), (B,), of x (B, D): as if the y were independent."""
        margins = zip(self.distribution.margins, self._whitened(x).T, strict=True)
        return self._log_prob(sum(margin.logpdf(column.copy()) for margin, column in margins), x)

    def _draw(self, eps: Tensor) -> Tensor:
        """Samples (B, D) from standard-normal noise (B, D), by the inverse Rosenblatt transform."""
        _refuse_gradient(eps)
        uniform = torch.special.ndtr(eps.double()).clamp(EDGE, 1 - EDGE).cpu().numpy()
        y = torch.from_numpy(self.distribution.inverse_rosenblatt(uniform))
        return (y @ self.factor.T + self.mean).to(eps)


def _refuse_gradient(x: Tensor) -> None:
    if x.requires_grad and torch.is_grad_enabled():
        raise InputError("a vine has no gradients; use torch.no_grad(), or another base while layers learn")
