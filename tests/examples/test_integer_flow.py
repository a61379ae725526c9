from __future__ import annotations

import itertools

import pytest
import torch

from examples.integer_flow import IntegerFlow, IntegerFlowConfig, LogisticMixture, logistic_quantile
from vflow.models import ImageBatch
from vflow.priors.discretized_logistic import log_masses


def flow(height: int = 8, width: int = 8, channels: int = 1, classes: int = 0) -> IntegerFlow:
    torch.manual_seed(0)
    depth = (2, 2) if min(height, width) >= 4 else (2,)
    config = IntegerFlowConfig(
        channels=channels, height=height, width=width, depth=depth, layers=2, growth=8, classes=classes
    )
    model = IntegerFlow(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back_exactly(channels: int) -> None:
    model = flow(8, 12, channels)
    images = torch.randint(0, 256, (6, channels, 8, 12), dtype=torch.uint8)
    with torch.no_grad():
        latents = model.encode(images)
        assert [tuple(latent.shape[1:]) for latent in latents] == model.latent_shapes
        assert torch.equal(model.decode(latents), images.float())
    assert all(torch.equal(latent, latent.round()) for latent in latents)


def test_tiny_images_of_every_pattern_come_back() -> None:
    """All 2×2 images whose pixels are of eight grey levels."""
    model = flow(2, 2)
    levels = (0, 1, 37, 100, 127, 128, 200, 255)
    images = torch.tensor(list(itertools.product(levels, repeat=4)), dtype=torch.uint8).view(-1, 1, 2, 2)
    with torch.no_grad():
        assert torch.equal(model.decode(model.encode(images)), images.float())


def test_probabilities_of_all_images_of_one_latent_add_up() -> None:
    """Σ P = 1 over Z: mass of a discretised logistic, over a wide range."""
    z = torch.arange(-4000, 4001).double()
    for mean, log_scale in ((0.0, 0.0), (3.3, -2.0), (-7.6, 4.0)):
        mass = log_masses(z - mean, torch.tensor(log_scale).double())[2].exp().sum()
        assert float(mass) == pytest.approx(1, abs=1e-9)


def test_quantiles_have_the_distribution_s_frequencies() -> None:
    mean, log_scale = torch.tensor(2.3), torch.tensor(0.4)
    u = (torch.arange(20000) + 0.5) / 20000
    drawn = logistic_quantile(u, mean, log_scale)
    for value in (0, 2, 5):
        expected = float(log_masses(value - mean, log_scale)[2].exp())
        assert float((drawn == value).double().mean()) == pytest.approx(expected, abs=1e-3)


def test_a_mixture_adds_up_and_is_sampled_as_it_says() -> None:
    mixture = LogisticMixture.of(
        torch.tensor([-3.0, 10.0]).view(1, 2, 1, 1, 1),
        torch.tensor([-2.0, 1.0]).view(1, 2, 1, 1, 1),
        torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1),
    )
    z = torch.arange(-200.0, 200).view(-1, 1, 1, 1)
    mass = mixture.log_probability(z).exp()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
    many = LogisticMixture(*(part.expand(20_000, -1, -1, -1, -1) for part in mixture))
    u, choice = torch.rand(2, 20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    drawn = many.sample(u, choice)
    for value in (-3, 8, 10):
        assert float((drawn == value).double().mean()) == pytest.approx(float(mass[value + 200]), abs=0.01)


def test_it_starts_from_what_images_are_like() -> None:
    """Before any step, ground and ink cost about what independent pixels of these values cost."""
    torch.manual_seed(0)
    model = IntegerFlow(IntegerFlowConfig(height=8, width=8, depth=(2, 2), layers=2, growth=8))
    ink = torch.rand(256, 1, 8, 8) < 0.2
    images = torch.where(ink, torch.randint(200, 256, ink.shape), 0).to(torch.uint8)
    batch = ImageBatch(images, torch.zeros(256, dtype=torch.int64), torch.zeros(256, 1, 8, 8))
    before = model.bits_per_dim(model(batch).mean())
    model.initialize(batch)
    after = model.bits_per_dim(model(batch).mean())
    assert after < 2.5 < 5 < before  # entropy: 0.72 bits of ink or not, 0.2 · log2(56) = 1.16
    assert torch.equal(model.decode(model.encode(images)), images.float())
    again = images.clone()
    again[:] = 77
    model.initialize(batch._replace(images=again))
    assert torch.equal(model.bits_per_dim(model(batch).mean()), after)


def test_likelihood_is_the_prior_of_the_latents() -> None:
    model = flow()
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        fine, coarse = model.encode(images)
        h, _ = model.chains[0].transform(images.float() - 128, None)
        fine_prior, top = model.priors[0](h[:, :2], None), model.top(3, None)
        prior = fine_prior.log_probability(fine) + top.log_probability(coarse)
        assert torch.allclose(model.log_probability(images), prior)


def test_samples_are_images_and_follow_their_noise() -> None:
    model = flow(classes=3)
    noise = model.uniforms(4, torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        images = model.sample(noise, labels)
        assert images.shape == (4, 1, 8, 8)
        assert torch.equal(images, model.sample(noise, labels))
        assert not torch.equal(
            images, model.sample(model.uniforms(4, torch.Generator().manual_seed(2)), labels)
        )


def test_labels_matter() -> None:
    model = flow(classes=3)
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        first, second = (model.log_probability(images, torch.tensor([c, c])) for c in (0, 1))
    assert not torch.allclose(first, second)


def test_learning_lowers_the_cost() -> None:
    model = flow()
    model.train()
    images = (torch.arange(64).view(1, 1, 8, 8) * 3 + torch.randint(0, 3, (16, 1, 8, 8))).to(torch.uint8)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    costs = []
    for _ in range(30):
        loss = -model.log_probability(images).mean() / (64 * 0.6931)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        costs.append(float(loss.detach()))
    assert costs[-1] < 0.8 * costs[0]


def test_sizes_that_do_not_halve_are_refused() -> None:
    with pytest.raises(ValueError, match="not divisible"):
        IntegerFlowConfig(height=6, width=8, depth=(1, 1))


def test_a_prior_needs_a_component_beside_the_most_frequent_number() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        IntegerFlowConfig(mixtures=1)


def test_samples_are_drawn_where_the_weights_are() -> None:
    """On a device without numbers, as any tensor left on the CPU would be refused there."""
    labels = torch.zeros(2, dtype=torch.int64, device="meta")
    made = flow(classes=3).to("meta").generate(2, labels, torch.Generator())
    assert made.device.type == "meta" and made.shape == (2, 1, 8, 8)
