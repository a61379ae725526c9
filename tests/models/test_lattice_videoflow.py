"""Latents coded on ever finer lattices given past latents."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vflow.config import VideoConfig
from vflow.models import LatticeVideoFlow, VideoBatch


@pytest.fixture
def form(forms: dict[str, VideoConfig]) -> VideoConfig:
    return forms["lattice-learned"]


@pytest.fixture
def lattice(model: LatticeVideoFlow) -> LatticeVideoFlow:
    assert isinstance(model, LatticeVideoFlow)
    return model


@torch.no_grad()
def test_one_group_for_all_is_unbiased(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
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
            torch.testing.assert_close(lattice.log_likelihood(alone)[0, 0], whole[example, target])


def test_sampling_and_scoring_are_one_density(forms: dict[str, VideoConfig], models: Callable) -> None:
    """Change of variables, end to end: the density of a drawn frame is φ(ε) / |det ∂frame/∂ε|."""
    form = forms["lattice-learned"]
    model = models(
        form.model_copy(update={"glow": form.glow.model_copy(update={"channels": 1, "height": 4})})
    )
    rollout = model.start(torch.randint(256, (1, 2, 1, 4, 8), dtype=torch.uint8))
    condition, ones = model.condition_next(rollout, (), ()), (1.0,) * len(model.latent_shapes)
    eps = torch.randn(1, 1, 4, 8)

    def draw(image: Tensor) -> Tensor:
        return model.generate(condition, model.flow.separate(image), ones)[0].flatten()

    jacobian = torch.autograd.functional.jacobian(draw, eps).flatten(1).double()
    expected = torch.distributions.Normal(0, 1).log_prob(eps).sum() - torch.linalg.slogdet(jacobian)[1]
    with torch.no_grad():
        x, log_det = model.to_flow(draw(eps).view(1, 1, 4, 8), condition)
        code = model.flow.encode(x, condition.features)
        z = model.flow.join(code.latents)
        scored = log_det.sum() + sum(term.sum() for term in code.log_prob_terms)
        for group, density in model._groups(model.pixel_map.quantize(z), condition):
            log_p = torch.distributions.Normal(density.mean, density.log_scale.exp()).log_prob(z)
            scored = scored + (log_p * (model._order(z) == group)).sum()
    torch.testing.assert_close(scored, expected.float(), rtol=1e-4, atol=1e-3)


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
def test_noise_of_dequantisation_depends_on_the_past(lattice: LatticeVideoFlow, batch: VideoBatch) -> None:
    condition = lattice.condition_targets(batch)
    changed = condition.prior_inputs[3].clone()
    changed[:, -1] = 255 - changed[:, -1]
    other = condition._replace(prior_inputs=[*condition.prior_inputs[:3], changed, condition.prior_inputs[4]])
    first, second = (lattice._dequantize(batch.targets, batch.target_eps, c)[0] for c in (condition, other))
    assert torch.equal(first.floor(), second.floor()) and not torch.equal(first, second)


@torch.no_grad()
def test_any_size(lattice: LatticeVideoFlow) -> None:
    frames = torch.randint(256, (2, 4, 3, 16, 24), dtype=torch.uint8)
    window = torch.tensor([1, 2, 2]).expand(2, -1)
    assert lattice(VideoBatch(frames, torch.randn(2, 3, 3, 16, 24), window)).isfinite().all()
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
