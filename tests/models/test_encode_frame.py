"""``VideoModel.encode_frame``: the noise with which ``step`` decodes a given frame."""

from __future__ import annotations

import torch

from vflow.models import VideoBatch, VideoModel
from vflow.models.dequantizer import ConditionalDequantizer
from vflow.models.reference import MotionReference

from .conftest import few


def test_a_step_with_the_noise_of_a_frame_decodes_it(model: VideoModel, batch: VideoBatch) -> None:
    """Twice in a row, so that also the state after the step is that of the frame."""
    rollout = model.start(batch.frames[:, :2])
    for t in (2, 3):
        frame = batch.frames[:, t]
        eps = model.encode_frame(rollout, frame)
        assert [tuple(e.shape) for e in eps] == [(len(frame), *shape) for shape in model.latent_shapes]
        rollout, sampled = model.step(rollout, eps, (1.0,) * len(eps))
        away = (sampled.raw - frame - 0.5).abs().max()
        if isinstance(model.dequantizer, ConditionalDequantizer):  # whose mean may lie at the edge of a bin
            assert away < 0.501
        else:
            assert torch.equal(sampled.frame, frame)
            assert away < (0.49 if model.exact else 0.2)
        other = model.step(rollout, tuple(torch.randn_like(e) for e in eps), (1.0,) * len(eps))[1]
        assert not torch.equal(other.frame, frame)


@few
def test_noise_makes_the_code_typical_of_the_prior(model: VideoModel, batch: VideoBatch) -> None:
    """Dequantised with noise, a frame has a longer code than at its bins' centres, and decodes alike."""
    rollout, frame = model.start(batch.frames[:, :3]), batch.frames[:, 3]
    centred = model.encode_frame(rollout, frame)
    noisy = model.encode_frame(rollout, frame, torch.randn(frame.shape))
    _, sampled = model.step(rollout, noisy, (1.0,) * len(noisy))
    assert torch.equal(sampled.frame, frame)
    assert not torch.allclose(noisy[0], centred[0], atol=1e-3)


def test_every_displacement_has_noise_that_draws_it() -> None:
    motion = MotionReference(2, 4)
    torch.nn.init.normal_(motion.transition_logits)
    torch.nn.init.normal_(motion.feature_head.weight)
    index, features = torch.arange(motion.no_history), torch.randn(motion.no_history, 4)
    before = torch.randint(motion.no_history + 1, index.shape)
    eps = motion.whiten_index(index, before, features)
    assert torch.equal(motion.sample_index(before, features, eps, 1.0), index)


def test_a_displacement_beyond_the_reach_of_float32_still_decodes() -> None:
    motion = MotionReference(1, 2)
    with torch.no_grad():
        motion.transition_logits[0, 0] = 200.0
    index, before = torch.arange(motion.no_history), torch.zeros(motion.no_history, dtype=torch.long)
    eps = motion.whiten_index(index, before, torch.zeros(motion.no_history, 2))
    assert torch.isfinite(eps).all()
    assert set(motion.sample_index(before, torch.zeros(motion.no_history, 2), eps, 1.0).tolist()) <= {0, 8}
