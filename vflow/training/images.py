"""Data module of the conditional image flows: pictures with their conditions, and grids of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vflow.config import BestOfConfig, ClassificationConfig, ColorizerConfig, Preset
from vflow.data.color import lab_to_rgb
from vflow.data.datasets.photos import PhotoSet
from vflow.data.datasets.registry import ImageConfig, open_image_dataset, open_validation
from vflow.data.datasets.types import ImageDataset
from vflow.models import Colorizer, ConditionalFlow, Digits, ImageBatch, Sampled, TarFlow
from vflow.models.glow import Shapes
from vflow.models.wavelet import wavelet_shapes
from vflow.pipelines.color.noise import ColorNoise
from vflow.randomness import normal
from vflow.registry import families, resolve
from vflow.training.data import DataModule, Samples
from vflow.training.logging import grid

STATISTICS_EXAMPLES = 16_384  # pictures that pixel maps are fitted to
STYLES = 6  # rows of a grid of digits
PHOTOS, COLORINGS = 6, 6  # rows and sampled columns of a grid of photos
VARIANTS = 4  # sampled columns of a grid of enlarged crops

Draw = Callable[[Any, ImageDataset, torch.device], Samples]
SampleNoise = Callable[[int, int, int], Tensor]
"""Seed, epoch and index of an example → noise (N, D) of its samples."""


@dataclass(frozen=True)
class Images(DataModule[ImageDataset, ImageBatch]):
    """Training stream of pictures, and the fixed validation pictures (None: there are none).

    Args:
        sampled: maker of the sample grid, which depends on the kind of condition.
        subsample: n: every n-th stream position is one of its batch's ``selected`` examples; 0: none.
        sample_noise: noise of samples for the selected examples; None: no loss needs samples.
        with_rows: batches name their pictures, for a cache of features.
    """

    sampled: Draw
    subsample: int = 0
    sample_noise: SampleNoise | None = None
    with_rows: bool = False
    chunk: ClassVar[int] = 64

    @property
    def usable(self) -> int:
        return self.train.usable if isinstance(self.train, PhotoSet) else self.length

    @property
    def statistics_examples(self) -> int:
        return min(STATISTICS_EXAMPLES, len(self.train))

    def batch(self, start: int, size: int) -> ImageBatch:
        places = self.places(start, size)
        selected: list[tuple[int, int]] = []
        if self.subsample:  # by position in the stream: however many processes or micro-batches share it
            first = -start % self.subsample
            selected = places[first :: self.subsample]
            del places[first :: self.subsample]
            places = selected + places
        batch = _stack(
            [
                _example(self.train, index, (self.seed, epoch), ("train", self.seed, epoch, index))
                for epoch, index in places
            ]
        )._replace(selected=len(selected))
        if self.with_rows:
            batch = batch._replace(rows=torch.tensor([index for _, index in places]))
        if self.sample_noise is None or not selected:
            return batch
        noise = torch.stack([self.sample_noise(self.seed, *place) for place in selected])
        return batch._replace(sample_eps=noise)

    def validation(self, indices: Sequence[int]) -> ImageBatch:
        assert self.held
        return _stack([_example(self.held, i, (0, 0), ("validation", i)) for i in indices])

    def bits(self, model: ConditionalFlow, batch: ImageBatch) -> Tensor:
        return model.bits_per_dim(model.log_likelihood(batch))

    def draw(
        self, model: ConditionalFlow, device: torch.device, cancelled: Callable[[], bool]
    ) -> Samples | None:
        assert self.held
        return None if cancelled() else self.sampled(model, self.held, device)


def open_images(config: ImageConfig, preset: Preset) -> Images:
    """Images and their conditions: digits and labels, colours and lightness, photos and small ones.

    Raises:
        ConfigError, InputError: another data set than the model's, or no data where the preset says.
    """
    train = open_image_dataset(preset.data, config, "train")
    if isinstance(train, PhotoSet):
        train.examine()
    held = open_validation(lambda: open_image_dataset(preset.data, config, "validation"))
    draw = resolve(families()[config.family].grid)
    images = Images(train, held, preset.training.seed, draw, with_rows=preset.training.cache_features)
    for loss in preset.training.losses:
        if isinstance(loss, ClassificationConfig | BestOfConfig):
            images = replace(images, subsample=loss.subsample)
        if isinstance(loss, BestOfConfig):
            assert isinstance(config, ColorizerConfig)
            shapes = wavelet_shapes(config.glow, config.glow.height, config.glow.width)
            noise = partial(best_of_noise, shapes, loss.num_samples)
            images = replace(images, sample_noise=noise)
    return images


def best_of_noise(shapes: Shapes, num_samples: int, seed: int, epoch: int, index: int) -> Tensor:
    """Noise (N, D) of samples of one example, all levels one after the other, as that of colour variants."""
    noise = ColorNoise(shapes, seed, f"{epoch}-{index}")
    levels = noise.chunk([(k,) for k in range(num_samples)], [0] * num_samples)
    return torch.cat([level.flatten(1) for level in levels], 1)


def _example(
    dataset: ImageDataset, index: int, key: tuple[int, ...], noise: tuple[int | str, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Image (C, H, W), what it is given, and noise."""
    picture = dataset.example(index, key)
    image = torch.from_numpy(np.ascontiguousarray(picture.image.transpose(2, 0, 1)))
    return image, torch.as_tensor(picture.condition), normal(image.shape, *noise)


def _stack(rows: list[tuple[Tensor, Tensor, Tensor]]) -> ImageBatch:
    images, given, eps = (torch.stack(tensors) for tensors in zip(*rows, strict=True))
    return ImageBatch(images, given, eps)


def draw_digits(model: Digits | TarFlow, dataset: ImageDataset, device: torch.device) -> Samples:
    """A column per class; pictures in a row share their noise, so they share a style."""
    classes = model.config.classes
    eps = _noise(model, STYLES, device, repeat=classes)
    sampled = model.decode(eps, torch.arange(classes, device=device).repeat(STYLES), (1.0,) * len(eps))
    pictures = sampled.frame.permute(0, 2, 3, 1).cpu().numpy()
    return _samples(pictures.reshape(STYLES, classes, *pictures.shape[1:]), sampled)


def draw_photos(model: Colorizer, dataset: ImageDataset, device: torch.device) -> Samples:
    """A row per photo: its lightness, itself, and sampled colourings."""
    examples = [dataset.example(i, (0, 0)) for i in range(min(PHOTOS, len(dataset)))]
    given = torch.from_numpy(np.stack([e.condition for e in examples])).to(device)
    true = torch.from_numpy(np.stack([e.image for e in examples])).permute(0, 3, 1, 2).to(device)
    eps = _noise(model, len(given) * COLORINGS, device)
    sampled = model.decode(eps, given.repeat_interleave(COLORINGS, 0), (1.0,) * len(eps))
    columns = [torch.full_like(true, 128), true, *sampled.frame.unflatten(0, (-1, COLORINGS)).unbind(1)]
    rows = torch.stack([_join(given[:, :1], planes) for planes in columns], 1)
    return _samples(rows.permute(0, 1, 3, 4, 2).cpu().numpy(), sampled)


def draw_given_pictures(model: ConditionalFlow, dataset: ImageDataset, device: torch.device) -> Samples:
    """A row per example: its condition, enlarged to its size; the real picture; samples."""
    examples = [dataset.example(i, (0, 0)) for i in range(min(PHOTOS, len(dataset)))]
    given = torch.from_numpy(np.stack([e.condition for e in examples]))
    eps = _noise(model, len(given) * VARIANTS, device)
    many = given.to(device).repeat_interleave(VARIANTS, 0)
    sampled = model.decode(eps, many, (1.0,) * len(eps))
    true = np.stack([e.image for e in examples])
    scale = true.shape[1] // given.shape[2]
    enlarged = given.permute(0, 2, 3, 1).numpy().repeat(scale, 1).repeat(scale, 2)
    made = sampled.frame.unflatten(0, (-1, VARIANTS)).permute(0, 1, 3, 4, 2).cpu().numpy()
    return _samples(np.concatenate([np.stack([enlarged, true], 1), made], 1), sampled)


def _join(lightness: Tensor, planes: Tensor) -> Tensor:
    """RGB uint8 (B, 3, H, W) of L (B, 1, H, W) and of ab as bytes at half the size."""
    ab = interpolate(planes.float() - 128, scale_factor=2, mode="bilinear", align_corners=False)
    rgb = lab_to_rgb(torch.cat([lightness, ab], 1)).clamp(0, 1)
    return (255 * rgb).round().to(torch.uint8)


def _noise(model: ConditionalFlow, count: int, device: torch.device, repeat: int = 1) -> tuple[Tensor, ...]:
    """Noise per level for ``count`` samples, each ``repeat`` times in a row."""
    drawn = (
        torch.stack([normal(shape, "grid", sample, level) for sample in range(count)])
        for level, shape in enumerate(model.latent_shapes)
    )
    return tuple(eps.repeat_interleave(repeat, 0).to(device) for eps in drawn)


def _samples(rows: np.ndarray, sampled: Sampled) -> Samples:
    return Samples(grid(rows), int(sampled.nonfinite.sum()), int(sampled.out_of_range.sum()))
