"""Evaluation of models that draw digits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from vflow.data import media
from vflow.data.datasets.digits import MnistImages
from vflow.errors import InputError
from vflow.metrics.digits import DigitClassifier, agreement, predict_labels, spread_ratios, train_classifier
from vflow.metrics.frechet import frechet
from vflow.pipelines.common import Counts, evenly_spaced
from vflow.pipelines.digits.digits import DRAW_DIGITS, bits, digits_config, log_likelihoods
from vflow.pipelines.evaluate.data import check_digits, digits_root
from vflow.pipelines.evaluate.report import (
    Evaluation,
    Progress,
    Samples,
    Settings,
    Stage,
    fault_figures,
    mean_of_known,
    scan_temperatures,
)
from vflow.pipelines.evaluate.round_trip import image_batch, round_trip
from vflow.pipelines.walk import render as views
from vflow.tasks.digits.settings import DigitsSettings

USUAL_DIGITS, NUM_SAMPLES = 1000, 100
EPOCHS = 1
"""Of the classifier's training: about a minute, and 98% or more."""
TEMPERATURES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
CHECKED = 64
SHOWN = 10


class Judge(NamedTuple):
    """A classifier and the real digits that drawn ones are compared with."""

    classifier: DigitClassifier
    images: np.ndarray
    labels: np.ndarray

    def figures(self, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Agreement with the class asked for, and spread within classes over that of real digits."""
        pixels = spread_ratios(images, labels, self.images, self.labels)
        drawn, real = (features_of(self.classifier, x)[:, None] for x in (images, self.images))
        features = spread_ratios(drawn, labels, real, self.labels)
        return {
            "agreement": agreement(self.classifier, images, labels),
            "spread_pixels": mean_of_known(pixels),
            "spread_pixels_per_class": pixels,
            "spread_features": mean_of_known(features),
            "spread_features_per_class": features,
            "frechet_on_classifier_features": self.distance(images),
        }

    def distance(self, images: np.ndarray) -> float:
        """Fréchet distance to the real digits on the classifier's features."""
        return frechet(features_of(self.classifier, images), features_of(self.classifier, self.images))


def evaluate_digits(model: nn.Module, settings: Settings, stage: Stage) -> Evaluation:
    """All figures of a model of digits.

    Raises:
        CheckpointError: the model is of other pictures or classes. InputError: MNIST is not there, or
            ``settings.classifier`` is not one.
    """
    check_digits(digits_config(model))
    root = digits_root(settings)
    held, train = (MnistImages(split=split, root=root) for split in (settings.split, "train"))
    chosen = evenly_spaced(len(held), settings.count(len(held), USUAL_DIGITS))
    images, labels = held.images[chosen], held.labels[chosen]
    stage("bits/dim")
    figures = _likelihood(model, images, labels, settings)
    stage("classifier")
    judge = Judge(find_classifier(settings.classifier, train, settings.seed), held.images, held.labels)
    drawing = _drawing(settings)
    samples = draw_classes(model, drawing, stage("digits"))
    asked = np.repeat(np.arange(digits_config(model).classes), drawing.num_samples)
    figures |= judge.figures(samples.images, asked) | fault_figures(model, samples.counts)
    figures["seconds_per_digit"] = samples.seconds / len(samples.images)
    figures["classifier_accuracy"] = float((predict_labels(judge.classifier, images) == labels).mean())
    some = torch.from_numpy(images[:CHECKED])[:, None], torch.from_numpy(labels[:CHECKED])
    figures |= round_trip(model, [image_batch(model, *some)])
    protocol = _protocol(settings, drawing) | {
        "digits": len(images), "digits_available": len(held), "noise": digits_config(model).noise
    }  # fmt: skip
    return Evaluation(figures, protocol, {"random": _sheet(samples.images, drawing.num_samples)})


def _protocol(settings: Settings, drawing: DigitsSettings) -> dict[str, Any]:
    own = f"trained here, {EPOCHS} epoch of the training digits"
    return {
        "data": "mnist",
        "split": settings.split,
        "likelihood": "p(x | class); the unconditional one sums over ten equally likely classes",
        "draws": sorted({1, settings.num_importance_samples}),
        "num_samples": drawing.num_samples,
        "temperature": drawing.temperature,
        "classifier": settings.classifier.name if settings.classifier else own,
        "spread": "mean distance within a class over that of real digits",
    }


def tune_digits(model: nn.Module, settings: Settings, stage: Stage) -> dict[float, float]:
    """Temperature → minus the Fréchet distance on the classifier's features to validation digits.

    Raises as ``evaluate_digits`` does.
    """
    check_digits(digits_config(model))
    root = digits_root(settings)
    held, train = (MnistImages(split=split, root=root) for split in ("validation", "train"))
    judge = Judge(find_classifier(settings.classifier, train, settings.seed), held.images, held.labels)

    def score(temperature: float) -> float:
        return -judge.distance(
            draw_classes(model, _drawing(replace(settings, temperature=temperature))).images
        )

    return scan_temperatures(TEMPERATURES, score, stage)


def _drawing(settings: Settings) -> DigitsSettings:
    return DigitsSettings.of(**settings.sampling(NUM_SAMPLES))


def draw_classes(
    model: nn.Module, settings: DigitsSettings, progress: Progress = lambda done, total: None
) -> Samples:
    """``settings.num_samples`` digits of each class in turn, (N, 28, 28)."""
    labels = tuple(range(digits_config(model).classes))

    def drawn() -> Iterator[tuple[np.ndarray, Counts]]:
        done = 0
        for chunk in DRAW_DIGITS.iterate(model, labels, settings):
            done += chunk.size
            progress(done, DRAW_DIGITS.total(labels, settings))
            yield chunk.images, chunk.counts

    return Samples.draw(drawn())


def find_classifier(path: Path | None, train: MnistImages, seed: int) -> DigitClassifier:
    """The classifier in ``path``, or one trained here, which is then written there.

    Raises:
        InputError: the file holds something else, or cannot be written.
    """
    if path is None or not path.is_file():
        if path is not None:
            media.check_folder(path.parent)
        model = train_classifier(train.images, train.labels, seed, EPOCHS)
        if path is not None:
            with media.atomic_write(path) as temporary:
                temporary.write_bytes(save({k: v.contiguous() for k, v in model.state_dict().items()}))
        return model
    model = DigitClassifier()
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise InputError(
            f"{path}: not a digit classifier; name a new file, and one is trained and written there"
        ) from error
    return model.eval()


@torch.no_grad()
def features_of(classifier: DigitClassifier, images: np.ndarray) -> np.ndarray:
    """Features float32 (N, D) of uint8 (N, 28, 28)."""
    return torch.cat([classifier.features(part) for part in torch.from_numpy(images).split(1000)]).numpy()


def _likelihood(
    model: nn.Module, images: np.ndarray, labels: np.ndarray, settings: Settings
) -> dict[str, Any]:
    """Bits/dim given the class and without it, and how often the likeliest class is the true one."""
    nats = log_likelihoods(model, images, seed=settings.seed)
    scale = math.log(2) * images[0].size
    own = nats[np.arange(len(labels)), labels]
    together = np.logaddexp.reduce(nats, axis=1) - math.log(nats.shape[1])
    figures = {
        "bits_per_dim": -own.mean() / scale,
        "bits_per_dim_unconditional": -together.mean() / scale,
        "bayes_accuracy": float((nats.argmax(1) == labels).mean()),
    }
    if settings.num_importance_samples > 1:
        tight = bits(model, images, labels, draws=settings.num_importance_samples, seed=settings.seed)
        figures[f"bits_per_dim_k{settings.num_importance_samples}"] = tight.mean()
    return figures


def _sheet(images: np.ndarray, per_class: int) -> np.ndarray:
    """Ten samples of each class, a row per class."""
    return views.grid(rearrange(images, "(k n) h w -> k n h w 1", n=per_class)[:, :SHOWN])
