"""Drawing members of a rain forecast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.test_motion import moving
from tests.models.test_nowcast import LEADS, small_model
from vflow.checkpoint import save_checkpoint
from vflow.cli import main
from vflow.data.media import read_image
from vflow.data.motion import Advected
from vflow.data.rain import UNKNOWN_COLOR, to_levels
from vflow.errors import CheckpointError, InputError
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.records import record_class
from vflow.pipelines.batch.tasks import RunnerTask
from vflow.pipelines.nowcast import (
    Area,
    Ensemble,
    Window,
    _Drawing,
    ceiling,
    draw_ensemble,
    first_reached,
    iterate_members,
    nowcast,
)
from vflow.pipelines.video.task import NOWCAST
from vflow.tasks.video.settings import NowcastSettings, PredictSettings


def given(height: int = 30, width: int = 44) -> np.ndarray:
    return moving(3, -2)[:, :height, :width]


def draw(num_frames: int = LEADS, num_samples: int = 3, **options: object) -> Ensemble:
    settings = PredictSettings(num_frames=num_frames, num_samples=num_samples, seed=1)
    return draw_ensemble(small_model().eval(), given(), settings, **options)  # type: ignore[arg-type]


def test_members_have_the_given_size_whatever_it_is() -> None:
    ensemble = draw()
    assert ensemble.frames.shape == (3, LEADS, 30, 44) and ensemble.frames.dtype == np.uint8
    assert ensemble.frames.std(0).max() > 0


def test_more_members_and_more_frames_leave_the_first_as_they_were() -> None:
    import torch

    torch.manual_seed(0)
    few = draw(LEADS, 2).frames
    torch.manual_seed(0)
    many = draw(2 * LEADS + 1, 6).frames
    assert many.shape[:2] == (6, 2 * LEADS + 1)
    np.testing.assert_array_equal(few, many[:2, :LEADS])


def test_unknown_pixels_are_neither_looked_at_nor_predicted() -> None:
    import torch

    valid = np.ones((30, 44), bool)
    valid[:, :9] = False
    frames = given().copy()
    made = []
    for value in (0, 200):
        frames[:, :, :9] = value
        torch.manual_seed(0)
        settings = PredictSettings(num_frames=LEADS, num_samples=2)
        made.append(draw_ensemble(small_model().eval(), frames, settings, valid=valid))
    assert np.isnan(made[0].rates[..., :9]).all() and np.isfinite(made[0].rates[..., 9:]).all()
    assert np.isnan(made[0].probability(1.0)[..., :9]).all()
    np.testing.assert_array_equal(made[0].frames, made[1].frames)


def test_values_that_are_not_finite_are_dry_and_counted() -> None:
    import torch

    model = small_model().eval()
    generate = model.generate

    def broken(*args: Any, **kwargs: Any) -> Any:
        made, latents = generate(*args, **kwargs)
        made = torch.full_like(made, 80.0)
        for column, value in enumerate((float("inf"), float("nan"), -float("inf"))):
            made[..., column] = value
        return made, latents

    model.generate = broken  # type: ignore[method-assign]
    many = draw_ensemble(model, given(), PredictSettings(num_frames=LEADS, num_samples=5))
    found = draw_ensemble(model, given(), PredictSettings(num_frames=LEADS, num_samples=1))
    dry = int((found.frames == 0).sum())
    assert dry > 0 and set(np.unique(found.frames)) <= {0, 80}
    assert (found.nonfinite, many.nonfinite) == (dry, 5 * dry)


def test_a_window_covers_the_area_at_all_leads() -> None:
    offsets = np.array([[-2, 3], [-4, 6]])
    window = Window.around((30, 44), offsets, 8)
    assert window.size == (32, 48) and window.origin == (2, -6)
    rows, columns = np.mgrid[: window.size[0], : window.size[1]]
    for axis, index in enumerate((rows, columns)):
        place = index[None] + window.origin[axis] + offsets[:, axis][:, None, None]
        cut = window.cut(place, (30, 44))
        expected = np.mgrid[:30, :44][axis]
        np.testing.assert_array_equal(cut, np.stack([expected, expected]))


def test_too_few_frames_and_other_models_are_refused() -> None:
    import torch

    with pytest.raises(InputError, match=r"^frames: 2 frames; a nowcast needs the last 4"):
        nowcast(small_model(), given()[:2])
    with pytest.raises(InputError, match=r"^frames: 40×12 pixels; "):
        nowcast(small_model(), given()[:, :12, :40])
    with pytest.raises(InputError, match=r"frames are float32; use uint8 grey levels.*to_levels makes them"):
        nowcast(small_model(), given().astype(np.float32))
    with pytest.raises(InputError, match="do not fit"):
        nowcast(small_model(), given(), valid=np.ones((3, 3), bool))
    with pytest.raises(InputError, match="valid is False everywhere"):
        nowcast(small_model(), given(), valid=np.zeros((30, 44), bool))
    with pytest.raises(CheckpointError, match=r"^Identity is not a model"):
        nowcast(torch.nn.Identity(), given())


def task_for(**settings: object) -> RunnerTask:
    """The task of ``vflow predict`` with a small model."""
    record = record_class(NowcastSettings)(checkpoint="rain", checkpoint_hash="", **settings)  # type: ignore[arg-type]
    return RunnerTask(small_model().eval(), record, runner=NOWCAST)


def test_predict_task_writes_arrays_with_valid_and_previews_in_colour(tmp_path: Path) -> None:
    valid = np.ones((30, 44), bool)
    valid[:3] = False
    np.savez(tmp_path / "radar.npz", frames=given()[..., None], valid=valid)
    task = task_for(num_samples=2, num_frames=3, format="npz")
    found = task.run(Item("radar", (tmp_path / "radar.npz",)), tmp_path)
    with np.load(tmp_path / "futures.npz") as file:
        assert file["frames"].shape == (2, 3, 30, 44, 1) and file["context"].shape == (4, 30, 44, 1)
        np.testing.assert_array_equal(file["valid"], valid)
        assert not file["frames"][:, :, :3].any()
    assert found["context_sha"] and found["nonfinite"] == 0
    task_for(num_samples=2, num_frames=3, format="png").run(
        Item("radar", (tmp_path / "radar.npz",)), tmp_path
    )
    frame = read_image(tmp_path / "s001" / "t002.png").frames[0]
    assert frame.shape == (30, 44, 3) and (frame[:3] == UNKNOWN_COLOR).all()


def test_the_command_draws_twenty_members_of_six_frames(tmp_path: Path) -> None:
    model = small_model().eval()
    save_checkpoint(tmp_path / "model", model, config=model.config)
    np.savez(tmp_path / "radar.npz", frames=given())
    call = f"predict --checkpoint {tmp_path}/model --input {tmp_path}/radar.npz --format npz --output"
    assert main([*call.split(), str(tmp_path)]) == 0
    with np.load(tmp_path / "futures.npz") as file:
        assert file["frames"].shape == (20, 6, 30, 44, 1)
        assert np.array_equal(file["frames"][..., 0], nowcast(model, given()).frames)


def test_radar_at_other_times_apart_is_refused(tmp_path: Path) -> None:
    time = np.datetime64("2017-01-31T09:45") + np.arange(4) * np.timedelta64(15, "m")
    np.savez(tmp_path / "radar.npz", frames=given(), time=time)
    with pytest.raises(
        InputError, match=r"^radar\.npz: frames 15 minutes apart; this model knows steps of 5"
    ):
        task_for().run(Item("radar", (tmp_path / "radar.npz",)), tmp_path)


def test_progress_counts_members(tmp_path: Path) -> None:
    np.savez(tmp_path / "radar.npz", frames=given()[..., None])
    told: list[tuple[int, int]] = []
    task = task_for(num_samples=5, num_frames=LEADS + 1, format="npz")
    task = replace(task, progress=lambda *counts: told.append(counts))
    task.run(Item("radar", (tmp_path / "radar.npz",)), tmp_path)
    assert told == [(4, 5), (5, 5)]


def test_members_of_python_and_of_settings_are_the_same() -> None:
    model = small_model().eval()
    one = nowcast(model, given(), num_frames=2, num_samples=2, seed=3)
    two = draw_ensemble(model, given(), PredictSettings(num_frames=2, num_samples=2, seed=3))
    np.testing.assert_array_equal(one.frames, two.frames)


def test_members_come_in_pairs_of_opposite_noise() -> None:
    drawing = _Drawing(small_model(), np.zeros((2, 8, 8), np.float32), PredictSettings(seed=1), "key", True)
    noise = drawing._noise((2, 4, 4), range(5), 0, 0)
    independent = drawing._replace(pairs=False)._noise((2, 4, 4), range(3), 0, 0)
    assert independent.equal(noise[::2])
    assert noise.shape == (5, 2, 4, 4)
    assert noise[1].equal(-noise[0]) and noise[3].equal(-noise[2]) and not noise[4].equal(noise[0])


def test_no_member_rains_harder_than_the_radar_nearby() -> None:
    """The bound is that of its surroundings, on its way; the sampled noise of a wild model goes beyond it."""
    model = small_model().eval()
    unbounded = draw_ensemble(model, given(), PredictSettings(num_frames=LEADS)).frames
    model.config = model.config.model_copy(update={"bound_radius": 3})
    bounded = draw_ensemble(model, given(), PredictSettings(num_frames=LEADS)).frames
    assert unbounded.max() == 255 > given().max() >= bounded.max() > 0
    assert (bounded <= unbounded).all()


def test_the_bound_moves_with_the_rain_and_is_the_highest_of_all_where_nothing_is_known() -> None:
    level, known = np.zeros((2, 1, 9, 12), np.float32), np.ones((2, 9, 12), np.float32)
    level[0, 0, 4, 3], level[1, 0, 4, 5] = 90, 80
    level[:, :, 0, 0], known[:, :, 8:] = 7, 0
    advected = Advected(level, known, known, np.zeros((2, 9, 12), np.float32))
    found = ceiling(advected, 2)
    assert found[0, 4, 1:6].tolist() == [90] * 5 and found[0, 4, 6:10].tolist() == [0] * 4
    assert found[1, 4, 3:8].tolist() == [80] * 5 and found[0, 2, 2] == 90 and found[0, 1, 2] == 7
    assert (found[:, :, 10:] == 90).all()
    assert (ceiling(advected, 0) == 255).all()


def test_the_first_frame_that_reaches_an_area() -> None:
    frames = np.zeros((3, 4, 20, 30), np.uint8)
    frames[0, 2:, 5, 7] = to_levels(np.array(1.1))
    frames[1, :, 5, 7] = to_levels(np.array(0.8))
    area = Area(top=4, left=6, height=3, width=2)
    assert first_reached(frames, area, 1.0).tolist() == [2, -1, -1]
    assert first_reached(frames[0], area._replace(left=8), 1.0) == -1


def test_an_ensemble_grows_by_chunks_and_stops_when_told() -> None:
    model, settings = small_model().eval(), PredictSettings(num_frames=LEADS, num_samples=6, seed=1)
    grown = list(iterate_members(model, given(), settings))
    assert [(part.first, part.size) for part in grown] == [(0, 4), (4, 2)]
    stopped = list(iterate_members(model, given(), settings, should_stop=lambda: True))
    assert len(stopped) == 1
    np.testing.assert_array_equal(stopped[0].frames, grown[0].frames)


def test_frames_of_torch_are_taken_and_no_others_than_grey_levels() -> None:
    import torch

    model, frames = small_model().eval(), given()
    valid = np.ones(frames.shape[1:], bool)
    drawn = nowcast(model, frames, num_frames=1, num_samples=1, valid=valid).frames
    from_torch = nowcast(
        model, torch.tensor(frames), num_frames=1, num_samples=1, valid=torch.tensor(valid)
    ).frames
    assert np.array_equal(drawn, from_torch)
    wrong = {"frames are float64": frames / 255, "frames are int64": frames.astype(np.int64)}
    for message, numbers in wrong.items():
        with pytest.raises(InputError, match=f"^rain: {message}; use uint8 grey levels.*to_levels"):
            nowcast(model, numbers)
    with pytest.raises(InputError, match=r"frames have shape \(30, 44\); use \(T, H, W\)"):
        nowcast(model, frames[0])
    with pytest.raises(InputError, match=r"valid \(29, 44\) do not fit"):
        nowcast(model, frames, valid=valid[1:])
