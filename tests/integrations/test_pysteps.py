"""The nowcasting flow as a method of pysteps."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.test_motion import moving
from tests.models.test_nowcast import LEADS, small_model
from vflow.data.rain import to_rate
from vflow.errors import ConfigError, InputError
from vflow.integrations import pysteps as integration


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integration, "load", lambda name: small_model().eval())


def rates() -> np.ndarray:
    rain = to_rate(moving(2, 1)[:, :32, :32]).astype(np.float64)
    rain[:, :4, :5] = np.nan
    return rain


def test_forecast_has_pysteps_shape_and_keeps_unknown_pixels() -> None:
    metadata = {"transform": None, "unit": "mm/h"}
    found = integration.forecast(rates(), np.zeros((2, 32, 32)), LEADS, 3, metadata=metadata)
    assert found.shape == (3, LEADS, 32, 32)
    assert (
        np.isnan(found[..., :4, :5]).all()
        and np.isfinite(found[..., 4:, :]).all()
        and (found[..., 4:, :] >= 0).all()
    )


@pytest.mark.parametrize("short", [{"unit": "mm/h"}, {"transform": "dB"}])
def test_what_metadata_leave_out_is_as_pysteps_has_it(short: dict[str, str]) -> None:
    import torch

    found = []
    for metadata in (short, {"transform": None, "unit": "mm/h", "zerovalue": -15.0} | short):
        torch.manual_seed(0)
        found.append(integration.forecast(rates(), None, LEADS, 2, metadata=metadata))
    np.testing.assert_array_equal(*found)


def test_decibel_in_is_decibel_out() -> None:
    import torch

    rain = rates()
    with np.errstate(divide="ignore"):
        decibel = np.where(rain < 0.1, -15.0, 10 * np.log10(rain))
    rain[rain < 0.1] = 0
    torch.manual_seed(0)
    one = integration.forecast(rain, None, LEADS, 2, metadata={"transform": None})
    torch.manual_seed(0)
    two = integration.forecast(decibel, None, LEADS, 2)
    known = np.isfinite(one)
    np.testing.assert_array_equal(known, np.isfinite(two))
    wet = known & (one >= 0.1)
    np.testing.assert_allclose(10 ** (two[wet] / 10), one[wet], rtol=1e-4)
    assert (two[known & ~wet] == -15).all()


def test_pixels_unknown_in_one_frame_are_unknown_and_a_missing_frame_is_refused() -> None:
    metadata = {"transform": None, "unit": "mm/h"}
    rain = rates()
    rain[0, 20:, 20:] = np.nan
    found = integration.forecast(rain, None, LEADS, 2, metadata=metadata)
    assert np.isnan(found[..., 20:, 20:]).all() and np.isfinite(found[..., 5:20, 5:20]).all()
    rain[1] = np.nan
    with pytest.raises(InputError, match="nothing is known in frame 2 of 4"):
        integration.forecast(rain, None, LEADS, 2, metadata=metadata)


def test_other_units_and_time_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match="dBZ"):
        integration.forecast(rates(), None, 2, metadata={"unit": "dBZ", "transform": "dB"})
    with pytest.raises(ConfigError, match="timesteps"):
        integration.forecast(rates(), None, [1.5, 2.5])  # type: ignore[arg-type]


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
