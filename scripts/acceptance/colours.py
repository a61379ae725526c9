"""Colourings of photographs held out from training, and the ends of walks."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import vflow
from scripts.acceptance.digits import mnist
from scripts.acceptance.digits import model as digits_model
from scripts.acceptance.models import data, evaluated, loaded, size
from scripts.acceptance.registry import NotHere, Result, measure
from scripts.benchmarks import recognition as benchmark
from vflow.data.media import list_media, read_image, resize
from vflow.models import Colorizer
from vflow.pipelines.common import Temperature
from vflow.pipelines.evaluate.report import Settings
from vflow.pipelines.walk.walk import WalkSettings

PAIRS, PHOTOS = 10, 20
LABELLED = "cifar10-jpeg.zip"


def model() -> Colorizer:
    """The shipped checkpoint."""
    found = loaded("colorizer")
    assert isinstance(found, Colorizer), "colorizer colours nothing"
    return found


def pictures(count: int) -> list[np.ndarray]:
    """Held-out photos at their own size, uint8 (H, W, 3)."""
    files = list_media(data("photos", "val"))
    return [read_image(files[int(i)]).frames[0] for i in np.linspace(0, len(files) - 1, count)]


@measure("B")
def colour_photos() -> Result:
    """All photos of photos/val at their own size, 8 colourings each at T = 1, seed 0, float32; the tints are
    fitted to photos/train. RMSE over all pixels of the a and b planes, with the photo reduced to 64×64."""
    found = photos_coloured(1.0)
    under_grey = 100 * (1 - found["rmse_best"] / found["rmse_grey"])
    errors = ", ".join(f"{k.removeprefix('rmse_')} {found[k]:.2f}" for k in found if k.startswith("rmse_"))
    values = {"under_grey": under_grey, "under_tints": under_tints(found), "size": size("colorizer")}
    return Result(found | values, note=f"RMSE: {errors}")


@cache
def photos_coloured(temperature: Temperature) -> dict[str, Any]:
    """Figures of ``vflow evaluate`` on all photos of photos/val, 8 colourings each, seed 0."""
    held, train = data("photos", "val"), data("photos", "train")
    settings = Settings(
        data=str(held), train=str(train), num_importance_samples=1, limit=0, temperature=temperature
    )
    return evaluated(model(), settings)


def under_tints(found: dict[str, Any]) -> float:
    """Reduction of RMSE by the best of 8 relative to the best of eight k-means tints, in per cent."""
    return 100 * (1 - float(found["rmse_best"]) / float(found["rmse_tints"]))


@measure("B")
def walk_ends() -> Result:
    """20 held-out photos at strength 0; interpolations in 3 steps between 10 pairs of test digits and of
    photos."""
    some = pictures(PHOTOS)
    same = [vflow.colorize(model(), photo, num_samples=2, strength=0.0).astype(int) for photo in some]
    still = max(int(np.abs(made - photo).max()) for made, photo in zip(same, some, strict=True))
    images, _ = mnist(train=False)
    ends = 0
    for a, b in zip(images[:PAIRS], images[PAIRS : 2 * PAIRS], strict=True):
        frames = vflow.walk(digits_model(), [a, b], WalkSettings(kind="interpolate", steps=3)).frames
        frames = frames.reshape(3, 28, 28).astype(int)
        ends = max(ends, int(np.abs(frames[0] - a).max()), int(np.abs(frames[-1] - b).max()))
    return Result({"strength": still, "digits": ends, "colours": photo_ends(some)})


def photo_ends(some: list[np.ndarray]) -> int:
    """Largest difference of the ends of interpolations from both photos, the second at the first's size."""
    worst = 0
    for a, b in zip(some[:PAIRS], some[PAIRS:], strict=True):
        frames = vflow.walk(model(), [a, b], WalkSettings(kind="interpolate", steps=3)).frames.astype(int)
        second = resize(b[None], a.shape[0], a.shape[1], 3)[0]
        worst = max(worst, int(np.abs(frames[0] - a).max()), int(np.abs(frames[-1] - second).max()))
    return worst


@measure("K")
def recognition() -> Result:
    """scripts/benchmarks/recognition.py: a residual network is trained on CIFAR-10's training pictures in
    colour and classifies 2,000 test pictures in grey, in each checkpoint's first colouring, and in their own
    colours."""
    path = Path(os.environ.get("VFLOW_DATA", "")) / LABELLED
    if not path.is_file():
        raise NotHere(f"needs {LABELLED}: VFLOW_DATA=the folder that holds it")
    judge = benchmark.train_judge(benchmark.read(path, "train", benchmark.TAUGHT), benchmark.SECONDS)
    pictures = benchmark.read(path, "test", benchmark.COUNT)
    regions, tints = (
        benchmark.recognition(judge, name, pictures) for name in ("colorizer-regions", "colorizer")
    )
    values = {
        "regions": 100 * regions["recovered"],
        "tints": 100 * tints["recovered"],
        "grey": 100 * regions["accuracy_grey"],
        "real": 100 * regions["accuracy_real"],
    }
    return Result(values, note=f"standard error {100 * regions['standard_error']:.0f} points")
