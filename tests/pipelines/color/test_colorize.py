"""Colourings: what they keep, what they depend on, what they do not, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.metrics.color import planes
from vflow.models import Colorizer, Sampled
from vflow.pipelines.color.colorize import (
    PhotoColorizer,
    colorize,
)
from vflow.pipelines.color.film import colorize_film
from vflow.pipelines.color.photo import prepare_photo
from vflow.pipelines.video.predict import predict
from vflow.pipelines.video.score import score
from vflow.tasks.colorize.settings import ColorSettings, Hint

from ..colorizers import CONFIG, lightness_error, make_colorizer, picture
from ..conftest import make_model


@pytest.fixture(scope="module")
def model() -> Colorizer:
    return make_colorizer()


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return picture()


def test_size_and_lightness_are_kept_and_colours_are_not(model: Colorizer, photo: np.ndarray) -> None:
    images = vflow.colorize(model, photo)
    assert images.shape == (8, *photo.shape)
    assert images.dtype == np.uint8
    assert lightness_error(images, photo) < 0.5
    assert np.abs(planes(images)[:, 1:] - planes(photo[None])[:, 1:]).mean() > 5


def test_the_network_of_lightness_sees_a_photo_once(
    model: Colorizer, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, features = [], Colorizer.features

    def watch(self: Colorizer, y: torch.Tensor) -> Sequence[torch.Tensor]:
        looks.append(len(y))
        return features(self, y)

    monkeypatch.setattr(Colorizer, "features", watch)
    colorize(model, photo, num_samples=20)
    assert looks == [1]


def test_lightness_is_kept_whatever_the_colours(model: Colorizer) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    wild = [
        Hint(x / 7 + 0.05, y / 7 + 0.05, (255 * (x % 2), 255 * (y % 2), 0))
        for x in range(6)
        for y in range(6)
    ]
    for image in (noise, picture(seed=1), np.zeros_like(noise), np.full_like(noise, 255)):
        images = colorize(model, image, num_samples=3, temperature=2.0, hints=wild)
        assert lightness_error(images, image) < 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (5, 7), (16, 16), (17, 200), (70, 3)])
def test_all_sizes(model: Colorizer, shape: tuple[int, int]) -> None:
    photo = picture(*shape)
    images = colorize(model, photo, num_samples=2, hints=[Hint(1.0, 1.0, (200, 40, 40))])
    assert images.shape == (2, *photo.shape)
    assert lightness_error(images, photo) < 0.5


def test_strips_do_not_change_pixels(
    model: Colorizer, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = colorize(model, photo, num_samples=2, strength=0.7)
    for module in ("upsample", "photo"):
        monkeypatch.setattr(f"vflow.pipelines.color.{module}.STRIP", 5 * photo.shape[1])
    parts = colorize(model, photo, num_samples=2, strength=0.7)
    assert np.abs(whole.astype(int) - parts).max() <= 1


def test_strength_0_is_the_input_and_between_lies_between(model: Colorizer, photo: np.ndarray) -> None:
    grey = np.repeat(photo[..., :1], 3, -1)
    for image in (photo, grey):
        assert (colorize(model, image, num_samples=3, strength=0) == image).all()
        assert np.abs(colorize(model, image, num_samples=1, strength=1e-6).astype(int) - image).max() <= 1
    own, full = planes(photo[None])[0], planes(colorize(model, photo, num_samples=1))[0]
    half = planes(colorize(model, photo, num_samples=1, strength=0.5))[0]
    assert np.abs(half - (own + full) / 2)[1:].mean() < 1
    assert lightness_error(colorize(model, photo, num_samples=2, strength=0.5), photo) < 0.5


def test_more_samples_leave_the_earlier_ones_unchanged(model: Colorizer, photo: np.ndarray) -> None:
    few, many = (colorize(model, photo, num_samples=n, seed=5) for n in (3, 11))
    assert np.array_equal(many[:3], few)
    assert len(np.unique(many.reshape(11, -1), axis=0)) == 11


def test_seed_content_and_sample_name_the_noise(model: Colorizer, photo: np.ndarray) -> None:
    first = colorize(model, photo, num_samples=2)
    torch.manual_seed(123)
    assert np.array_equal(first, colorize(model, photo.copy(), num_samples=2))
    assert not np.array_equal(first, colorize(model, photo, num_samples=2, seed=1))
    shift = planes(colorize(model, 255 - photo, num_samples=2))[:, 1:].mean((2, 3))
    assert np.abs(shift - planes(first)[:, 1:].mean((2, 3))).max() > 1


def test_grey_arrays_of_all_layouts_and_types_agree(model: Colorizer) -> None:
    grey = picture(channels=1)
    expected = colorize(model, grey, num_samples=1)
    for image in (
        grey[..., 0],
        np.repeat(grey, 3, -1),
        torch.from_numpy(grey),
        grey / 255,
        torch.from_numpy(grey[..., 0] / np.float32(255)),
    ):
        assert np.array_equal(expected, colorize(model, image, num_samples=1))


def test_arrays_that_may_not_be_written_are_left_alone(model: Colorizer, photo: np.ndarray) -> None:
    locked = photo.copy()
    locked.flags.writeable = False
    images = colorize(model, locked, num_samples=1, strength=0.5)
    assert np.array_equal(locked, photo)
    images[:] = 0
    assert np.array_equal(locked, photo)


def test_temperature(model: Colorizer, photo: np.ndarray) -> None:
    still = colorize(model, photo, num_samples=2, temperature=0)
    assert np.array_equal(still[0], still[1])
    one = colorize(model, photo, num_samples=1, temperature=0.5)
    assert np.array_equal(one, colorize(model, photo, num_samples=1, temperature=(0.5,) * 5))
    with pytest.raises(ConfigError, match="temperature has 2 values, the model 5 levels; give 1 or 5"):
        colorize(model, photo, temperature=(1.0, 1.0))
    calm = make_colorizer(temperature=0.5)
    assert np.array_equal(colorize(calm, photo, num_samples=1), one)


def test_near_variants_are_close_and_named_by_steps(model: Colorizer, photo: np.ndarray) -> None:
    samples = planes(colorize(model, photo, num_samples=4))[:, 1:]
    near = planes(colorize(model, photo, near=(2,), num_samples=4))[:, 1:]
    step = np.abs(near - samples[2]).mean((1, 2, 3))
    assert 0 < step.min() <= step.max() < np.abs(samples[[0, 1, 3]] - samples[2]).mean()
    assert len(np.unique(near.reshape(4, -1), axis=0)) == 4
    fewer = colorize(model, photo, near=(2,), num_samples=1)
    assert np.array_equal(planes(fewer)[:, 1:], near[:1])
    further = planes(colorize(model, photo, near=(2, 3), num_samples=1))[:, 1:]
    assert np.abs(further - near[3]).mean() < np.abs(further - samples[0]).mean()
    for variant in ((-1,), (1, 10_000)):
        with pytest.raises(ConfigError, match=r"^near"):
            colorize(model, photo, near=variant)


def test_hints_hold_and_the_rest_follows(model: Colorizer) -> None:
    photo = picture(60, 90, seed=3)
    hints = [Hint(0.2, 0.3, (150, 90, 80)), Hint(0.7, 0.8, (90, 110, 150)), Hint(0.5, 0.5, (120, 120, 120))]
    images = colorize(model, photo, num_samples=4, hints=hints)
    for x, y, color, _ in hints:
        found = planes(images[:, int(60 * y), int(90 * x)][:, None, None])[:, 1:, 0, 0]
        wanted = planes(np.array(color, np.uint8)[None, None, None])[0, 1:, 0, 0]
        assert np.abs(found - wanted).max() < 2
    free = colorize(model, photo, num_samples=4)
    apart = np.abs(planes(images) - planes(free))[:, 1:].mean((0, 1))
    assert apart[18, 18] > 1.2 * apart.mean()
    assert len(np.unique(images.reshape(4, -1), axis=0)) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 0}, r"num_samples must be between 1 and 10000, got 0"),
        ({"seed": -1}, "seed must be between"),
        ({"temperature": 2.5}, r"temperature must be at most 2, got 2\.5"),
        ({"strength": 1.5}, r"strength must be between 0 and 1, got 1.5"),
        ({"strength": float("nan")}, r"strength must be between 0 and 1, got nan"),
        ({"hints": (Hint(1.5, 0, (0, 0, 0)),)}, r"hint at 1.5,0: x and y are fractions"),
        (
            {"hints": (Hint(0, 0, (0, 256, 0)),)},
            r"hint at 0,0: colour .*; give red, green and blue, 0\.\.255",
        ),
        ({"hints": (Hint(0, 0, (0, 0, 0)),) * 101}, "101 hints; give at most 100"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ColorSettings.of(**settings)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 4, 3), np.uint8), "^image: an array of shape .*0×4×3"),
        (np.zeros((4, 4, 4), np.uint8), "^image: an array of shape 4×4×4 is not one; give H×W×3"),
        (np.zeros((1, 4, 4, 3), np.uint8), "^image: an array of shape 1×4×4×3 is not one"),
        (np.float64(3), "^image: is of type float64; give an array"),
        (np.full((4, 4), np.nan), "^image: 16 of 16 values are NaN or infinite"),
        (np.full((4, 4), 1.5), r"^image: floats from 1\.5 to 1\.5; give 0\.\.1, or uint8"),
        (np.full((4, 4), 300), "^image: whole numbers from 300 to 300"),
        (np.broadcast_to(np.uint8(0), (9000, 9000)), "^image: 81 megapixels; the limit is 64; reduce"),
    ],
)
def test_pictures_that_cannot_be_used(model: Colorizer, image: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        colorize(model, image)


def test_models_of_another_kind_are_refused(model: Colorizer, photo: np.ndarray) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"kind videoflow does not .* of kind colorizer, such as colorizer",
    ):
        colorize(make_model(), photo)
    for call in (predict, score):
        with pytest.raises(CheckpointError, match=r"kind colorizer does not .* of kind videoflow, such as"):
            call(model, photo[None])


class Flaky:
    """A model that gives NaN for some rows of its first calls, and notes the noise it was given."""

    def __init__(self, model: Colorizer, bad: list[list[int]]) -> None:
        self.model, self.bad, self.noise = model, bad, []
        self.config, self.latent_shapes, self.parameters = model.config, model.latent_shapes, model.parameters
        self.flow, self.backbone = model.flow, model.backbone
        self.features, self.condition, self.descend = model.features, model.condition, model.descend

    def decode(self, eps: Sequence[torch.Tensor], *given: Any) -> Sampled:
        if len(eps[0]) == 1:  # to tell what is predicted
            return self.model.decode(eps, *given)
        self.noise.append(torch.cat([level.flatten(1) for level in eps], 1))
        raw = self.model.decode(eps, *given).raw.clone()
        for row in self.bad.pop(0) if self.bad else []:
            raw[row, 0, 0, :7] = torch.nan
        return Sampled.of(raw)


def test_matrices_are_inverted_once_for_all_variants_and_frames(
    model: Colorizer, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    inverted: list[torch.Tensor] = []
    invert = torch.linalg.inv
    monkeypatch.setattr(torch.linalg, "inv", lambda matrix: inverted.append(matrix) or invert(matrix))

    def count() -> int:
        return sum(matrix.shape != (3, 3) for matrix in inverted)  # that of colour spaces is no layer's

    colorize(model, photo, num_samples=1)
    once = count()
    colorize(model, photo, num_samples=9)
    list(colorize_film(model, [photo] * 3, ColorSettings(num_samples=1)))
    assert once > 0 and count() == 3 * once


def test_nonfinite_variants_are_counted_and_redrawn_alone(model: Colorizer, photo: np.ndarray) -> None:
    flaky = Flaky(model, [[1, 2, 7], [2]])  # row 7 is padding: nobody wants it
    hints = (Hint(0.5, 0.5, (200, 40, 40)),)
    settings = ColorSettings(num_samples=3, hints=hints)
    palette = PhotoColorizer(flaky, prepare_photo(CONFIG, photo), settings)
    (colors,) = palette.draw()
    assert (colors.counts.nonfinite, colors.counts.redrawn) == (14, 2)
    assert colors.counts.values == 3 * 2 * 16 * 16
    plain = PhotoColorizer(model, palette.photo, settings).chunk(0).ab
    assert torch.isfinite(colors.ab).all()
    assert torch.equal(colors.ab[0], plain[0])
    assert not torch.equal(colors.ab[1], plain[1])
    first, second, third = flaky.noise
    assert [bool((first[i] == second[i]).all()) for i in (0, 1, 2, 7)] == [True, False, False, True]
    assert [bool((second[i] == third[i]).all()) for i in (0, 1, 2)] == [True, True, False]


def test_a_variant_that_stays_nonfinite_is_an_error(model: Colorizer, photo: np.ndarray) -> None:
    flaky = Flaky(model, [[0]] * 99)
    with pytest.raises(InputError, match="sample 1 is not finite after 8 redraws; lower the temperature"):
        colorize(flaky, photo, num_samples=1)  # type: ignore[arg-type]


def test_stop_between_chunks(model: Colorizer, photo: np.ndarray) -> None:
    palette = PhotoColorizer(model, prepare_photo(CONFIG, photo), ColorSettings(num_samples=24))
    drawn = list(palette.draw(should_stop=iter([False, False, True]).__next__))
    assert [colors.first for colors in drawn] == [0, 8]


def test_colors_are_the_same_whatever_torchs_default_type(
    model: Colorizer, photo: np.ndarray, float64_by_default: Callable[[], AbstractContextManager[None]]
) -> None:
    hints = [Hint(0.2, 0.3, (150, 90, 80)), Hint(0.7, 0.8, (90, 110, 150))]
    expected = colorize(model, photo, num_samples=1, strength=0.5, hints=hints)
    with float64_by_default():
        found = colorize(model, photo, num_samples=1, strength=0.5, hints=hints)
    assert np.array_equal(found, expected)
