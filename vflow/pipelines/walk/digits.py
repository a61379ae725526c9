"""Walks of class-conditional digits: their noise is what a label leaves open, a style of writing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vflow.data import media
from vflow.errors import ConfigError
from vflow.pipelines.digits.digits import classify, digits_config
from vflow.pipelines.digits.preprocess import SIDE, prepare_digit
from vflow.pipelines.video.preprocess import device_of, to_array
from vflow.pipelines.walk.space import (
    Kinds,
    Path,
    Point,
    Progress,
    WalkSettings,
    exactly,
    refuse_nonfinite,
    scaled,
)
from vflow.randomness import normal


class DigitAdapter:
    """ε of a digit given its label, the scene: its style. Without an input a style is drawn."""

    name = "digit"

    def __init__(self, model: Any, settings: WalkSettings) -> None:
        self.model = model
        self.classes = digits_config(model).classes
        self.settings = settings
        if settings.label is not None and not 0 <= settings.label < self.classes:
            raise ConfigError(f"label must lie in 0..{self.classes - 1}, got {settings.label}")

    def extra_kinds(self) -> Kinds:
        return {"transfer": self._labels, "temperature": self._temperatures}

    def start(self, inputs: Sequence[Any]) -> Point:
        return self._encode(inputs[0]) if len(inputs) else self._draw(0)

    def pair(self, inputs: Sequence[Any]) -> tuple[Point, Point]:
        if not len(inputs):
            return self._draw(0), self._draw(1)
        exactly(inputs, 2, "an interpolation goes between two digits: give both, or none for random ones")
        return self._encode(inputs[0]), self._encode(inputs[1])

    def mix_conditions(self, a: int, b: int, t: float) -> int:
        """There is no label between two: it changes in the middle."""
        return a if t < 0.5 else b

    def decode(self, path: Path, progress: Progress) -> np.ndarray:
        labels = torch.tensor(list(path.conditions), device=device_of(self.model))
        sampled = self.model.decode(path.eps, labels, (1.0,) * len(path.eps))
        refuse_nonfinite(sampled.nonfinite, path.positions)
        progress(len(path.conditions), len(path.conditions))
        return to_array(sampled.frame)

    def _labels(self, inputs: Sequence[Any]) -> Path:
        """A style under every label."""
        point, classes = self.start(inputs), range(self.classes)
        eps = tuple(level.expand(len(classes), -1, -1, -1) for level in point.eps)
        return Path(tuple(map(float, classes)), classes, eps)

    def _temperatures(self, inputs: Sequence[Any]) -> Path:
        """The start's noise, from none of it to more than there was."""
        point, positions = self.start(inputs), self.settings.one_way(1.5)
        return Path(positions, [point.condition] * len(positions), scaled(point.eps, positions))

    def _encode(self, item: Any) -> Point:
        digit = as_digit(item)
        label = self.settings.label
        if label is None:
            label = int(classify(self.model, digit).argmax())
        device = device_of(self.model)
        image = torch.from_numpy(digit)[None, None].to(device)
        return Point(self.model.encode(image, torch.tensor([label], device=device)), label)

    def _draw(self, sample: int) -> Point:
        """A sample of ``vflow.digits``."""
        label, shapes = self.settings.label, self.model.latent_shapes
        if label is None:
            raise ConfigError("give a digit to start from, or the label of one to draw (label, --label)")
        key = self.settings.seed, "digits", label, sample, 0
        eps = (self.settings.temperature * normal(shape, *key, level) for level, shape in enumerate(shapes))
        return Point(tuple(level[None].to(device_of(self.model)) for level in eps), label)


def as_digit(item: Any) -> np.ndarray:
    """``item`` as the model takes it, uint8 (28, 28); what is so already is taken as prepared.

    Raises:
        InputError: not a picture, or nothing drawn in it.
    """
    if isinstance(item, media.Clip):
        return prepare_digit(item.frames[0], item.source)
    array = item.detach().cpu().numpy() if isinstance(item, torch.Tensor) else np.asarray(item)
    return array if array.dtype == np.uint8 and array.shape == (SIDE, SIDE) else prepare_digit(array)
