"""Vine copulas with kernel-density margins (Bedford & Cooke 2002; Nagler & Czado 2016), by pyvinecopulib."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from vflow.densities.base import Density
from vflow.errors import ConfigError

EDGE = 1e-6  # of the unit cube, whose faces quantiles do not reach


@final
class Vine(Density):
    """p(x) = Π f_d(x_d) · Π c_e: margins by kernels, and pair copulas c_e on the edges of nested trees.

    Fitted once, to ``points``, one margin and one pair at a time; it has no parameters to train. Pair copulas
    are local likelihoods, so that dependence may have any form.

    Args:
        points: (N, D), D ≥ 2.
        trees: the first so many trees are kept; pairs of later ones count as independent.

    Raises:
        ConfigError: pyvinecopulib is not installed.
    """

    def __init__(self, points: Tensor, trees: int = 5) -> None:
        super().__init__()
        try:
            from pyvinecopulib import BicopFamily, FitControlsVinecop, Vinedist
        except ImportError as error:
            raise ConfigError("pyvinecopulib is not installed; pip install 'vflow-torch[vine]'") from error
        self.dim = self.noise_dim = points.shape[1]
        controls = FitControlsVinecop(family_set=[BicopFamily.tll], trunc_lvl=trees)
        self.distribution = Vinedist.from_data(points.double().cpu().numpy(), controls)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.distribution.logpdf(x.double().cpu().numpy())).to(x)

    def margins_log_prob(self, x: Tensor) -> Tensor:
        """log Π f_d(x_d), (B,), of x (B, D): the margins alone, as if elements were independent."""
        columns = x.double().cpu().numpy().T
        margins = zip(self.distribution.margins, columns, strict=True)
        return torch.from_numpy(sum(margin.logpdf(column.copy()) for margin, column in margins)).to(x)

    def sample(self, eps: Tensor) -> Tensor:
        """Samples (B, D) from standard-normal noise (B, D), by the inverse Rosenblatt transform."""
        uniform = torch.special.ndtr(eps.double()).clamp(EDGE, 1 - EDGE).cpu().numpy()
        return torch.from_numpy(self.distribution.inverse_rosenblatt(uniform)).to(eps)
