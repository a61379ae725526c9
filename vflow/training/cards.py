"""The model card of a run's commits: by what command, on which data, where and for how long."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, fields
from pathlib import Path

from accelerate import Accelerator

from vflow.card import model_card
from vflow.config import Preset
from vflow.pipelines.compute import versions
from vflow.training.options import TrainOptions
from vflow.training.progress import Progress

UNTOLD = {"resume", "keep", "dry_run", "tensorboard", "debug"}  # flags that do not change the weights
PATHS = {"config", "output", "data", "init_from"}  # their last part only: cards are published


def command_line(options: TrainOptions) -> str:
    """The ``vflow train`` command that ``options`` stand for, without folders of this machine."""
    words = ["vflow", "train"]
    for field in fields(TrainOptions):
        value = getattr(options, field.name)
        if field.name in UNTOLD or (field.default is not MISSING and value == field.default):
            continue
        texts = [str(v) for v in value] if isinstance(value, tuple) else [str(value)]
        if field.name in PATHS and Path(texts[0]).exists():
            texts = [Path(texts[0]).resolve().name]
        words += [f"--{field.name.replace('_', '-')}", *texts]
    return shlex.join(words)


def run_card(
    options: TrainOptions, preset: Preset, progress: Progress, examples: int, accelerator: Accelerator
) -> str:
    """Markdown for the commit at ``progress``; ``examples`` are those of the training split."""
    data = preset.data
    source = f", `{Path(data.path).name}`" if data.path else ""
    hours, minutes = divmod(round(progress.seconds / 60), 60)
    processes = f"{accelerator.num_processes} process(es) on {accelerator.device.type}"
    of = versions()
    facts = {
        "data": f"`{data.name}`{source}: {examples:,} training examples",
        "command": f"`{command_line(options)}`",
        "training": f"{hours} h {minutes:02d} min, {processes}, batches of {preset.training.batch_size}",
        "versions": ", ".join(f"{name} {of[name]}" for name in ("vflow", "torch", "python")),
    }
    statistics = {"step": progress.step, "val_bits_per_dim": progress.val_bits_per_dim}
    title = options.output.resolve().name
    return model_card(title, preset.model, statistics, facts)
