"""Digits by class: what samples depend on, what they do not, restyling, Bayes' rule, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import vflow
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import Digits, Sampled
from vflow.pipelines.digits.digits import DRAW_DIGITS, bits, classify, digits, log_likelihoods, restyle
from vflow.pipelines.walk.space import WalkSettings
from vflow.randomness import normal
from vflow.tasks.digits.settings import DigitsSettings

from ..conftest import make_model
from ..digit_models import make_digits, printed


@pytest.fixture(scope="module")
def model() -> Digits:
    return make_digits()


def test_labels_are_numbers_whatever_their_type(model: Digits) -> None:
    pictures = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8), 4, 0)
    expected = bits(model, pictures, [1, 1, 1, 1])
    assert np.array_equal(bits(model, pictures, np.ones(4, np.uint8)), expected)
    for labels in ([1, 1, 1], [1, 1, 1, -1], [1, 1, 1, 10]):
        with pytest.raises(InputError, match=r"labels: \d for 4 images; give one from 0 to 9 for each"):
            bits(model, pictures, labels)


def test_all_classes_are_the_single_ones_in_order(model: Digits) -> None:
    every = vflow.digits(model, "all", num_samples=2)
    assert every.shape == (20, 28, 28)
    assert every.dtype == np.uint8
    assert np.array_equal(every, np.concatenate([digits(model, label, num_samples=2) for label in range(10)]))
    assert np.array_equal(digits(model, np.int64(3), num_samples=2), every[6:8])


def test_more_samples_leave_the_earlier_ones_unchanged(model: Digits) -> None:
    many = digits(model, 4, num_samples=11)
    assert np.array_equal(digits(model, 4, num_samples=3), many[:3])
    assert np.array_equal(digits(model, 4, num_samples=9), many[:9])
    assert len({image.tobytes() for image in many}) == 11


def test_the_key_names_the_noise(model: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Sequence[Tensor], Tensor]] = []
    decode = model.decode

    def spy(eps: Sequence[Tensor], given: Tensor, temperature: Sequence[float], chains: Any) -> Sampled:
        seen.append((eps, given))
        return decode(eps, given, temperature, chains)

    monkeypatch.setattr(model, "decode", spy)
    digits(model, 7, num_samples=10, seed=5)
    assert [given.tolist() for _, given in seen] == [[7] * 8] * 2
    for level, shape in enumerate(model.latent_shapes):
        for sample in (0, 9):
            expected = normal(shape, 5, "digits", 7, sample, 0, level)
            assert torch.equal(seen[sample // 8][0][level][sample % 8], expected)


def test_global_generators_play_no_part(model: Digits) -> None:
    before = digits(model, 1, num_samples=1)
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    assert np.array_equal(before, digits(model, 1, num_samples=1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert not np.array_equal(before, digits(model, 1, num_samples=1, seed=1))


def test_temperature(model: Digits) -> None:
    still = digits(model, "all", num_samples=2, temperature=0)
    assert np.array_equal(still[0], still[1])
    assert not np.array_equal(still[0], still[2])
    one = digits(model, 0, num_samples=1, temperature=0.5)
    assert np.array_equal(one, digits(model, 0, num_samples=1, temperature=(0.5, 0.5)))
    assert not np.array_equal(one, digits(model, 0, num_samples=1, temperature=(0.5, 1.0)))
    with pytest.raises(ConfigError, match="temperature has 3 values, the model 2 levels"):
        digits(model, 0, temperature=(1.0, 1.0, 1.0))
    calm = make_digits(temperature=0.5)
    assert np.array_equal(digits(calm, 0, num_samples=1), one)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: digits(model, 10), r"label must be between 0 and 9, or all, got 10"),
        (lambda model: digits(model, -1), "label must be between"),
        (lambda model: digits(model, 3.0), r"got 3\.0"),  # type: ignore[arg-type]
        (lambda model: digits(model, "many"), "got many"),
        (lambda model: digits(model, 0, num_samples=0), r"num_samples must be between 1 and 10000, got 0"),
        (lambda model: digits(model, 0, temperature=3), "temperature must be at most 2"),
        (lambda model: digits(model, 0, seed=-1), "seed must be between"),
        (lambda model: restyle(model, printed(1)[0][0], "all"), "give the one class of the image"),
        (lambda model: classify(model, printed(1)[0], draws=0), "draws must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range(model: Digits, call: Callable[[Digits], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(model)


@pytest.mark.parametrize("call", [lambda m: digits(m, 0), lambda m: restyle(m, printed(1)[0][0], 0)])
def test_other_models_are_refused(call: Callable[[Any], object]) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"^a model of kind videoflow does not draw digits; .* such as digits$",
    ):
        call(make_model())


@pytest.mark.parametrize("image", [np.zeros((20, 28), np.uint8), np.zeros((28, 28)), np.zeros((0, 28, 28))])
def test_only_prepared_pictures_are_taken(model: Digits, image: np.ndarray) -> None:
    for call in (lambda: restyle(model, image, 0), lambda: classify(model, image)):
        with pytest.raises(InputError, match="the model takes uint8 images 28×28; prepare_digit makes one"):
            call()


def test_samples_that_are_not_finite_are_counted_and_redrawn(
    model: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, whole = model.decode, digits(model, 2, num_samples=3)
    calls: list[Tensor] = []

    def flawed(eps: Sequence[Tensor], given: Tensor, temperature: Sequence[float], chains: Any) -> Sampled:
        calls.append(eps[0])
        sampled = decode(eps, given, temperature, chains)
        if len(calls) == 1:
            sampled.raw[1, 0, 5, 5] = float("nan")
            return Sampled.of(sampled.raw)
        return sampled

    monkeypatch.setattr(model, "decode", flawed)
    (chunk,) = DRAW_DIGITS.iterate(model, (2,), DigitsSettings(num_samples=3))
    assert (chunk.counts.values, chunk.counts.nonfinite, chunk.counts.redrawn) == (3 * 784, 1, 1)
    assert np.array_equal(chunk.images[[0, 2]], whole[[0, 2]])
    assert not np.array_equal(chunk.images[1], whole[1])
    assert torch.equal(calls[1][1], normal(model.latent_shapes[0], 0, "digits", 2, 1, 0, 0, "redraw", 1))


def test_matrices_are_inverted_once_for_all_chunks(model: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    inverted: list[Tensor] = []
    invert = torch.linalg.inv
    monkeypatch.setattr(torch.linalg, "inv", lambda matrix: inverted.append(matrix) or invert(matrix))
    digits(model, 2, num_samples=1)
    once = len(inverted)
    digits(model, "all", num_samples=9)
    assert once > 0 and len(inverted) == 2 * once


def test_a_sample_that_stays_bad_is_an_error(model: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Sampled.of(torch.full((8, 1, 28, 28), torch.nan))
    monkeypatch.setattr(model, "decode", lambda *args: bad)
    with pytest.raises(InputError, match="sample 1 of class 6 is not finite after 8 redraws; lower the temp"):
        digits(model, 6)
    with pytest.raises(InputError, match="too unlike a digit of its class"):
        restyle(model, printed(1)[0][0], 0)


def test_a_picture_without_a_likelihood_has_no_class(model: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the shares NaN of every class."""
    nats = np.full(1, np.nan)
    monkeypatch.setattr("vflow.pipelines.digits.digits.image_nats", lambda *_: nats)
    with pytest.raises(InputError, match="unlike every digit that the model knows; choose another"):
        classify(model, printed(1)[0][0])


def test_chunks_come_class_by_class(model: Digits) -> None:
    chunks = list(DRAW_DIGITS.iterate(model, (3, 5), DigitsSettings(num_samples=9)))
    assert [(chunk.label, chunk.first, chunk.size) for chunk in chunks] == [
        (3, 0, 8), (3, 8, 1), (5, 0, 8), (5, 8, 1),
    ]  # fmt: skip
    assert DRAW_DIGITS.total((3, 5), DigitsSettings(num_samples=9)) == 18


@pytest.mark.parametrize("changes", [{}, {"noise": "uniform"}, {"noise": "uniform", "pixel_map": "scaled"}])
def test_the_own_class_gives_the_picture_back(changes: dict[str, object]) -> None:
    model = make_digits(**changes)
    images, labels = printed(10, seed=1)
    for image, label in zip(images, labels, strict=True):
        ten = restyle(model, image, int(label))
        assert ten.shape == (10, 28, 28)
        assert np.array_equal(ten[label], image)
        others = np.delete(ten, label, 0)
        assert all(not np.array_equal(other, image) for other in others)
    assert np.array_equal(restyle(model, torch.from_numpy(image), int(label)), ten)


def test_restyling_keeps_the_code(model: Digits) -> None:
    image = digits(model, 3, num_samples=1)
    ten = restyle(model, image[0], 3)
    eps = model.encode(torch.from_numpy(image)[None].expand(8, -1, -1, -1), torch.full((8,), 3))
    expected = model.decode(eps, torch.arange(8), (1.0, 1.0)).frame[:, 0].numpy()
    assert np.array_equal(ten[:8], expected)


def test_bayes_rule(model: Digits) -> None:
    images, labels = printed(12, seed=2)
    shares = classify(model, images)
    assert shares.shape == (12, 10)
    nats = log_likelihoods(model, images)
    assert np.allclose(shares, np.exp(nats - np.logaddexp.reduce(nats, 1, keepdims=True)))
    assert len(set(nats[0])) == 10
    assert np.allclose(bits(model, images, labels), -nats[np.arange(12), labels] / (np.log(2) * 784))
    alone = classify(model, images[5])
    assert alone.shape == (10,)
    assert np.allclose(alone, shares[5], atol=1e-3)


def test_more_draws_tighten_the_bound(model: Digits) -> None:
    images, labels = printed(8, seed=3)
    one, many = (bits(model, images, labels, draws=k) for k in (1, 6))
    assert many.mean() < one.mean()
    assert not np.array_equal(one, bits(model, images, labels, seed=1))


@pytest.mark.filterwarnings("error")
def test_pictures_may_be_of_pillow_or_views_that_torch_cannot_share(model: Digits) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    turned, fixed = picture[::-1].copy()[::-1], picture.copy()
    fixed.flags.writeable = False
    expected = classify(model, picture)
    settings = WalkSettings(kind="temperature", steps=2, label=1)
    walked = vflow.walk(model, [picture], settings).frames
    for given in (turned, fixed, Image.fromarray(picture)):
        assert np.array_equal(classify(model, [given])[0], expected)
        assert np.array_equal(vflow.walk(model, given, settings).frames, walked)
