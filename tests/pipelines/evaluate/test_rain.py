"""Verification of nowcasts beside their peers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.test_motion import moving
from tests.models.test_nowcast import LEADS, small_model
from vflow.data.rain import RainSequence, to_rate
from vflow.errors import ConfigError, InputError
from vflow.pipelines.evaluate import rain
from vflow.pipelines.evaluate.pysteps_peers import pysteps_methods
from vflow.pipelines.evaluate.rain import (
    Method,
    Protocol,
    Verification,
    evaluate_rain,
    flow_method,
    persistence,
    tune_rain,
    verify,
)
from vflow.pipelines.evaluate.report import Settings

SMALL = Protocol(squares=((10, 20),), side=32, starts=(4, 5), leads=LEADS, members=3)


def sequences(count: int = 8) -> dict[str, RainSequence]:
    return {"moving": RainSequence.of(moving(3, -2, count), None)}


def oracle(protocol: Protocol) -> Method:
    """Knows the frames of ``sequences``, found by the newest given one."""
    frames = sequences()["moving"].frames[:, 10:42, 20:52]

    def forecast(given: np.ndarray, seed: int) -> np.ndarray:
        newest = next(t for t, frame in enumerate(frames) if np.array_equal(frame, given[-1]))
        ahead = to_rate(frames[newest + 1 : newest + 1 + protocol.leads])
        return np.repeat(ahead[None], protocol.members, 0)

    return forecast


def test_a_perfect_forecast_has_perfect_figures_and_persistence_has_not() -> None:
    found = verify({"oracle": oracle(SMALL), "persistence": persistence(SMALL)}, sequences(), SMALL)
    perfect, still = found["oracle"], found["persistence"]
    assert (
        perfect["crps"] == pytest.approx(0) and perfect["csi_1"] == 1 and perfect["fss_1"] == pytest.approx(1)
    )
    assert perfect["brier"] == 0 and sum(perfect["rank_histogram"]) == pytest.approx(1)
    assert still["crps"] > 0.1 and still["csi_1"] < 1
    assert still["crps_per_lead"].shape == (LEADS,) and "rank_histogram" not in still
    np.testing.assert_allclose(
        perfect["spectrum_last_lead"], found["observed"]["spectrum_last_lead"], rtol=1e-4
    )


@pytest.mark.filterwarnings("error")
def test_cases_without_rain_are_left_out_of_its_scores() -> None:
    truth, random = np.zeros((2, 8, 8)), np.random.default_rng(0)
    truth[0, 2:5, 2:5] = 2.0
    members, seen = np.repeat(truth[None], 3, 0), np.ones((8, 8), bool)
    found = Verification(Protocol(side=8, leads=2), seconds=[1.0])
    for valid in (seen, ~seen):
        found.add(members, truth, valid, random)
    figures = found.figures()
    assert figures["crps"] == 0 and figures["csi_1"] == figures["fss_1"] == 1
    np.testing.assert_array_equal(figures["csi_1_per_lead"], [1, np.nan])
    assert np.isnan([figures["csi_5"], figures["outer_ranks"]]).all() and figures["brier"] == 0


def test_scores_of_events_pool_the_cases() -> None:
    """Mean scores of the cases with an event would compare this forecast with none on other cases."""
    protocol, random = Protocol(side=8, leads=1, thresholds=(1.0,), window=1), np.random.default_rng(0)
    valid, found = np.ones((8, 8), bool), Verification(protocol, seconds=[1.0])
    wet, dry = np.zeros((1, 8, 8)), np.zeros((1, 8, 8))
    wet[0, :2] = 2.0
    for members, truth in ((wet, wet), (wet[:, ::-1], dry), (dry, dry)):
        found.add(members[None], truth, valid, random)
    figures = found.figures()  # 16 hits, 16 false alarms
    assert figures["csi_1"] == figures["csi_1_per_lead"][0] == pytest.approx(0.5)
    assert figures["fss_1"] == figures["fss_1_per_lead"][0] == pytest.approx(1 - 16 / 48)
    assert figures["bias_1"] == pytest.approx(2)


def test_members_like_the_truth_spread_as_far_as_their_mean_errs() -> None:
    random, valid = np.random.default_rng(0), np.ones((64, 64), bool)
    found = Verification(Protocol(side=64, leads=2, window=1), seconds=[1.0])
    for scale in (1.0, 3.0):
        truth, *members = scale * random.normal(size=(5, 2, 64, 64))
        found.add(np.stack(members), truth, valid, random)
    figures = found.figures()
    assert figures["spread"] == pytest.approx(np.sqrt(5), rel=0.02)
    assert figures["rmse"] == pytest.approx(np.sqrt(5 * 5 / 4), rel=0.02)  # 1 + 1/N for 4 members
    assert figures["spread_per_lead"].shape == figures["rmse_per_lead"].shape == (2,)
    low, high = figures["crps_per_case"]
    assert high == pytest.approx(3 * low, rel=0.05) and figures["crps"] == pytest.approx((low + high) / 2)


def test_spectra_leave_out_what_members_have_where_nothing_is_known() -> None:
    valid, random = np.ones((16, 16), bool), np.random.default_rng(0)
    valid[:, 8:] = False
    truth = np.where(valid, rates := random.gamma(1.0, 1.0, (1, 16, 16)), 0)
    spectra = []
    for members in (truth[None], rates[None]):
        found = Verification(Protocol(side=16, leads=1), seconds=[1.0])
        found.add(members, truth, valid, random)
        spectra.append(found.figures()["spectrum_last_lead"])
    np.testing.assert_array_equal(*spectra)


def test_methods_see_the_square_alone() -> None:
    seen: list[tuple[int, ...]] = []

    def forecast(given: np.ndarray, seed: int) -> np.ndarray:
        seen.append(given.shape)
        return np.zeros((1, LEADS, 32, 32))

    verify({"any": forecast}, sequences(), SMALL)
    assert seen == [(4, 32, 32)] * 2


def test_nan_counts_as_dry() -> None:
    found = verify({"nan": lambda given, seed: np.full((1, LEADS, 32, 32), np.nan)}, sequences(), SMALL)
    dry = verify({"dry": lambda given, seed: np.zeros((1, LEADS, 32, 32))}, sequences(), SMALL)
    assert found["nan"]["crps"] == dry["dry"]["crps"]


def test_sequences_too_short_are_refused() -> None:
    message = (
        r"^moving: 5 frames of \d+×\d+ pixels; too small for the protocol, whose square ends at column 52 "
        rf"and row 42, and which needs {5 + LEADS} frames$"
    )
    with pytest.raises(InputError, match=message):
        verify({"persistence": persistence(SMALL)}, sequences(5), SMALL)


def test_squares_that_no_radar_sees_and_other_times_apart_are_refused() -> None:
    frames = moving(3, -2, 8)
    valid = np.ones(frames.shape[1:], bool)
    valid[10:42, 20:52] = False
    unseen, slow = RainSequence.of(frames, valid), RainSequence(frames, np.ones_like(valid), minutes=15.0)
    with pytest.raises(
        InputError, match=r"^a: no radar sees any of .* square, rows 10 to 42, columns 20 to 52;"
    ):
        verify({"persistence": persistence(SMALL)}, {"a": unseen}, SMALL)
    with pytest.raises(InputError, match=r"^b: frames 15 minutes apart; this model knows steps of 5"):
        verify({"persistence": persistence(SMALL)}, {"b": slow}, SMALL)


def test_flow_draws_the_protocols_members_and_repeats_them() -> None:
    model = small_model().eval()
    forecast = flow_method(model, SMALL)
    given = sequences()["moving"].frames[:4, 10:42, 20:52]
    members = forecast(given, 0)
    assert members.shape == (3, LEADS, 32, 32)
    np.testing.assert_array_equal(members, forecast(given, 0))
    pairs = flow_method(model, SMALL, pairs=True)(given, 0)
    np.testing.assert_array_equal(pairs[[0, 2]], members[:2])


def test_power_is_compared_by_wavelength() -> None:
    spectrum = np.arange(1.0, 17.0)  # of squares of 32 pixels: 8 to 15 waves a side are 2 to 4 pixels long
    louder = spectrum * np.where(np.arange(16) >= 8, 3, 2)
    assert rain.power_ratios(louder, spectrum) == {
        "2-4": 3.0, "4-8": 2.0, "8-16": 2.0, "16-32": 2.0, "32-64": 2.0
    }  # fmt: skip


def test_evaluation_and_tuning_read_their_own_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, name in (("train", "fmi_20170509"), ("train", "other"), ("test", "event")):
        (tmp_path / split).mkdir(exist_ok=True)
        np.savez(tmp_path / split / f"{name}.npz", frames=moving(3, -2, 8))
    monkeypatch.setattr(rain, "_protocol", lambda settings: SMALL)
    monkeypatch.setattr(rain, "VALIDATION_SQUARES", ((0, 0),))
    monkeypatch.setattr(rain, "_peers", lambda protocol: {})
    model = small_model().eval()
    settings = Settings(data=str(tmp_path), num_samples=3, num_frames=LEADS)
    evaluation = evaluate_rain(model, settings, lambda name: lambda done, total: None)
    assert evaluation.sheets["nowcasts"].std() > 0
    assert json.dumps(evaluation.to_json()) and evaluation.protocol["events"] == ["event"]
    assert evaluation.figures["latent_share"] == pytest.approx(1)
    assert evaluation.figures["antithetic_crps"] != evaluation.figures["crps"] > 0
    assert evaluation.figures["spread_over_rmse"] > 0 and "2-4" in evaluation.figures["power_over_observed"]
    levels = evaluation.figures["latent_share_by_level"]
    assert list(levels)[-1] == "means" and all(0 < share <= 1.5 for share in levels.values())
    found = tune_rain(model, settings, lambda name: lambda done, total: None)
    assert set(found) == set(rain.TEMPERATURES) and all(score < 0 for score in found.values())
    still = replace(settings, temperature=(0.0,) * len(model.latent_shapes))
    quiet = evaluate_rain(model, still, lambda name: lambda done, total: None).figures
    assert quiet["spread"] == 0 and quiet["latent_share"] != 1
    with pytest.raises(ConfigError, match="give 1 or"):
        few = replace(settings, temperature=(1.0, 0.5))
        evaluate_rain(model, few, lambda name: lambda done, total: None)


def test_pysteps_methods_return_members_in_mm_per_hour() -> None:
    pytest.importorskip("pysteps")
    given = moving(2, 1)[:, :128, :128]
    methods = pysteps_methods(2, 3, 5.0)
    assert {name: methods[name](given, 0).shape for name in methods} == {
        "extrapolation": (1, 2, 128, 128),
        "sprog": (1, 2, 128, 128),
        "steps": (3, 2, 128, 128),
    }
    moved = methods["extrapolation"](given, 0)[0, 0]
    truth = to_rate(moving(2, 1, 5)[4, :128, :128])
    known = np.isfinite(moved)
    assert 0.7 < known.mean() <= 1
    assert np.abs(moved - truth)[known].mean() < 0.3 * np.abs(to_rate(given[-1]) - truth)[known].mean()


def test_steps_draws_other_perturbations_for_other_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    nowcasts = pytest.importorskip("pysteps.nowcasts")
    drawn: list[tuple[int, float]] = []

    def steps(precip: np.ndarray, velocity: np.ndarray, leads: int, **options: float) -> np.ndarray:
        drawn.append((int(options["seed"]), options["timestep"]))
        return np.zeros((3, leads, *precip.shape[1:]))

    monkeypatch.setattr(nowcasts, "get_method", lambda name: steps)
    forecast = pysteps_methods(2, 3, minutes=10.0)["steps"]
    frames = moving(2, 1, 5)[:, :64, :64]
    for given, seed in ((frames[:4], 0), (frames[1:], 0), (frames[:4], 0), (frames[:4], 1)):
        forecast(given, seed)
    (first, minutes), (second, _), (again, _), (other, _) = drawn
    assert minutes == 10.0 and first == again and len({first, second, other}) == 3
