"""Parts that pipelines share: the bound of K draws, whose exp is an unbiased estimate of a probability."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vflow
from vflow.config import DigitsConfig, GlowConfig
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import Digits, ImageBatch
from vflow.pipelines.common import (
    as_array,
    image_nats,
    sample_noise,
    temperature_or_suggested,
)
from vflow.pipelines.digits.digits import bits
from vflow.pipelines.walk.space import WalkSettings
from vflow.randomness import normal
from vflow.tasks.video.settings import PredictSettings

FRAMES = np.zeros((4, 64, 64, 3), np.uint8)
HEIGHT, WIDTH, STATES = 2, 4, 2**8


def states() -> torch.Tensor:
    """All images of 2 × 4 pixels of 0 or 255, uint8 (256, 1, 2, 4)."""
    pixels = torch.arange(STATES)[:, None] >> torch.arange(HEIGHT * WIDTH) & 1
    return (255 * pixels).to(torch.uint8).view(-1, 1, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def model() -> Digits:
    """A perturbed model whose pixel map leaves next to nothing of the mass to other images."""
    torch.manual_seed(0)
    glow = GlowConfig(channels=1, height=HEIGHT, width=WIDTH, depth=(2,), hidden=(8,))
    model = Digits(DigitsConfig(glow=glow, classes=2, condition=(2,), noise="uniform"))
    images = states()
    batch = ImageBatch(images, torch.arange(STATES) % 2, torch.randn(images.shape))
    counts = torch.zeros(1, HEIGHT * WIDTH, 256)
    counts[..., [0, 255]] = 1
    model.pixel_map.map.set_counts(counts, exponent=1.0, floor=1e-9)
    model.initialize(batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("draws", [1, 16])
def test_probabilities_of_all_images_sum_to_one(model: Digits, draws: int) -> None:
    images, labels = states(), torch.zeros(STATES, dtype=torch.long)
    nats = image_nats(model, images, labels, draws, 0)
    assert 0.75 < np.exp(nats).sum() < 1.25
    per_dim = -nats / (math.log(2) * HEIGHT * WIDTH)
    np.testing.assert_allclose(bits(model, images[:, 0].numpy(), labels.numpy(), draws=draws), per_dim)


def test_more_draws_tighten_it(model: Digits) -> None:
    labels = torch.ones(STATES, dtype=torch.long)
    one, many = (image_nats(model, states(), labels, draws, 0).mean() for draws in (1, 16))
    assert one < many


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (vflow.predict, [FRAMES]),
        (vflow.score, [FRAMES]),
        (vflow.surprisal, [FRAMES]),
        (vflow.nowcast, [FRAMES]),
        (vflow.walk, [FRAMES]),
        (vflow.compress, [FRAMES]),
        (vflow.decompress, [b""]),
        (vflow.colorize, [FRAMES[0]]),
        (vflow.upscale, [FRAMES[0]]),
        (vflow.digits, [0]),
        (vflow.sample, []),
    ],
)
def test_a_name_in_place_of_a_model_is_refused(function: Callable[..., object], inputs: list[object]) -> None:
    with pytest.raises(CheckpointError, match=r"^str is not a model; give vflow\.load\('mine'\)$"):
        function("mine", *inputs)


def test_a_temperature_is_given_as_a_number_a_tuple_or_a_list_or_is_the_suggested_one() -> None:
    config = DigitsConfig(temperature=0.5)
    given = (None, 1.0, (1.0, 0.0), [1.0, 0.0])
    assert [temperature_or_suggested(one, config) for one in given] == [0.5, 1.0, (1.0, 0.0), (1.0, 0.0)]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (PredictSettings.of, "num_samples"),
        (PredictSettings.of, "seed"),
        (PredictSettings.of, "num_frames"),
        (WalkSettings, "steps"),
    ],
)
def test_settings_that_count_are_whole_numbers(kind: Any, name: str) -> None:
    for value in (1.5, "3", None, [2], True):
        with pytest.raises(ConfigError, match=f"^{name}"):
            kind(**{name: value})
    assert kind(**{name: np.int64(2)})


def test_arguments_become_arrays_whatever_holds_their_numbers() -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    picture = Image.fromarray(values)
    for given in (torch.from_numpy(values.copy()), picture, values.tolist(), tuple(values)):
        assert np.array_equal(as_array(given, "x"), values)
    for given in ([picture] * 2, [torch.from_numpy(values.copy())] * 2):
        assert np.array_equal(as_array(given, "x"), np.stack([values] * 2))
    halves = torch.full((2, 2), 0.5, dtype=torch.bfloat16, requires_grad=True)
    assert np.array_equal(as_array(halves, "x"), np.full((2, 2), 0.5, np.float32))
    assert np.array_equal(as_array([halves] * 3, "x"), np.full((3, 2, 2), 0.5, np.float32))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Path("clip.mp4"), "^x: a path; read it first, by read_clip or read_image of vflow.data.media$"),
        (["a.png", "b.png"], "^x: a path; read it first"),
        (None, "^x: is of type NoneType; give an array, numpy or torch$"),
        ((frame for frame in FRAMES), "^x: is of type generator; give an array"),
        ([FRAMES[0], FRAMES[0, 1:]], r"^x: cannot be made an array \(.*\); give one, numpy or torch$"),
        (torch.zeros(2, 2, device="meta"), "^x: cannot be made an array"),
        (Image.new("P", (2, 2)), r"^x: a picture of Pillow's mode P; convert it, by convert\('RGB'\)$"),
        ([Image.new("CMYK", (2, 2))], "^x: a picture of Pillow's mode CMYK; convert it"),
    ],
    ids=["path", "paths", "none", "generator", "ragged", "meta", "palette", "cmyk"],
)
def test_arguments_that_hold_no_array_are_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_array(given, "x")


def test_temperatures_per_level_may_be_a_list() -> None:
    listed: Any = [0.5, 1]
    assert PredictSettings.of(temperature=listed).levels(2) == (0.5, 1.0)
    with pytest.raises(ConfigError, match=r"^temperature has 2 values, the model 3 levels; give 1 or 3$"):
        PredictSettings.of(temperature=listed).levels(3)
    listed[1] = 2.5
    with pytest.raises(ConfigError, match=r"^temperature"):
        PredictSettings.of(temperature=listed)


def test_noise_is_named_by_sample_frame_level_and_redraw() -> None:
    model = torch.nn.Linear(1, 1)
    shapes = [(1, 2, 2)] * 2
    made = sample_noise(model, (7, "item"), [0, 3], t=5, attempts=[0, 2], shapes=shapes)
    for level, noise in enumerate(made):
        assert torch.equal(noise[0], normal((1, 2, 2), 7, "item", 0, 5, level))
        assert torch.equal(noise[1], normal((1, 2, 2), 7, "item", 3, 5, level, "redraw", 2))
