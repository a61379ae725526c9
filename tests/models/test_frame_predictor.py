"""Augmented dimensions and the frames they predict: what they are worth, and how exactly they invert."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vflow.config import (
    AugmentationConfig,
    AugmentedVideoFlowConfig,
    EncoderConfig,
    GlowConfig,
    PriorConfig,
    parse,
)
from vflow.errors import ConfigError
from vflow.models import AugmentedVideoFlow, VideoBatch, build_model
from vflow.models.frame_predictor import FramePredictor, _last_two
from vflow.models.reference import Past

SIDE = 16


def predictor(code: int = 3, frames: int = 2) -> FramePredictor:
    torch.manual_seed(3)
    return FramePredictor(AugmentationConfig(size=code, hidden=(8, 12)), frames, (3, SIDE, SIDE))


def centred(model: FramePredictor, clip: Tensor) -> tuple[Tensor, Tensor]:
    """What ``encode`` finds of a clip's last frame without noise."""
    return model.encode(past(clip), clip[:, -1], torch.zeros(len(clip), model.size))


def scene(batch: int, frames: int = 3) -> Tensor:
    """A still background and a bright block that stands anywhere, uint8 (B, T, 3, SIDE, SIDE)."""
    clip = torch.full((batch, frames, 3, SIDE, SIDE), 40, dtype=torch.uint8)
    for b in range(batch):
        for t in range(frames):
            row, column = torch.randint(0, SIDE - 5, (2,)).tolist()
            clip[b, t, :, row : row + 6, column : column + 6] = 200
    return clip


def past(clip: Tensor) -> Past:
    """All frames of a clip but the last."""
    return Past(clip[:, :-1], torch.ones(len(clip), clip.shape[1] - 1), torch.zeros(len(clip), 1))


def test_at_first_the_last_frame_is_nearly_copied() -> None:
    clip = scene(4)
    _, reference = centred(predictor().eval(), clip)
    assert (reference.float() - clip[:, -2].float()).abs().mean() < 4


def test_a_frame_before_last_that_is_absent_is_not_seen() -> None:
    frames = scene(2)[:, :2]
    seen = Past(frames, torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.zeros(2, 1))
    last, before = _last_two(seen)
    assert torch.equal(before[0], last[0]) and not torch.equal(before[1], last[1])
    torch.testing.assert_close(before[1], frames[1, 0] / 127.5 - 1)
    torch.testing.assert_close(last, frames[:, 1] / 127.5 - 1)


def test_temperature_zero_needs_no_noise_and_whitening_finds_z_again() -> None:
    model = predictor().eval()
    clip = scene(3)
    seen = past(clip)
    with torch.no_grad():
        still = [model.sample(seen, torch.randn(3, 3, 1, 1), 0.0) for _ in range(2)]
        assert torch.equal(*still)
        _, reference = centred(model, clip)
        again = model.sample(seen, model.whiten(seen, clip[:, -1]), 1.0)
        assert (again.int() - reference.int()).abs().max() <= 1  # rounding to bytes may tip
        assert (again != reference).float().mean() < 0.01


def test_training_changes_gradients_and_not_the_likelihood() -> None:
    model = predictor()
    clip = scene(2)
    log_p = {}
    for training in (False, True):
        model.train(training).zero_grad()
        log_p[training] = centred(model, clip)[0]
        log_p[training].sum().backward()
        assert (model.conv_out.weight.grad is not None) == training
    torch.testing.assert_close(log_p[True], log_p[False])


def test_it_learns_where_the_block_went() -> None:
    """After a few steps z says what the past cannot: the prediction beats copying by far."""
    model = predictor(code=4)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    torch.manual_seed(0)
    for _ in range(90):
        clip = scene(16)
        optimizer.zero_grad()
        (-model.encode(past(clip), clip[:, -1], torch.randn(16, 4))[0].mean() / 1000).backward()
        optimizer.step()
    clip = scene(32)
    with torch.no_grad():
        log_p, reference = model.eval().encode(past(clip), clip[:, -1], torch.randn(32, 4))
    error = (reference.float() - clip[:, -1].float()).square().mean().item()
    copied = (clip[:, -2].float() - clip[:, -1].float()).square().mean().item()
    assert error < 0.6 * copied
    assert -log_p.mean().item() / math.log(2) < 100


def small_model() -> tuple[AugmentedVideoFlow, VideoBatch]:
    """A model with a few weights moved, and a batch of two targets a clip that it is fitted to."""
    torch.manual_seed(0)
    config = AugmentedVideoFlowConfig(
        glow=GlowConfig(height=SIDE, width=SIDE, depth=(1, 1), hidden=(8, 8)),
        prior=PriorConfig(blocks=1, hidden=4, dilations=(1,)),
        encoder=EncoderConfig(hidden=(4, 4), blocks=1),
        augmentation=AugmentationConfig(size=3, hidden=(4, 6)),
        pixel_map="conditional",
        noise="gaussian",
    )
    model = build_model(config).eval()
    clip = scene(2)
    noise = {"eps": torch.randn(2, 2, 3, SIDE, SIDE), "augmented_eps": torch.randn(2, 2, 3)}
    batch = VideoBatch(clip, window=torch.tensor([[1, 2], [1, 2]]), **noise)
    assert model.latent_shapes[-1] == (3, 1, 1)
    with torch.no_grad():
        model.fit([batch])
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    assert isinstance(model, AugmentedVideoFlow)
    return model, batch


def test_the_bound_counts_the_augmented_dimensions() -> None:
    model, batch = small_model()
    with torch.no_grad():
        before = model.log_likelihood(batch)
        code = model.condition_targets(batch).log_prob_terms[0].view(2, 2)
        assert isinstance(model.reference, FramePredictor)
        model.reference.prior.condition_out.bias[:3] += 100  # a prior that expects quite another z
        after = model.log_likelihood(batch)
        changed = model.condition_targets(batch).log_prob_terms[0].view(2, 2)
    torch.testing.assert_close(before - after, code - changed, rtol=1e-4, atol=1e-2)
    assert (before - after).min() > 100


@torch.no_grad()
def test_frame_and_noise_together_are_a_bijection() -> None:
    """(x, e) → (ε, u) → (x, e), e being the uniform noise of the augmented dimensions."""
    model, batch = small_model()
    predictor = model.reference
    assert isinstance(predictor, FramePredictor) and batch.augmented_eps is not None
    frames, mask = batch.frames[:, :2], torch.ones(2, 2)
    seen, target = Past(frames, mask, torch.zeros(2, 1)), batch.frames[:, 2]
    features, noise = predictor._features(seen), torch.special.ndtr(batch.augmented_eps[:, 1]) - 0.5
    z = predictor._centre(features, None, target) + noise
    u = predictor.prior.whiten(z, features[-1].flatten(1))
    condition = model.condition_targets(batch)
    counted = condition.log_prob_terms[0].view(2, 2)[:, 1]
    torch.testing.assert_close(counted, predictor.prior.log_prob(z, features[-1].flatten(1)))
    assert not torch.isclose(counted, predictor.prior.log_prob(z - noise, features[-1].flatten(1))).any()
    eps = model.whiten(model.encode_batch(batch)[1], condition)
    last = [level.unflatten(0, (2, 2))[:, 1] for level in eps]
    _, sampled = model.step(model.start(frames), (*last, u.view(2, 3, 1, 1)), (1.0,) * 3)
    assert torch.equal(sampled.frame, target)
    again = predictor.prior.sample(features[-1].flatten(1), u)
    torch.testing.assert_close(
        again - predictor._centre(features, None, sampled.frame), noise, atol=1e-3, rtol=0
    )


@torch.no_grad()
def test_a_frame_is_encoded_with_the_noise_of_its_augmented_dimensions() -> None:
    model, batch = small_model()
    rollout, target = model.start(batch.frames[:, :2]), batch.frames[:, 2]
    eps = torch.randn(2, 3)
    centred, noisy = (model.encode_frame(rollout, target, augmented_eps=e)[-1] for e in (None, eps))
    seen = Past(rollout.frames, rollout.mask, torch.zeros(2, 1))
    assert isinstance(model.reference, FramePredictor)
    known = model.reference._features(seen)[-1].flatten(1)
    between = model.reference.prior.sample(known, noisy.flatten(1))
    between = between - model.reference.prior.sample(known, centred.flatten(1))
    torch.testing.assert_close(between, torch.special.ndtr(eps) - 0.5, atol=1e-3, rtol=0)


def test_the_last_target_keeps_its_own_noise() -> None:
    _, batch = small_model()
    last = batch.last_target()
    assert batch.augmented_eps is not None and last.augmented_eps is not None
    assert torch.equal(last.augmented_eps, batch.augmented_eps[:, 1:])
    assert torch.equal(last.eps, batch.eps[:, 1:]) and torch.equal(last.window, batch.window[:, 1:])
    assert torch.equal(last.targets, batch.frames[:, 2])


def test_augmented_dimensions_without_noise_are_refused() -> None:
    model, batch = small_model()
    with pytest.raises(ValueError, match="augmented_eps"):
        model.log_likelihood(batch._replace(augmented_eps=None))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoder": {"hidden": [4, 4]}}, r"encoder\.hidden needs one entry per level"),
        ({"augmentation": {"max_displacement": 9}}, r"augmentation\.max_displacement: "),
        ({"augmentation": {"hidden": [4] * 9}}, "no more levels than glow"),
        ({"augmentation": {"hidden": []}}, "1 to 512 channels"),
        ({"augmentation": {"hidden": [513]}}, "1 to 512 channels"),
    ],
)
def test_what_does_not_go_together_is_refused(change: dict[str, object], words: str) -> None:
    fine = {"encoder": {"hidden": [4, 4, 4]}, "augmentation": {"hidden": [4, 4]}}
    assert parse(AugmentedVideoFlowConfig, fine, "model.yaml").augmented == 16
    with pytest.raises(ConfigError, match=words):
        parse(AugmentedVideoFlowConfig, fine | change, "model.yaml")


def test_displaced_parts_are_predicted_better_as_parts() -> None:
    """Mean error on new clips after equal, short trainings."""
    errors = {moves: _error_after_training(moves) for moves in (0, 1)}
    assert errors[1] < 0.5 * errors[0]


def _error_after_training(moves: int) -> float:
    torch.manual_seed(0)
    model = FramePredictor(
        AugmentationConfig(size=2, hidden=(8, 12), num_parts=moves, max_displacement=3),
        2,
        (3, SIDE, SIDE),
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(100):
        clip = moving(8, seed=step)
        optimizer.zero_grad()
        log_p, _ = model.encode(past(clip), clip[:, -1], torch.randn(8, model.size))
        (-log_p.mean() / 1000).backward()
        optimizer.step()
    clip = moving(32, seed=1000)
    _, reference = centred(model.eval(), clip)
    return float((reference.float() - clip[:, -1].float()).abs().mean())


def moving(batch: int, seed: int) -> Tensor:
    """A bright block on black with a velocity of its own: uint8 (B, 3, 3, SIDE, SIDE)."""
    random = torch.Generator().manual_seed(seed)
    clip = torch.zeros(batch, 3, 3, SIDE, SIDE, dtype=torch.uint8)
    for b in range(batch):
        row, column = torch.randint(4, 8, (2,), generator=random).tolist()
        down, right = torch.randint(-2, 3, (2,), generator=random).tolist()
        for t in range(3):
            top, left = row + t * down, column + t * right
            clip[b, t, :, top : top + 4, left : left + 4] = 255
    return clip
