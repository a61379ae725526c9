"""Variational autoencoders with flows as posteriors, and masked autoencoders, on bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from examples.made_bits import BernoulliMade, MadeConfig
from examples.vae import Vae, VaeConfig, binarize
from vflow.config.base import parse

GATED = {"kind": "autoregressive", "element": {"kind": "gated"}, "hidden": [8]}
POSTERIORS: dict[str, list[dict[str, Any]]] = {
    "diagonal": [{"kind": "elementwise"}],
    "planar": [{"kind": "inverse", "layers": [{"kind": "planar"}]}, {"kind": "elementwise"}],
    "iaf": [{"kind": "inverse", "layers": [GATED, {"kind": "permutation"}]}, {"kind": "elementwise"}],
    "copula": [{"kind": "elementwise"}],
}


def perturb(model: Any) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.double()


def vae(posterior: str) -> Vae:
    entries = {"dim": 3, "latent": 2, "hidden": [6], "posterior": POSTERIORS[posterior]}
    entries["copula"] = posterior == "copula"
    return perturb(Vae(parse(VaeConfig, entries, "test")))


def all_bits(dim: int) -> Tensor:
    """Every vector of bits, (2^dim, dim)."""
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * dim)


def likelihood(model: Vae, bits: Tensor) -> Tensor:
    """log p(x) by a sum over a grid of the two latents."""
    axis = torch.linspace(-6, 6, 121, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    log_prior = model.prior.log_prob(z) + 2 * torch.log(axis[1] - axis[0])
    log_p = torch.distributions.Bernoulli(logits=model.decoder(z)).log_prob(bits[:, None]).sum(-1)
    return (log_prior + log_p).logsumexp(1)


@pytest.mark.parametrize("posterior", POSTERIORS)
@torch.no_grad()
def test_bounds_lie_below_the_likelihood_and_importance_weights_tighten_them(posterior: str) -> None:
    model, bits = vae(posterior), all_bits(3)
    exact = likelihood(model, bits)
    assert float(exact.exp().sum()) == pytest.approx(1, abs=1e-6)
    eps = torch.randn(400, len(bits), 2, dtype=torch.float64)
    elbo = torch.stack([model(bits, one) for one in eps]).mean(0)
    bound = model.importance_bound(bits, eps)
    assert bool((elbo < exact).all()) and bool((bound > elbo).all())
    assert float((bound - exact).mean().abs()) < 0.2


@pytest.mark.parametrize("posterior", POSTERIORS)
@torch.no_grad()
def test_posteriors_are_densities_of_the_latent(posterior: str) -> None:
    """q(z | x), by the chain from z to noise, integrates to 1."""
    model, bits = vae(posterior), all_bits(3)[:1]
    axis = torch.linspace(-12, 12, 201, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    features = model.encoder(bits)[:, :, None, None].expand(len(z), -1, -1, -1)
    eps, ladj = model.posterior(z[:, :, None, None], features)
    mass = (model.prior.log_prob(eps.flatten(1)) + ladj).exp().sum() * (24 / 200) ** 2
    assert float(mass) == pytest.approx(1, abs=0.01)


def test_the_copula_makes_latents_depend_on_each_other() -> None:
    model, bits = vae("copula"), all_bits(3)[-1:]
    features = model.encoder(bits)[:, :, None, None].expand(4000, -1, -1, -1)
    z = model.posterior.inverse(torch.randn(4000, 2, 1, 1, dtype=torch.float64), features)[0].flatten(1)
    assert float(torch.corrcoef(z.T)[0, 1].abs()) > 0.1


@torch.no_grad()
def test_an_autoencoder_codes_without_noise() -> None:
    model, bits = vae("diagonal"), all_bits(3)
    z = model.latents(bits)
    draws = torch.stack([model._posterior_sample(bits, torch.randn(8, 2).double())[0] for _ in range(3000)])
    torch.testing.assert_close(draws.mean(0), z, rtol=0, atol=5 * float(draws.std(0).max()) / 3000**0.5)
    log_p = torch.distributions.Bernoulli(model.sample(z)).log_prob(bits).sum(1)
    torch.testing.assert_close(model.reconstruction(bits), log_p)


def test_digits_are_binarised_at_one_half() -> None:
    image = torch.tensor([[[0, 127], [128, 255]]], dtype=torch.uint8)
    assert binarize(image).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("masks", [1, 3])
@torch.no_grad()
def test_made_is_a_distribution_over_bits(masks: int) -> None:
    model = perturb(BernoulliMade(MadeConfig(dim=4, hidden=(12,), masks=masks)))
    bits = all_bits(4)
    assert float(model(bits).exp().sum()) == pytest.approx(1, abs=1e-9)
    parts = torch.stack([model.log_prob(bits, mask) for mask in range(masks)])
    torch.testing.assert_close(parts.exp().mean(0), model(bits).exp())


@torch.no_grad()
def test_made_samples_follow_its_probabilities() -> None:
    model = perturb(BernoulliMade(MadeConfig(dim=3, hidden=(12,))))
    bits = model.sample(torch.randn(20_000, 3, dtype=torch.float64))
    index = (bits @ torch.tensor([4.0, 2.0, 1.0], dtype=bits.dtype)).long()
    share = nn.functional.one_hot(index, 8).double().mean(0)
    torch.testing.assert_close(share, model(all_bits(3)).exp(), rtol=0, atol=0.015)
