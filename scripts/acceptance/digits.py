"""Digits by class: agreement of an independent classifier, spread of samples, likelihood, Bayes' rule."""

from __future__ import annotations

import math
import os
from functools import cache

import numpy as np
import torch

from scripts.acceptance.models import loaded, size
from scripts.acceptance.registry import NotHere, Result, measure
from vflow.data.datasets.digits import load_mnist
from vflow.errors import InputError
from vflow.metrics.digits import CLASSES, DigitClassifier, agreement, spread_ratios, train_classifier
from vflow.models import Digits, ImageBatch
from vflow.pipelines.common import Counts
from vflow.pipelines.digits.digits import DRAW_DIGITS, label_classes, log_likelihoods, restyle
from vflow.pipelines.evaluate.round_trip import latent_error
from vflow.randomness import normal
from vflow.tasks.digits.settings import ALL, DigitsSettings

PER_CLASS, TEMPERATURES = 100, (1.0, 0.8)
TRIPS, RESTYLED, SCORED = 512, 100, 1000
Drawn = tuple[np.ndarray, np.ndarray, Counts]


def model() -> Digits:
    """The shipped checkpoint."""
    found = loaded("digits")
    assert isinstance(found, Digits), "digits draws no digits"
    return found


@cache
def mnist(train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 28, 28) and labels of ``VFLOW_DATA``/MNIST."""
    if not os.environ.get("VFLOW_DATA"):
        raise NotHere("needs MNIST: VFLOW_DATA=folder with MNIST/raw")
    try:
        return load_mnist(None, train=train)
    except InputError as error:
        raise NotHere(str(error)) from error


@cache
def classifier() -> DigitClassifier:
    """Classifier trained on MNIST's 60,000 training digits, independently of the flow."""
    return train_classifier(*mnist(train=True))


def drawn(temperature: float) -> Drawn:
    """100 samples of each class, seed 1: images, labels, and counts before any redraw or clamp."""
    settings = DigitsSettings.of(num_samples=PER_CLASS, temperature=temperature, seed=1)
    images, counts = [], Counts()
    for chunk in DRAW_DIGITS.iterate(model(), label_classes(ALL, CLASSES), settings):
        images.append(chunk.images)
        counts = counts.plus(chunk.counts)
    return np.concatenate(images), np.repeat(np.arange(CLASSES), PER_CLASS), counts


@measure("B")
def digits_samples() -> Result:
    """1,000 digits each at T = 1.0 and T = 0.8, 100 per class, seed 1, float32. The classifier is a small CNN
    trained on MNIST's training digits alone. Distance: mean L2 over pairs; for real digits, over 200 test
    digits."""
    real, real_labels = mnist(train=False)
    images, labels, counts = drawn(TEMPERATURES[0])
    cool_images, _, cool_counts = drawn(TEMPERATURES[1])
    counts = counts.plus(cool_counts)
    ratios = spread_ratios(images, labels, real, real_labels)
    judge = classifier()
    values = {
        "judge": 100 * agreement(judge, real, real_labels),
        "agrees": 100 * agreement(judge, images, labels),
        "agrees_cool": 100 * agreement(judge, cool_images, labels),
        "narrowest": float(ratios.min()),
        "widest": float(ratios.max()),
        "nonfinite": counts.nonfinite,
        "size": size("digits"),
    }
    return Result(values, note="distance ratios of classes 0 to 9: " + ", ".join(f"{r:.2f}" for r in ratios))


@measure("B")
def digits_likelihood() -> Result:
    """All 10,000 MNIST test digits under each of the ten classes, float32, with one draw of the
    dequantisation noise (K = 1) shared by the classes and a uniform class prior. Published figures are for
    p(x)."""
    images, labels = mnist(train=False)
    nats = np.concatenate([
        log_likelihoods(model(), images[first : first + SCORED]) for first in range(0, len(images), SCORED)
    ])  # fmt: skip
    most = nats.max(1)
    whole = most + np.log(np.exp(nats - most[:, None]).mean(1))
    unit = math.log(2) * images[0].size
    return Result(
        {
            "given_class": float(-nats[np.arange(len(nats)), labels].mean() / unit),
            "without_class": float(-whole.mean() / unit),
            "bayes": 100 * float((nats.argmax(1) == labels).mean()),
        },
        note=f"q(u | x): {model().config.noise} in the bin of one grey level",
    )


@measure("B")
@torch.no_grad()
def digits_round_trip() -> Result:
    """512 test digits, float32, are encoded and decoded with their noise; latents drawn at T = 1 are decoded
    and encoded, with errors converted by the pixel map's slope at the most frequent value; and 100 digits are
    restyled as their own class."""
    images, labels = mnist(train=False)
    flow = model()
    device = next(flow.parameters()).device
    x, y = torch.from_numpy(images[:TRIPS])[:, None].to(device), torch.from_numpy(labels[:TRIPS]).to(device)
    batch = ImageBatch(x, y, normal(x.shape, "round trip").to(device))
    before, after = flow.reconstruct(batch)
    pairs = zip(images[:RESTYLED], labels[:RESTYLED], strict=True)
    own = max(int(np.abs(restyle(flow, i, int(k))[k].astype(int) - i).max()) for i, k in pairs)
    return Result(
        {
            "data": float((after - before).abs().max()),
            "latent": latent_error(flow, flow.condition(flow.features(y)), len(y)),
            "bytes": int((after.floor() != before.floor()).sum()),
            "own": own,
        }
    )
