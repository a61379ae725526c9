"""The predicting code: what it is worth, what it copies, and that training it leaves the likelihood alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vflow.config import EncoderConfig, FramePredictorConfig, GlowConfig, PriorConfig, VideoFlowConfig, parse
from vflow.errors import ConfigError
from vflow.models import VideoBatch, build_model
from vflow.models.frame_predictor import FramePredictor
from vflow.models.reference import Past

SIDE = 16


def foresight(code: int = 3, frames: int = 2) -> FramePredictor:
    torch.manual_seed(3)
    return FramePredictor(FramePredictorConfig(code=code, hidden=(8, 12)), frames, (3, SIDE, SIDE))


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
    _, reference = foresight().eval().code(past(clip), clip[:, -1])
    assert (reference.float() - clip[:, -2].float()).abs().mean() < 4


def test_temperature_zero_needs_no_noise_and_whitening_finds_the_code_again() -> None:
    model = foresight().eval()
    clip = scene(3)
    seen = past(clip)
    with torch.no_grad():
        still = [model.draw(seen, torch.randn(3, 3, 1, 1), 0.0) for _ in range(2)]
        assert torch.equal(*still)
        _, reference = model.code(seen, clip[:, -1])
        assert torch.equal(model.draw(seen, model.whiten(seen, clip[:, -1]), 1.0), reference)


def test_training_changes_gradients_and_not_the_likelihood() -> None:
    model = foresight()
    clip = scene(2)
    log_p = {}
    for training in (False, True):
        model.train(training).zero_grad()
        log_p[training] = model.code(past(clip), clip[:, -1])[0]
        log_p[training].sum().backward()
        assert (model.leave.weight.grad is not None) == training
    torch.testing.assert_close(log_p[True], log_p[False])


def test_it_learns_where_the_block_went() -> None:
    """After a few steps the code says what the past cannot: the prediction beats copying by far."""
    model = foresight(code=4)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    torch.manual_seed(0)
    for _ in range(90):
        clip = scene(16)
        optimizer.zero_grad()
        (-model.code(past(clip), clip[:, -1])[0].mean() / 1000).backward()
        optimizer.step()
    clip = scene(32)
    with torch.no_grad():
        log_p, reference = model.eval().code(past(clip), clip[:, -1])
    error = (reference.float() - clip[:, -1].float()).square().mean().item()
    copied = (clip[:, -2].float() - clip[:, -1].float()).square().mean().item()
    assert error < 0.6 * copied
    assert -log_p.mean().item() / math.log(2) < 100


def test_the_bound_counts_the_code() -> None:
    torch.manual_seed(0)
    config = VideoFlowConfig(
        glow=GlowConfig(height=SIDE, width=SIDE, depth=(1, 1), hidden=(8, 8)),
        prior=PriorConfig(blocks=1, hidden=4, dilations=(1,)),
        history=EncoderConfig(hidden=(4, 4), blocks=1),
        foresight=FramePredictorConfig(code=3, hidden=(4, 6)),
        values="transitions",
        noise="anchored",
    )
    model = build_model(config).eval()
    clip = scene(2)
    batch = VideoBatch(clip, torch.randn(2, 2, 3, SIDE, SIDE), torch.tensor([[1, 2], [1, 2]]))
    assert model.latent_shapes[-1] == (3, 1, 1)
    with torch.no_grad():
        model.fit([batch])
        before = model.frame_log_likelihood(batch)
        code = model._given_frames(batch)[1][0].view(2, 2)
        model.foresight.prior.known_out.bias[:3] += 100  # a prior that expects quite another code
        after = model.frame_log_likelihood(batch)
        changed = model._given_frames(batch)[1][0].view(2, 2)
    torch.testing.assert_close(before - after, code - changed, rtol=1e-4, atol=1e-2)
    assert (before - after).min() > 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"history": None}, "needs a history section"),
        ({"motion": 2}, "takes the place of motion"),
        ({"foresight": {"hidden": [4] * 9}}, "no more levels than glow"),
        ({"foresight": {"hidden": []}}, "1 to 512 channels"),
    ],
)
def test_what_does_not_go_together_is_refused(change: dict[str, object], words: str) -> None:
    fine = {"history": {"hidden": [4, 4, 4]}, "foresight": {"hidden": [4, 4]}}
    parse(VideoFlowConfig, fine, "model.yaml")
    with pytest.raises(ConfigError, match=words):
        parse(VideoFlowConfig, fine | change, "model.yaml")


def test_what_moves_is_predicted_better_with_moves() -> None:
    """Mean error on new clips after equal, short trainings."""
    errors = {moves: _error_after_training(moves) for moves in (0, 1)}
    assert errors[1] < 0.5 * errors[0]


def _error_after_training(moves: int) -> float:
    torch.manual_seed(0)
    model = FramePredictor(
        FramePredictorConfig(code=2, hidden=(8, 12), moves=moves, reach=3), 2, (3, SIDE, SIDE)
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(100):
        clip = moving(8, seed=step)
        optimizer.zero_grad()
        log_p, _ = model.code(past(clip), clip[:, -1])
        (-log_p.mean() / 1000).backward()
        optimizer.step()
    clip = moving(32, seed=1000)
    _, reference = model.eval().code(past(clip), clip[:, -1])
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
