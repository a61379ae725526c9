"""Walks of digits and of a photo's colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vflow
from vflow.config import ColorizerConfig, EncoderConfig, GlowConfig
from vflow.data import media
from vflow.data.color import rgb_to_lab
from vflow.errors import ConfigError, InputError
from vflow.models import Colorizer, Digits, ImageBatch
from vflow.pipelines.digits.digits import classify, restyle
from vflow.pipelines.walk import images as walk_images
from vflow.pipelines.walk.directions import Directions, principal_directions
from vflow.pipelines.walk.space import WalkSettings
from vflow.pipelines.walk.walk import walk

from ..digit_models import make_digits, printed

SIDE = 16


@pytest.fixture(scope="module")
def digit_model() -> Digits:
    return make_digits()


@pytest.fixture(scope="module")
def colour_model() -> Colorizer:
    """Planes of 16×16, its zero-initialised layers perturbed."""
    glow = GlowConfig(channels=2, height=SIDE, width=SIDE, depth=(1, 1, 1, 1), hidden=(4, 4, 4, 4))
    condition = EncoderConfig(hidden=(4, 4, 4, 4, 4), blocks=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Colorizer(ColorizerConfig(glow=glow, condition=condition))
        given = torch.zeros(16, 4, 2 * SIDE, 2 * SIDE)
        given[:, 0] = 100 * torch.rand(16, 2 * SIDE, 2 * SIDE)
        coarse = 128 + 20 * torch.randn(16, 2, 4, 4)
        images = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear").to(torch.uint8)
        model.initialize(ImageBatch(images, given, torch.randn(images.shape)))
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def picture(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Smooth colours with fine noise, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    coarse = random.integers(30, 220, (1, 3, 4, 3), dtype=np.uint8)
    smooth = media.resize(coarse, height, width, 3)[0].astype(int)
    return np.clip(smooth + random.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return picture(0)


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return picture(1, 60, 44)


def some_directions(model: Digits | Colorizer) -> Directions:
    torch.manual_seed(3)
    return principal_directions([0.5 * torch.randn(12, *shape) for shape in model.latent_shapes])


def settings(kind: str, **changes: object) -> WalkSettings:
    return WalkSettings(kind, **({"steps": 3} | changes))  # type: ignore[arg-type]


def gap(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def lightness(image: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
    return rgb_to_lab(planes)[0, 0].numpy()


@pytest.mark.parametrize("level", [0, -1, None])
def test_digits_along_a_direction(digit_model: Digits, level: int | None) -> None:
    digit = printed(3)[0][2]
    found = some_directions(digit_model)
    made = walk(digit_model, [digit], settings("direction", level=level, steps=5), directions=found)
    assert made.frames.shape == (5, 28, 28, 1) and made.given == 0
    assert np.array_equal(made.frames[2, ..., 0], digit)
    assert len({frame.tobytes() for frame in made.frames}) == 5


def test_a_random_digit_is_one_that_digits_draws(digit_model: Digits) -> None:
    found = some_directions(digit_model)
    made = walk(digit_model, (), settings("direction", label=6, seed=4), directions=found)
    drawn = vflow.digits(digit_model, 6, num_samples=2, seed=4)
    assert gap(made.frames[1, ..., 0], drawn[0]) <= 1
    between = walk(digit_model, (), settings("interpolate", label=6, seed=4)).frames[..., 0]
    assert gap(between[0], drawn[0]) <= 1 and gap(between[2], drawn[1]) <= 1
    colder = walk(digit_model, (), settings("interpolate", label=6, seed=4, temperature=0.5)).frames[..., 0]
    assert gap(colder[0], vflow.digits(digit_model, 6, num_samples=1, seed=4, temperature=0.5)[0]) <= 1
    levels = tuple(0.1 + 0.4 * level for level in range(len(digit_model.latent_shapes)))
    made = walk(digit_model, (), settings("interpolate", label=6, seed=4, temperature=levels)).frames[..., 0]
    drawn = vflow.digits(digit_model, 6, num_samples=1, seed=4, temperature=levels)
    assert gap(made[0], drawn[0]) <= 1 and gap(made[0], colder[0]) > 1
    with pytest.raises(ConfigError, match="give a digit to start from, or the label of one to draw"):
        walk(digit_model, (), settings("interpolate"))


def test_digits_interpolate_from_one_to_the_other(digit_model: Digits) -> None:
    images = printed(8)[0]
    made = walk(digit_model, [images[3], images[7]], settings("interpolate", steps=5))
    assert np.array_equal(made.frames[0, ..., 0], images[3])
    assert np.array_equal(made.frames[4, ..., 0], images[7])
    assert len({frame.tobytes() for frame in made.frames}) == 5


@pytest.mark.parametrize("label", [None, 5])
def test_a_style_under_every_label(digit_model: Digits, label: int | None) -> None:
    digit = printed(3)[0][2]
    made = walk(digit_model, [digit], settings("transfer", label=label))
    own = int(classify(digit_model, digit).argmax()) if label is None else label
    assert made.positions == tuple(map(float, range(10)))
    assert np.array_equal(made.frames[own, ..., 0], digit)
    assert gap(made.frames[..., 0], restyle(digit_model, digit, own)) <= 1


def test_digits_through_temperatures(digit_model: Digits) -> None:
    made = walk(digit_model, (), settings("temperature", label=1, steps=4))
    assert made.positions == (0.0, 0.5, 1.0, 1.5)
    for frame, temperature in zip(made.frames, made.positions, strict=True):
        drawn = vflow.digits(digit_model, 1, num_samples=1, temperature=temperature)[0]
        assert gap(frame[..., 0], drawn) <= 1
    digit = printed(3)[0][2]
    assert np.array_equal(
        walk(digit_model, [digit], settings("temperature", steps=4)).frames[2, ..., 0], digit
    )


def test_other_pictures_of_digits_are_prepared(digit_model: Digits) -> None:
    large = 255 - np.repeat(np.repeat(printed(3)[0][2], 4, 0), 4, 1)[..., None].repeat(3, -1)
    made = walk(digit_model, [large], settings("temperature"))
    again = walk(digit_model, [media.Clip(large[None], None, "a.png")], settings("temperature"))
    assert made.frames.shape == (3, 28, 28, 1) and np.array_equal(made.frames, again.frames)
    with pytest.raises(InputError, match=r"^a\.png: no ink in it"):
        walk(digit_model, [media.Clip(np.full_like(large, 255)[None], None, "a.png")], settings("transfer"))


def test_semantic_directions_of_digits(digit_model: Digits) -> None:
    images = printed(12)[0]
    made = walk(digit_model, [images[4]], settings("semantic"), negatives=images[:2], positives=images[2:4])
    assert np.array_equal(made.frames[1, ..., 0], images[4])
    assert not np.array_equal(made.frames[0], made.frames[2])


@pytest.mark.parametrize("level", [-1, 0, None])
def test_colours_along_a_direction(colour_model: Colorizer, photo: np.ndarray, level: int | None) -> None:
    found = some_directions(colour_model)
    made = walk(colour_model, [photo], settings("direction", level=level), directions=found)
    assert made.frames.shape == (3, *photo.shape)
    assert gap(made.frames[1], photo) <= 1
    assert gap(made.frames[0], made.frames[2]) > 3
    for frame in made.frames:
        assert np.abs(lightness(frame) - lightness(photo)).max() < 1


def test_photos_interpolate_from_one_to_the_other(
    colour_model: Colorizer, photo: np.ndarray, other: np.ndarray
) -> None:
    made = walk(colour_model, [photo, other], settings("interpolate"))
    assert gap(made.frames[0], photo) <= 1
    assert gap(made.frames[2], media.resize(other[None], *photo.shape)[0]) <= 1
    half = (lightness(made.frames[0]) + lightness(made.frames[2])) / 2
    assert np.abs(lightness(made.frames[1]) - half).max() < 1


def test_colours_of_one_photo_on_another(
    colour_model: Colorizer, photo: np.ndarray, other: np.ndarray
) -> None:
    made = walk(colour_model, [photo, other], settings("transfer"))
    assert gap(made.frames[0], photo) <= 1
    assert np.abs(lightness(made.frames[2]) - lightness(photo)).max() < 1
    assert gap(made.frames[2], photo) > 5
    itself = walk(colour_model, [photo, photo], settings("transfer"))
    assert gap(itself.frames, np.stack([photo] * 3)) <= 1


def test_colours_through_temperatures(colour_model: Colorizer, photo: np.ndarray) -> None:
    made = walk(colour_model, [photo], settings("temperature", steps=4))
    assert gap(made.frames[2], photo) <= 1
    assert len({frame.tobytes() for frame in made.frames}) == 4


def test_a_grey_photo_starts_from_colours_that_colorize_draws(
    colour_model: Colorizer, photo: np.ndarray
) -> None:
    grey = photo.mean(-1, keepdims=True).astype(np.uint8)
    made = walk(colour_model, [grey], settings("temperature", steps=2, extent=1.0, seed=3))
    drawn = vflow.colorize(colour_model, grey, num_samples=1, seed=3)[0]
    assert gap(made.frames[1], drawn) <= 1
    assert gap(made.frames[0], vflow.colorize(colour_model, grey, num_samples=1, temperature=0)[0]) <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (9, 9)])
def test_tiny_photos(colour_model: Colorizer, size: tuple[int, int]) -> None:
    small = picture(2, *size)
    made = walk(colour_model, [small], settings("direction"), directions=some_directions(colour_model))
    assert made.frames.shape == (3, *size, 3) and gap(made.frames[1], small) <= 1


def test_large_photos_are_reduced(colour_model: Colorizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_images, "LONGEST", 50)
    made = walk(colour_model, [picture(2, 60, 100)], settings("temperature"))
    assert made.frames.shape == (3, 30, 50, 3)
    assert made.notes == ("image: reduced from 100×60 to 50×30",)


@pytest.mark.parametrize(
    ("kind", "count", "message"),
    [
        ("blend", 1, r"^kind blend is not for photo models; choose direction, interpolate, semantic, temp"),
        ("direction", 0, r"starts from a photo: give one, got 0"),
        ("interpolate", 1, r"between two photos: give both, got 1"),
        ("transfer", 1, r"give the one to colour first, got 1"),
    ],
)
def test_what_photos_cannot_do(
    colour_model: Colorizer, photo: np.ndarray, kind: str, count: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        walk(colour_model, [photo] * count, settings(kind))


def test_what_digits_cannot_do(digit_model: Digits) -> None:
    digit = printed(1)[0][0]
    with pytest.raises(ConfigError, match="kind blend is not for digit models"):
        walk(digit_model, [digit], settings("blend"))
    with pytest.raises(ConfigError, match=r"between two digits: give both, or none for random ones, got 1"):
        walk(digit_model, [digit], settings("interpolate"))
    with pytest.raises(ConfigError, match=r"^label must be between 0 and 9, got 10$"):
        walk(digit_model, [digit], settings("transfer", label=10))
