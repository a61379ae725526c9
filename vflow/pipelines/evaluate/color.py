"""Evaluation of models that colour photographs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from vflow.data import media
from vflow.data.datasets.photos import Photos
from vflow.metrics.color import Tints, Verdict, judge, means, reduced, rmse
from vflow.pipelines.color.colorize import PhotoColorizer
from vflow.pipelines.color.photo import color_config, prepare_photo
from vflow.pipelines.common import CHUNK, Counts, evenly_spaced, image_nats
from vflow.pipelines.evaluate.data import open_photos, readable_photos
from vflow.pipelines.evaluate.report import (
    Evaluation,
    Samples,
    Settings,
    Stage,
    fault_figures,
    scan_temperatures,
)
from vflow.pipelines.evaluate.round_trip import image_batch, round_trip
from vflow.pipelines.walk import render as views
from vflow.randomness import generator
from vflow.tasks.colorize.settings import ColorSettings

USUAL_PHOTOS, NUM_SAMPLES, TINTS = 128, 8, 8
TINT_PHOTOS = 1500
"""Training photos that the tints are fitted to."""
TEMPERATURES = (0.4, 0.6, 0.8, 0.9, 1.0, 1.1)
TUNING_PHOTOS = 32
CHECKED, SHOWN, SHOWN_SIDE = 32, 8, 128
LEVEL_PHOTOS = 16
"""Photos on which each level's noise alone is redrawn."""
COLORLESS = 0.01
"""Units of a and b, colourfulness or variance that are no colour to be relative to: grey has up to 0.005."""
YARDSTICKS = ("mean_tint", "tints")
"""Figures that need training photos."""


def draw(model: nn.Module, photo: np.ndarray, settings: ColorSettings, *, apart: bool = False) -> Samples:
    """Colourings (N, H, W, 3) that ``vflow colorize`` draws of a photo, uint8 (H, W, 3).

    Args:
        apart: independent draws instead, not those that stand for many.
    """
    colorizer = PhotoColorizer(model, prepare_photo(color_config(model), photo), settings)
    if apart:
        colorizer.noise = replace(colorizer.noise, representative=False)
    return Samples.draw((colorizer.join(ab), counts) for _, ab, counts in colorizer.draw())


def evaluate_color(model: nn.Module, settings: Settings, stage: Stage) -> Evaluation:
    """All figures of a colouriser.

    Raises:
        ConfigError, InputError: no such photos.
    """
    config = color_config(model)
    held, train, places = open_photos(settings, config)
    chosen = held.usable_of(evenly_spaced(len(held), settings.count(len(held), USUAL_PHOTOS)))
    stage("bits/dim")
    figures = _likelihood(model, held, chosen, settings)
    stage("tints")
    tints, level, fitted = _tints(train)
    drawing = _drawing(settings)
    running, progress = _Figures(tints, level), stage("photos")
    for done, photo in enumerate(readable_photos(held, chosen), 1):
        apart = draw(model, photo, drawing, apart=True)
        running.add(photo, draw(model, photo, drawing), apart.images)
        if done <= LEVEL_PHOTOS:
            running.level_variances.append(level_variances(model, photo, drawing))
        progress(done, len(chosen))
    figures |= running.figures(with_yardsticks=train is not None) | fault_figures(model, running.counts)
    protocol: dict[str, Any] = {
        "data": settings.data, "split": settings.split, "photos": len(running.verdicts),
        "photos_available": len(held),
        "noise": config.noise, "draws": sorted({1, settings.num_importance_samples}),
        "num_samples": drawing.num_samples, "temperature": drawing.temperature,
        "rmse": "of a and b of CIE Lab, whole photos reduced to 64×64; the best is chosen per photo",
        "independent": "draws apart from each other, not the eight that stand for many",
        "variance_by_level": f"fine to coarse, as one level is redrawn, {LEVEL_PHOTOS} photos",
        "per_pixel": "the best is chosen anew at each pixel, of the samples and of as many of white noise",
        "tints": f"{TINTS} by k-means on {fitted} training photos, the best chosen per photo",
        "source": places.name,
    }  # fmt: skip
    return Evaluation(figures, protocol, running.sheets())


def tune_color(model: nn.Module, settings: Settings, stage: Stage) -> dict[float, float]:
    """Temperature → minus the error of the best colouring of validation photos.

    Raises:
        ConfigError: no training photos, of which validation is a part. InputError: none can be used.
    """
    validation = open_photos(replace(settings, split="validation"), color_config(model))[0]
    chosen = evenly_spaced(len(validation), settings.count(TUNING_PHOTOS, TUNING_PHOTOS))
    photos = list(readable_photos(validation, validation.usable_of(chosen)))

    def score(temperature: float) -> float:
        drawing = _drawing(replace(settings, temperature=temperature))
        return -float(np.mean([_errors(draw(model, photo, drawing).images, photo).min() for photo in photos]))

    return scan_temperatures(TEMPERATURES, score, stage)


def _drawing(settings: Settings) -> ColorSettings:
    return ColorSettings.of(**settings.sampling(NUM_SAMPLES))


@torch.no_grad()
def level_variances(model: Any, photo: np.ndarray, settings: ColorSettings) -> np.ndarray:
    """Variance of a and b, mean over pixels, as each level's noise alone is redrawn: (levels,), ab units²."""
    colorizer = PhotoColorizer(model, prepare_photo(color_config(model), photo), settings)
    noise = replace(colorizer.noise, representative=False)
    first, *others = [noise.variant((k,)) for k in range(CHUNK + 1)]
    found = []
    for level in range(len(first)):
        rows = [(*first[:level], other[level], *first[level + 1 :]) for other in others]
        eps = [torch.stack(parts).to(colorizer.condition.device) for parts in zip(*rows, strict=True)]
        found.append(float(colorizer.decode(eps).raw.var(0).mean()))
    return np.array(found)


def _errors(images: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """RMSE of each colouring (N,)."""
    return rmse(np.stack([reduced(image) for image in images]), reduced(photo))


def _tints(train: Photos | None) -> tuple[Tints, float, int]:
    """Yardsticks, root mean square of a and b, and of how many photos; of grey where there are none."""
    if train is None:
        return Tints(np.zeros(2), np.zeros((1, 2))), 0.0, 0
    small = [reduced(photo) for photo in readable_photos(train, evenly_spaced(len(train), TINT_PHOTOS))]
    level = float(np.sqrt(np.mean([np.square(ab).mean() for ab in small])))
    return Tints.fit(small, min(TINTS, len(small))), level, len(small)


def _likelihood(model: Any, held: Photos, chosen: Sequence[int], settings: Settings) -> dict[str, Any]:
    """Bits/dim of a and b at the model's size given L, and the round trip."""
    examples = [held.example(index, (0, 0)) for index in chosen]
    images = torch.from_numpy(np.stack([e.image.transpose(2, 0, 1) for e in examples]).copy())
    given = torch.from_numpy(np.stack([e.condition for e in examples]))
    scale = math.log(2) * images[0].numel()
    figures = {}
    for draws in sorted({1, settings.num_importance_samples}):
        nats = image_nats(model, images, given, draws, settings.seed)
        figures["bits_per_dim" if draws == 1 else f"bits_per_dim_k{draws}"] = -nats.mean() / scale
    return figures | round_trip(model, [image_batch(model, images[:CHECKED], given[:CHECKED])])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > COLORLESS else math.nan


class _Figures:
    """Running figures of all photos."""

    def __init__(self, tints: Tints, level: float) -> None:
        self.tints, self.level = tints, level
        self.verdicts: list[Verdict] = []
        self.apart: list[float] = []
        self.level_variances: list[np.ndarray] = []
        self.per_pixel: list[tuple[float, float]] = []
        self.shown: dict[str, list[np.ndarray]] = {"best": [], "worst": [], "random": []}
        self.counts, self.seconds, self.drawn = Counts(), 0.0, 0

    def add(self, photo: np.ndarray, made: Samples, apart: np.ndarray) -> None:
        """Compare the colourings of one photo with it; ``apart`` are as many independent ones."""
        self.verdicts.append(judge(made.images, photo, self.tints))
        self.apart.append(float(_errors(apart, photo).min()))
        self.per_pixel.append(self._pixelwise(made.images, photo))
        self.counts, self.seconds = self.counts.plus(made.counts), self.seconds + made.seconds
        self.drawn += len(made.images)
        if len(self.verdicts) <= SHOWN:
            errors = _errors(made.images, photo)
            for name, sample in (("best", errors.argmin()), ("worst", errors.argmax()), ("random", 0)):
                pair = np.stack([photo, made.images[sample]])
                self.shown[name].append(media.resize(pair, SHOWN_SIDE, SHOWN_SIDE, 3))

    def _pixelwise(self, images: np.ndarray, photo: np.ndarray) -> tuple[float, float]:
        """Error when the best is chosen at each pixel: of the colourings, and of as many of white noise."""
        truth = reduced(photo)
        ab = np.stack([reduced(image) for image in images])
        random = generator("white noise", len(self.verdicts))
        noise = self.level * random.standard_normal(ab.shape)
        best = [((x - truth) ** 2).mean(1).min(0).mean() for x in (ab, noise)]
        return float(np.sqrt(best[0])), float(np.sqrt(best[1]))

    def figures(self, *, with_yardsticks: bool) -> dict[str, Any]:
        """Means over photos; NaN for what is relative to colours or variants that do not differ."""
        mean = means(self.verdicts)._asdict()
        errors = {f"rmse_{name}": mean.pop(name) for name in ("best", "first", "grey", *YARDSTICKS)}
        errors["rmse_best_independent"] = float(np.mean(self.apart))
        pixels, noise = np.mean(self.per_pixel, axis=0)
        errors |= {"rmse_best_per_pixel": pixels, "rmse_noise_per_pixel": noise}
        if not with_yardsticks:
            errors |= dict.fromkeys(("rmse_mean_tint", "rmse_tints", "rmse_noise_per_pixel"))
        shares = {
            f"{name}_{against}": errors[f"rmse_{name}"] / errors[f"rmse_{against}"] - 1
            for name in ("best", "best_independent", "first")
            for against in ("grey", "tints")
            if (errors[f"rmse_{against}"] or 0) > COLORLESS
        }
        by_level = np.sum(self.level_variances, axis=0)
        figures = {
            "spread_within": mean["spread"],
            "spread_within_real": mean["true_spread"],
            "spread_within_ratio": _ratio(mean["spread"], mean["true_spread"]),
            "spread_over_variants": mean["diversity"],
            "variance_beside_mean_color": 1 - _ratio(mean["mean_color_variance"], mean["variance"]),
            "variance_by_level": by_level / max(by_level.sum(), 1e-9),
            "colorfulness_ratio": _ratio(mean["colorfulness"], mean["true_colorfulness"]),
            "largest_lightness_change": mean["lightness"],
            "seconds_per_picture": self.seconds / max(1, self.drawn),
        }
        return errors | shares | figures

    def sheets(self) -> dict[str, np.ndarray]:
        """The photo and one of its colourings, a row per photo."""
        return {name: views.grid(np.stack(rows)) for name, rows in self.shown.items() if rows}
