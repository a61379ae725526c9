"""Futures: what they depend on, what they do not, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from vflow.data import media
from vflow.errors import ConfigError, InputError
from vflow.models import Sampled, VideoModel
from vflow.pipelines.video.predict import groups, iterate, predict, prepare
from vflow.tasks.video.settings import PredictSettings

from ..conftest import AUGMENTED, FRAMES, LATTICE, MOTION, make_model


def test_shape_and_type(model: VideoModel, clip: np.ndarray) -> None:
    futures = vflow.predict(model, clip, num_frames=3, num_samples=2)
    assert futures.shape == (2, 3, 16, 16, 3)
    assert futures.dtype == np.uint8


def test_more_samples_and_frames_leave_the_earlier_ones_unchanged(
    model: VideoModel, clip: np.ndarray
) -> None:
    few = predict(model, clip, num_frames=2, num_samples=3, seed=5)
    many = predict(model, clip, num_frames=4, num_samples=11, seed=5)
    assert np.array_equal(many[:3, :2], few)
    assert np.array_equal(predict(model, clip, num_frames=1, num_samples=1, seed=5), few[:1, :1])


def test_groups_do_not_change_pixels(one_model: VideoModel, clip: np.ndarray) -> None:
    whole = predict(one_model, clip, num_frames=2, num_samples=20)
    parts = list(
        groups(
            one_model,
            prepare(one_model, clip).context,
            PredictSettings(num_frames=2, num_samples=20),
            size=8,
        )
    )
    assert [part.first for part in parts] == [0, 8, 16]
    assert np.array_equal(np.concatenate([part.frames for part in parts]), whole)


def test_threads_that_share_a_model_draw_what_one_alone_does(one_model: VideoModel, clip: np.ndarray) -> None:
    before = clip.copy(), torch.get_rng_state()
    settings = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()

    def draw(seed: int) -> np.ndarray:
        return predict(one_model, clip, num_frames=2, num_samples=2, seed=seed)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, [*range(4)] * 2))
    for seed, drawn in enumerate(together):
        assert np.array_equal(drawn, draw(seed % 4))
    assert np.array_equal(clip, before[0]) and torch.equal(torch.get_rng_state(), before[1])
    assert (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()) == settings


@pytest.mark.parametrize(
    "options",
    [{}, FRAMES, MOTION, AUGMENTED, LATTICE],
    ids=["own", "frames", "motion", "augmented", "lattice"],
)
def test_futures_are_the_same_whatever_torchs_default_type(
    options: dict[str, Any], clip: np.ndarray, float64_by_default: Callable[[], AbstractContextManager[None]]
) -> None:
    model = make_model(**options)
    expected = predict(model, clip, num_frames=2, num_samples=1)
    with float64_by_default():
        assert np.array_equal(predict(model, clip, num_frames=2, num_samples=1), expected)


def test_seed_sample_and_content_name_the_noise(model: VideoModel, clip: np.ndarray) -> None:
    first = predict(model, clip, num_frames=2, num_samples=2, seed=0)
    assert np.array_equal(first, predict(model, clip.copy(), num_frames=2, num_samples=2, seed=0))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, predict(model, clip, num_frames=2, num_samples=2, seed=1))
    assert not np.array_equal(first, predict(model, 255 - clip, num_frames=2, num_samples=2, seed=0))


def test_global_generators_play_no_part(model: VideoModel, clip: np.ndarray) -> None:
    before = predict(model, clip, num_frames=1, num_samples=1)
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    assert np.array_equal(before, predict(model, clip, num_frames=1, num_samples=1))
    assert torch.equal(state, torch.random.get_rng_state())


def test_only_the_last_frames_count(model: VideoModel, clip: np.ndarray) -> None:
    assert np.array_equal(
        predict(model, clip, num_frames=1, num_samples=1),
        predict(model, clip[-2:], num_frames=1, num_samples=1),
    )


def test_a_future_may_begin_at_any_frame(one_model: VideoModel, clip: np.ndarray) -> None:
    for start, count in ((0, 2), (1, 2), (3, 1)):
        prepared = prepare(one_model, clip, start=start)
        assert np.array_equal(prepared.context, clip[start : start + count])
        assert np.array_equal(prepared.rest, clip[start + count :])
    with pytest.raises(InputError, match="start 4"):
        prepare(one_model, clip, start=4)


def test_settings_say_where_a_future_begins() -> None:
    made = [PredictSettings.model_validate(each) for each in (
        {}, {"context_at": "end"}, {"context_at": "start"}, {"start": 5}, {"start": 5, "context_at": "start"},
    )]  # fmt: skip
    assert [one.begins for one in made] == [None, None, 0, 5, 5]


def test_continuing_a_future_goes_on_from_its_frames(model: VideoModel, clip: np.ndarray) -> None:
    future = predict(model, clip, num_frames=3, num_samples=2)[1]
    further = np.concatenate([clip, future])
    assert np.array_equal(prepare(model, further).context, future[-2:])
    assert predict(model, further, num_frames=2, num_samples=1).shape == (1, 2, 16, 16, 3)


def test_numpy_torch_and_floats_agree(one_model: VideoModel, clip: np.ndarray) -> None:
    expected = predict(one_model, clip, num_frames=1, num_samples=1)
    for frames in (torch.from_numpy(clip), clip / 255, torch.from_numpy(clip / np.float32(255))):
        assert np.array_equal(expected, predict(one_model, frames, num_frames=1, num_samples=1))


def test_temperature_is_one_number_or_one_per_level(model: VideoModel, clip: np.ndarray) -> None:
    still = predict(model, clip, num_frames=1, num_samples=2, temperature=0)
    assert np.array_equal(still[0], still[1])
    one = predict(model, clip, num_frames=1, num_samples=2, temperature=0.5)
    assert np.array_equal(one, predict(model, clip, num_frames=1, num_samples=2, temperature=(0.5, 0.5)))
    assert not np.array_equal(one, predict(model, clip, num_frames=1, num_samples=2, temperature=(0.5, 1.0)))
    with pytest.raises(ConfigError, match="temperature has 3 values, the model 2 levels; give 1 or 2"):
        predict(model, clip, temperature=(1.0, 1.0, 1.0))


def test_without_a_temperature_that_of_the_checkpoint_counts(clip: np.ndarray) -> None:
    calm = make_model(**FRAMES, temperature=(0.5, 0.25))
    drawn = predict(calm, clip, num_frames=2, num_samples=2)
    assert np.array_equal(drawn, predict(calm, clip, num_frames=2, num_samples=2, temperature=(0.5, 0.25)))
    assert not np.array_equal(drawn, predict(calm, clip, num_frames=2, num_samples=2, temperature=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, r"num_frames must be between 1 and 1000, got 0"),
        ({"num_frames": 1001}, r"num_frames must be between 1 and 1000, got 1001"),
        ({"num_samples": 0}, r"num_samples must be between 1 and 10000, got 0"),
        ({"seed": -1}, "seed must be between"),
        ({"temperature": -0.1}, "^temperature"),
        ({"temperature": float("nan")}, "^temperature"),
        ({"temperature": (1.0, 3.0)}, "^temperature"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PredictSettings.of(**settings)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((0, 16, 16, 3), np.uint8), "^frames: an array of shape 0×16×16×3 is not frames"),
        (np.zeros((2, 3, 16, 16), np.uint8), "^frames: an array of shape 2×3×16×16 is not frames"),
        (np.full((2, 16, 16, 3), np.nan), "^frames: .* are NaN or infinite"),
        (np.full((2, 16, 16, 3), 1.5), "^frames: floats from 1.5 to 1.5; give 0..1, or uint8"),
        (np.full((2, 16, 16, 3), 300), "^frames: whole numbers from 300 to 300; give 0..255"),
        (np.zeros((2, 1, 1, 3), np.uint8), "^frames: 1×1 pixels; give frames of at least 8×8$"),
        (np.zeros((2, 7, 90, 3), np.uint8), "^frames: 90×7 pixels; give frames of at least 8×8$"),
    ],
)
def test_frames_that_cannot_be_used(one_model: VideoModel, frames: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict(one_model, frames)


def test_too_few_frames(clip: np.ndarray) -> None:
    model = make_model(min_context=2)
    with pytest.raises(InputError, match=r"1 frame.* per second, but the model needs at least 2; add frames"):
        predict(model, clip[:1])


def test_other_sizes_channels_and_rates_are_fitted(one_model: VideoModel) -> None:
    large = np.random.default_rng(0).integers(0, 256, (20, 40, 60, 3), dtype=np.uint8)
    prepared = prepare(one_model, media.Clip(large, 10.0, "large.mp4", ("turned",)))
    assert prepared.context.shape == (2, 16, 16, 3)
    assert prepared.notes == (
        "turned",
        "fitted from 60×40 to the model's 16×16",
        "resampled from 10 to 5 frames per second",
        "used the last 2 of 10 frames",
    )
    grey = make_model(glow={"channels": 1, "height": 16, "width": 16, "depth": [1], "hidden": [4]})
    assert predict(grey, large, num_frames=1, num_samples=1).shape == (1, 1, 16, 16, 1)
    assert predict(grey, large[..., :1], num_frames=1, num_samples=1).shape == (1, 1, 16, 16, 1)


def test_far_outside(clip: np.ndarray) -> None:
    bits = prepare(make_model(), clip).bits
    assert bits is not None
    assert not prepare(make_model(), clip).far_outside
    assert not prepare(make_model(validation_bits=(bits - 0.1, bits + 0.1)), clip).far_outside
    assert prepare(make_model(validation_bits=(bits - 0.5, bits - 0.4)), clip).far_outside
    assert prepare(make_model(validation_bits=(bits + 0.4, bits + 0.5)), clip).far_outside
    assert prepare(make_model(), clip[:1]).bits is None


def test_stop_between_frames(one_model: VideoModel, clip: np.ndarray) -> None:
    context = prepare(one_model, clip).context
    drawn = iterate(
        one_model,
        context,
        PredictSettings(num_frames=5, num_samples=2),
        should_stop=iter([False, False, True]).__next__,
    )
    assert [step.frames.shape[1] for step in drawn] == [1, 2]


class Flaky:
    """A model that gives NaN for some rows of its first calls, and notes the noise it was given."""

    def __init__(self, model: VideoModel, bad: list[list[int]]) -> None:
        self.model, self.bad, self.noise = model, bad, []
        self.config, self.latent_shapes, self.start = model.config, model.latent_shapes, model.start
        self.parameters, self.size_multiple = model.parameters, model.size_multiple
        self.latent_shapes_at = model.latent_shapes_at

    def step(self, rollout: Any, eps: Any, temperature: Any) -> tuple[Any, Sampled]:
        self.noise.append(eps[0])
        after, sampled = self.model.step(rollout, eps, temperature)
        nonfinite = sampled.nonfinite.clone()
        for row in self.bad.pop(0) if self.bad else []:
            nonfinite[row] = 7
        return after, sampled._replace(nonfinite=nonfinite)


def test_nonfinite_samples_are_counted_and_redrawn_alone(one_model: VideoModel, clip: np.ndarray) -> None:
    context = prepare(one_model, clip).context
    flaky = Flaky(one_model, [[1, 2, 7], [2]])  # row 7 is padding: nobody wants it
    (step,) = iterate(flaky, context, PredictSettings(num_frames=1, num_samples=3))  # type: ignore[arg-type]
    assert (step.counts.nonfinite, step.counts.redrawn) == (14, 2)
    assert step.counts.values == 3 * 16 * 16 * 3
    plain = predict(one_model, clip, num_frames=1, num_samples=3)
    assert np.array_equal(step.frames[0], plain[0])
    assert not np.array_equal(step.frames[1], plain[1])
    first, second, third = flaky.noise
    assert [bool((first[i] == second[i]).all()) for i in (0, 1, 2, 7)] == [True, False, False, True]
    assert [bool((second[i] == third[i]).all()) for i in (0, 1, 2)] == [True, True, False]


def test_a_sample_that_stays_nonfinite_is_an_error(one_model: VideoModel, clip: np.ndarray) -> None:
    flaky = Flaky(one_model, [[0]] * 99)
    with pytest.raises(InputError, match="frame 1 of sample 1 is not finite after 8 redraws; lower the temp"):
        list(iterate(flaky, prepare(one_model, clip).context, PredictSettings(num_frames=1, num_samples=1)))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", [{}, LATTICE], ids=["latents", "lattice"])
def test_frames_keep_their_size_where_the_model_takes_it(form: dict[str, Any]) -> None:
    """Sides that do not halve often enough are padded and cropped; noise is of the padded size."""
    model = make_model(**form, largest_side=32)
    frames = np.random.default_rng(0).integers(0, 256, (3, 24, 30, 3), dtype=np.uint8)
    futures = predict(model, frames, num_frames=2, num_samples=2)
    assert futures.shape == (2, 2, 24, 30, 3)
    padded = np.pad(frames, ((0, 0), (0, 0), (0, 2), (0, 0)), mode="edge")
    assert model.size_multiple == 4 and predict(model, padded, num_frames=1, num_samples=1).shape[3] == 32
    assert prepare(model, frames).notes[-1] == "used the last 2 of 3 frames"
    for other in ((16, 16), (12, 24), (24, 33)):  # the trained size; too small; too large
        small = media.resize(frames, *other, 3)
        assert predict(model, small, num_frames=1, num_samples=1).shape[2:] == (16, 16, 3)


def test_other_models_fit_every_clip(one_model: VideoModel) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)
    assert predict(one_model, frames, num_frames=1, num_samples=1).shape == (1, 1, 16, 16, 3)
    assert not one_model.config.keeps_size(16, 16)
