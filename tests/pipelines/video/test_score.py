"""Scores: which frames have one, what the mean is over, and the bound's draws."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from vflow.errors import ConfigError, InputError
from vflow.models import VideoBatch, VideoModel
from vflow.pipelines.video import score as module
from vflow.pipelines.video.score import score
from vflow.randomness import content_hash, normal

from ..conftest import make_model


def test_json(model: VideoModel, clip: np.ndarray) -> None:
    result = vflow.score(model, clip, seed=3)
    data = result.to_json()
    assert list(data) == ["bits_per_dim", "per_frame", "draws", "seed"]
    assert data["per_frame"][0] is None
    assert len(data["per_frame"]) == 4
    assert data["bits_per_dim"] == pytest.approx(np.mean(data["per_frame"][1:])) == result
    assert (data["draws"], data["seed"]) == (1, 3)
    assert copy.deepcopy(result).to_json() == data


def test_agrees_with_the_model(model: VideoModel, clip: np.ndarray) -> None:
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2)[None]
    eps = torch.stack([normal((3, 16, 16), "score", 0, content_hash(clip), 0, t) for t in (1, 2, 3)])
    batch = VideoBatch(frames, eps[None], torch.tensor([[1, 2, 2]]))
    with torch.no_grad():
        expected = float(model.bits_per_dim(model(batch), 3))
    assert score(model, clip) == pytest.approx(expected, abs=1e-5)


def test_segments_do_not_matter(model: VideoModel, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score(model, clip).per_frame
    monkeypatch.setattr(module, "SEGMENT", 1)
    assert score(model, clip).per_frame[1:] == pytest.approx(whole[1:], abs=1e-5)


def test_a_frame_is_scored_given_the_window_before_it(model: VideoModel, clip: np.ndarray) -> None:
    other = clip.copy()
    other[0] = 255 - other[0]
    one, two = score(model, clip).per_frame, score(model, other).per_frame
    assert one[2] != pytest.approx(two[2], abs=1e-5)
    # frame 3 sees frames 1 and 2 only; the noise differs with the content, so compare under equal noise
    ends = [score(model, frames[1:]).per_frame[2] for frames in (clip, other)]
    assert ends[0] == ends[1]


def test_context_moves_the_start_of_the_mean(model: VideoModel, clip: np.ndarray) -> None:
    plain = score(model, clip)
    later = score(model, clip, context=3)
    assert later.per_frame == plain.per_frame
    assert later == later.per_frame[3]
    assert score(model, clip, context=0) == plain
    with pytest.raises(ConfigError, match=r"context must be between 0 and 3 for 4 frames, got 4"):
        score(model, clip, context=4)


def test_draws_are_importance_weighted(model: VideoModel, clip: np.ndarray) -> None:
    with torch.no_grad():
        nats = torch.stack(
            [
                module.frame_nats(module.density(model, clip, range(1, 4), (0, content_hash(clip), draw)))
                for draw in range(4)
            ]
        )
    mean = torch.logsumexp(nats, 0) - math.log(4)
    expected = (-mean / (math.log(2) * 16 * 16 * 3)).tolist()
    result = score(model, clip, draws=4)
    assert result.per_frame[1:] == pytest.approx(expected)
    assert result.draws == 4
    single = -nats.mean() / (math.log(2) * 16 * 16 * 3)
    assert result < float(
        single
    )  # Jensen: the bound with more draws is tighter than the mean of single draws
    with pytest.raises(ConfigError, match="draws must be between"):
        score(model, clip, draws=0)


@pytest.mark.parametrize("seed", [-1, 1.5, "3", 2**63])
def test_seeds_are_checked(one_model: VideoModel, clip: np.ndarray, seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"^seed must be"):
        score(one_model, clip, seed=seed)


def test_too_few_frames(one_model: VideoModel, clip: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"^frames: 1 frame; give 2 or more; scores start after 1 frame$"):
        score(one_model, clip[:1])
    with pytest.raises(InputError, match="give 3 or more; scores start after 2 frames"):
        score(make_model(min_context=2), clip[:2])
