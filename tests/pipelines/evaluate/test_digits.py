"""Rows of a digit model's evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vflow
from tests.data.sample_media import write_mnist
from vflow.config import DigitsConfig, GlowConfig
from vflow.errors import CheckpointError, InputError
from vflow.models import Digits
from vflow.pipelines.digits.digits import bits, classify
from vflow.pipelines.evaluate import digits
from vflow.pipelines.evaluate.digits import evaluate_digits, find_classifier, tune_digits
from vflow.pipelines.evaluate.report import Evaluation, Settings

from ..digit_models import make_digits
from .support import quiet


@pytest.fixture(scope="module")
def model() -> Digits:
    return make_digits()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("mnist"), train=200, test=40)


@pytest.fixture(scope="module")
def evaluation(model: Digits, root: Path) -> Evaluation:
    return evaluate_digits(
        model, Settings(str(root), limit=12, num_samples=3, num_importance_samples=2), quiet
    )


def _held(root: Path) -> tuple[np.ndarray, np.ndarray]:
    from vflow.data.datasets.digits import MnistImages

    data = MnistImages(split="test", root=root)
    chosen = np.linspace(0, 39, 12).astype(int)
    return data.images[chosen], data.labels[chosen]


def test_likelihood_rows(model: Digits, root: Path, evaluation: Evaluation) -> None:
    figures: dict[str, Any] = dict(evaluation.figures)
    images, labels = _held(root)
    assert figures["bits_per_dim"] == pytest.approx(bits(model, images, labels).mean(), rel=1e-6)
    assert figures["bits_per_dim_k2"] == pytest.approx(bits(model, images, labels, draws=2).mean(), rel=1e-6)
    accuracy = (classify(model, images).argmax(-1) == labels).mean()
    assert figures["bayes_accuracy"] == pytest.approx(accuracy)
    # One of ten classes costs at most log2(10) bits, shared by 784 pixels, and never gives any back.
    gap = figures["bits_per_dim_unconditional"] - figures["bits_per_dim"]
    assert gap <= np.log2(10) / 784 + 1e-6


def test_rows_of_samples(model: Digits, evaluation: Evaluation) -> None:
    figures: dict[str, Any] = dict(evaluation.figures)
    assert figures["sampled_values"] == 10 * 3 * 28 * 28
    assert 0 <= figures["agreement"] <= 1
    assert len(figures["spread_pixels_per_class"]) == len(figures["spread_features_per_class"]) == 10
    assert figures["frechet_on_classifier_features"] > 0
    assert figures["round_trip_data"] < 0.1
    assert 0 < figures["round_trip_latent"] < 0.1
    drawn = vflow.digits(model, "all", num_samples=3)
    sheet = evaluation.sheets["random"]  # a row per class, each digit four times its size
    assert np.array_equal(sheet[:112:4, :112:4, 0], drawn[0])
    assert np.array_equal(sheet[9 * 114 :: 4, :112:4, 0], drawn[27])
    assert evaluation.protocol["digits_available"] == 40


@pytest.mark.parametrize("classes", [1, 9])
def test_fewer_classes_than_digits_are_refused(classes: int, root: Path) -> None:
    model = Digits(
        DigitsConfig(
            glow=GlowConfig(channels=1, height=28, width=28, depth=(1,), hidden=(4,)),
            condition=(2,),
            classes=classes,
        )
    )
    for judge in (evaluate_digits, tune_digits):
        with pytest.raises(CheckpointError, match=f"model.classes is {classes}, and MNIST has 10"):
            judge(model, Settings(str(root), limit=1), quiet)


def test_pictures_of_another_size_are_refused(root: Path) -> None:
    glow = GlowConfig(channels=1, height=32, width=32, depth=(1,), hidden=(4,))
    model = Digits(DigitsConfig(glow=glow, condition=(2,)))
    with pytest.raises(CheckpointError, match="its images are 32×32×1"):
        evaluate_digits(model, Settings(str(root), limit=1), quiet)


def test_a_classifier_is_kept_and_used_again(root: Path, tmp_path: Path) -> None:
    from vflow.data.datasets.digits import MnistImages

    train, path = MnistImages(split="train", root=root), tmp_path / "judge.safetensors"
    first = find_classifier(path, train, seed=0)
    assert path.is_file()
    second = find_classifier(path, train, seed=9)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(bool((a == b).all()) for a, b in pairs)
    path.write_bytes(b"other")
    with pytest.raises(InputError, match=r"judge\.safetensors: not a digit classifier"):
        find_classifier(path, train, seed=0)


def test_a_classifier_that_cannot_be_kept_is_not_trained(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vflow.data.datasets.digits import MnistImages

    monkeypatch.setattr(digits, "train_classifier", lambda *_: pytest.fail("trained in vain"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: cannot be written \(Not a directory\)"):
        find_classifier(
            tmp_path / "file" / "judge.safetensors", MnistImages(split="train", root=root), seed=0
        )


def test_temperature_by_distance_to_validation_digits(model: Digits, root: Path) -> None:
    found = tune_digits(model, Settings(str(root), num_samples=1), quiet)
    assert list(found) == [0.6, 0.7, 0.8, 0.9, 1.0, 1.1]
    assert all(score < 0 for score in found.values())
