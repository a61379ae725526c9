"""Photos enlarged 2 or 4 times, in plausible variants whose block means are the photo itself.

Four times is two doublings, the second given the first. A doubling runs in tiles, each with all surroundings
that its pixels depend on, and noise is tied to absolute positions: so tiles leave no seams, and a sample does
not depend on how many are drawn. Noise is named by (seed, content of the photo, sample, scale, block of
positions). Samples are drawn from the photo in its eight orientations by turns, which a photo might as well
have been taken in: errors that these do not share cancel in the mean (Timofte et al. 2016, 3.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vflow.config import SuperResolutionConfig
from vflow.config.settings import Settings
from vflow.data import media
from vflow.data.datasets.photos import average_blocks
from vflow.errors import CheckpointError, InputError
from vflow.metrics.super_resolution import deviation, luminance
from vflow.models import Sampled
from vflow.models.base import Condition
from vflow.models.glow import Chains
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.color.photo import as_picture
from vflow.pipelines.common import (
    MAX_REDRAWS,
    Counts,
    Temperature,
    config_of,
    device_of,
    temperature_or_suggested,
)
from vflow.pipelines.runner import ShouldStop, Task, never
from vflow.randomness import Key, content_hash, normal
from vflow.tasks.enlarge.settings import SCALES, EnlargeSettings

TILE = 256
"""Side of a tile, in pixels of the photo that is doubled."""
NOISE_BLOCK = 64
"""Side of the blocks whose noise has a name of its own, in the same pixels."""
ORIENTATIONS = 8
KEPT_TILES = 2
"""Tiles of the photo, in each orientation, whose features are computed once: about 8 MB each."""
HALVINGS = 32
FROM_BICUBIC = {2: (0.032, -0.068), 4: (0.027, -0.045)}
"""Scale → weights of pixels two and one away, each way, from which means of blocks are estimated."""


class Variant(NamedTuple):
    """An enlarged photo, uint8 (s·H, s·W, 3), and counts of faults before rounding."""

    image: np.ndarray
    counts: Counts

    @property
    def size(self) -> int:
        """Samples in it."""
        return 1


class Photo(NamedTuple):
    """A photo, uint8 (H, W, 3), its opacity, uint8 (H, W), if it has any, its name, and remarks."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    source: str = "photo"
    notes: Sequence[str] = ()


def super_resolution_config(model: nn.Module) -> SuperResolutionConfig:
    """The model's configuration.

    Raises:
        CheckpointError: the model does not enlarge photos.
    """
    return config_of(model, SuperResolutionConfig)


def upscale(
    model: nn.Module,
    image: Any,
    *,
    scale: int = 4,
    num_samples: int = 4,
    temperature: Temperature | None = None,
    seed: int = 0,
    reduction: str = "area",
) -> np.ndarray:
    """Draw enlargements of a photograph.

    Args:
        model: from ``vflow.load``, of kind super_resolution.
        image: (H, W), (H, W, 1) or (H, W, 3), numpy, torch or Pillow, uint8 or floats in 0..1.
        scale: 2 or 4.
        num_samples: how many, 1..10000.
        temperature: scale of the noise, 0..2. None: as the checkpoint suggests
            (``model.config.temperature``); 1 draws from the model's own distribution.
        seed: names the noise.
        reduction: how the photo was made small. "area": its pixels are means of blocks. "bicubic": the means
            are estimated first.

    Returns:
        uint8 (N, scale · H, scale · W, 3); the mean of each block of scale × scale pixels is exactly the
        photo's pixel, or what was estimated from a photo that was reduced bicubically.

    Raises:
        InputError: the picture cannot be used. ConfigError: a setting is out of range. CheckpointError: the
            model is of another kind.

    Examples:
        >>> photo = read_image("apps/examples/photo-camera.png").frames[0, :32, :32]
        >>> vflow.upscale(vflow.load("enlarge"), photo, scale=4, num_samples=2).shape
        (2, 128, 128, 3)
    """
    temperature = temperature_or_suggested(temperature, super_resolution_config(model))
    settings = EnlargeSettings.of(
        scale=scale, reduction=reduction, num_samples=num_samples, temperature=temperature, seed=seed
    )
    return np.stack([variant.image for variant in ENLARGE.iterate(model, Photo(as_picture(image)), settings)])


def pixel_interval(model: nn.Module, variants: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of an interval for the luma of each pixel, which holds the truth in nine cases of ten.

    Its width was fitted to photos held out of training, with eight variants at the suggested temperature.

    Args:
        model: from ``vflow.load``, of kind super_resolution.
        variants: of ``upscale``, uint8 (N, H, W, 3), two or more.

    Returns:
        Low and high, float32 (H, W), grey levels.

    Raises:
        CheckpointError: the model has no ``interval``, or is of another kind. InputError: one variant.
    """
    reach = super_resolution_config(model).interval
    if reach is None:
        raise CheckpointError("this checkpoint has no interval; vflow evaluate tells one (interval_reach)")
    if len(variants) < 2:
        raise InputError("an interval is of two variants or more; give num_samples=8")
    luma = luminance(variants)
    mean, half = luma.mean(0), reach * deviation(luma)
    return mean - half, mean + half


class Enlarge(Task[EnlargeSettings, Photo, Variant]):
    """Variants of an enlarged photo, one by one; a png each."""

    unit = "image"

    def read(self, model: nn.Module, item: Item, settings: EnlargeSettings) -> Photo:
        clip, alpha = media.read_photo(item.paths[0])
        return Photo(clip.frames[0], alpha, clip.source, clip.notes)

    def iterate(
        self, model: nn.Module, given: Photo, settings: EnlargeSettings, should_stop: ShouldStop = never
    ) -> Iterator[Variant]:
        """Variants of a photo.

        Raises:
            InputError: the enlarged photo would be too large, or a sample stays non-finite after 8 redraws.
            CheckpointError: the model is of another kind.
        """
        super_resolution_config(model)
        _check_size(given.source, given.pixels, settings.scale)
        photo = given.pixels if settings.reduction == "area" else block_means(given.pixels, settings.scale)
        doubling = Doubling(model, settings)
        content = content_hash(given.pixels)
        known: list[Conditions] = [{} for _ in range(ORIENTATIONS)]
        for sample in range(settings.num_samples):
            turned, ours = turn(photo, sample), known[sample % ORIENTATIONS]
            image, counts = turned, Counts()
            for scale in SCALES[: SCALES.index(settings.scale) + 1]:
                if should_stop():
                    return
                key = (settings.seed, content, sample, scale)
                image, new = doubling.draw(image, key, ours if image is turned else {})
                counts = counts.plus(new)
            yield Variant(turn(image, sample, back=True), counts)

    def write(
        self, folder: Path, given: Photo, results: Iterable[Variant], settings: EnlargeSettings
    ) -> None:
        for sample, variant in enumerate(results):
            image = variant.image
            if given.alpha is not None:
                larger = enlarge_alpha(given.alpha, settings.scale)
                image = np.concatenate([image, larger[..., None]], -1)
            media.write_png(folder / f"s{sample:03d}.png", image)

    def facts(self, given: Photo) -> dict[str, str]:
        return {"content_sha": content_hash(given.pixels)}

    def notes(self, given: Photo) -> Sequence[str]:
        return given.notes


ENLARGE = Enlarge()


def _check_size(source: str, photo: np.ndarray, scale: int) -> None:
    """Refuse a photo (H, W, 3) that would be too large once enlarged."""
    limits, pixels, side = media.DEFAULT_LIMITS, photo.shape[0] * photo.shape[1], max(photo.shape[:2])
    fitting = [s for s in SCALES if s**2 * pixels <= limits.pixels and s * side <= limits.side]
    if scale in fitting:
        return
    size, most = f"{scale**2 * pixels / 1e6:,.0f} megapixels", f"{limits.pixels / 1e6:,.0f}"
    if scale**2 * pixels <= limits.pixels:
        size, most = f"{scale * side:,} pixels a side", f"{limits.side:,}"
    remedy = " or ".join([*(f"choose scale {s} (--scale {s})" for s in fitting), "reduce the photo"])
    raise InputError(f"{source}: {size} once enlarged {scale} times; the limit is {most}; {remedy}")


Conditions = dict[tuple[int, int], Condition]
"""Conditions of a photo's first tiles, by their corners."""


class Doubling:
    """Draws photos of twice the size.

    Args:
        model: of kind super_resolution.
    """

    def __init__(self, model: Any, settings: Settings) -> None:
        self.model = model
        self.temperature = settings.levels(len(model.latent_shapes))
        self.chains: Chains = model.flow.with_cached_inverse()

    def draw(self, photo: np.ndarray, key: tuple[Key, ...], known: Conditions) -> Variant:
        """A photo of twice the size of ``photo``, uint8 (H, W, 3); ``key`` names the noise.

        ``known`` is what other draws from the same photo have left, and is added to.

        Raises:
            InputError: values stay non-finite after 8 redraws.
        """
        counts = Counts()
        for attempt in range(MAX_REDRAWS + 1):
            image, found = self._attempt(photo, (*key, "redraw", attempt) if attempt else key, known)
            if not attempt:
                counts = found
            if not found.nonfinite:
                return Variant(image, counts._replace(redrawn=attempt))
        raise InputError(
            f"sample {int(key[2]) + 1} is not finite after {MAX_REDRAWS} redraws; lower the temperature or "
            "change the seed; if training diverged, use an earlier checkpoint"
        )

    @torch.no_grad()
    def _attempt(self, photo: np.ndarray, key: tuple[Key, ...], known: Conditions) -> Variant:
        height, width = photo.shape[:2]
        small = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))[None]
        image = np.empty((2 * height, 2 * width, 3), np.uint8)
        counts = Counts()
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                rows, columns = (slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width)))
                raw = self._tile(small, rows, columns, key, known)
                counts = counts.plus(Counts.of(Sampled.of(raw)))
                pixels = round_to_means(raw.nan_to_num() - 0.5, small[:, :, rows, columns])
                image[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop] = (
                    pixels[0].permute(1, 2, 0).numpy()
                )
        return Variant(image, counts)

    def _tile(
        self, small: Tensor, rows: slice, columns: slice, key: tuple[Key, ...], known: Conditions
    ) -> Tensor:
        """Sampled grey levels (1, 3, 2h, 2w) of a tile; a value v fills [v, v + 1)."""
        radius, device = self.model.radius, device_of(self.model)
        tall, wide = (
            slice(max(0, part.start - radius), min(part.stop + radius, side))
            for part, side in zip((rows, columns), small.shape[2:], strict=True)
        )
        corner = rows.start, columns.start
        condition = known.get(corner)
        if condition is None:
            condition = self.model.condition(self.model.features(small[:, :, tall, wide].to(device)))
            if len(known) < KEPT_TILES:
                known[corner] = condition
        eps = noise_window(self.model.latent_shapes[0][0], tall, wide, key)[None].to(device)
        raw, _ = self.model.generate(condition, [eps], self.temperature, self.chains)
        top, left = 2 * (rows.start - tall.start), 2 * (columns.start - wide.start)
        height, width = 2 * (rows.stop - rows.start), 2 * (columns.stop - columns.start)
        return raw[:, :, top : top + height, left : left + width].float().cpu()


def turn(image: np.ndarray, sample: int, *, back: bool = False) -> np.ndarray:
    """An image (H, W, C) in orientation ``sample`` mod 8: quarter turns, then mirrored; ``back`` undoes."""
    quarters, mirrored = sample % 4, sample % ORIENTATIONS >= 4
    if back:
        return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, -quarters))
    turned = np.rot90(image, quarters)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def noise_window(channels: int, rows: slice, columns: slice, key: tuple[Key, ...]) -> Tensor:
    """Standard-normal noise (channels, h, w) of a window of an unbounded field that ``key`` names."""
    block = NOISE_BLOCK
    first_row, first_column = rows.start // block, columns.start // block
    field = torch.cat(
        [
            torch.cat(
                [
                    normal((channels, block, block), *key, row, column)
                    for column in range(first_column, -(-columns.stop // block))
                ],
                2,
            )
            for row in range(first_row, -(-rows.stop // block))
        ],
        1,
    )
    top, left = rows.start - first_row * block, columns.start - first_column * block
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return field[:, top : top + height, left : left + width]


def round_to_means(x: Tensor, means: Tensor) -> Tensor:
    """Bytes near ``x`` whose 2×2 blocks have exactly the given means.

    Blocks are projected onto those of the mean with values in 0..255 (a shift of all values, then a clamp),
    then rounded down; the remainder goes to the largest fractions. The flat block is always a solution.

    Args:
        x: float32 (B, C, 2h, 2w), grey levels, whose blocks have about these means.
        means: uint8 (B, C, h, w).

    Returns:
        uint8 (B, C, 2h, 2w).
    """
    corners = [x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
    blocks = torch.stack(corners)  # (4, B, C, h, w)
    sums = 4 * means.to(torch.int32)
    outside = ((blocks < 0) | (blocks > 255)).any(0)
    blocks[:, outside] = _fit_range(blocks[:, outside], sums[outside])
    whole = blocks.floor()
    fraction, short = blocks - whole, sums - whole.sum(0).to(torch.int32)
    out = torch.empty(x.shape, dtype=torch.uint8)
    for index, own in enumerate(fraction):
        ahead = [other >= own if i < index else other > own for i, other in enumerate(fraction) if i != index]
        rank = torch.stack(ahead).sum(0)
        out[..., index // 2 :: 2, index % 2 :: 2] = (whole[index] + (rank < short)).to(torch.uint8)
    return out


def _fit_range(blocks: Tensor, sums: Tensor) -> Tensor:
    """Euclidean projection of blocks (4, K) onto 0..255 with the given sums (K,), by bisection."""
    blocks = blocks.double()
    low, high = -blocks.amax(0), 255 - blocks.amin(0)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        above = (blocks + middle).clamp(0, 255).sum(0) > sums
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (blocks + low).clamp(0, 255).float()


def block_means(photo: np.ndarray, scale: int) -> np.ndarray:
    """Means of blocks of scale × scale pixels, estimated from what a photo was reduced to bicubically.

    Each is a linear function of 5×5 pixels, uint8 (H, W, 3), fitted to photos for training.
    """
    far, near = FROM_BICUBIC[scale]
    taps = np.array([far, near, 1 - 2 * (far + near), near, far])
    means = cv2.sepFilter2D(photo.astype(np.float32), -1, taps, taps, borderType=cv2.BORDER_REFLECT_101)
    return np.clip(np.rint(means), 0, 255).astype(np.uint8)


def enlarge_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    """Opacity, uint8 (H, W), enlarged by linear interpolation."""
    size = scale * alpha.shape[1], scale * alpha.shape[0]
    return np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR))


def largest_change(photo: np.ndarray, images: Sequence[np.ndarray], scale: int) -> int:
    """Largest difference, in grey levels, between a photo and the block means of its enlargements."""
    return max(int(np.abs(average_blocks(i, scale).astype(int) - photo).max()) for i in images)
