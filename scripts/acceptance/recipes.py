"""Shipped checkpoints made anew by their recipes, from nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np

from scripts.acceptance.models import GIVEN, data, silent
from scripts.acceptance.predictions import PSNR_AT, psnr_by_clip
from scripts.acceptance.registry import Figure, NotHere, Result, measure
from vflow.checkpoint import checkpoint_folder, load, read_statistics
from vflow.models import VideoModel
from vflow.pipelines.evaluate.color import evaluate_color
from vflow.pipelines.evaluate.data import open_clips
from vflow.pipelines.evaluate.rain import evaluate_rain
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


def ratio(name: str) -> Figure:
    """Figure of a checkpoint's recipe."""
    return Figure(f"{name} made by its recipe: validation bits/dim relative to what ships", at_most=1.05)


@measure("H", ratio=ratio("shapes"))
def recipe_shapes() -> Result:
    """`vflow train --recipe shapes` from scratch, bits/dim of its last validation; a run
    that VFLOW_RUNS already holds is continued, and counts if it is finished."""
    return compared("shapes")


@measure("H", ratio=ratio("shapes-guided"))
def recipe_shapes_guided() -> Result:
    """As recipe_shapes."""
    return compared("shapes-guided")


@measure("H", ratio=ratio("codec-photo"))
def recipe_codec_photo() -> Result:
    """As recipe_shapes, on photos/train."""
    return compared("codec-photo", data("photos", "train").parent)


@measure("H", ratio=ratio("enlarge"))
def recipe_enlarge() -> Result:
    """As recipe_shapes, on photos/train."""
    return compared("enlarge", data("photos", "train").parent)


@measure("H", ratio=ratio("grasp"))
def recipe_grasp() -> Result:
    """As recipe_shapes, on grasp/train."""
    return compared("grasp", data("grasp", "train"))


@measure(
    "H",
    ratio=ratio("push"),
    gain=Figure(
        "push made by its recipe: PSNR of the best of 20 at the 5th frame relative to what ships",
        "dB",
        at_least=-0.2,
    ),
    interval=Figure("half of the 95% interval of that gain", "dB"),
)
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


@measure("H", ratio=ratio("push-wavelet"))
def recipe_push_wavelet() -> Result:
    """As recipe_shapes, on push/train."""
    return compared("push-wavelet", data("push", "train").parent)


@measure("H", ratio=ratio("digits"))
def recipe_digits() -> Result:
    """As recipe_shapes, on MNIST."""
    return compared("digits", data("MNIST", "raw").parent)


@measure("H", ratio=ratio("codec-clip"))
def recipe_codec_clip() -> Result:
    """As recipe_shapes, on a folder that holds push/train and grasp/train."""
    both = runs() / "clips"
    both.mkdir(parents=True, exist_ok=True)
    for name in ("push", "grasp"):
        (both / name).unlink(missing_ok=True)
        (both / name).symlink_to(data(name, "train").absolute())
    return compared("codec-clip", both)


@measure(
    "H", ratio=Figure("rain made by its recipe: CRPS on the test event relative to what ships", at_most=1.05)
)
def recipe_rain() -> Result:
    """As recipe_shapes, on rain/train, of which nothing is left for validation; `vflow evaluate` of both."""
    settings = Settings(data=str(data("rain", "test")), temperature=1.0)
    folders = remade("rain", data("rain", "train").parent), checkpoint_folder("rain")
    models: list[Any] = [load(folder) for folder in folders]
    new, old = (evaluate_rain(model, settings, silent).figures["crps"] for model in models)
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
        return float(evaluate_color(model, settings, silent).figures["rmse_best"])

    new, old = error(made), error(checkpoint_folder(name))
    return Result({"ratio": new / old}, note=f"ab RMSE {new:.2f}, shipped {old:.2f}")


def error_ratio(name: str) -> Figure:
    """Figure of a colouriser's recipe."""
    what = "ab RMSE of the best of 8 on test photos, relative to what ships"
    return Figure(f"{name} made by its recipe: {what}", at_most=1.05)


@measure("H", ratio=error_ratio("colorizer"))
def recipe_colorizer() -> Result:
    """As recipe_shapes, on `colour` (docs/TRAINING.md); eight colourings of each photo of photos/val at the
    suggested temperatures by `vflow evaluate`, for both."""
    return coloured("colorizer", remade("colorizer", data("colour", "train").parent))


@measure("H", ratio=error_ratio("colorizer-regions"))
def recipe_colorizer_regions() -> Result:
    """As recipe_colorizer, on `regions/train`: a third of CIFAR-10's training pictures, three eighths of Tiny
    ImageNet's, and photos/train twice, without those that resemble a test photo."""
    return coloured("colorizer-regions", remade("colorizer-regions", data("regions", "train")))
