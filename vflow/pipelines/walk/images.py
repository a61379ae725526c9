"""Walks of pictures: styles of a digit, and colours that a photograph may have given its lightness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vflow.data import media
from vflow.errors import ConfigError
from vflow.pipelines.color.colorize import PhotoColorizer
from vflow.pipelines.color.photo import (
    Photo,
    as_picture,
    color_config,
    condition_of,
    lab_planes,
    prepare_photo,
    to_bytes,
)
from vflow.pipelines.color.upsample import Enlarger
from vflow.pipelines.common import as_array, device_of, sample_noise, to_array
from vflow.pipelines.digits.digits import classify, digits_config
from vflow.pipelines.digits.preprocess import SIDE, prepare_digit
from vflow.pipelines.walk.space import (
    Decoding,
    Kinds,
    Levels,
    Path,
    Point,
    Progress,
    WalkAdapter,
    WalkSettings,
    between,
    exactly,
    refuse_label,
    refuse_nonfinite,
    typical_code,
)
from vflow.randomness import content_hash, normal
from vflow.tasks.colorize.settings import ColorSettings

LONGEST = 1024
"""Longer side of a photo in pixels; larger ones are reduced to it, since a walk holds dozens of pictures."""
GREY = 1.0
"""Mean chroma up to which a photo has no colours to start from."""


class DigitAdapter(WalkAdapter):
    """ε of a digit given its label, which is the condition: its style. Without an input a style is drawn."""

    name = "digit"

    def __init__(self, model: Any, settings: WalkSettings) -> None:
        super().__init__(model, settings)
        self.classes = digits_config(model).classes
        if settings.label is not None and not 0 <= settings.label < self.classes:
            raise ConfigError(f"label must be between 0 and {self.classes - 1}, got {settings.label}")

    def extra_kinds(self) -> Kinds:
        return {"transfer": self._labels, "temperature": self.temperatures}

    def start(self, inputs: Sequence[Any]) -> Point:
        return self._encode(inputs[0]) if len(inputs) else self._draw(0)

    def pair(self, inputs: Sequence[Any]) -> tuple[Point, Point]:
        if not len(inputs):
            return self._draw(0), self._draw(1)
        exactly(inputs, 2, "an interpolation goes between two digits: give both, or none for random ones")
        return self._encode(inputs[0]), self._encode(inputs[1])

    def mix_conditions(self, a: int, b: int, t: float) -> int:
        """One of both labels: it changes in the middle."""
        return a if t < 0.5 else b

    def decode(self, path: Path) -> Decoding:
        labels = torch.tensor(list(path.conditions), device=device_of(self.model))
        sampled = self.model.decode(path.eps, labels, (1.0,) * len(path.eps))
        refuse_nonfinite(sampled.nonfinite, path.positions)
        yield Progress(len(path.conditions), len(path.conditions))
        return to_array(sampled.frame)

    def _labels(self, inputs: Sequence[Any]) -> Path:
        """Path that keeps a style and takes every label."""
        point, classes = self.start(inputs), range(self.classes)
        eps = tuple(level.expand(len(classes), -1, -1, -1) for level in point.eps)
        return Path(tuple(map(float, classes)), classes, eps)

    def _encode(self, item: Any) -> Point:
        digit = as_digit(item)
        if isinstance(item, media.Clip):
            self.remark(item.source, item.notes)
        label = self.settings.label
        if label is None:
            label = int(classify(self.model, digit).argmax())
        device = device_of(self.model)
        image, labels = torch.from_numpy(digit)[None, None].to(device), torch.tensor([label], device=device)
        noise = normal(image.shape, "dequantise", self.settings.seed, content_hash(digit)).to(device)
        ones = (1.0,) * len(self.model.latent_shapes)
        levels = typical_code(
            lambda eps: self.model.encode(image, labels, eps),
            lambda levels: self.model.decode(levels, labels, ones).raw,
            image,
            noise,
        )
        return Point(levels, label)

    def _draw(self, sample: int) -> Point:
        """A sample of ``vflow.digits``."""
        label = self.settings.label
        if label is None:
            raise ConfigError("give a digit to start from, or the label of one to draw (label, --label)")
        eps = sample_noise(self.model, (self.settings.seed, "digits", label), [sample])
        return Point(self.drawn(eps), label)


def as_digit(item: Any) -> np.ndarray:
    """``item`` as the model takes it, uint8 (28, 28); an array of that form counts as prepared.

    Raises:
        InputError: not a picture, or nothing drawn in it.
    """
    if isinstance(item, media.Clip):
        return prepare_digit(item.frames[0], item.source)
    array = as_array(item, "image")
    prepared = array.dtype == np.uint8 and array.shape == (SIDE, SIDE)
    return np.array(array, order="C") if prepared else prepare_digit(array)


@dataclass(frozen=True)
class PhotoCondition:
    """A photo, and what the model sees of it.

    Attributes:
        lab: the photo in Lab, float32 (3, H, W).
        input: condition of the model, float32 (4, h, w).
        planes: the photo's own a and b at the model's size, float32 (2, h / 2, w / 2), as its noise decodes
            to them. Decoded planes change the photo by their difference from these, so that a walk shows the
            photo itself where it has not moved, with the fine colours that the model does not hold.
        content: hash that names the noise.
    """

    lab: Tensor
    input: Tensor
    planes: Tensor
    content: str


class PhotoAdapter(WalkAdapter):
    """ε of a photo's colours given its lightness. Grey photos start from colours that are drawn."""

    name = "photo"

    def __init__(self, model: Any, settings: WalkSettings) -> None:
        super().__init__(model, settings)
        self.config = color_config(model)
        refuse_label(settings, self.name)

    def extra_kinds(self) -> Kinds:
        return {"transfer": self._colors, "temperature": self.temperatures}

    def start(self, inputs: Sequence[Any]) -> Point:
        if not len(inputs):
            exactly(inputs, 1, "a walk of colours starts from a photo: give one")
        condition = self._condition(self._photo(inputs[0]))
        if float(condition.lab[1:].square().sum(0).sqrt().mean()) > GREY:
            return self._encode(condition)
        return Point(self._draw(prepare_photo(self.config, self._photo(inputs[0]))), _grey(condition))

    def pair(self, inputs: Sequence[Any]) -> tuple[Point, Point]:
        exactly(inputs, 2, "an interpolation goes between two photos: give both")
        first = self._photo(inputs[0])
        second = media.resize(self._photo(inputs[1])[None], first.shape[0], first.shape[1], 3)[0]
        return self._encode(self._condition(first)), self._encode(self._condition(second))

    def mix_conditions(self, a: PhotoCondition, b: PhotoCondition, t: float) -> PhotoCondition:
        """A fade between the photos; only the colours come from the model."""
        return replace(
            a,
            lab=torch.lerp(a.lab, b.lab, t),
            input=torch.lerp(a.input, b.input, t),
            planes=torch.lerp(a.planes, b.planes, t),
        )

    def decode(self, path: Path) -> Decoding:
        still = all(condition is path.conditions[0] for condition in path.conditions)
        inputs = [condition.input for condition in (path.conditions[:1] if still else path.conditions)]
        sampled = self.model.decode(path.eps, torch.stack(inputs), (1.0,) * len(path.eps))
        refuse_nonfinite(sampled.nonfinite, path.positions)
        moved = sampled.raw - 0.5 - 128 - torch.stack([condition.planes for condition in path.conditions])
        images, photo = [], None
        for condition, change in zip(path.conditions, moved.cpu(), strict=True):
            if condition is not photo:
                photo, enlarger = condition, Enlarger(condition.lab[0], (change.shape[1], change.shape[2]))
            images.append(_join(photo.lab, enlarger, change))
            yield Progress(len(images), len(path.conditions))
        return np.stack(images)

    def _colors(self, inputs: Sequence[Any]) -> Path:
        """Path from a photo's own colours to those of another, under its own lightness."""
        exactly(inputs, 2, "colours are carried between two photos: give the one to colour first")
        photo, other = (self._encode(self._condition(self._photo(item))) for item in inputs)
        positions = self.settings.one_way()
        return Path(positions, [photo.condition] * len(positions), between(photo.eps, other.eps, positions))

    def _photo(self, item: Any) -> np.ndarray:
        """A picture, uint8 (H, W, 3), reduced if it is very large.

        Raises:
            InputError: not a picture.
        """
        clip = item if isinstance(item, media.Clip) else media.Clip(as_picture(item)[None], None, "image")
        self.remark(clip.source, clip.notes)
        height, width = clip.frames.shape[1:3]
        scale = LONGEST / max(height, width)
        if scale >= 1:
            return clip.frames[0]
        small = media.resize(clip.frames[:1], max(1, round(height * scale)), max(1, round(width * scale)), 3)[
            0
        ]
        self.remark(clip.source, [f"reduced from {width}×{height} to {small.shape[1]}×{small.shape[0]}"])
        return small

    def _condition(self, pixels: np.ndarray) -> PhotoCondition:
        """A photo, uint8 (H, W, 3), and what the model makes of it."""
        photo = prepare_photo(self.config, pixels)
        seen = condition_of(photo).to(device_of(self.model))
        planes = avg_pool2d(lab_planes(photo.small)[:, 1:], 2).round().clamp(-128, 127).to(seen.device)
        return PhotoCondition(lab_planes(photo.pixels)[0], seen[0], planes[0], photo.content)

    def _encode(self, condition: PhotoCondition) -> Point:
        images, inputs = (condition.planes + 128).to(torch.uint8)[None], condition.input[None]
        noise = normal(images.shape, "dequantise", self.settings.seed, condition.content).to(images.device)
        levels = self.model.encode(images, inputs, noise)
        raw = self.model.decode(levels, inputs, (1.0,) * len(levels)).raw[0]
        return Point(levels, replace(condition, planes=raw - 0.5 - 128))

    def _draw(self, photo: Photo) -> Levels:
        """Noise of sample 0 of ``vflow.colorize``."""
        colorizer = PhotoColorizer(self.model, photo, ColorSettings(seed=self.settings.seed))
        noise = colorizer.noise.variant((0,))
        return self.drawn([level[None].to(device_of(self.model)) for level in noise])


def _grey(condition: PhotoCondition) -> PhotoCondition:
    lab = torch.cat([condition.lab[:1], torch.zeros_like(condition.lab[1:])])
    return replace(condition, lab=lab, planes=torch.zeros_like(condition.planes))


def _join(lab: Tensor, enlarger: Enlarger, change: Tensor) -> np.ndarray:
    """uint8 (H, W, 3) of a photo's Lab (3, H, W) and a change of its small planes (2, h, w)."""
    sharp = enlarger.sharpen(enlarger.shrink(change[None])[0])
    strips = []
    for rows in enlarger.strips():
        ab = lab[1:, rows] + enlarger.enlarge(sharp, enlarger.corners(rows))
        strips.append(to_bytes(lab[0, rows], ab[None])[0])
    return np.concatenate(strips)
