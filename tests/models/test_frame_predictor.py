"""The predicting code: what it is worth, what it copies, and that training it leaves the likelihood alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vflow.config import (
    EncoderConfig,
    FramePredictorConfig,
    GlowConfig,
    PriorConfig,
    ReferenceVideoFlowConfig,
    parse,
)
from vflow.errors import ConfigError
from vflow.models import VideoBatch, build_model
from vflow.models.frame_predictor import FramePredictor
from vflow.models.reference import Past

SIDE = 16


def predictor(code: int = 3, frames: int = 2) -> FramePredictor:
    torch.manual_seed(3)
    return FramePredictor(FramePredictorConfig(code_dim=code, hidden=(8, 12)), frames, (3, SIDE, SIDE))


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
    _, reference = predictor().eval().encode(past(clip), clip[:, -1])
    assert (reference.float() - clip[:, -2].float()).abs().mean() < 4


def test_temperature_zero_needs_no_noise_and_whitening_finds_the_code_again() -> None:
    model = predictor().eval()
    clip = scene(3)
    seen = past(clip)
    with torch.no_grad():
        still = [model.sample(seen, torch.randn(3, 3, 1, 1), 0.0) for _ in range(2)]
        assert torch.equal(*still)
        _, reference = model.encode(seen, clip[:, -1])
        assert torch.equal(model.sample(seen, model.whiten(seen, clip[:, -1]), 1.0), reference)


def test_training_changes_gradients_and_not_the_likelihood() -> None:
    model = predictor()
    clip = scene(2)
    log_p = {}
    for training in (False, True):
        model.train(training).zero_grad()
        log_p[training] = model.encode(past(clip), clip[:, -1])[0]
        log_p[training].sum().backward()
        assert (model.conv_out.weight.grad is not None) == training
    torch.testing.assert_close(log_p[True], log_p[False])


def test_it_learns_where_the_block_went() -> None:
    """After a few steps the code says what the past cannot: the prediction beats copying by far."""
    model = predictor(code=4)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    torch.manual_seed(0)
    for _ in range(90):
        clip = scene(16)
        optimizer.zero_grad()
        (-model.encode(past(clip), clip[:, -1])[0].mean() / 1000).backward()
        optimizer.step()
    clip = scene(32)
    with torch.no_grad():
        log_p, reference = model.eval().encode(past(clip), clip[:, -1])
    error = (reference.float() - clip[:, -1].float()).square().mean().item()
    copied = (clip[:, -2].float() - clip[:, -1].float()).square().mean().item()
    assert error < 0.6 * copied
    assert -log_p.mean().item() / math.log(2) < 100


def test_the_bound_counts_the_code() -> None:
    torch.manual_seed(0)
    config = ReferenceVideoFlowConfig(
        glow=GlowConfig(height=SIDE, width=SIDE, depth=(1, 1), hidden=(8, 8)),
        prior=PriorConfig(blocks=1, hidden=4, dilations=(1,)),
        encoder=EncoderConfig(hidden=(4, 4), blocks=1),
        reference=FramePredictorConfig(code_dim=3, hidden=(4, 6)),
        pixel_map="conditional",
        noise="gaussian",
    )
    model = build_model(config).eval()
    clip = scene(2)
    batch = VideoBatch(clip, torch.randn(2, 2, 3, SIDE, SIDE), torch.tensor([[1, 2], [1, 2]]))
    assert model.latent_shapes[-1] == (3, 1, 1)
    with torch.no_grad():
        model.fit([batch])
        before = model.log_likelihood(batch)
        code = model.condition_targets(batch).log_prob_terms[0].view(2, 2)
        model.reference.prior.condition_out.bias[:3] += 100  # a prior that expects quite another code
        after = model.log_likelihood(batch)
        changed = model.condition_targets(batch).log_prob_terms[0].view(2, 2)
    torch.testing.assert_close(before - after, code - changed, rtol=1e-4, atol=1e-2)
    assert (before - after).min() > 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoder": {"hidden": [4, 4]}}, r"encoder\.hidden needs one entry per level"),
        ({"reference": {"kind": "motion", "max_displacement": 9}}, r"reference\.max_displacement: "),
        (
            {"reference": {"kind": "guess"}},
            "kind: 'guess' is unknown; use motion, frame_predictor",
        ),
        ({"reference": {"kind": "frame_predictor", "hidden": [4] * 9}}, "no more levels than glow"),
        ({"reference": {"kind": "frame_predictor", "hidden": []}}, "1 to 512 channels"),
    ],
)
def test_what_does_not_go_together_is_refused(change: dict[str, object], words: str) -> None:
    fine = {"encoder": {"hidden": [4, 4, 4]}, "reference": {"kind": "frame_predictor", "hidden": [4, 4]}}
    parse(ReferenceVideoFlowConfig, fine, "model.yaml")
    with pytest.raises(ConfigError, match=words):
        parse(ReferenceVideoFlowConfig, fine | change, "model.yaml")


def test_displaced_parts_are_predicted_better_as_parts() -> None:
    """Mean error on new clips after equal, short trainings."""
    errors = {moves: _error_after_training(moves) for moves in (0, 1)}
    assert errors[1] < 0.5 * errors[0]


def _error_after_training(moves: int) -> float:
    torch.manual_seed(0)
    model = FramePredictor(
        FramePredictorConfig(code_dim=2, hidden=(8, 12), num_parts=moves, max_displacement=3),
        2,
        (3, SIDE, SIDE),
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(100):
        clip = moving(8, seed=step)
        optimizer.zero_grad()
        log_p, _ = model.encode(past(clip), clip[:, -1])
        (-log_p.mean() / 1000).backward()
        optimizer.step()
    clip = moving(32, seed=1000)
    _, reference = model.eval().encode(past(clip), clip[:, -1])
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
