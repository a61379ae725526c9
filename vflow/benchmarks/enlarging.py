"""Set5 and Set14 (Bevilacqua et al. 2012, Zeyde et al. 2010), enlarged four times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from vflow.benchmarks.base import UNCONFIRMED, Benchmark, Row, checked
from vflow.checkpoint import load
from vflow.data.media import read_image
from vflow.metrics.super_resolution import Spread, gradient_similarity, luminance
from vflow.metrics.video import psnr, ssim
from vflow.models import Colorizer
from vflow.pipelines.color.photo import as_picture
from vflow.pipelines.upscale import super_resolution_config, upscale

SCALE, BORDER, VARIANTS = 4, 4, 8
PUBLISHED = {"set5": (28.42, 30.08, 30.33), "set14": (26.09, 27.13, 27.40)}
FIGURES = {"psnr": 2, "ssim": 3, "gms": 3, "features": 4}  # decimals
INTERVAL = {"inside": 3, "steep": 3, "width": 2}
HEADROOM, RANGE = 16, 219 / 255  # of 8-bit luma in MATLAB's rgb2ycbcr


def luma(images: np.ndarray) -> np.ndarray:
    """Luma 16..235 of RGB (…, H, W, 3), as the papers' figures take it, without the border, (…, h, w, 1)."""
    inside = images[..., BORDER:-BORDER, BORDER:-BORDER, :]
    return (HEADROOM + RANGE * luminance(inside))[..., None]


def feature_distance(backbone: Any, image: np.ndarray, target: np.ndarray) -> float:
    """Distance of features of luma (h, w, 1), unit vectors at each place, as Zhang et al. 2018 have it.

    Mean over three scales of EfficientNet-Lite0, which ``enlarge`` was not trained with.
    """
    height, width = (side // 16 * 16 for side in target.shape[:2])
    pair = torch.from_numpy(np.stack([image, target])[:, :height, :width, 0].astype(np.float32))
    with torch.no_grad():
        levels = backbone((pair[:, None] - HEADROOM) / RANGE / 2.55)
    gaps = [(F.normalize(level, dim=1).diff(dim=0) ** 2).sum(1).mean() for level in levels]
    return float(torch.stack(gaps).mean())


def figures(made: Sequence[np.ndarray], target: np.ndarray, backbone: Any) -> np.ndarray:
    """PSNR, SSIM, gradient similarity and feature distance of lumas (h, w, 1): means over ``made``."""
    rows = [
        [
            float(psnr(image, target)),
            float(ssim(image, target)),
            gradient_similarity(image[..., 0], target[..., 0]),
            feature_distance(backbone, image, target),
        ]
        for image in made
    ]
    return np.mean(rows, axis=0)


def run(name: str, folder: Path, seeds: range) -> Iterator[Row]:
    """Rows of a set: the mean of eight variants, one variant, bicubic interpolation, and published ones."""
    model, colorizer = load("enlarge"), load("colorizer")
    assert isinstance(colorizer, Colorizer)
    paths = {path.name: path for path in checked(folder, name)}
    reach = super_resolution_config(model).interval
    rows: dict[str, list[list[np.ndarray]]] = {"mean": [], "one": [], "bicubic": []}
    spreads: list[list[Spread]] = [[] for _ in seeds]
    for file in (file for file in paths if file.endswith("_HR.png")):
        photo, small = (
            as_picture(read_image(paths[x]).frames[0]) for x in (file, file.replace("_HR", "_LR"))
        )
        target = luma(photo)
        simple = luma(np.asarray(Image.fromarray(small).resize(photo.shape[1::-1], Image.Resampling.BICUBIC)))
        rows["bicubic"].append([figures([simple], target, colorizer.backbone)])
        draw = partial(upscale, model, small, scale=SCALE, num_samples=VARIANTS, reduction="bicubic")
        drawn = [draw(seed=seed) for seed in seeds]
        made = [luma(variants) for variants in drawn]
        rows["mean"].append([figures([one.mean(0)], target, colorizer.backbone) for one in made])
        rows["one"].append([figures(list(one), target, colorizer.backbone) for one in made])
        for variants, found in zip(drawn, spreads, strict=True):
            found.append(Spread.of(luminance(variants), luminance(photo), BORDER))
    nothing = dict.fromkeys(INTERVAL)
    interval = nothing
    if reach is not None:
        inside = [[*Spread.joined(found).figures(reach).values()] for found in spreads]
        interval = _spread(np.array(inside), INTERVAL)
    labels = {"mean": f"`enlarge`, mean of {VARIANTS}", "one": "`enlarge`, one variant", "bicubic": "bicubic"}
    for key, label in labels.items():
        cells = _spread(np.mean(rows[key], axis=0), FIGURES)
        yield {"what": label} | cells | (interval if key == "mean" else nothing)
    for label, value in zip(("bicubic", "SRCNN", "SelfExSR"), PUBLISHED[name], strict=True):
        own = dict.fromkeys(FIGURES) | {"psnr": f"{value:.2f}"}
        yield {"what": f"{label} ({UNCONFIRMED})"} | own | nothing


def _spread(seeds: np.ndarray, digits: Mapping[str, int]) -> dict[str, str | None]:
    """Means of (seeds, figures), and their standard deviations if there are several seeds."""
    cells: dict[str, str | None] = {}
    for (name, places), column in zip(digits.items(), seeds.T, strict=True):
        spread = f" ± {column.std(ddof=1):.{places}f}" if len(column) > 1 else ""
        cells[name] = f"{column.mean():.{places}f}{spread}"
    return cells


def _benchmark(name: str, title: str, pictures: int) -> Benchmark:
    return Benchmark(
        f"{title}: {pictures} pictures enlarged four times",
        f"sr/{title}",
        partial(run, name),
        {
            "what": "picture",
            "psnr": "PSNR, dB",
            "ssim": "SSIM",
            "gms": "gradient similarity",
            "features": "distance of features",
            "inside": "truth inside the 90% interval",
            "steep": "where it is steepest",
            "width": "mean width over a constant one's",
        },
        "Of luma 16..235 without a border of 4 pixels, at the suggested temperature; mean over pictures, ± "
        "the deviation over seeds. The small pictures were reduced by bicubic interpolation (Huang et al. "
        "2015), where `enlarge` expects means of blocks, which are estimated first: its variants average "
        "back to these exactly, the true pictures only nearly. Steepest: the quarter of the pixels with the "
        "largest gradients. Features: EfficientNet-Lite0's, as in Zhang et al. 2018. Published: SRCNN (Dong "
        "et al. 2014), SelfExSR (Huang et al. 2015)",
    )


SET5, SET14 = _benchmark("set5", "Set5", 5), _benchmark("set14", "Set14", 14)
