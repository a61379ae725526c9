"""Evaluation of models that enlarge photographs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from vflow.data.datasets.photos import PhotoPairs, average_blocks, halve
from vflow.errors import InputError
from vflow.metrics.super_resolution import Spread, bicubic, gradient_similarity, luminance
from vflow.metrics.video import PSNR_LIMIT, diversity, limited_psnr
from vflow.models import ImageBatch
from vflow.pipelines.common import Counts, device_of, evenly_spaced
from vflow.pipelines.evaluate.data import open_pairs, readable_photos
from vflow.pipelines.evaluate.report import (
    Evaluation,
    Samples,
    Settings,
    Stage,
    fault_figures,
    mean_rows,
    scan_temperatures,
)
from vflow.pipelines.upscale import ENLARGE, Photo, largest_change, super_resolution_config
from vflow.pipelines.walk import render as views
from vflow.randomness import content_hash, normal
from vflow.tasks.enlarge.settings import EnlargeSettings

SCALE, NUM_SAMPLES, USUAL_PHOTOS = 4, 8, 128
TEMPERATURES = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
TUNING_PHOTOS = 12
SHOWN, SHOWN_SIDE = 6, 128


def evaluate_super_resolution(model: nn.Module, settings: Settings, stage: Stage) -> Evaluation:
    """All figures of a model that enlarges photos, four times.

    Raises:
        ConfigError, InputError: no such photos.
    """
    held, places = open_pairs(settings, super_resolution_config(model))
    chosen = evenly_spaced(len(held), settings.count(len(held), USUAL_PHOTOS))
    drawing = _drawing(settings)
    running, progress = _Figures(model), stage("photos")
    for done, photo in enumerate(_photos(held, chosen), 1):
        running.add(photo, drawing)
        progress(done, len(chosen))
    figures = running.figures() | fault_figures(model, running.counts)
    if running.spreads:
        spread, reach = Spread.joined(running.spreads), super_resolution_config(model).interval
        figures |= {} if reach is None else spread.figures(reach)
        if settings.split == "validation":
            figures["interval_reach"] = spread.reach()
    protocol: dict[str, Any] = {
        "data": settings.data, "split": settings.split, "photos": running.photos,
        "photos_available": len(held), "scale": SCALE, "num_samples": drawing.num_samples,
        "temperature": drawing.temperature, "noise": "uniform", "draws": [1],
        "bits_per_dim": "of the details (three Haar coefficients of four) of both doublings, photos as they "
        "are; _x2: of the second, which gives the photo; _x4: of the first",
        "small_photos": f"means of {SCALE}×{SCALE} blocks as bytes, sides cut to multiples of {SCALE}",
        "psnr": f"of luma (BT.601), up to {PSNR_LIMIT:g} dB, mean over photos; of the samples' mean, and of "
        "bicubic interpolation",
        "gms": "gradient-magnitude similarity of luma at full size (Xue et al. 2014); best per photo",
        "interval": "90% of luma; inside: of all pixels, and of the quarter with the steepest gradients; "
        "width_ratio: over a constant interval that holds as many; reach: that suits these photos",
        "source": places.name,
    }  # fmt: skip
    return Evaluation(figures, protocol, running.sheets())


def tune_super_resolution(model: nn.Module, settings: Settings, stage: Stage) -> dict[float, float]:
    """Temperature → gradient similarity of the best of the samples of validation photos.

    Raises:
        ConfigError: no training photos, of which validation is a part. InputError: none can be used.
    """
    held, _ = open_pairs(replace(settings, split="validation"), super_resolution_config(model))
    chosen = evenly_spaced(len(held), settings.count(TUNING_PHOTOS, TUNING_PHOTOS))
    photos = list(_photos(held, chosen))

    def score(temperature: float) -> float:
        drawing = _drawing(replace(settings, temperature=temperature))
        return float(np.mean([max(_similarities(photo, _draw(model, photo, drawing))) for photo in photos]))

    return scan_temperatures(TEMPERATURES, score, stage)


def _drawing(settings: Settings) -> EnlargeSettings:
    return EnlargeSettings.of(scale=SCALE, **settings.sampling(NUM_SAMPLES))


def _photos(held: PhotoPairs, chosen: Sequence[int]) -> Iterator[np.ndarray]:
    """Photos (H, W, 3) with sides cut to multiples of the scale, without unreadable and smaller ones.

    Raises:
        InputError: none is left.
    """
    count = 0
    for photo in readable_photos(held, chosen):
        height, width = (side // SCALE * SCALE for side in photo.shape[:2])
        if height and width:
            count += 1
            yield photo[:height, :width]
    if not count:
        raise InputError(
            f"{held.path}: no photo there can be read and is at least {SCALE}×{SCALE} pixels; give others"
        )


def _draw(model: nn.Module, photo: np.ndarray, drawing: EnlargeSettings) -> Samples:
    """Samples of what ``photo`` is averaged to."""
    variants = ENLARGE.iterate(model, Photo(average_blocks(photo, SCALE)), drawing)
    return Samples.draw((variant.image[None], variant.counts) for variant in variants)


def _similarities(photo: np.ndarray, made: Samples) -> list[float]:
    target = luminance(photo)
    return [gradient_similarity(luminance(image), target) for image in made.images]


@torch.no_grad()
def detail_nats(model: Any, photo: np.ndarray, seed: int) -> tuple[float, int, float]:
    """Nats of a photo's details given its block means, their number, and the round trip's error.

    Args:
        photo: uint8 (H, W, 3), of even sides.
    """
    device = device_of(model)
    images, given = (
        torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))[None] for x in (photo, halve(photo))
    )
    eps = normal(images.shape[1:], "score", seed, content_hash(photo), 0, 0)[None]
    batch = ImageBatch(images.to(device), given.to(device), eps.to(device))
    before, after = model.reconstruct(batch)
    return float(model(batch)[0]), 3 * given.numel(), float((after - before).abs().max())


class _Figures:
    """Running figures of all photos."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.rows: list[dict[str, float]] = []
        self.nats: list[list[tuple[float, int, float]]] = []
        self.shown: list[np.ndarray] = []
        self.spreads: list[Spread] = []
        self.counts, self.seconds, self.drawn, self.change = Counts(), 0.0, 0, 0

    @property
    def photos(self) -> int:
        return len(self.rows)

    def add(self, photo: np.ndarray, drawing: EnlargeSettings) -> None:
        """Draw from the small version of a photo, whose sides are multiples of the scale, and compare."""
        half = halve(photo)
        self.nats.append([detail_nats(self.model, picture, drawing.seed) for picture in (photo, half)])
        small = average_blocks(photo, SCALE)
        made = _draw(self.model, photo, drawing)
        target, simple = luminance(photo), bicubic(small, SCALE)
        lumas = luminance(made.images)
        mean = lumas.mean(0)
        if len(lumas) > 1:
            self.spreads.append(Spread.of(lumas, target))
        similarities = _similarities(photo, made)
        self.rows.append(
            {
                "psnr_of_mean": float(limited_psnr(mean[..., None], target[..., None])),
                "psnr_bicubic": float(limited_psnr(luminance(simple)[..., None], target[..., None])),
                "gms_best": max(similarities),
                "gms_sample": float(np.mean(similarities)),
                "gms_mean": gradient_similarity(mean, target),
                "gms_bicubic": gradient_similarity(luminance(simple), target),
                "diversity": diversity(made.images),
            }
        )
        self.change = max(self.change, largest_change(small, list(made.images), SCALE))
        self.counts, self.seconds = self.counts.plus(made.counts), self.seconds + made.seconds
        self.drawn += len(made.images)
        if len(self.shown) < SHOWN:
            best = made.images[int(np.argmax(similarities))]
            pictures = [np.kron(small, np.ones((SCALE, SCALE, 1), np.uint8)), np.rint(simple), best, photo]
            self.shown.append(np.stack([_middle(picture) for picture in pictures]))

    def figures(self) -> dict[str, Any]:
        """Means over photos; bits/dim over all details; NaN for what is relative to a loss of 0."""
        mean = {name: float(value) for name, value in mean_rows(self.rows).items()}
        levels = list(zip(*self.nats, strict=True))
        bits = {"bits_per_dim": _bits([term for level in levels for term in level])}
        bits |= {"bits_per_dim_x2": _bits(levels[0]), "bits_per_dim_x4": _bits(levels[1])}
        loss, bicubic_loss = 1 - mean["gms_best"], 1 - mean["gms_bicubic"]
        gains = {
            "psnr_gain": mean["psnr_of_mean"] - mean["psnr_bicubic"],
            "gms_loss_ratio": loss / bicubic_loss if bicubic_loss else math.nan,
        }
        figures = {
            "largest_change": self.change,
            "round_trip_data": float(np.max([error for level in levels for _, _, error in level])),
            "seconds_per_variant": self.seconds / max(1, self.drawn),
        }
        return bits | mean | gains | figures

    def sheets(self) -> dict[str, np.ndarray]:
        """A row per photo: its small version, bicubic, the best sample, the photo; the middle of each."""
        return {"enlarged": views.grid(np.stack(self.shown))} if self.shown else {}


def _bits(terms: Sequence[tuple[float, int, float]]) -> float:
    """Bits per detail."""
    return -sum(nats for nats, _, _ in terms) / (math.log(2) * sum(count for _, count, _ in terms))


def _middle(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture, uint8 (side, side, 3), repeated where it is smaller."""
    picture = picture.astype(np.uint8)
    top, left = (max(0, side - SHOWN_SIDE) // 2 // SCALE * SCALE for side in picture.shape[:2])
    cut = picture[top : top + SHOWN_SIDE, left : left + SHOWN_SIDE]
    padding = [(0, SHOWN_SIDE - side) for side in cut.shape[:2]]
    return np.pad(cut, [*padding, (0, 0)], mode="edge")
