"""Ensemble verification against brute force and cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from vflow.metrics.ensemble import (
    Contingency,
    Reliability,
    crps,
    fss,
    outer_share,
    power_spectrum,
    rank_histogram,
)

ALL = np.ones((8, 8), bool)


def rain(*shape: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.maximum(random.gamma(0.5, 2.0, shape) - 0.5, 0)


def test_crps_is_the_mean_over_all_pairs() -> None:
    members, truth = rain(7, 4, 5), rain(4, 5, seed=1)
    pairs = np.abs(members[:, None] - members[None]).mean((0, 1))
    expected = np.abs(members - truth).mean(0) - 0.5 * pairs
    np.testing.assert_allclose(crps(members, truth), expected, atol=1e-12)


def test_crps_of_one_member_is_its_absolute_error() -> None:
    member, truth = rain(1, 4, 5), rain(4, 5, seed=1)
    np.testing.assert_allclose(crps(member, truth), np.abs(member[0] - truth))


def test_crps_is_least_for_the_true_distribution() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=4000)[None]
    scores = [crps(s * random.normal(size=(50, 1, 4000)), truth).mean() for s in (0.5, 1.0, 2.0)]
    assert scores[1] < scores[0] and scores[1] < scores[2]


def test_csi_counts_events_at_and_above_the_threshold_inside_valid() -> None:
    forecast, truth = np.array([[1.0, 2.0, 0.0, 3.0]]), np.array([[1.0, 0.0, 2.0, 3.0]])
    table = Contingency.of(forecast, truth, 1.0, np.array([[True, True, True, False]]))
    assert table == (1, 1, 1)
    assert table.csi == pytest.approx(1 / 3)
    assert table.bias == 1 and Contingency(2, 1, 4).bias == 2
    none = Contingency.of(forecast, truth, 9.0, np.ones((1, 4), bool))
    assert np.isnan([none.csi, none.bias, Contingency(0, 0, 3).bias]).all()


def test_fss_is_one_for_a_perfect_forecast_and_zero_far_away() -> None:
    truth = np.zeros((32, 32))
    truth[4:8, 4:8] = 2.0
    valid = np.ones_like(truth, bool)
    assert fss(truth, truth, 1.0, 4, valid) == pytest.approx(1)
    assert fss(np.roll(truth, (20, 20), (0, 1)), truth, 1.0, 4, valid) == pytest.approx(0)
    near = [fss(np.roll(truth, 2, 1), truth, 1.0, size, valid) for size in (1, 4, 16)]
    assert near == sorted(near) and near[0] < near[2] - 0.2


def test_fss_is_brute_force_in_the_interior() -> None:
    forecast, truth = rain(9, 9), rain(9, 9, seed=1)

    def fraction(field: np.ndarray) -> np.ndarray:
        events = np.pad(field >= 1.0, 1)
        padded = np.pad(np.ones((9, 9)), 1)
        views = np.lib.stride_tricks.sliding_window_view
        return views(events, (3, 3)).sum((2, 3)) / views(padded, (3, 3)).sum((2, 3))

    p, o = fraction(forecast), fraction(truth)
    expected = 1 - ((p - o) ** 2).sum() / ((p**2).sum() + (o**2).sum())
    assert fss(forecast, truth, 1.0, 3, np.ones((9, 9), bool)) == pytest.approx(expected)


def test_fss_of_a_masked_field_ignores_what_is_outside() -> None:
    forecast, truth = rain(9, 9), rain(9, 9, seed=1)
    valid = np.ones((9, 9), bool)
    valid[:, 5:] = False
    inside = fss(forecast[:, :5], truth[:, :5], 1.0, 3, valid[:, :5])
    assert fss(forecast, truth, 1.0, 3, valid) == pytest.approx(inside)
    assert np.isnan(fss(forecast, truth, 1e3, 3, valid))


def test_rank_histogram_is_flat_for_members_like_the_truth_ties_included() -> None:
    random = np.random.default_rng(0)
    levels = np.rint(random.gamma(1.0, 2.0, (5, 200, 200)))  # whole numbers: many ties
    counts = rank_histogram(levels[:4], levels[4], random, np.ones((200, 200), bool))
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.01)
    assert outer_share(counts) == pytest.approx(0.4, abs=0.02)


def test_the_outer_ranks_of_pairs_of_opposite_noise_hold_less_than_those_of_independent_members() -> None:
    random, valid = np.random.default_rng(0), np.ones((400, 400), bool)
    truth, *members = random.normal(size=(9, *valid.shape))
    pairs = np.concatenate([members[:4], np.negative(members[:4])])
    independent, opposite = (
        rank_histogram(np.asarray(some), truth, random, valid) for some in (members, pairs)
    )
    assert outer_share(independent) == pytest.approx(2 / 9, abs=0.005)
    assert outer_share(opposite) == pytest.approx(2 / 10, abs=0.005)
    assert opposite[4] / opposite.sum() == pytest.approx(1 / 5, abs=0.005)  # a truth inside all four pairs


def test_rank_histogram_of_narrow_members_is_all_outside() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=(50, 50))
    counts = rank_histogram(0.01 * random.normal(size=(9, 50, 50)), truth, random, np.ones((50, 50), bool))
    assert outer_share(counts) > 0.95


def test_reliability_counts_events_by_forecast_probability() -> None:
    members = np.zeros((4, 1, 3))
    members[:2, 0, 1] = 2.0
    members[:, 0, 2] = 2.0
    found = Reliability.of(members, np.array([[0.0, 2.0, 2.0]]), 1.0, np.ones((1, 3), bool))
    assert found.forecasts.tolist() == [1, 0, 1, 0, 1]
    assert found.events.tolist() == [0, 0, 1, 0, 1]
    assert found.brier == pytest.approx(0.25 / 3)
    assert (found + found).forecasts.tolist() == [2, 0, 2, 0, 2]


def test_power_spectrum_finds_a_wave_and_sums_to_the_variance() -> None:
    x = np.arange(64)
    field = np.sin(2 * np.pi * 5 * x / 64)[None].repeat(64, 0)
    spectrum = power_spectrum(field)
    assert spectrum.argmax() == 5
    with pytest.raises(ValueError, match="square"):
        power_spectrum(field[:32])


def test_power_spectrum_agrees_with_pysteps() -> None:
    spectral = pytest.importorskip("pysteps.utils.spectral")
    field = rain(64, 64)
    theirs = spectral.rapsd(field - field.mean(), fft_method=np.fft)
    ours = power_spectrum(field)
    np.testing.assert_allclose(ours[1:] / ours[1], theirs[1:32] / theirs[1], rtol=1e-6)
