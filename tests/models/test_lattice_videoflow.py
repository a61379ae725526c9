"""Latents coded on ever finer lattices given past latents."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from vflow.config import VideoConfig
from vflow.models import LatticeVideoFlow, VideoBatch
from vflow.priors.wavelet import WaveletPrior


@pytest.fixture(params=["lattice-colour", "lattice-pixels", "wavelets-colour"])
def form(forms: dict[str, VideoConfig], request: pytest.FixtureRequest) -> VideoConfig:
    return forms[request.param]


@pytest.fixture
def lattice(model: LatticeVideoFlow) -> LatticeVideoFlow:
    assert isinstance(model, LatticeVideoFlow)
    return model


@torch.no_grad()
def test_one_group_for_all_is_unbiased(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    if isinstance(lattice.prior, WaveletPrior):
        shares, middles = torch.full((4,), 0.25), torch.tensor([0.1, 0.35, 0.6, 0.85])
    else:
        shares = lattice.prior.shares(8, 8)
        middles = shares.cumsum(0) - shares / 2
    estimates = torch.stack([lattice(batch._replace(pick=m.expand(batch.window.shape))) for m in middles])
    torch.testing.assert_close((shares[:, None] * estimates).sum(0), lattice(batch), rtol=1e-4, atol=1e-2)
    assert estimates.std(0).min() > 1, "groups differ"


@torch.no_grad()
def test_parallel_equals_a_loop_over_frames(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    """Each target alone, given the frames of its window and no others."""
    whole, first = lattice.log_likelihood(batch), batch.first
    for example, lengths in enumerate(batch.window.tolist()):
        for target, length in enumerate(lengths):
            clip = slice(first + target - length, first + target + 1)
            eps = batch.eps[example : example + 1, target : target + 1]
            alone = VideoBatch(batch.frames[example : example + 1, clip], eps, torch.tensor([[length]]))
            torch.testing.assert_close(
                lattice.log_likelihood(alone)[0, 0], whole[example, target], rtol=1e-4, atol=0
            )


@torch.no_grad()
def test_masses_of_all_values_sum_to_one(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    condition = lattice.condition_targets(batch)
    seen = lattice.pixel_map.centres(batch.targets)
    edges = lattice.pixel_map.bin_edges().clamp(-1e4, 1e4)  # (C or 1, bins + 1)
    channel = torch.arange(seen.shape[1])[:, None, None].expand_as(seen) % len(edges)
    for at, density in lattice._groups(seen, condition):
        own = edges[channel[at]].T
        mass = torch.stack([density.log_mass(*pair) for pair in pairwise(own)]).exp().sum(0)
        torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_samples_are_as_frequent_as_their_mass(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    """Of the latent that is coded first, a pixel or a mean: shares of its bins among draws, and masses."""
    if isinstance(lattice.prior, WaveletPrior):
        head, outputs = lattice.prior.heads[-1], 1 + lattice.prior.config.components
        head.out[:], head.bias[:, :outputs] = 0, 0  # means are those of copies,
        head.bias[:, outputs : 2 * outputs] = 1.5  # and scales so wide that values vary
    else:
        first, last = lattice.prior.split[0], lattice.prior.net.conv_out
        last.weight[: 2 * first], last.bias[:first] = 0, 0
        last.bias[first : 2 * first] = 5
    grey = torch.full_like(batch.frames[:1, :2], 128)
    rollout = lattice.start(grey.expand(4000, -1, -1, -1, -1))
    eps = [torch.randn(4000, *shape) for shape in lattice.latent_shapes]
    _, sampled = lattice.step(rollout, eps, (1.0,) * len(eps))
    condition = lattice.condition_next(lattice.start(grey), (), ())
    at, density = next(lattice._groups(torch.zeros(1, *lattice.image_shape), condition))
    edges = lattice.pixel_map.bin_edges()[0]
    assert torch.zeros(1, *lattice.image_shape)[at].shape == density.mean.shape[:1]
    masses = [density.log_mass(*pair)[0].exp() for pair in pairwise(edges.expand(len(density.mean), -1).T)]
    mass = torch.stack(masses).unflatten(0, (-1, 16)).sum(1)
    numbers = lattice.pixel_map.symbols(sampled.frame)[:, 0, 0, 0].div(16, rounding_mode="floor")
    drawn = numbers.bincount(minlength=len(mass)) / 4000
    assert mass.max() < 0.9
    torch.testing.assert_close(drawn, mass.to(drawn), rtol=0, atol=0.03)


@torch.no_grad()
def test_temperatures_act_on_the_mixture_of_each_level(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    """Every latent drawn is that of its own density, tempered, at its noise."""
    rollout = lattice.start(batch.frames[:, :2])
    eps = [torch.randn(len(batch.frames), *shape) for shape in lattice.latent_shapes]
    temperature = (0.5, 0.8, 1.0)[: len(eps)]
    condition = lattice.condition_next(rollout, (), ())
    z = lattice.flow.join(lattice.generate(condition, eps, temperature)[1])
    noise = lattice.flow.join(eps)
    heat = lattice.flow.join([torch.full_like(e, t) for e, t in zip(eps, temperature, strict=True)])
    assert len(heat.unique()) == len(eps)
    for at, density in lattice._groups(lattice.pixel_map.quantize(z), condition):
        torch.testing.assert_close(z[at], density.tempered(heat[at]).sample(noise[at]).float())


@torch.no_grad()
def test_past_latents_are_those_of_each_frame_alone(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    (together,) = lattice.remember(batch.frames)
    alone = [lattice.remember(frame[:, None])[0][:, 0] for frame in batch.frames.unbind(1)]
    torch.testing.assert_close(together, torch.stack(alone, 1))
    image = together.flatten(0, 1)
    assert torch.equal(lattice.flow.join(lattice.flow.separate(image)), image)


@torch.no_grad()
def test_known_latents_count_by_their_bin_alone(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    """Noise that leaves every latent in its bin changes no group's density."""
    condition = lattice.condition_targets(batch)
    z = lattice.pixel_map.centres(batch.targets)
    noisy = lattice.pixel_map.transform(batch.targets + 0.5 + 0.4 * torch.rand(z.shape))[0]
    assert not torch.equal(z, noisy)
    seen, again = lattice.pixel_map.quantize(z), lattice.pixel_map.quantize(noisy)
    assert torch.equal(seen, again) and torch.equal(seen, z)
    assert len(list(lattice._groups(seen, condition))) == int(lattice.prior.order(8, 8).max()) + 1


@torch.no_grad()
def test_frames_of_the_model_have_standard_normal_noise(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    """Frames drawn by noise, encoded with other noise: normal again, and the same frames."""
    rollout = lattice.start(batch.frames[:1, :2].expand(400, -1, -1, -1, -1))
    ones = (1.0,) * len(lattice.latent_shapes)
    _, sampled = lattice.step(rollout, [torch.randn(400, *s) for s in lattice.latent_shapes], ones)
    eps = lattice.encode_frame(rollout, sampled.frame, torch.randn(sampled.frame.shape))
    assert torch.equal(lattice.step(rollout, eps, ones)[1].frame, sampled.frame)
    off = 0.05 if isinstance(lattice.prior, WaveletPrior) else 0.03  # wavelets can leave 0 … 255
    for level in eps:
        quantiles = torch.tensor([0.02, 0.2, 0.5, 0.8, 0.98], dtype=torch.float64)
        found = torch.special.ndtr(level.flatten().quantile(quantiles))
        torch.testing.assert_close(found, quantiles, rtol=0, atol=off)


@torch.no_grad()
def test_any_size(lattice: LatticeVideoFlow) -> None:
    channels = lattice.image_shape[0]
    frames = torch.randint(256, (2, 4, channels, 16, 24), dtype=torch.uint8)
    window = torch.tensor([1, 2, 2]).expand(2, -1)
    assert lattice(VideoBatch(frames, torch.randn(2, 3, channels, 16, 24), window)).isfinite().all()
    rollout = lattice.start(frames[:, :2])
    eps = lattice.encode_frame(rollout, frames[:, 2])
    assert [e.shape[1:] for e in eps] == [torch.Size(s) for s in lattice.latent_shapes_at(16, 24)]
    _, sampled = lattice.step(rollout, eps, (1.0,) * len(eps))
    assert torch.equal(sampled.frame, frames[:, 2])


def test_gradients_reach_every_parameter(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    pick: Tensor = torch.rand(batch.window.shape)
    lattice(batch._replace(pick=pick)).sum().backward()
    for name, parameter in lattice.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
