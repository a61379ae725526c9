"""Numbers that come with frames: seen up to a frame itself, by it and by no earlier one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vflow.config import ActionsConfig, LatticeVideoFlowConfig, VideoConfig, parse
from vflow.errors import ConfigError
from vflow.models import VideoBatch, VideoModel
from vflow.nn.actions import ActionEncoder

from .conftest import FORMS, make_batch, make_model

FORM = FORMS["wavelets-with-actions"]


@pytest.fixture
def form() -> VideoConfig:
    return FORM


@pytest.fixture
def model() -> VideoModel:
    """With a network that tells actions apart."""
    model = make_model(FORM, 0.3)
    assert model.actions is not None
    model.actions.fit(torch.randn(4, 20, 3))
    return model


@pytest.fixture
def batch() -> VideoBatch:
    torch.manual_seed(11)
    made = make_batch(FORM, full=True)
    return made._replace(actions=torch.randn(len(made.frames), made.frames.shape[1], 3))


def rows(batch: VideoBatch) -> Tensor:
    assert batch.actions is not None
    return batch.actions.clone()


@torch.no_grad()
@pytest.mark.parametrize("frame", [2, 3, 5])
def test_a_row_changes_its_frame_and_later_ones_alone(
    model: VideoModel, batch: VideoBatch, frame: int
) -> None:
    before, changed = model.log_likelihood(batch), rows(batch)
    changed[:, frame:] += 2 * torch.randn_like(changed[:, frame:])
    after = model.log_likelihood(batch._replace(actions=changed))
    first = frame - batch.first
    assert torch.equal(after[:, :first], before[:, :first])
    assert (after[:, first:] != before[:, first:]).any(0).all()


@torch.no_grad()
def test_none_and_unknown_rows_are_the_same(model: VideoModel, batch: VideoBatch) -> None:
    without = model.log_likelihood(batch._replace(actions=None))
    unknown = batch._replace(actions=torch.full_like(rows(batch), math.nan))
    assert torch.equal(model.log_likelihood(unknown), without)
    assert (model.log_likelihood(batch) != without).any()


@torch.no_grad()
def test_actions_in_bfloat16_are_close(model: VideoModel, batch: VideoBatch) -> None:
    exact = model.log_likelihood(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model.log_likelihood(batch), exact, rtol=0.05, atol=0)


@torch.no_grad()
def test_a_window_reaches_back_as_far_as_frames_do(model: VideoModel, batch: VideoBatch) -> None:
    changed = rows(batch)
    changed[:, 0] += 3
    found = [model.log_likelihood(batch._replace(actions=a)) for a in (rows(batch), changed)]
    differ = (found[0] != found[1]).any(0).tolist()
    reached = [t - model.config.context <= 0 for t in range(batch.first, batch.frames.shape[1])]
    assert differ == reached


@torch.no_grad()
def test_sampling_sees_what_scoring_sees(model: VideoModel, batch: VideoBatch) -> None:
    """Noise of a clip's frames, found given its actions, gives the clip back with them alone."""
    actions = rows(batch)
    rollout = model.start(batch.frames[:, :2], actions)
    for frame in batch.frames[:, 2:].unbind(1):
        eps = model.encode_frame(rollout, frame)
        other = model.step(rollout._replace(actions=-rollout.actions), eps, (1.0,) * len(eps))[1]
        rollout, sampled = model.step(rollout, eps, (1.0,) * len(eps))
        assert torch.equal(sampled.frame, frame)
        assert not torch.equal(other.frame, frame)


@torch.no_grad()
def test_frames_drawn_do_not_hang_on_later_rows(model: VideoModel, batch: VideoBatch) -> None:
    torch.manual_seed(3)
    eps = [[torch.randn(3, *shape) for shape in model.latent_shapes] for _ in range(3)]
    other = rows(batch)
    other[:, 4:] += 3
    drawn = []
    for given in (rows(batch), other):
        rollout, frames = model.start(batch.frames[:, :2], given), []
        for noise in eps:
            rollout, sampled = model.step(rollout, noise, (1.0,) * len(noise))
            frames.append(sampled.raw)
        drawn.append(frames)
    assert all(torch.equal(a, b) for a, b in zip(drawn[0][:2], drawn[1][:2], strict=True))
    assert not torch.equal(drawn[0][2], drawn[1][2])


@torch.no_grad()
def test_given_frames_beyond_the_window_change_nothing(model: VideoModel, batch: VideoBatch) -> None:
    eps = [torch.randn(3, *shape) for shape in model.latent_shapes]
    long = model.step(model.start(batch.frames[:, :4], rows(batch)), eps, (1.0,) * len(eps))[1]
    short = model.step(model.start(batch.frames[:, 2:4], rows(batch)[:, 2:]), eps, (1.0,) * len(eps))[1]
    assert torch.equal(long.raw, short.raw)


def test_standardisation_leaves_unknown_rows_out() -> None:
    encoder = ActionEncoder(3, ActionsConfig(size=2, grid=1))
    values = torch.tensor([[[0.0, 5.0], [2.0, 5.0], [4.0, 5.0], [math.nan, 5.0]]])
    encoder.fit(values)
    torch.testing.assert_close(encoder.mean, torch.tensor([2.0, 5.0]))
    torch.testing.assert_close(encoder.step, torch.tensor([2.0, 1e-3]))
    encoder.fit(torch.full((1, 4, 2), math.nan))
    torch.testing.assert_close(encoder.mean, torch.tensor([2.0, 5.0]))


def test_older_unknown_rows_count_as_the_newest() -> None:
    encoder = ActionEncoder(3, ActionsConfig(size=2, grid=1))
    window = torch.tensor([[[math.nan, 1.0], [0.5, 0.5], [1.0, 2.0]]])
    filled = torch.tensor([[[1.0, 2.0], [0.5, 0.5], [1.0, 2.0]]])
    assert torch.equal(encoder(window), encoder(filled))
    assert not encoder(window.flip(1)).any(), "nothing is known of the frame itself"


@pytest.mark.parametrize(
    ("change", "named"),
    [({"actions": {"size": 2, "names": ["a"]}}, "names"), ({"prior": {"kind": "lattice"}}, "wavelet")],
)
def test_configurations_that_make_no_sense_are_refused(change: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse(LatticeVideoFlowConfig, FORM.model_dump(mode="json") | change, "model")
