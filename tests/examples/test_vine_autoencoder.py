"""Vines: margins and dependence of what they were fitted to."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from examples.vae import Vae, VaeConfig
from examples.vine_autoencoder import Vine
from vflow.bijections import ActNorm
from vflow.config.base import parse
from vflow.errors import ConfigError, InputError
from vflow.models.flow import Flow

NOISE = 0.3


def parabola(count: int, seed: int) -> Tensor:
    """Points (count, 3): y = x² with noise, and an element that depends on neither."""
    x, noise, other = torch.randn(3, count, generator=torch.Generator().manual_seed(seed)).unbind()
    return torch.stack([x, x.square() + NOISE * noise, other], 1)


@pytest.fixture(scope="module")
def vine() -> Vine:
    pytest.importorskip("pyvinecopulib")
    return Vine(parabola(2000, 0))


def test_a_vine_knows_how_elements_depend_on_each_other(vine: Vine) -> None:
    held = parabola(2000, 1)
    nats = -float(vine.log_prob(held).mean())
    entropy = 3 * 1.4189 + torch.tensor(NOISE).log()
    assert nats == pytest.approx(float(entropy), abs=0.4)
    assert nats < -float(vine.margins_log_prob(held).mean()) - 0.7


def test_whitened_points_keep_what_is_linear() -> None:
    pytest.importorskip("pyvinecopulib")
    mixing = torch.tensor([[1.0, 0, 0], [3, 0.2, 0], [-2, 1, 0.1]])
    points, held = (torch.randn(2000, 3) @ mixing.T + 5 for _ in range(2))
    exact = torch.distributions.MultivariateNormal(torch.full((3,), 5.0), scale_tril=mixing)
    vine = Vine(points, whiten=True)
    assert float((exact.log_prob(held) - vine.log_prob(held)).mean()) == pytest.approx(0, abs=0.3)
    torch.testing.assert_close(
        vine.sample(torch.randn(4000, 3)).T.cov(), mixing @ mixing.T, rtol=0.1, atol=0.1
    )


def test_samples_follow_the_points(vine: Vine) -> None:
    x, y, other = vine.sample(torch.randn(4000, 3)).T
    assert float(torch.corrcoef(torch.stack([x.square(), y]))[0, 1]) > 0.85
    assert abs(float(torch.corrcoef(torch.stack([x, other]))[0, 1])) < 0.1
    torch.testing.assert_close(torch.stack([x.std(), other.std()]), torch.ones(2), rtol=0, atol=0.08)


def test_a_vine_under_layers_that_learn() -> None:
    pytest.importorskip("pyvinecopulib")
    points = parabola(500, 3)
    model = Flow([ActNorm(3)], Vine(points, whiten=True))
    with pytest.raises(InputError, match=r"a vine has no gradients; use torch.no_grad\(\)"):
        model.log_prob(points)
    eps = torch.randn(5, 3)
    with pytest.raises(InputError, match="a vine has no gradients"):
        model.base.sample(eps.clone().requires_grad_())
    with torch.no_grad():
        before = model.log_prob(points), model.sample(eps)
        after = model.float().log_prob(points), model.sample(eps)
        wide = model.double().log_prob(points.double())
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other) and one.dtype == torch.float32
    torch.testing.assert_close(wide.float(), before[0], rtol=0, atol=1e-3)
    assert not any("base" in name for name in model.state_dict())


def test_decoded_samples_of_a_vine(vine: Vine) -> None:
    bits = (parabola(600, 2) > 0.5).float()
    model = Vae(parse(VaeConfig, {"dim": 3, "latent": 2, "hidden": [6]}, "test")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        latents = model.latents(bits) + 0.01 * torch.randn(600, 2)
        probabilities = model.sample(Vine(latents).sample(torch.randn(7, 2)))
    assert probabilities.shape == (7, 3) and bool(((probabilities > 0) & (probabilities < 1)).all())


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvinecopulib", None)
    with pytest.raises(ConfigError, match=r"pip install 'vflow-torch\[vine\]'"):
        Vine(torch.randn(10, 2))
