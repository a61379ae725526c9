"""The nowcasting flow as a method of pysteps."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from tests.data.test_motion import moving
from tests.models.test_nowcast import LEADS, small_model
from vflow.data.rain import to_rate
from vflow.errors import ConfigError, InputError
from vflow.integrations import pysteps as integration

RATE = {"transform": None, "unit": "mm/h"}
OWN = {"precip", "precip_fields", "velocity", "timesteps", "n_ens_members", "metadata", "seed"}


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    made = small_model().eval()
    monkeypatch.setattr(integration, "load", lambda name: made)


def rates() -> np.ndarray:
    rain = to_rate(moving(2, 1)[:, :32, :32]).astype(np.float64)
    rain[:, :4, :5] = np.nan
    return rain


def test_forecast_has_pysteps_shape_and_keeps_unknown_pixels() -> None:
    found = integration.forecast(rates(), np.zeros((2, 32, 32)), LEADS, 3, metadata=RATE)
    assert found.shape == (3, LEADS, 32, 32)
    assert (
        np.isnan(found[..., :4, :5]).all()
        and np.isfinite(found[..., 4:, :]).all()
        and (found[..., 4:, :] >= 0).all()
    )


@pytest.mark.parametrize("short", [{"unit": "mm/h"}, {"transform": "dB"}])
def test_what_metadata_leave_out_is_as_pysteps_has_it(short: dict[str, str]) -> None:
    both = (short, RATE | {"zerovalue": -15.0} | short)
    one, two = (integration.forecast(rates(), None, LEADS, 2, metadata=given, seed=0) for given in both)
    np.testing.assert_array_equal(one, two)


def test_decibel_in_is_decibel_out() -> None:
    rain = rates()
    with np.errstate(divide="ignore"):
        decibel = np.where(rain < 0.1, -15.0, 10 * np.log10(rain))
    rain[rain < 0.1] = 0
    one = integration.forecast(rain, None, LEADS, 2, metadata={"transform": None}, seed=0)
    two = integration.forecast(decibel, None, LEADS, 2, seed=0)
    known = np.isfinite(one)
    np.testing.assert_array_equal(known, np.isfinite(two))
    wet = known & (one >= 0.1)
    np.testing.assert_allclose(10 ** (two[wet] / 10), one[wet], rtol=1e-4)
    assert (two[known & ~wet] == -15).all()


def test_pixels_unknown_in_one_frame_are_unknown_and_a_missing_frame_is_refused() -> None:
    rain = rates()
    rain[0, 20:, 20:] = np.nan
    found = integration.forecast(rain, None, LEADS, 2, metadata=RATE)
    assert np.isnan(found[..., 20:, 20:]).all() and np.isfinite(found[..., 5:20, 5:20]).all()
    rain[1] = np.nan
    with pytest.raises(InputError, match="nothing is known in frame 2 of 4"):
        integration.forecast(rain, None, LEADS, 2, metadata=RATE)


def test_other_units_and_time_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match="dBZ"):
        integration.forecast(rates(), None, 2, metadata={"unit": "dBZ", "transform": "dB"})
    for steps in ([1.5, 2.5], [2, 1], [0, 1], [], 0):
        with pytest.raises(ConfigError, match=r"timesteps .*: give their number, or ascending whole numbers"):
            integration.forecast(rates(), None, steps)  # type: ignore[arg-type]
    for option, text in (
        ({"kmperpixel": 2}, "kmperpixel is 2; .* 1 alone"),
        ({"timestep": 10}, "timestep is 10"),
    ):
        with pytest.raises(ConfigError, match=text):
            integration.forecast(rates(), None, 2, metadata=RATE, **option)


def test_times_are_those_asked_for() -> None:
    every, some = (integration.forecast(rates(), None, s, 2, metadata=RATE, seed=1) for s in (LEADS, [2]))
    np.testing.assert_array_equal(some, every[:, 1:2])


def test_each_call_draws_anew_without_a_seed() -> None:
    one, other, same = (
        integration.forecast(rates(), None, 2, 2, metadata=RATE, seed=s) for s in (None, None, 3)
    )
    assert not np.array_equal(one, other, equal_nan=True)
    np.testing.assert_array_equal(same, integration.forecast(rates(), None, 2, 2, metadata=RATE, seed=3))


@pytest.mark.parametrize("method", ["steps", "linda", "sseps", "sprog", "anvil", "extrapolation"])
def test_every_setting_of_pysteps_methods_is_known_or_refused_by_name(method: str) -> None:
    nowcasts = pytest.importorskip("pysteps.nowcasts")
    names = set(inspect.signature(nowcasts.get_method(method)).parameters) - OWN
    for name in names:
        try:
            integration.Options.of({name: None})
        except ConfigError as error:
            assert name in str(error) and method not in ("steps", "linda")


def test_settings_of_steps_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    """The call of pysteps' documentation, with the name of the method alone changed."""
    seen: list[np.ndarray] = []
    usual = {
        "n_cascade_levels": 6,
        "noise_method": "nonparametric",
        "vel_pert_method": "bps",
        "num_workers": 2,
    }
    found = integration.forecast(
        rates(),
        None,
        LEADS,
        2,
        metadata=RATE,
        seed=1,
        kmperpixel=1.0,
        timestep=5,
        callback=seen.append,
        **usual,
    )
    np.testing.assert_array_equal(np.stack(seen, 1), found)
    said, end = caplog.messages[0].split(": ")
    assert said == ", ".join(sorted(usual)) and end == "without effect, a flow has no such part"
    with pytest.raises(ConfigError, match="n_cascades: no setting of vflow's nowcasts; leave it out"):
        integration.forecast(rates(), None, LEADS, 2, n_cascades=6)


def test_without_pysteps_its_settings_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integration, "find_spec", lambda name: None)
    assert integration.Options.of({"kmperpixel": 1}).kmperpixel == 1
    with pytest.raises(ConfigError, match="ar_order: no setting of vflow's nowcasts; leave it out"):
        integration.Options.of({"ar_order": 2})


def test_output_is_left_out_or_timed_on_request() -> None:
    assert integration.forecast(rates(), None, 2, 2, metadata=RATE, return_output=False) is None
    members, loading, drawing = integration.forecast(rates(), None, 2, 2, metadata=RATE, measure_time=True)
    assert members.shape == (2, 2, 32, 32) and loading >= 0 and drawing > 0


def test_what_lies_below_the_threshold_is_dry() -> None:
    plain, cut = (
        integration.forecast(rates(), None, 2, 2, metadata=RATE, seed=1, precip_thr=t) for t in (None, 2.0)
    )
    np.testing.assert_array_equal(cut, np.where(plain < 2, 0, plain))
    assert (cut != plain).any()


@pytest.mark.parametrize("shape", [(2, 10, 10), (32, 32), (2, 32, 33), (3, 32, 32)])
def test_a_velocity_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"velocity has shape .*; give \(2, 32, 32\), as the frames"):
        integration.forecast(rates(), np.zeros(shape), LEADS, 2, metadata={"transform": None})


def test_registered_method_is_found_by_pysteps() -> None:
    nowcasts = pytest.importorskip("pysteps.nowcasts")
    integration.register("vflow-test")
    try:
        assert nowcasts.get_method("vflow-test") is integration.forecast
    finally:
        del nowcasts.interface._nowcast_methods["vflow-test"]
