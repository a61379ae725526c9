"""Training windows of radar sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.test_motion import field
from vflow.config import FrameStackConfig, NowcastConfig
from vflow.data.datasets.rain import (
    RainWindows,
    event_names,
    hidden_sides,
    mirrored,
    open_event,
    read_folder,
    scaling,
    turned,
)
from vflow.data.rain import to_levels, to_rate
from vflow.errors import InputError

CONFIG = NowcastConfig(
    glow=FrameStackConfig(channels=3, height=64, width=64, depth=(1, 1), hidden=(8, 8)),
    condition={"hidden": (8, 8)},
    features=(8, 8),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rain that moves by (3, −2) pixels a frame, three columns of which no radar sees."""
    path = tmp_path_factory.mktemp("rain")
    frames = np.stack([np.roll(field(), (-2 * k, 3 * k), (0, 1)) for k in range(9)])
    valid = np.ones(frames.shape[1:], bool)
    valid[:, :3] = False
    np.savez(path / "moving.npz", frames=frames, valid=valid)
    return path


def test_frames_ahead_lie_where_advection_expects_them(folder: Path) -> None:
    window = RainWindows(folder, CONFIG, ["moving"], 8, vary=False).example(0, (0, 0))
    assert window.targets.shape == window.observed.shape == (3, 64, 64)
    both = (window.given.known > 0) & window.observed
    error = np.abs(window.given.level[:, 0] - window.targets)[both]
    assert (
        both.mean() > 0.7 and error.mean() < 6 < np.abs(np.diff(window.targets.astype(float), axis=-1)).max()
    )


def test_an_example_is_a_function_of_key_and_index(folder: Path) -> None:
    windows = RainWindows(folder, CONFIG, ["moving"], 8, vary=True)
    first, again, other = (windows.example(3, key) for key in ((0, 0), (0, 0), (0, 1)))
    np.testing.assert_array_equal(first.targets, again.targets)
    assert not np.array_equal(first.targets, other.targets)


def test_windows_that_are_not_square_keep_their_sides_when_turned(folder: Path) -> None:
    glow = CONFIG.glow.model_copy(update={"width": 96})
    windows = RainWindows(folder, CONFIG.model_copy(update={"glow": glow}), ["moving"], 8, vary=True)
    for index in range(8):
        window = windows.example(index, (0, 0))
        assert window.targets.shape == window.observed.shape == (3, 64, 96)
        assert all(plane.shape[-2:] == (64, 96) for plane in window.given)


def test_radar_smaller_than_a_window_is_refused(folder: Path) -> None:
    glow = CONFIG.glow.model_copy(update={"width": 512})
    with pytest.raises(InputError, match=r"moving\.npz: frames of \d+×\d+ pixels; a window needs 512×64"):
        RainWindows(folder, CONFIG.model_copy(update={"glow": glow}), ["moving"], 8, vary=True)


def test_radar_at_other_times_apart_is_refused(folder: Path, tmp_path: Path) -> None:
    with np.load(folder / "moving.npz") as file:
        frames = file["frames"]
    time = np.datetime64("2017-01-31T09:45") + np.arange(len(frames)) * np.timedelta64(10, "m")
    np.savez(tmp_path / "slow.npz", frames=frames, time=time)
    with pytest.raises(InputError, match=r"slow\.npz: frames 10 minutes apart; this model knows steps of 5"):
        RainWindows(tmp_path, CONFIG, ["slow"], 8, vary=True)
    slow = CONFIG.model_copy(update={"minutes": 10.0})
    assert len(RainWindows(tmp_path, slow, ["slow"], 8, vary=True).events) == 1


@pytest.mark.parametrize("change", [turned, mirrored])
def test_a_changed_window_is_one_of_changed_rain(folder: Path, tmp_path: Path, change: object) -> None:
    with np.load(folder / "moving.npz") as file:
        frames = file["frames"]
    turn = change is turned
    changed = np.rot90(frames, axes=(1, 2)) if turn else frames[..., ::-1]
    for name, array in (("a", frames), ("b", changed)):
        np.savez(tmp_path / f"{name}.npz", frames=array)
    events = [open_event(tmp_path / f"{name}.npz", 4, 3, 5.0) for name in "ab"]
    windows = RainWindows(tmp_path, CONFIG, ["a"], 1, vary=False)
    row, column, side = 100, 120, frames.shape[1] + 160
    place = (side - column - 64, row) if turn else (row, side - column - 64)
    one = windows._cut(events[0], 4, row, column, 1.0, None)
    two = windows._cut(events[1], 4, *place, 1.0, None)
    made = turned(one) if turn else mirrored(one)
    np.testing.assert_array_equal(made.targets, two.targets)
    np.testing.assert_allclose(made.given.motion, two.given.motion, atol=0.6)  # optical flow is not symmetric


def test_scaling_multiplies_rates_and_keeps_dry_and_rain_apart() -> None:
    table = scaling(2.0)
    rates = np.array([0.5, 2.0, 20.0])
    np.testing.assert_allclose(to_rate(table[to_levels(rates)]), 2 * rates, rtol=0.05)
    assert table[0] == 0 and (scaling(0.1)[1:] >= 1).all()


def test_sides_are_hidden_now_and_then_and_never_all() -> None:
    random = np.random.default_rng(0)
    views = [hidden_sides((64, 64), random) for _ in range(200)]
    assert {view[0].start == 0 for view in views} == {True, False}
    assert all(part.stop > part.start for view in views for part in view)


def test_folders_name_what_is_missing(folder: Path, tmp_path: Path) -> None:
    assert event_names(folder) == ["moving"]
    assert list(read_folder(folder)) == ["moving"]
    with pytest.raises(InputError, match=r"no other\.npz"):
        read_folder(folder, ["other"])
    with pytest.raises(InputError, match="no npz files"):
        event_names(tmp_path)
