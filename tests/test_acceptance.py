"""Measures of the acceptance figures: what they must not pass over."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from scripts.acceptance import conditions, densities, files, predictions, recipes, registry, speed, weights
from scripts.acceptance.models import GIVEN
from scripts.acceptance.predictions import PSNR_AT
from scripts.acceptance.registry import FIGURES, Result
from tests.pipelines.conftest import FRAMES, make_model


def test_a_round_trip_that_gives_nan_once_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = make_model(**FRAMES), iter(range(3))

    def reconstruct(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        after = torch.zeros(2)
        return torch.zeros(2), after.fill_(math.nan) if next(calls) == 1 else after

    monkeypatch.setattr(model, "reconstruct", reconstruct)
    monkeypatch.setattr(weights, "latent_error", lambda *_: 0.01)
    values = weights.round_trip(model, np.zeros((3, 4, 16, 16, 3), np.uint8)).values
    figures = FIGURES["A.shapes_round_trip"]
    assert math.isnan(values["data"]) and not figures["data"].met(values["data"])
    assert values["latent"] == 0.01 and figures["latent"].met(values["latent"])


def test_a_figure_may_be_a_value_of_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MEASURES", {})
    found = {"mean": 20.0, "best": 25.0, "of_mean": 22.0, "nearest": 26.0}
    once = registry.measure("A", "push_psnr", "As drawn.")(lambda: Result(found, "a note"))
    assert once() == Result({"best_of_20": 25.0, "single": 20.0, "of_mean": 22.0}, "a note")
    assert (
        once() is registry.MEASURES["A.push_psnr"].run()
        and registry.MEASURES["A.push_psnr"].name == "push_psnr"
    )


def test_a_density_that_is_nan_is_the_least_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {"maf": (1e-9, 1e-7), "iaf": (math.nan, 1e-8), "made": (2e-9, 1e-9)}
    monkeypatch.setattr(densities, "_systems", lambda: {name: name for name in errors})
    monkeypatch.setattr(densities, "_exactness", lambda name, points: errors[name])
    found = densities.exactness.__wrapped__()  # type: ignore[attr-defined]
    assert math.isnan(found.values["log_det"]) and found.values["inverse"] == 1e-7
    assert "log-det iaf, inverse maf" in found.note


@pytest.mark.parametrize(
    ("measure", "place", "name"),
    [
        (files.files, files, "loaded"),
        (files.codec_speed, files, "loaded"),
        (files.flow_files, files, "grasp_windows"),
        (files.enlarged_speed, files, "loaded"),
        (conditions.arm, conditions.inverse, "run"),
        (conditions.knowledge, conditions, "mnist"),
        (speed.training_speed, speed, "train_beside_peers"),
        (speed.recompute_time, speed, "images"),
        (speed.sampling, speed, "sample"),
        (speed.starting, speed, "startup"),
    ],
)
def test_measures_of_one_thread_leave_the_others_theirs(
    measure: Callable[[], Result], place: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        pass

    def begin(*arguments: Any, **options: Any) -> None:
        found.append(torch.get_num_threads())
        raise Begun

    found: list[int] = []
    monkeypatch.setattr(place, name, begin)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.raises(Begun):
            measure()
        assert found == [1] and torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_gain_of_a_recipes_futures_is_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Futures err by 10 grey levels, of the old model by 5 on one clip: 20·log10(2) dB less there."""
    clips = np.full((2, GIVEN + PSNR_AT, 8, 8, 3), 100, np.uint8)
    clips[1] = 50

    def predict(model: Any, given: np.ndarray, num_frames: int, num_samples: int, **_: Any) -> np.ndarray:
        error = model.errors[int(given[0, 0, 0, 0])]
        return np.full((num_samples, num_frames, 8, 8, 3), given[0, 0, 0, 0] + error, np.uint8)

    monkeypatch.setattr(predictions.vflow, "predict", predict)
    config = SimpleNamespace(temperature=1.0)
    new, old = (
        SimpleNamespace(config=config, errors=errors) for errors in ({100: 10, 50: 10}, {100: 5, 50: 10})
    )
    found = recipes.gain(new, old, clips)  # type: ignore[arg-type]
    assert found["gain"] == pytest.approx(-10 * math.log10(2))
    assert found["interval"] == pytest.approx(1.96 * 10 * math.log10(2))
