"""Flows of papers, and the names that the package offers."""

from __future__ import annotations

import pydoc
from pathlib import Path
from typing import Any

import pytest
import torch

import vflow
from vflow.checkpoint import save_checkpoint
from vflow.errors import ConfigError
from vflow.models import DensityModel, PointBatch

SMALL: dict[str, dict[str, Any]] = {
    "MAF": {},
    "NSF": {},
    "RealNVP": {},
    "Glow": {"transforms": 4, "hidden_features": (16,)},
    "TarFlow": {"transforms": 2, "hidden_features": 16, "layers": 1},
}


@pytest.mark.parametrize("name", SMALL)
def test_it_is_a_density_given_a_condition(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    flow = getattr(vflow.flows, name)(features=4, context=3, **SMALL[name])
    x, y = 50 + 7 * torch.randn(200, 4), torch.randn(200, 3)
    before = flow(PointBatch(x, y)).detach()  # in training mode: the first batch initialises
    assert bool((before > -25).all()), "standardised by the model"
    for parameter in flow.eval().requires_grad_(False).parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    density = vflow.distribution(flow, y[:5])
    drawn = density.sample((6,))
    assert drawn.shape == (6, 5, 4)
    log_p = density.log_prob(drawn)
    assert float((log_p - vflow.distribution(flow, 1 - y[:5]).log_prob(drawn)).abs().max()) > 1e-4
    points, back = flow.reconstruct(PointBatch(x, y))
    torch.testing.assert_close(back, points, rtol=1e-3, atol=1e-2)
    save_checkpoint(tmp_path / "flow", flow, config=flow.config)
    again = vflow.distribution(vflow.load(tmp_path / "flow"), y[:5])
    torch.testing.assert_close(again.log_prob(drawn), log_p, rtol=1e-4, atol=1e-3)


def test_each_transform_is_one_and_defaults_are_those_of_papers() -> None:
    def kinds(flow: DensityModel) -> list[str]:
        return [layer.kind for layer in flow.config.layers]

    assert kinds(vflow.flows.MAF(3, transforms=2)) == 2 * ["batchnorm", "autoregressive", "permutation"]
    assert kinds(vflow.flows.MAF(3)).count("autoregressive") == 5
    nsf = vflow.flows.NSF(3).config.layers
    assert (
        len(nsf) == 21 and nsf[2].element.bins == 8 and (nsf[2].element.low, nsf[2].element.high) == (-3, 3)
    )
    couplings = [
        layer for layer in vflow.flows.NSF(3, coupling=True).config.layers if layer.kind == "coupling"
    ]
    assert [layer.keep for layer in couplings] == 5 * ["even", "odd"]
    assert kinds(vflow.flows.RealNVP(3)).count("coupling") == 10
    assert kinds(vflow.flows.Glow(3, hidden_features=[8])).count("linear") == 32
    assert kinds(vflow.flows.TarFlow(3, hidden_features=8)).count("transformer") == 8
    with pytest.raises(ConfigError, match="dim 1"):
        vflow.flows.RealNVP(1)


def test_help_lists_what_the_package_offers() -> None:
    text = pydoc.plain(pydoc.render_doc(vflow))
    names = [name for name in vflow.__all__ if name != "flows"]
    assert {"load", "predict", "distribution", "DensityEstimator"} <= set(names) <= set(dir(vflow))
    for name in names:
        assert f"\n    {name}(" in text or f"\n    class {name}(" in text, name
    assert "MAF" in pydoc.plain(pydoc.render_doc(vflow.flows))
