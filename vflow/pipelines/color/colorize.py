"""Plausible colourings of photographs, which keep their lightness and size.

The model sees all of the photo squeezed to a small square, whatever its aspect, and draws the planes a
and b of Lab at half that size. They are enlarged along the edges of the photo's own lightness and joined
with it. Noise is named by (seed, content of the photo, sample, level), and computation runs in chunks of
one size: sample k is the same whatever the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.models import Sampled
from vflow.models.colorizer import UNIT
from vflow.models.glow import Chains
from vflow.pipelines.color.hints import Likeness, Placed, enforce_hints, hint_shares, place
from vflow.pipelines.color.noise import ColorNoise, Variant
from vflow.pipelines.color.photo import (
    Photo,
    color_config,
    condition_of,
    lab_planes,
    prepare_photo,
    to_bytes,
)
from vflow.pipelines.common import (
    CHUNK,
    Counts,
    Temperature,
    device_of,
    draw_finite,
    temperature_or_suggested,
)
from vflow.pipelines.runner import ShouldStop, never
from vflow.tasks.colorize.settings import ColorSettings, Hint

if TYPE_CHECKING:
    from torch import nn

PREPARATION = 0.2
"""Share of the time of joining a large photo with its first colours that goes into its enlarger."""
COARSE_SIDE = 4
"""Largest grid of the levels that decide the colours of regions, blocks of 8×8."""


class ColorSamples(NamedTuple):
    """Variants ``first``, ``first + 1``, …: planes a and b, float32 (n, 2, h, w), and counts of faults."""

    first: int
    ab: Tensor
    counts: Counts

    @property
    def size(self) -> int:
        """Variants in it."""
        return len(self.ab)


def colorize(
    model: nn.Module,
    image: Any,
    *,
    num_samples: int = 8,
    temperature: Temperature | None = None,
    strength: float = 1.0,
    hints: Sequence[Hint] = (),
    near: Variant = (),
    seed: int = 0,
) -> np.ndarray:
    """Draw colourings of a photograph.

    Args:
        model: from ``vflow.load``, of kind colorizer.
        image: (H, W), (H, W, 1) or (H, W, 3), numpy, torch or Pillow, uint8 or floats in 0..1.
        num_samples: how many, 1..10000.
        temperature: scale of the noise, 0..2; one number, or one per level, fine to coarse. None: as the
            checkpoint suggests (``model.config.temperature``); 1 draws from the model's own distribution.
        strength: 1 gives the sampled colours, 0 exactly ``image``, and between them a and b are mixed.
        hints: ``Hint(x, y, (r, g, b))``, points as fractions 0..1 of width and height, and the colour there;
            a fourth value is the hint's reach, 0..2 (1), at 1 to the thing that it lies on.
        near: draw steps away from a variant, each with an ε_new of its own: ε′ = cos α · ε + sin α · ε_new,
            α = 0.35. (k,) is sample k with the same settings, (k, j) number j of those near k, and so on.
        seed: names the noise.

    Returns:
        uint8 (N, H, W, 3), sRGB, whose lightness L is that of ``image`` but for rounding.

    Raises:
        InputError: the picture cannot be used. ConfigError: a setting is out of range. CheckpointError: the
            model is of another kind.

    Examples:
        >>> photo = read_image("apps/examples/photo-camera.png").frames[0]
        >>> vflow.colorize(vflow.load("colorizer"), photo, num_samples=2).shape
        (2, 320, 320, 3)
    """
    config = color_config(model)
    settings = ColorSettings.of(
        num_samples=num_samples,
        temperature=temperature_or_suggested(temperature, config),
        seed=seed,
        strength=strength,
        hints=tuple(hints),
        near=near,
    )
    colorizer = PhotoColorizer(model, prepare_photo(config, image), settings)
    images = np.empty((num_samples, *colorizer.photo.pixels.shape), np.uint8)
    for first, ab, _ in colorizer.draw():
        images[first : first + len(ab)] = colorizer.join(ab)
    return images


class PhotoColorizer:
    """Colours of one photo. Drawing and joining are apart, so that strength can change without new draws.

    Args:
        model: a colouriser.
        photo: from ``prepare_photo``.
        first: of a film, the colorizer of its first frame: all frames share its noise.

    Attributes:
        cells: L of the photo at the size of the planes, float32 (h, w).
    """

    def __init__(
        self, model: Any, photo: Photo, settings: ColorSettings, first: PhotoColorizer | None = None
    ) -> None:
        self.model, self.photo, self.settings = model, photo, settings
        self.temperature = settings.levels(len(model.latent_shapes))
        self.chains: Chains = first.chains if first else model.flow.with_cached_inverse()
        lightness = lab_planes(photo.small)[:, :1]
        self.hints: tuple[Placed, ...] = place(settings.points, lightness[0, 0])
        self.condition = condition_of(photo).to(device_of(model))
        self.cells = F.avg_pool2d(lightness, 2)[0, 0]
        self.noise: ColorNoise = first.noise if first else self._own_noise()

    def _own_noise(self) -> ColorNoise:
        """Noise whose variants stand for many draws: of colours on a grid of 8×8."""
        shapes = self.model.latent_shapes
        coarse = next(level for level, (_, side, _) in enumerate(shapes) if side <= COARSE_SIDE)
        return ColorNoise(
            shapes,
            self.settings.seed,
            self.photo.content,
            project=self._coarse_colors,
            vividness=self.model.config.vividness,
            coarse=coarse,
        )

    @cached_property
    @torch.no_grad()
    def features(self) -> Sequence[Tensor]:
        """The model's features of the photo, one each."""
        features: Sequence[Tensor] = self.model.features(self.condition)
        return features

    @cached_property
    @torch.no_grad()
    def _hint_shares(self) -> Tensor:
        """Shares of the hints in the colours of the planes' cells, (K, h, w)."""
        backbone, size, seen = self.model.backbone, self.cells.shape, None
        if backbone:
            large = lab_planes(self.photo.twice)[:, :1].to(self.condition.device)
            edges, kinds = backbone(self.condition[:, :1])[0], backbone(large)[-1]
            seen = Likeness(edges[0].float().cpu(), kinds[0].float().cpu())
        return hint_shares(self.hints, self.photo.enlarger(size), size, seen)

    @torch.no_grad()
    def _coarse_colors(self, eps: Sequence[Tensor]) -> Tensor:
        """Colours (N, D) of regions, in units of the flow, that noise of the coarse levels makes.

        What the model predicts for the photo is taken from one of the draws, the most typical, for all.
        """
        stop, device = len(self.model.latent_shapes) - len(eps), self.condition.device
        features = [f.expand(len(eps[0]), -1, -1, -1) for f in self.features]
        padded = [*[eps[0]] * stop, *(level.to(device) for level in eps)]
        condition = self.model.condition(features)
        drawn, _ = self.model.descend(condition, padded, self.temperature, self.chains, stop=stop)
        points = drawn.flatten(1).float().cpu()
        typical = int((points - points.mean(0)).square().sum(1).nan_to_num(torch.inf).argmin())
        fine = [torch.zeros(1, *shape, dtype=torch.float32) for shape in self.model.latent_shapes[:stop]]
        noise = [level.to(device) for level in (*fine, *(level[typical : typical + 1] for level in eps))]
        raw = self.decode(noise).raw
        colors = F.adaptive_avg_pool2d((raw.float() - 0.5 - 128) / UNIT, drawn.shape[-2:])
        return points + (colors.flatten(1).cpu() - points[typical])

    def decode(self, eps: Sequence[Tensor]) -> Sampled:
        """Planes of standardised latents per level (B, C, h, w), on the model's device."""
        sampled: Sampled = self.model.decode(
            eps, self.condition, self.temperature, self.chains, self.features
        )
        return sampled

    def draw(self, should_stop: ShouldStop = never) -> Iterator[ColorSamples]:
        """All variants, 8 at a time; ends early, between chunks, when ``should_stop()`` is true.

        Raises:
            InputError: a sample stays non-finite after 8 redraws.
        """
        for first in range(0, self.settings.num_samples, CHUNK):
            if should_stop():
                return
            yield self.chunk(first)

    @torch.no_grad()
    def chunk(self, first: int) -> ColorSamples:
        """Variants ``first``, a multiple of 8, and up to seven more."""
        device, wanted = self.condition.device, min(CHUNK, self.settings.num_samples - first)
        variants = [(*self.settings.near, first + row) for row in range(CHUNK)]

        def attempt(attempts: Sequence[int]) -> tuple[None, Sampled]:
            eps = [level.to(device) for level in self.noise.chunk(variants, attempts)]
            return None, self.decode(eps)

        _, sampled, counts = draw_finite(attempt, wanted, lambda row: f"sample {first + row + 1}")
        ab = sampled.raw.float().cpu() - 0.5 - 128  # a value v of the flow fills [v, v + 1)
        return ColorSamples(first, self.with_hints(ab)[:wanted], counts)

    def with_hints(self, ab: Tensor) -> Tensor:
        """Planes (n, 2, h, w) changed so that the hints' colours hold at their pixels."""
        if not self.hints:  # the enlarger, which looks at every pixel of the photo, is not needed yet
            return ab
        return enforce_hints(ab, self.hints, self.photo.enlarger(ab.shape[-2:]), self._hint_shares)

    def join(self, ab: Tensor, strength: float | None = None) -> np.ndarray:
        """Pictures of sampled planes (n, 2, h, w): uint8 (n, H, W, 3).

        Args:
            strength: if not that of the settings.
        """
        return join(self.photo, ab, self.settings.strength if strength is None else strength)


def join(photo: Photo, ab: Tensor, strength: float = 1.0) -> np.ndarray:
    """A photo's lightness with colours: (1 − strength) × its own + strength × ``ab``, enlarged to its size.

    Args:
        ab: float32 (n, 2, h, w).

    Returns:
        uint8 (n, H, W, 3); the photo's own pixels where ``strength`` is 0.
    """
    images = np.empty((len(ab), *photo.pixels.shape), np.uint8)
    for _ in join_rows(photo, ab, strength, images):
        pass
    return images


def join_rows(photo: Photo, ab: Tensor, strength: float, images: np.ndarray) -> Iterator[float]:
    """The work of ``join``, some rows at a time.

    Args:
        images: uint8 (n, H, W, 3), which is filled.

    Yields:
        The share of the work that is done, 0..1.
    """
    images[:] = photo.pixels
    if strength == 0:
        yield 1.0
        return
    for share in photo.prepare(ab.shape[-2:]):
        yield PREPARATION * share
    enlarger = photo.enlarger(ab.shape[-2:])
    sharp = [enlarger.sharpen(planes) for planes in enlarger.shrink(ab)]
    for rows in enlarger.strips():
        corners = enlarger.corners(rows)
        own = lab_planes(photo.pixels[rows])[:, 1:] if strength < 1 else torch.zeros((), dtype=torch.float32)
        for image, planes in zip(images, sharp, strict=True):  # one by one: bytes depend on no other variant
            mixed = torch.lerp(own, enlarger.enlarge(planes, corners)[None], strength)
            image[rows] = to_bytes(photo.lightness[rows], mixed)[0]
        yield PREPARATION + (1 - PREPARATION) * rows.stop / enlarger.height
