"""The displacement latent: search, moving, the prior, and its place in the likelihood and in sampling."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vflow.config import EncoderConfig, GlowConfig, MotionConfig, PriorConfig, ReferenceVideoFlowConfig
from vflow.models import ReferenceVideoFlow, VideoBatch, build_model
from vflow.models.reference import MotionReference, Past


def picture(batch: int, side: int = 16) -> Tensor:
    return torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)


def small_model() -> ReferenceVideoFlow:
    torch.manual_seed(0)
    config = ReferenceVideoFlowConfig(
        glow=GlowConfig(height=16, width=16, depth=(1, 1), hidden=(8, 8)),
        prior=PriorConfig(blocks=1, hidden=4, dilations=(1,)),
        encoder=EncoderConfig(hidden=(4, 4), blocks=1),
        reference=MotionConfig(max_displacement=3),
        context=2,
        noise="gaussian",
        pixel_map="conditional",
    )
    model = build_model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def clips(model: ReferenceVideoFlow, batch: int, frames: int, drift: tuple[int, int] = (2, -1)) -> VideoBatch:
    """Clips of noise that drifts by (rows, columns) per frame, around the edges."""
    first = picture(batch)
    moved = [torch.roll(first, (t * drift[0], t * drift[1]), (2, 3)) for t in range(frames)]
    window = torch.arange(1, frames).clamp_max(model.config.context).expand(batch, -1)
    return VideoBatch(torch.stack(moved, 1), torch.randn(batch, frames - 1, 3, 16, 16), window)


def seen(frames: Tensor, window: int) -> Past:
    """The last ``window`` of frames (B, n, C, H, W), as something that sees n frames would."""
    mask = (torch.arange(frames.shape[1]) >= frames.shape[1] - window).float().expand(len(frames), -1)
    return Past(frames * mask[:, :, None, None, None].to(frames.dtype), mask, torch.zeros(len(frames), 2))


def test_search_finds_what_move_did() -> None:
    motion = MotionReference(max_displacement=3, features=1)
    index = torch.arange(motion.no_history)
    frame = picture(1).expand(len(index), -1, -1, -1)
    assert torch.equal(motion.search(motion.displace(frame, index), frame), index)


def test_move_shifts_and_repeats_edges() -> None:
    motion = MotionReference(max_displacement=1, features=1)
    frame = torch.arange(9.0).view(1, 1, 3, 3)
    index = motion.displacements.tolist().index([1, 0])
    moved = motion.displace(frame, torch.tensor([index]))
    assert moved[0, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]


def test_a_still_frame_does_not_move() -> None:
    motion = MotionReference(max_displacement=2, features=1)
    flat = torch.full((1, 3, 8, 8), 7, dtype=torch.uint8)
    assert motion.displacements[motion.search(flat, flat)].tolist() == [[0, 0]]


def follow(before: list[int], after: list[int]) -> tuple[Past, Tensor]:
    """One clip of 8 × 8 noise that moves by displacement ``before``, then ``after``, and what followed."""
    frames = [torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)]
    for way in (before, after):
        frames.append(torch.roll(frames[-1], way, (2, 3)))
    return seen(torch.stack(frames[:2], 1), 2), frames[2]


def test_the_prior_is_a_distribution_that_fit_sets_to_frequencies() -> None:
    motion = MotionReference(max_displacement=1, features=2)
    right, down = (motion.displacements.tolist().index(way) for way in ([0, 1], [1, 0]))
    motion.fit([follow([0, 1], [0, 1])] * 3 + [follow([0, 1], [1, 0]), follow([1, 0], [1, 0])])
    p = motion.log_prob(torch.tensor([right, down]), torch.zeros(2, 2)).exp().detach()
    torch.testing.assert_close(p.sum(1), torch.ones(2))
    assert p[0, right] == pytest.approx(0.75, abs=0.01) and p[0, down] == pytest.approx(0.25, abs=0.01)
    assert p[1, down] > 0.98


def test_draws_follow_the_prior_and_temperature_zero_takes_the_mode() -> None:
    motion = MotionReference(max_displacement=1, features=1)
    with torch.no_grad():
        motion.transition_logits[9] = torch.tensor([0.0, 3, 0, 0, 0, 1, 0, 0, 0]).add(1e-3).log()
    before, features = torch.full((4000,), 9), torch.zeros(4000, 1)
    eps = torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    drawn = motion.sample_index(before, features, eps, 1.0)
    assert (drawn == 1).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert motion.sample_index(before, features, eps, math.inf).unique().tolist() == [1]


def test_temperature_is_an_exponent_of_probabilities() -> None:
    """Of 3 : 1, temperature ½ makes 9 : 1, and 2 makes √3 : 1."""
    motion = MotionReference(max_displacement=1, features=1)
    with torch.no_grad():
        motion.transition_logits[9] = torch.tensor([0.0, 3, 0, 0, 0, 1, 0, 0, 0]).add(1e-9).log()
    eps = torch.special.ndtri(torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)).float()
    before, features = torch.full((1000,), 9), torch.zeros(1000, 1)
    for temperature, share in ((0.5, 0.9), (1.0, 0.75), (2.0, 3**0.5 / (1 + 3**0.5))):
        drawn = motion.sample_index(before, features, eps.view(-1, 1, 1, 1), 1 / temperature)
        assert (drawn == 1).float().mean().item() == pytest.approx(share, abs=0.005)


def test_whitened_displacements_lie_in_the_middle_of_their_range() -> None:
    motion = MotionReference(max_displacement=1, features=1)
    with torch.no_grad():
        motion.transition_logits[9] = torch.tensor([0.0, 3, 0, 0, 0, 1, 0, 0, 0]).add(1e-9).log()
    found = motion.whiten_index(torch.tensor([1, 5]), torch.full((2,), 9), torch.zeros(2, 1))
    torch.testing.assert_close(torch.special.ndtr(found.flatten().detach()), torch.tensor([0.375, 0.875]))


def test_extreme_noise_gives_a_valid_displacement() -> None:
    motion = MotionReference(max_displacement=1, features=1)
    eps = torch.tensor([-40.0, 40.0]).view(2, 1, 1, 1)
    drawn = motion.sample_index(torch.full((2,), 9), torch.zeros(2, 1), eps, 1.0)
    assert drawn.min() >= 0 and drawn.max() < motion.no_history


def test_a_short_window_hides_the_displacement_before() -> None:
    model = small_model()
    frames, motion = clips(model, 2, 3).frames, model.reference
    assert isinstance(motion, MotionReference)
    drift = motion.displacements.tolist().index([2, -1])
    assert motion.last_displacement(seen(frames, 3)).tolist() == [drift] * 2
    assert motion.last_displacement(seen(frames, 1)).tolist() == [motion.no_history] * 2
    assert motion.last_displacement(seen(frames[:, :1], 1)).tolist() == [motion.no_history] * 2


def test_the_displacement_is_part_of_the_bound() -> None:
    """Making the displacement that happened likelier by the prior adds just that to the log-likelihood."""
    model = small_model()
    batch = clips(model, 2, 3)
    with torch.no_grad():
        plain = model.log_likelihood(batch)
        motion = model.reference
        assert isinstance(motion, MotionReference)
        motion.feature_head.weight.zero_()
        even = model.log_likelihood(batch)
        motion.fit([(model._past(batch)[1], batch.targets)])
        motion.feature_head.bias.zero_()
        fitted = model.log_likelihood(batch)
        motion.transition_logits.zero_()
        uniform = model.log_likelihood(batch)
    assert torch.isfinite(plain).all() and torch.isfinite(even).all()
    torch.testing.assert_close(fitted - uniform, torch.full_like(fitted, math.log(49)), atol=0.05, rtol=0)


def test_density_map_sums_to_the_frames_and_the_round_trip_holds() -> None:
    model = small_model()
    batch = clips(model, 2, 4)
    with torch.no_grad():
        torch.testing.assert_close(
            model.density_map(batch).sum((2, 3)), model.log_likelihood(batch), rtol=1e-4, atol=0.1
        )
        before, after = model.reconstruct(batch)
    assert (before - after).abs().max() < 1e-2


def test_frames_do_not_see_beyond_their_window_or_ahead() -> None:
    model = small_model()
    batch = clips(model, 1, 5)
    with torch.no_grad():
        whole = model.log_likelihood(batch)
        old = batch.frames.clone()
        old[:, 0] = picture(1)
        after_old = model.log_likelihood(batch._replace(frames=old))
        new = batch.frames.clone()
        new[:, 4] = picture(1)
        before_new = model.log_likelihood(batch._replace(frames=new))
    torch.testing.assert_close(after_old[:, 2:], whole[:, 2:], rtol=1e-5, atol=1e-2)
    assert (after_old[:, :2] - whole[:, :2]).abs().min() > 1
    torch.testing.assert_close(before_new[:, :3], whole[:, :3], rtol=1e-5, atol=1e-2)


def test_sampling_goes_on_in_the_direction_it_was_given() -> None:
    model = small_model()
    batch = clips(model, 4, 3)
    motion = model.reference
    assert isinstance(motion, MotionReference) and model.latent_shapes[-1] == (1, 1, 1)
    with torch.no_grad():
        model.fit([clips(model, 16, 4)])
        motion.feature_head.weight.zero_()
    rollout = model.start(batch.frames)
    eps = [torch.randn(4, *shape) for shape in model.latent_shapes]
    rollout, sampled = model.step(rollout, eps, (1.0,) * len(eps))
    assert sampled.frame.shape == (4, 3, 16, 16)
    way = motion.last_displacement(seen(rollout.frames, 2))
    assert motion.displacements[way].tolist() == [[2, -1]] * 4
