"""Walks of video models: ends are the inputs, the middle is the start, futures are those of predict."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from vflow.checkpoint import load
from vflow.config import DataConfig
from vflow.data.datasets.registry import open_video_dataset
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import LatticeVideoFlow, VideoModel
from vflow.pipelines.common import to_array
from vflow.pipelines.video.preprocess import to_tensor
from vflow.pipelines.walk.directions import Directions, principal_directions
from vflow.pipelines.walk.space import KINDS, Progress, WalkSettings, flatten, typical_code
from vflow.pipelines.walk.walk import Walk, iterate, open_adapter, walk

from ..conftest import AUGMENTED, FRAMES, LATTICE, MOTION, make_model


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    """Another clip (4, 16, 16, 3)."""
    return np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


def some_directions(model: VideoModel) -> Directions:
    torch.manual_seed(3)
    return principal_directions([0.4 * torch.randn(12, *shape) for shape in model.latent_shapes])


def settings(kind: str, **changes: object) -> WalkSettings:
    return WalkSettings(kind, **({"steps": 3, "num_frames": 2} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [0, -1, None])
def test_a_direction_moves_the_last_frame_and_what_follows(
    model: VideoModel, clip: np.ndarray, level: int | None
) -> None:
    made = walk(model, [clip], settings("direction", level=level, steps=5), directions=some_directions(model))
    assert made.frames.shape == (5, 5, 16, 16, 3) and made.frames.dtype == np.uint8
    assert (made.kind, made.given, made.positions) == ("direction", 3, (-3.0, -1.5, 0.0, 1.5, 3.0))
    assert np.array_equal(made.frames[2, :3], clip[-3:])
    assert np.array_equal(made.frames[:, :2], np.stack([clip[-3:-1]] * 5))
    assert len({frame.tobytes() for frame in made.frames[:, 2]}) == 5
    assert len({future.tobytes() for future in made.frames[:, 3:]}) == 5
    expected = vflow.predict(model, clip, num_frames=2, num_samples=1)[0]
    assert np.abs(made.frames[2, 3:].astype(int) - expected).max() <= 1


def test_along_the_noise_of_a_reference_pixels_come_to_the_temperature(clip: np.ndarray) -> None:
    """Its noise is what the frame has beside its own reference; the start stays what it is."""
    model = make_model(**AUGMENTED)
    found, space = some_directions(model), open_adapter(model, WalkSettings())
    own = space.start([clip]).eps

    def walked(kind: str = "direction", **changes: object) -> list[torch.Tensor]:
        told: list[torch.Tensor] = []
        model.step, step = (lambda r, eps, t: (told.extend(eps), step(r, eps, t))[1]), model.step
        walk(model, [clip], settings(kind, num_frames=1, **changes), directions=found)
        del model.step
        return [level for level in told if len(level) > 1][: len(own)]  # encoding has one row

    calm = walked(temperature=0.5, level=-1, steps=7, extent=1.5)  # −1.5, −1, −0.5, 0, …
    for level in range(len(own) - 1):
        share = torch.tensor([0.5, 0.5, 0.75, 1, 0.75, 0.5, 0.5]).view(-1, 1, 1, 1)
        torch.testing.assert_close(calm[level], share * own[level])
    for changes in ({"level": -1}, {"temperature": 0.5, "level": 0}, {"temperature": 2.0, "level": -1}):
        torch.testing.assert_close(walked(**changes)[1], own[1].expand(3, -1, -1, -1), rtol=0, atol=0)


def test_directions_and_amounts_matter(one_model: VideoModel, clip: np.ndarray) -> None:
    found, seen = some_directions(one_model), set()
    for changes in ({}, {"direction": 1}, {"level": 0}, {"extent": 1.0}, {"level": None}):
        made = walk(one_model, [clip], settings("direction", steps=2, **changes), directions=found)
        seen.add(made.frames[:, 2].tobytes())
    assert len(seen) == 5


def test_one_array_need_not_be_in_a_list(one_model: VideoModel, clip: np.ndarray) -> None:
    found = some_directions(one_model)
    alone, listed = (
        walk(one_model, inputs, settings("direction"), directions=found) for inputs in (clip, [clip])
    )
    assert np.array_equal(alone.frames, listed.frames)


def test_the_seed_names_the_noise_of_the_frame_and_of_its_future(
    one_model: VideoModel, clip: np.ndarray
) -> None:
    found = some_directions(one_model)
    one, other = (
        walk(one_model, [clip], settings("direction", seed=seed), directions=found).frames for seed in (0, 1)
    )
    assert np.array_equal(one[1, :3], other[1, :3])
    assert not np.array_equal(one[0, :3], other[0, :3]) and not np.array_equal(one[1, 3:], other[1, 3:])


def test_where_nothing_is_before_the_last_frame_the_next_one_is_walked(
    one_model: VideoModel, clip: np.ndarray
) -> None:
    made = walk(one_model, [clip[-1:]], settings("direction"), directions=some_directions(one_model))
    assert made.frames.shape == (3, 4, 16, 16, 3) and made.given == 2
    assert np.array_equal(made.frames[:, 0], np.stack([clip[-1]] * 3))
    expected = vflow.predict(one_model, clip[-1:], num_frames=3, num_samples=1)[0]
    assert np.abs(made.frames[1, 1:].astype(int) - expected).max() <= 1


def test_inputs_give_directions_of_their_own(
    one_model: VideoModel, clip: np.ndarray, other: np.ndarray
) -> None:
    made = walk(one_model, [clip, other, clip[::-1].copy()], settings("direction"))
    assert np.array_equal(made.frames[1, :3], clip[-3:])
    assert not np.array_equal(made.frames[0, 2], clip[-1])
    with pytest.raises(ConfigError, match=r"no principal directions .* give 3 or more inputs"):
        walk(one_model, [clip, other], settings("direction"))
    with pytest.raises(ConfigError, match=r"^direction must be between 0 and 1 at this level, got 2$"):
        walk(one_model, [clip, other, clip[::-1].copy()], settings("direction", direction=2))


@pytest.mark.parametrize("pixel_map", ["scaled", "conditional"])
def test_an_interpolation_ends_at_both_clips(pixel_map: str, clip: np.ndarray, other: np.ndarray) -> None:
    model = make_model(**FRAMES, pixel_map=pixel_map, min_context=1, context=2)
    made = walk(model, [clip, other], settings("interpolate"))
    assert made.positions == (0.0, 0.5, 1.0) and made.given == 3
    assert np.array_equal(made.frames[0, :3], clip[-3:])
    assert np.array_equal(made.frames[2, :3], other[-3:])
    middle = made.frames[1]
    assert np.abs(middle[0].astype(float) - (clip[-3].astype(float) + other[-3]) / 2).max() <= 0.5
    assert not np.array_equal(middle[1], made.frames[0, 1])
    assert not np.array_equal(middle[1], made.frames[2, 1])


def test_interpolations_of_the_papers_model_and_of_motion(clip: np.ndarray, other: np.ndarray) -> None:
    for changes in ({}, MOTION):
        made = walk(make_model(**changes), [clip, other], settings("interpolate", steps=2))
        assert np.array_equal(made.frames[0, :3], clip[-3:])
        assert np.array_equal(made.frames[1, :3], other[-3:])


def test_clips_of_unlike_length_meet_at_the_shorter(one_model: VideoModel, clip: np.ndarray) -> None:
    made = walk(one_model, [clip, clip[:2]], settings("interpolate"))
    assert np.array_equal(made.frames[0, :2], clip[-2:]) and np.array_equal(made.frames[2, :2], clip[:2])
    with pytest.raises(InputError, match=r"^frames: an interpolation needs clips of 2 frames or more$"):
        walk(one_model, [clip, clip[:1]], settings("interpolate"))


@torch.no_grad()
def test_a_walk_of_the_coarse_lattice_moves_the_frame_and_keeps_its_start(clip: np.ndarray) -> None:
    """From a frame that the model may draw: noise of one that it excludes depends on the last digits.

    A batch rounds as no other, so a value between two modes may take the other one.
    """
    model = make_model(**LATTICE)
    assert isinstance(model, LatticeVideoFlow)
    last, deltas = model.prior.net.conv_out, model.prior.split[0]
    last.weight[:deltas], last.bias[:deltas] = 0, 0  # modes are copies of the frame before
    drawn = vflow.predict(model, clip[:2], num_frames=1, num_samples=1)[0]
    start = np.concatenate([clip[:2], drawn[-1:]])
    made = walk(model, [start], settings("direction", steps=5), directions=some_directions(model))
    assert (made.frames[2, :3] != start).mean() < 0.01
    assert len({frame.tobytes() for frame in made.frames[:, 2]}) > 1


def test_a_walk_of_the_first_future_frame_starts_at_its_temperature(clip: np.ndarray) -> None:
    """A lattice's temperature acts on densities: noise times it would lead to another frame."""
    model = make_model(**LATTICE)
    assert isinstance(model, LatticeVideoFlow)
    last, deltas = model.prior.net.conv_out, model.prior.split[0]
    with torch.no_grad():
        last.weight[:deltas], last.bias[:deltas] = 0, 0  # modes are copies of the frame before
    made = walk(model, [clip[:1]], settings("direction", temperature=0.5), directions=some_directions(model))
    future = vflow.predict(model, clip[:1], num_frames=3, num_samples=1, temperature=0.5)[0]
    assert (made.frames[1, 1] != future[0]).mean() < 0.01


@pytest.mark.parametrize(
    "form", [FRAMES, MOTION, AUGMENTED, LATTICE], ids=["frames", "motion", "augmented", "lattice"]
)
def test_a_blend_goes_from_one_future_to_another(clip: np.ndarray, form: dict[str, Any]) -> None:
    model = make_model(**form)
    made = walk(model, [clip], settings("blend", samples=(1, 4), temperature=0.7))
    futures = vflow.predict(model, clip, num_frames=2, num_samples=5, temperature=0.7)
    assert made.given == 3 and np.array_equal(made.frames[:, :3], np.stack([clip[-3:]] * 3))
    for row, future in ((0, futures[1]), (2, futures[4])):
        assert np.abs(made.frames[row, 3:].astype(int) - future).max() <= 1
    assert not np.array_equal(made.frames[1, 3:], made.frames[0, 3:])


def test_without_a_temperature_noise_is_drawn_as_the_checkpoint_suggests(clip: np.ndarray) -> None:
    model = make_model(**AUGMENTED | {"temperature": [0.2, 0.6, 1.0]})
    made = walk(model, [clip], settings("blend", samples=(1, 4)))
    futures = vflow.predict(model, clip, num_frames=2, num_samples=5)
    for row, future in ((0, futures[1]), (2, futures[4])):
        assert np.abs(made.frames[row, 3:].astype(int) - future).max() <= 1
    for levels in ((0.2, 0.6, 1.0), [0.2, 0.6, 1.0]):
        alike = walk(model, [clip], settings("blend", samples=(1, 4), temperature=levels))
        assert np.array_equal(made.frames, alike.frames)
    other = walk(model, [clip], settings("blend", samples=(1, 4), temperature=1.0))
    assert not np.array_equal(made.frames, other.frames)
    with pytest.raises(ConfigError, match=r"^temperature has 2 values, the model 3 levels; give 1 or 3$"):
        walk(model, [clip], settings("blend", temperature=(0.2, 0.6)))


@pytest.mark.parametrize("form", [FRAMES, MOTION, AUGMENTED], ids=["frames", "motion", "augmented"])
def test_a_sweep_is_the_same_future_at_each_temperature(clip: np.ndarray, form: dict[str, Any]) -> None:
    model = make_model(**form)
    made = walk(model, [clip], settings("temperature", steps=4))
    assert made.positions == (0.0, 0.5, 1.0, 1.5)
    for row, temperature in enumerate(made.positions):
        future = vflow.predict(model, clip, num_frames=2, num_samples=1, temperature=temperature)[0]
        assert np.abs(made.frames[row, 3:].astype(int) - future).max() <= 1
    assert walk(model, [clip], settings("temperature", extent=1.0)).positions == (0.0, 0.5, 1.0)


def test_a_walk_starts_where_samples_lie() -> None:
    """ε of a frame is as long as that of a sample, whatever the seed that dequantises, and decodes to it."""
    model = load("shapes-guided")
    clips = open_video_dataset(DataConfig(name="shapes", frames=3), model.config, "test")
    frames = clips.example(0, (0, 0))
    noise = [open_adapter(model, WalkSettings(seed=seed)).start([frames]).eps for seed in (0, 1)]
    for levels in noise:
        assert float(flatten(levels[:-1]).square().mean()) == pytest.approx(1, abs=0.1)
    assert not torch.equal(noise[0][0], noise[1][0])
    past = to_tensor(frames[-1 - model.config.min_context : -1], torch.device("cpu"))[None]
    for levels in noise:
        sampled = model.step(model.start(past), levels, (1.0,) * len(levels))[1]
        assert np.array_equal(to_array(sampled.frame)[0], frames[-1])


def test_noise_near_the_edge_of_a_bin_is_given_up() -> None:
    image, eps = torch.full((1, 1, 2, 2), 7, dtype=torch.uint8), torch.tensor([[[[9.0, 0.1], [-9.0, 1.0]]]])

    def encode(noise: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        assert noise is not None
        return (7 + torch.special.ndtr(noise),)

    (raw,) = typical_code(encode, lambda levels: levels[0], image, eps)
    assert torch.equal(raw[0, 0], 7 + torch.special.ndtr(torch.tensor([[0.0, 0.1], [0.0, 1.0]])))


def test_an_extent_beyond_the_second_clip_keeps_its_frames(
    one_model: VideoModel, clip: np.ndarray, other: np.ndarray
) -> None:
    made = walk(one_model, [clip, other], settings("interpolate", extent=1.5, steps=4))
    given = made.frames[:, : one_model.config.min_context]
    assert made.positions == (0.0, 0.5, 1.0, 1.5)
    assert np.array_equal(given[3], given[2]) and not np.array_equal(given[2], given[1])


def test_a_semantic_direction_leads_from_one_group_to_the_other(
    one_model: VideoModel, clip: np.ndarray, other: np.ndarray
) -> None:
    groups = {"negatives": [clip], "positives": [other]}
    made = walk(one_model, [clip], settings("semantic", steps=5), **groups)
    assert np.array_equal(made.frames[2, :3], clip[-3:])
    assert len({frame.tobytes() for frame in made.frames[:, 2]}) == 5
    unnamed = walk(one_model, (), settings("semantic", steps=5), **groups)
    assert np.array_equal(unnamed.frames, made.frames)  # starts from the first group
    back = walk(one_model, [clip], settings("semantic", steps=5), negatives=[other], positives=[clip])
    assert np.array_equal(back.frames[::-1, :3], made.frames[:, :3])
    with pytest.raises(ConfigError, match="give both groups"):
        walk(one_model, [clip], settings("semantic"), negatives=[clip])
    with pytest.raises(ConfigError, match="give inputs that differ"):
        walk(one_model, [clip], settings("semantic"), negatives=[clip], positives=[clip])


def test_a_walk_is_a_function_of_its_arguments(one_model: VideoModel, clip: np.ndarray) -> None:
    found, state = some_directions(one_model), torch.random.get_rng_state()
    one, two = (walk(one_model, [clip], settings("direction"), directions=found) for _ in range(2))
    assert np.array_equal(one.frames, two.frames)
    assert torch.equal(state, torch.random.get_rng_state())


def test_iterate_reports_every_part_and_returns_the_walk(one_model: VideoModel, clip: np.ndarray) -> None:
    def progress(kind: str) -> Generator[Progress, None, None]:
        made.append((yield from iterate(one_model, [clip], settings(kind))))

    made: list[Walk] = []
    assert list(progress("blend")) == [(1, 2), (2, 2)]
    assert list(progress("temperature")) == [(i, 6) for i in range(1, 7)]
    assert np.array_equal(made[0].frames, walk(one_model, [clip], settings("blend")).frames)


@pytest.mark.parametrize(
    ("kind", "count", "changes", "message"),
    [
        ("transfer", 1, {}, r"^kind transfer is not for video models; choose blend, direction, interpolate"),
        ("direction", 0, {}, r"starts from a clip: give one, got 0 inputs$"),
        ("interpolate", 1, {}, r"between two clips: give both, got 1 input$"),
        ("blend", 2, {}, r"two futures of one clip are blended, got 2 inputs$"),
        ("temperature", 0, {}, r"starts from one clip, got 0 inputs$"),
        ("direction", 1, {"level": 2}, r"^level must be between -2 and 1, got 2$"),
        ("direction", 1, {"direction": 8}, r"^direction must be between 0 and 7 at this level, got 8$"),
        ("blend", 1, {"label": 3}, r"^label is for digits, not for video models; leave it out$"),
    ],
)
def test_what_does_not_fit_is_refused(
    one_model: VideoModel, clip: np.ndarray, kind: str, count: int, changes: dict, message: str
) -> None:
    found = some_directions(one_model)
    with pytest.raises(ConfigError, match=message):
        walk(one_model, [clip] * count, settings(kind, **changes), directions=found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "stroll"}, f"kind 'stroll' is unknown; choose {', '.join(KINDS)}"),
        ({"steps": 1}, "steps must be between 2 and 64, got 1"),
        ({"steps": 65}, "steps must be between 2 and 64, got 65"),
        ({"num_frames": 0}, "num_frames must be between 1 and 64, got 0"),
        ({"direction": -1}, "direction must be between 0 and 63, got -1"),
        ({"seed": -1}, "seed must be between"),
        ({"temperature": float("nan")}, "temperature must be between 0 and 2, got nan"),
        ({"temperature": (0.5, 2.5)}, "temperature must be between 0 and 2, got 2.5"),
        ({"temperature": "hot"}, "temperature must be a number, got 'hot'"),
        ({"extent": 0.0}, "extent must be above 0 and at most 20, got 0"),
        ({"extent": float("inf")}, "extent must be above 0 and at most 20, got inf"),
        ({"kind": "temperature", "extent": 2.5}, "extent must be above 0 and at most 2, got 2.5"),
        ({"samples": (0, -1)}, "samples must be between 0 and 9999, got 0 and -1"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WalkSettings(**changes)
    assert str(caught.value).startswith(message)


def test_too_few_frames_and_other_models(clip: np.ndarray) -> None:
    model = make_model(min_context=2)
    with pytest.raises(InputError, match=r"^frames: 1 frame .* at least 2; add frames$"):
        walk(model, [clip[:1]], settings("blend"))
    with pytest.raises(CheckpointError, match=r"^Linear is not a model"):
        walk(torch.nn.Linear(1, 1), [clip], settings("blend"))


def test_a_step_that_is_not_finite_is_named(clip: np.ndarray) -> None:
    model = make_model(**FRAMES)
    found = some_directions(model)
    found.levels["1"].vectors[0, 0] = torch.nan
    with pytest.raises(InputError, match=r"^the step at [-+]\d\S* is not finite; choose a smaller extent"):
        walk(model, [clip], settings("direction"), directions=found)
