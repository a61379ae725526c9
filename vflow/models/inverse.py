"""Conditional flows p(x | y) for inverse problems."""

from __future__ import annotations

from vflow.config.density import DensityConfig
from vflow.models.density import DensityModel

WIDTH, DEPTH = 64, 5  # of the couplings' networks, and pairs of couplings


def coupling_layers() -> list[dict[str, object]]:
    """Affine couplings of both halves in turn, and linear maps between them."""
    net = {"kind": "coupling", "hidden": [WIDTH, WIDTH]}
    block = [{"kind": "linear"}, {**net, "keep": "even"}, {**net, "keep": "odd"}]
    return [{"kind": "repeat", "times": DEPTH, "layers": block}]


def posterior_flow(dim: int, observed_dim: int) -> DensityModel:
    """p(x | y) of vectors: y joins the input of every coupling's network."""
    layers = [{"kind": "actnorm"}, *coupling_layers()]
    return DensityModel(
        DensityConfig.model_validate({"dim": dim, "features": observed_dim, "layers": layers})
    )
