"""The judges of drawn digits."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from vflow.metrics.digits import (
    MOST,
    DigitClassifier,
    agreement,
    pairwise_distance,
    predict_labels,
    spread_ratios,
    train_classifier,
)


def printed(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits in print, a bit moved, uint8 (count, 28, 28), classes in turn."""
    random = np.random.default_rng(seed)
    images, labels = np.zeros((count, 28, 28), np.uint8), np.arange(count) % 10
    for image, label in zip(images, labels, strict=True):
        place = (int(random.integers(3, 9)), int(random.integers(21, 27)))
        cv2.putText(image, str(label), place, cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, int(random.integers(1, 4)))
    return images, labels


@pytest.fixture(scope="module")
def classifier() -> DigitClassifier:
    return train_classifier(*printed(1500, 0), epochs=5)


def test_the_classifier_learns(classifier: DigitClassifier) -> None:
    images, labels = printed(200, 1)
    assert agreement(classifier, images, labels) > 0.95
    assert agreement(classifier, images, (labels + 1) % 10) < 0.03
    assert np.array_equal(predict_labels(classifier, images[:7]), predict_labels(classifier, images)[:7])


def test_a_judge_computes_in_float32_whatever_networks_do(classifier: DigitClassifier) -> None:
    images = torch.randint(0, 256, (4, 28, 28), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        logits, features = classifier(images), classifier.features(images)
    assert torch.equal(logits, classifier(images)) and torch.equal(features, classifier.features(images))


def test_training_is_a_function_of_its_arguments() -> None:
    images, labels = printed(256, 2)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = train_classifier(images, labels, epochs=1)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(6)
    again, other = (
        train_classifier(images, labels, epochs=1),
        train_classifier(images, labels, seed=1, epochs=1),
    )
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.first.weight, other.first.weight)


def test_pairwise_distance() -> None:
    corners = np.array([[[0, 0]], [[3, 4]], [[6, 8]]], np.uint8)
    assert pairwise_distance(corners) == pytest.approx((5 + 5 + 10) / 3)
    assert np.isnan(pairwise_distance(corners[:1]))
    ramp = np.zeros((3 * MOST, 2, 2), np.uint8)
    ramp[2 * MOST :] = 100  # beyond the first so many
    assert pairwise_distance(ramp) == pytest.approx(200 * 4 / 9, rel=0.02)


def test_spread_ratios() -> None:
    images, labels = printed(200, 3)
    assert spread_ratios(images, labels, images, labels) == pytest.approx(np.ones(10))
    halved = np.where((labels == 4)[:, None, None], images // 5, images)
    ratios = spread_ratios(halved, labels, images, labels)
    assert ratios[4] == pytest.approx(0.2, rel=1e-3)
    assert np.delete(ratios, 4) == pytest.approx(np.ones(9))


def test_the_spread_of_a_class_without_two_pictures_is_unknown() -> None:
    images, labels = printed(200, 3)
    one, others = np.flatnonzero(labels == 7)[:1], np.flatnonzero(labels != 7)
    few = np.concatenate([one, others])
    for ratios in (
        spread_ratios(images, labels, images[few], labels[few]),
        spread_ratios(images[few], labels[few], images, labels),
        spread_ratios(images, labels, images[others], labels[others]),
    ):
        assert np.isnan(ratios[7]) and np.delete(ratios, 7) == pytest.approx(np.ones(9))
