"""Surprise: maps that sum to the score, flags, frames out of order."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from vflow.errors import ConfigError, InputError
from vflow.models import VideoBatch, VideoModel
from vflow.pipelines.video import score
from vflow.pipelines.video import surprisal as module
from vflow.pipelines.video import surprisal as order
from vflow.pipelines.video.stats import ClipStatistics
from vflow.pipelines.video.surprisal import (
    FrameSwap,
    Surprisal,
    best_frame_swap,
    candidates,
    finalize,
    iterate,
    prepare,
)
from vflow.randomness import content_hash

from ..conftest import AUGMENTED, FRAMES, MOTION, SIZE, make_model

FORMS: dict[str, dict[str, Any]] = {
    "latents": {},
    "conditional": FRAMES | {"pixel_map": "conditional", "noise": "uniform"},
    "augmented": AUGMENTED | {"pixel_map": "conditional", "noise": "learned"},
    "motion": MOTION | {"pixel_map": "conditional", "noise": "gaussian"},
    "mixture": FRAMES | {"glow": SIZE["glow"] | {"coupling": "mixture"}, "noise": "uniform"},
    "three levels": FRAMES
    | {
        "encoder": {"hidden": [4, 4, 4], "blocks": 1},
        "glow": SIZE["glow"] | {"depth": [1, 1, 1], "hidden": [4, 4, 4]},
    },
}
KEY = (0, "clip", 0)


def typical_of(model: VideoModel, low: float, high: float) -> ClipStatistics:
    """Frames evenly from ``low`` to ``high`` bits/dim, 2 bits a pixel, exchanges that save up to 9 bits."""
    size = model.config.glow.height, model.config.glow.width
    frames = np.linspace(low, high, 101, dtype=np.float32)
    return ClipStatistics(np.full(size, 2, np.float32), frames, np.arange(10, dtype=np.float32), "made up")


@pytest.mark.parametrize("form", FORMS)
def test_maps_sum_to_the_bits_of_each_frame(form: str, clip: np.ndarray) -> None:
    model = make_model(**FORMS[form])
    found = vflow.surprisal(model, clip, seed=2)
    scored = vflow.score(model, clip, seed=2).per_frame
    assert found.maps.dtype == np.float32 and found.maps.shape == clip.shape[:3]
    assert np.isnan(found.maps[0]).all() and np.isfinite(found.maps[1:]).all()
    expected = np.array(scored[1:], float) * clip[0].size
    rounding = np.spacing(found.maps[1:]).sum((1, 2), dtype=np.float64) / 2  # of each pixel to float32
    assert (np.abs(found.bits[1:] - expected) < 1e-3 + rounding).all()
    assert found.per_frame[1:] == pytest.approx(scored[1:], rel=2**-24, abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_map_has_every_term_of_the_likelihood(form: str, clip: np.ndarray) -> None:
    model = make_model(**FORMS[form])
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2)[None]
    noise = {"eps": torch.randn(1, 3, 3, 16, 16), "augmented_eps": torch.randn(1, 3, 4)}
    batch = VideoBatch(frames, window=torch.tensor([[1, 2, 2]]), **noise)
    with torch.no_grad():
        density, terms = model.density_map(batch), model.log_prob_terms(batch)
        nats = model.log_likelihood(batch)[0]
    assert density.shape == (1, 3, 16, 16)
    together = density.double().sum((2, 3))[0]
    exact = torch.stack([term.double().flatten(1).sum(1) for term in terms]).sum(0)
    torch.testing.assert_close(together, exact, rtol=2**-24, atol=7e-4)  # a thousandth of a bit, and rounding
    torch.testing.assert_close(together.float(), nats, rtol=1e-5, atol=1e-3)


def test_without_typical_figures_nothing_is_flagged(one_model: VideoModel, clip: np.ndarray) -> None:
    found = vflow.surprisal(one_model, clip)
    assert (found.threshold, found.flagged, found.out_of_order) == (None, (), None)
    assert np.array_equal(found.excess, found.maps, equal_nan=True)
    data = found.to_json()
    assert data["validation"] is None and data["flagged"] == [] and data["out_of_order"] is False
    scored = vflow.score(one_model, clip).to_json()
    assert data["per_frame"] == pytest.approx(scored["per_frame"], abs=1e-6)
    assert data["bits_per_dim"] == pytest.approx(scored["bits_per_dim"], abs=1e-6)


def test_frames_beyond_the_quantile_are_flagged(one_model: VideoModel, clip: np.ndarray) -> None:
    bits = vflow.surprisal(one_model, clip).per_frame
    ranked = np.sort(bits[1:])
    between = float(ranked[1:].mean())  # two frames below, one beyond
    statistics = typical_of(one_model, 0, between / 0.9)
    found = vflow.surprisal(one_model, clip, statistics=statistics, quantile=0.9)
    assert found.threshold == pytest.approx(between)
    assert found.flagged == (int(np.nanargmax(bits)),)
    assert np.array_equal(found.excess[1:], found.maps[1:] - 2)
    compared = found.to_json()["validation"]
    assert compared["data"] == "made up" and compared["quantile"] == 0.9
    everything = vflow.surprisal(one_model, clip, statistics=typical_of(one_model, -2, -1))
    assert everything.flagged == (1, 2, 3)


def test_an_exchange_counts_when_it_saves_more_than_usual(one_model: VideoModel, clip: np.ndarray) -> None:
    maps, statistics = np.zeros((4, 16, 16), np.float32), typical_of(one_model, 0, 1)
    for saved, told in ((8.0, False), (9.5, True), (-1.0, False)):
        found = Surprisal(clip, maps, FrameSwap(1, 2, saved), statistics)
        assert (found.out_of_order is not None) == told == found.to_json()["out_of_order"]


@pytest.mark.parametrize("length", [2, 3, 7])
def test_candidates_shorten_the_way_through_pixel_space_most(length: int) -> None:
    frames = np.random.default_rng(length).integers(0, 256, (length, 2, 2, 3), dtype=np.uint8)

    def way(order: list[int]) -> int:
        steps = np.diff(frames[order].astype(int), axis=0)
        return int(np.abs(steps).sum())

    ways = {}
    for i, j in itertools.combinations(range(length), 2):
        order = list(range(length))
        order[i], order[j] = j, i
        ways[i, j] = way(order)
    found = candidates(frames, 100)
    assert sorted(found) == sorted(ways)
    assert [ways[pair] for pair in found] == sorted(ways.values())
    assert candidates(frames, 1) == found[:1]


def test_an_exchange_saves_the_difference_of_two_scores(
    model: VideoModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = np.random.default_rng(3).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    for place in (score, order):  # frames keep their noise, so take the same for all
        monkeypatch.setattr(place, "noise", lambda shape, key, t: torch.zeros(shape[3], *shape[1:3]))

    def bits(clip: np.ndarray) -> np.ndarray:
        density = score.density(model, clip, range(1, len(clip)), KEY)
        return np.append(np.nan, -score.frame_nats(density).numpy() / math.log(2))

    for i, j in ((2, 6), (4, 5), (0, 8)):
        monkeypatch.setattr(order, "candidates", lambda frames, pair=(i, j): [pair])
        other = frames.copy()
        other[[i, j]] = frames[[j, i]]
        found = best_frame_swap(model, frames, bits(frames), KEY)
        assert found is not None and found[:2] == (i, j)
        assert found.saved == pytest.approx(np.nansum(bits(frames)) - np.nansum(bits(other)), abs=0.02)


@pytest.mark.parametrize("form", FORMS)
def test_a_clip_in_its_own_order_costs_what_its_score_says(form: str) -> None:
    model = make_model(**FORMS[form])
    frames = np.random.default_rng(3).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    density = score.density(model, frames, range(1, 7), KEY)
    own = order._bits(model, frames, np.arange(7), [1, 2, 3, 6], KEY, None)
    expected = -score.frame_nats(density).numpy()[[0, 1, 2, 5]] / math.log(2)
    np.testing.assert_allclose(own, expected, rtol=1e-5)


def test_frames_so_far_when_stopped(one_model: VideoModel) -> None:
    frames = np.random.default_rng(3).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    ready = prepare(one_model, frames)
    steps = iterate(one_model, ready, 0, segment=2)
    part = finalize(one_model, ready, [next(steps), next(steps)], None, 0.99, 0)
    whole = vflow.surprisal(one_model, frames)
    assert part.frames.shape == (5, 16, 16, 3)
    assert np.allclose(part.maps[1:], whole.maps[1:5], atol=1e-4)
    assert whole.first == part.first == 1
    assert content_hash(ready.frames) == content_hash(frames)


def test_what_is_refused(one_model: VideoModel, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^frames: 1 frame; give 2 or more; scores start after 1 frame$"):
        vflow.surprisal(one_model, clip[:1])
    for quantile in (0.4, 1.0):
        with pytest.raises(ConfigError, match=r"^quantile must be at least 0\.5 and below 1, got "):
            vflow.surprisal(one_model, clip, quantile=quantile)
    monkeypatch.setattr(module, "MAX_SCORED", 3)
    with pytest.raises(InputError, match=r"^frames: 4 frames; the limit is 3; give --num-frames$"):
        vflow.surprisal(one_model, clip)


def test_two_frames_are_the_shortest_clip(one_model: VideoModel, clip: np.ndarray) -> None:
    found = vflow.surprisal(one_model, clip[:2])
    assert found.frame_swap is not None and found.frame_swap[:2] == (0, 1)
    assert np.isfinite(found.per_frame).tolist() == [False, True]
