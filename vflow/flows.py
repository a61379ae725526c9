"""Flows of papers for vectors, a line each: ``vflow.flows.MAF(features=10, context=3)``.

All are ``vflow.models.DensityModel``s: ``flow.log_prob(x, y)``, ``vflow.distribution(flow, y)``,
``vflow.training.density.fit``, ``vflow.checkpoint.save_checkpoint`` with ``flow.config``. Defaults are those
of the papers where these have them for vectors, else as said. Vectors need not be standardised: batch norm or
an ActNorm, which the first training batch sets, comes first. Conditions are read as they are.

Arguments of all:
    features: D, elements of a vector.
    context: F, elements of a condition; 0 for none.
    transforms: layers that bend, each followed or preceded by a permutation or a linear map.
    hidden_features: widths of each network's hidden layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vflow.config import DensityConfig, parse
from vflow.models import DensityModel

__all__ = ["MAF", "NSF", "Glow", "RealNVP", "TarFlow"]
Layers = list[dict[str, Any]]


def MAF(
    features: int, context: int = 0, transforms: int = 5, hidden_features: Sequence[int] = (100, 100)
) -> DensityModel:
    """Masked autoregressive flow (Papamakarios et al. 2017): affine, orders reversed, batch norm between.

    Examples:
        >>> flow = vflow.flows.MAF(features=3, context=2)
        >>> flow.log_prob(torch.zeros(5, 3), torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    step = [_autoregressive(hidden_features), {"kind": "permutation"}]
    return _flow(features, context, transforms * [{"kind": "batchnorm"}, *step])


def NSF(
    features: int,
    context: int = 0,
    transforms: int = 10,
    hidden_features: Sequence[int] = (256, 256),
    *,
    bins: int = 8,
    bound: float = 3.0,
    coupling: bool = False,
) -> DensityModel:
    """Neural spline flow (Durkan et al. 2019): rational-quadratic splines on [−bound, bound] after LU maps.

    Args:
        coupling: RQ-NSF (C), with residual networks, whose samples take one pass; else RQ-NSF (AR).

    Examples:
        >>> flow = vflow.flows.NSF(features=3, context=2, transforms=2)
        >>> flow.log_prob(torch.zeros(5, 3), torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    spline = {"kind": "spline", "bins": bins, "low": -bound, "high": bound}
    step = _autoregressive(hidden_features) | {"element": spline}
    layers: Layers = [{"kind": "actnorm"}]
    for index in range(transforms):
        if coupling:
            step = _coupling(index, hidden_features) | {"element": spline, "residual": True}
        layers += [{"kind": "linear"}, step]
    return _flow(features, context, layers)


def RealNVP(
    features: int, context: int = 0, transforms: int = 10, hidden_features: Sequence[int] = (64, 64)
) -> DensityModel:
    """Real NVP (Dinh et al. 2017): affine couplings of residual networks, batch norm between.

    The paper has images alone; ten couplings are those of Papamakarios et al. 2017.

    Examples:
        >>> flow = vflow.flows.RealNVP(features=3, context=2)
        >>> flow.log_prob(torch.zeros(5, 3), torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    layers: Layers = []
    for index in range(transforms):
        step = _coupling(index, hidden_features) | {"residual": True, "weight_norm": True}
        layers += [{"kind": "batchnorm"}, step]
    return _flow(features, context, layers)


def Glow(
    features: int, context: int = 0, transforms: int = 32, hidden_features: Sequence[int] = (512, 512)
) -> DensityModel:
    """Glow (Kingma & Dhariwal 2018) on vectors: steps of ActNorm, a linear map (LU) and an affine coupling.

    Its flow of images is ``vflow.models.glow.Glow``.

    Examples:
        >>> flow = vflow.flows.Glow(features=3, context=2, transforms=2)
        >>> flow.log_prob(torch.zeros(5, 3), torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    step: Layers = [
        {"kind": "actnorm"},
        {"kind": "linear"},
        _coupling(0, hidden_features) | {"keep": "first"},
    ]
    return _flow(features, context, transforms * step)


def TarFlow(
    features: int, context: int = 0, transforms: int = 8, hidden_features: int = 256, *, layers: int = 8
) -> DensityModel:
    """TarFlow (Zhai et al. 2024) on vectors: blocks of causal transformers, a token an element.

    The paper has 8 blocks of 8 layers, 768 wide for ImageNet; ``vflow.models.TarFlow`` is for images.

    Args:
        hidden_features: width, a multiple of 64, the width of a head, or below 64 with one head.
        layers: of each block's transformer.

    Examples:
        >>> flow = vflow.flows.TarFlow(features=3, context=2, transforms=2, layers=2)
        >>> flow.log_prob(torch.zeros(5, 3), torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    heads = max(1, hidden_features // 64)
    block: Layers = [
        {"kind": "transformer", "hidden": hidden_features, "depth": layers, "heads": heads},
        {"kind": "permutation"},
    ]
    return _flow(features, context, [{"kind": "actnorm"}, *transforms * block])


def _autoregressive(hidden: Sequence[int]) -> dict[str, Any]:
    return {"kind": "autoregressive", "hidden": list(hidden), "degrees": "spread"}


def _coupling(index: int, hidden: Sequence[int]) -> dict[str, Any]:
    return {"kind": "coupling", "keep": ("even", "odd")[index % 2], "hidden": list(hidden)}


def _flow(features: int, context: int, layers: Layers) -> DensityModel:
    settings = {"dim": features, "features": context, "layers": layers}
    return DensityModel(parse(DensityConfig, settings, "flow"))
