"""Shipped checkpoints made anew by their recipes, from nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from scripts.acceptance.models import GIVEN, data, evaluated
from scripts.acceptance.predictions import PSNR_AT, psnr_by_clip
from scripts.acceptance.registry import NotHere, Result, measure
from vflow.checkpoint import checkpoint_folder, load, read_statistics
from vflow.models import VideoModel
from vflow.pipelines.evaluate.data import open_clips
from vflow.pipelines.evaluate.report import Settings
from vflow.pipelines.video.preprocess import video_config


def runs() -> Path:
    """Folder of the runs: ``VFLOW_RUNS``, or ~/vflow-runs."""
    return Path(os.environ.get("VFLOW_RUNS", "~/vflow-runs")).expanduser()


def remade(name: str, folder: Path | None = None) -> Path:
    """Folder of checkpoint ``name`` made by its recipe from the data in ``folder``.

    It is made in ``runs()``; what was done there before counts.
    """
    output = runs() / name
    given = ["--data", str(folder)] if folder else []
    command = ["train", "--recipe", name, *given, "--output", str(output), "--threads", "1", "--resume"]
    if subprocess.run([sys.executable, "-m", "vflow", *command], check=False).returncode:
        raise NotHere(f"vflow {' '.join(command)} did not end")
    return output / "model"


def compared(name: str, folder: Path | None = None) -> Result:
    """Validation bits/dim of checkpoint ``name`` made by its recipe, over those of what ships."""
    new, old = (read_statistics(path) for path in (remade(name, folder), checkpoint_folder(name)))
    return Result({"ratio": float(new["val_bits_per_dim"] / old["val_bits_per_dim"])})


def both_clips() -> Path:
    """Folder with links to push/train and grasp/train."""
    both = runs() / "clips"
    both.mkdir(parents=True, exist_ok=True)
    for name in ("push", "grasp"):
        (both / name).unlink(missing_ok=True)
        (both / name).symlink_to(data(name, "train").absolute())
    return both


MADE: dict[str, tuple[str, Callable[[], Path | None]]] = {
    "shapes-guided": ("", lambda: None),
    "codec-photo": (", on codec (photos/ and photographs/)", lambda: data("codec", "photos").parent),
    "enlarge": (", on photos/train", lambda: data("photos", "train").parent),
    "grasp": (", on grasp/train", lambda: data("grasp", "train")),
    "digits": (", on MNIST", lambda: data("MNIST", "raw").parent),
    "codec-clip": (", on a folder that holds push/train and grasp/train", both_clips),
}
"""Checkpoint whose recipe is measured as that of shapes → its data, in words and as the recipe takes them."""


@measure("H")
def recipe_shapes() -> Result:
    """`vflow train --recipe shapes` from scratch, bits/dim of its last validation; a run
    that VFLOW_RUNS already holds is continued, and counts if it is finished."""
    return compared("shapes")


def _made(name: str) -> Result:
    return compared(name, MADE[name][1]())


for _name, (_words, _) in MADE.items():
    measure("H", f"recipe_{_name.replace('-', '_')}", f"As recipe_shapes{_words}.")(partial(_made, _name))


@measure("H")
def recipe_push() -> Result:
    """As recipe_shapes, on push/train; and futures of its validation clips, given 3 frames, by both at their
    suggested temperatures, paired: the best of 20 by the mean over five frames."""
    folder = data("push", "train").parent
    bits, folders = compared("push", folder), (remade("push", folder), checkpoint_folder("push"))
    new, old = (cast(VideoModel, load(path)) for path in folders)
    settings = Settings(data=str(folder), split="validation", num_frames=PSNR_AT, context=GIVEN)
    held = open_clips(settings, video_config(old))
    clips = np.stack(held.chosen(len(held.held)))
    return Result({**bits.values, **gain(new, old, clips)}, note=f"futures of {len(clips)} clips")


def gain(new: VideoModel, old: VideoModel, clips: np.ndarray) -> dict[str, float]:
    """Mean gain of the best of 20 futures of ``new`` over ``old``, dB, and 1.96 standard errors of it."""
    best = [psnr_by_clip(model, clips, model.config.temperature)["best"] for model in (new, old)]
    difference = best[0] - best[1]
    error = difference.std(ddof=1) / len(clips) ** 0.5
    return {"gain": float(difference.mean()), "interval": 1.96 * float(error)}


@measure("H")
def recipe_rain() -> Result:
    """As recipe_shapes, on rain/train, of which nothing is left for validation; `vflow evaluate` of both."""
    settings = Settings(data=str(data("rain", "test")), temperature=1.0)
    folders = remade("rain", data("rain", "train").parent), checkpoint_folder("rain")
    new, old = (evaluated(load(folder), settings)["crps"] for folder in folders)
    return Result({"ratio": new / old}, note=f"CRPS {new:.3f} mm/h, shipped {old:.3f}")


def coloured(name: str, made: Path) -> Result:
    """Error of the best of eight colourings of each photo of photos/val, ``made`` over shipped."""

    def error(folder: Path) -> float:
        model: Any = load(folder)
        settings = Settings(
            data=str(data("photos", "val")),
            num_importance_samples=1,
            limit=0,
            temperature=model.config.temperature,
        )
        return float(evaluated(model, settings)["rmse_best"])

    new, old = error(made), error(checkpoint_folder(name))
    return Result({"ratio": new / old}, note=f"ab RMSE {new:.2f}, shipped {old:.2f}")


@measure("H")
def recipe_colorizer() -> Result:
    """As recipe_shapes, on `colour` (docs/TRAINING.md); eight colourings of each photo of photos/val at the
    suggested temperatures by `vflow evaluate`, for both."""
    return coloured("colorizer", remade("colorizer", data("colour", "train").parent))


@measure("H")
def recipe_colorizer_regions() -> Result:
    """As recipe_colorizer, on `regions/train`: a third of CIFAR-10's training pictures, three eighths of Tiny
    ImageNet's, and photos/train twice, without those that resemble a test photo."""
    return coloured("colorizer-regions", remade("colorizer-regions", data("regions", "train")))
