"""Walks of the colouriser: through the colours that a photograph may have, given its lightness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vflow.data import media
from vflow.pipelines.color.noise import ColorNoise
from vflow.pipelines.color.photo import as_picture, color_config, lab_planes, prepare_photo, to_bytes
from vflow.pipelines.color.upsample import Enlarger
from vflow.pipelines.video.preprocess import device_of
from vflow.pipelines.walk.space import (
    Kinds,
    Levels,
    Path,
    Point,
    Progress,
    WalkSettings,
    between,
    exactly,
    refuse_label,
    refuse_nonfinite,
    scaled,
)

LONGEST = 1024
"""Larger photos are shown reduced to this: a walk holds dozens of pictures."""
GREY = 1.0
"""Mean chroma up to which a photo has no colours to start from."""


@dataclass(frozen=True)
class Scene:
    """A photo: Lab float32 (3, H, W), what the model is given (4, h, w), and the planes it starts from.

    ``planes`` float32 (2, h / 2, w / 2) are the photo's own colours as the model holds them. What is shown
    differs from the photo by how far the decoded planes differ from these, so a walk that has not moved
    shows the photo itself, with the fine colours that the model does not hold.
    """

    lab: Tensor
    given: Tensor
    planes: Tensor
    content: str


class PhotoAdapter:
    """ε of a photo's colours given its lightness, the scene. Grey photos start from drawn colours."""

    name = "photo"

    def __init__(self, model: Any, settings: WalkSettings) -> None:
        self.model = model
        self.config = color_config(model)
        self.settings = settings
        refuse_label(settings, self.name)

    def extra_kinds(self) -> Kinds:
        return {"transfer": self._colours, "temperature": self._temperatures}

    def start(self, inputs: Sequence[Any]) -> Point:
        if not len(inputs):
            exactly(inputs, 1, "a walk of colours starts from a photo: give one")
        condition = self._condition(_photo(inputs[0]))
        if float(condition.lab[1:].square().sum(0).sqrt().mean()) > GREY:
            return self._encode(condition)
        return Point(self._draw(condition), _grey(condition))

    def pair(self, inputs: Sequence[Any]) -> tuple[Point, Point]:
        exactly(inputs, 2, "an interpolation goes between two photos: give both")
        return self._both(inputs)

    def mix_conditions(self, a: Scene, b: Scene, t: float) -> Scene:
        """Photos fade into each other; only the way of the colours is the model's."""
        return replace(
            a,
            lab=torch.lerp(a.lab, b.lab, t),
            given=torch.lerp(a.given, b.given, t),
            planes=torch.lerp(a.planes, b.planes, t),
        )

    def decode(self, path: Path, progress: Progress) -> np.ndarray:
        still = all(
            condition is path.conditions[0] for condition in path.conditions
        )  # then one is given for all steps
        given = torch.stack(
            [condition.given for condition in (path.conditions[:1] if still else path.conditions)]
        )
        sampled = self.model.decode(path.eps, given, (1.0,) * len(path.eps))
        refuse_nonfinite(sampled.nonfinite, path.positions)
        moved = sampled.raw - 0.5 - 128 - torch.stack([condition.planes for condition in path.conditions])
        images, condition = [], None
        for now, change in zip(path.conditions, moved.cpu(), strict=True):
            if now is not condition:
                condition, enlarger = now, Enlarger(now.lab[0], (change.shape[1], change.shape[2]))
            images.append(_join(condition.lab, enlarger, change))
            progress(len(images), len(path.conditions))
        return np.stack(images)

    def _colours(self, inputs: Sequence[Any]) -> Path:
        """From a photo's own colours to those of another, given its own lightness."""
        exactly(inputs, 2, "colours are carried between two photos: give the one to colour first")
        photo, other = (self._encode(self._condition(_photo(item))) for item in inputs)
        positions = self.settings.one_way()
        return Path(positions, [photo.condition] * len(positions), between(photo.eps, other.eps, positions))

    def _temperatures(self, inputs: Sequence[Any]) -> Path:
        """The start's noise, from none of it to more than there was."""
        point, positions = self.start(inputs), self.settings.one_way(1.5)
        return Path(positions, [point.condition] * len(positions), scaled(point.eps, positions))

    def _both(self, inputs: Sequence[Any]) -> tuple[Point, Point]:
        first = _photo(inputs[0])
        second = media.resize(_photo(inputs[1])[None], first.shape[0], first.shape[1], 3)[0]
        return self._encode(self._condition(first)), self._encode(self._condition(second))

    def _condition(self, pixels: np.ndarray) -> Scene:
        """A photo, uint8 (H, W, 3), and what the model makes of it."""
        photo = prepare_photo(self.config, pixels)
        small = lab_planes(photo.small).to(device_of(self.model))
        given = torch.cat([small[:, :1], torch.zeros_like(small)], 1)
        planes = avg_pool2d(small[:, 1:], 2).round().clamp(-128, 127)
        return Scene(lab_planes(photo.pixels)[0], given[0], planes[0], photo.content)

    def _encode(self, condition: Scene) -> Point:
        images = (condition.planes + 128).to(torch.uint8)
        return Point(self.model.encode(images[None], condition.given[None]), condition)

    def _draw(self, condition: Scene) -> Levels:
        """Colours of sample 0 of ``vflow.colorize``."""
        noise = ColorNoise(self.model.latent_shapes, self.settings.seed, condition.content).variant((0,))
        return tuple(self.settings.temperature * level[None].to(condition.given.device) for level in noise)


def _grey(condition: Scene) -> Scene:
    lab = torch.cat([condition.lab[:1], torch.zeros_like(condition.lab[1:])])
    return replace(condition, lab=lab, planes=torch.zeros_like(condition.planes))


def _photo(item: Any) -> np.ndarray:
    """A picture, uint8 (H, W, 3), reduced if it is very large.

    Raises:
        InputError: not a picture.
    """
    picture = item.frames[0] if isinstance(item, media.Clip) else as_picture(item)
    height, width = picture.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return picture
    return media.resize(picture[None], max(1, round(height * scale)), max(1, round(width * scale)), 3)[0]


def _join(lab: Tensor, enlarger: Enlarger, change: Tensor) -> np.ndarray:
    """uint8 (H, W, 3) of a photo's Lab (3, H, W) and a change of its small planes (2, h, w)."""
    sharp = enlarger.sharpen(enlarger.shrink(change[None])[0])
    strips = []
    for rows in enlarger.strips():
        ab = lab[1:, rows] + enlarger.enlarge(sharp, enlarger.corners(rows))
        strips.append(to_bytes(lab[0, rows], ab[None])[0])
    return np.concatenate(strips)
