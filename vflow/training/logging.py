"""Log of a run: log.jsonl, a progress bar, sample grids, model card, TensorBoard on request."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from accelerate import Accelerator
from tqdm import tqdm

from vflow.card import model_card
from vflow.config import ModelConfig, Preset
from vflow.data.media import atomic_write, write_png, write_video
from vflow.disk import parse_json
from vflow.pipelines.common import versions
from vflow.pipelines.walk.render import tiles
from vflow.training.args import TrainOptions
from vflow.training.data import Samples
from vflow.training.distributed import processes
from vflow.training.state import Progress

LOG, SHEETS = "log.jsonl", "samples"
"""Names in a run's folder."""
Line = dict[str, Any]


def unit_of(model: ModelConfig) -> str:
    """Plural of the things that a ``model`` sees, by which speed counts."""
    match model.family:
        case "density":
            return "points"
        case "videoflow" | "nowcast":
            return "frames"
        case _:
            return "frames" if model.kind == "clip_codec" else "images"


def announce(accelerator: Accelerator, text: str) -> None:
    """Say on stderr what a run does before its log is open; the main process alone."""
    if accelerator.is_main_process:
        print(text, file=sys.stderr, flush=True)


class RunLog:
    """Writes log.jsonl, one JSON object a line, and shows a progress bar on stderr.

    Args:
        path: of log.jsonl; None on processes that do not report.
        total, initial: steps of the run, and steps done before.
        tensorboard: folder for events, None for none.
        unit: of the speed that is shown, as ``unit_of`` has it.
    """

    def __init__(
        self, path: Path | None, total: int, initial: int, tensorboard: Path | None, unit: str
    ) -> None:
        self._unit = unit
        self._path = path or Path()
        self._file = path.open("a", encoding="utf-8") if path else None
        interactive = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=initial,
            unit="step",
            disable=path is None,
            mininterval=0.2 if interactive else 30.0,
            dynamic_ncols=interactive,
        )
        self._events: Any = None
        if path and tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(tensorboard))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._file:
            self._file.close()
        if self._events:
            self._events.close()

    def tick(self, loss: str, frames_per_s: float, skipped: int) -> None:
        """One step done; show the loss in words, the speed and, if any, skipped steps."""
        text = f"{loss}, {frames_per_s:.0f} {self._unit}/s"
        self._bar.set_postfix_str(text + (f", {skipped} skipped" if skipped else ""), refresh=False)
        self._bar.update()

    def expect(self, total: int) -> None:
        """Let the bar end at another number of steps."""
        self._bar.total = max(total, self._bar.n + 1)

    def write(self, line: Line) -> None:
        """Append ``line`` and flush it, NaN and infinities as null; numbers also go to TensorBoard."""
        if self._file is None:
            return
        unknown = {k: None for k, v in line.items() if isinstance(v, float) and not math.isfinite(v)}
        self._file.write(json.dumps(line | unknown, allow_nan=False) + "\n")
        self._file.flush()
        if self._events:
            for key, value in line.items():
                if isinstance(value, int | float) and key != "step":
                    self._events.add_scalar(key, value, line.get("step"))

    def rewind(self, step: int) -> None:
        """Forget what was logged after ``step``, before the steps from there are taken again."""
        if self._file is None:
            return
        self._file.close()
        rewind_log(self._path, step)
        self._file = self._path.open("a", encoding="utf-8")
        self._bar.reset(self._bar.total)
        self._bar.update(step)

    def say(self, text: str) -> None:
        """A remark on stderr that does not tear the bar."""
        if self._file is not None:
            tqdm.write(text, file=sys.stderr)


def read_log(path: Path) -> list[Line]:
    """Lines of a log up to the first that is damaged, such as a last one that a kill cut short."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            line = parse_json(text)
        except ValueError:
            break
        if not isinstance(line, dict) or not isinstance(line.get("step", 0), int):
            break
        lines.append(line)
    return lines


def rewind_log(path: Path, step: int) -> None:
    """Drop what was logged after ``step``, so that a resumed run logs each step once; atomic."""
    kept = [line for line in read_log(path) if line.get("step", 0) <= step and "status" not in line]
    with atomic_write(path) as draft:
        draft.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


GREY = 127  # between pictures


def grid(rows: np.ndarray) -> np.ndarray:
    """Rows of pictures (R, T, H, W, C) as one: (R·H + gaps, T·W + gaps, C)."""
    return tiles(rows.reshape(-1, *rows.shape[2:]), rows.shape[1], GREY)


def write_samples(folder: Path, step: int, samples: Samples) -> None:
    """Write step_NNNNNNN.png and, if it moves, .gif to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / f"step_{step:07d}.png", samples.picture)
    if samples.animation is not None:
        write_video(folder / f"step_{step:07d}.gif", samples.animation, samples.fps)


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
    options: TrainOptions,
    command: str,
    preset: Preset,
    progress: Progress,
    examples: int,
    accelerator: Accelerator,
    pictures: Iterable[str],
) -> str:
    """Markdown for the commit at ``progress``; ``examples`` are those of the training split, ``pictures``
    names of files beside it."""
    data = preset.data
    source = f", `{Path(data.path).name}`" if data.path else ""
    hours, minutes = divmod(round(progress.seconds / 60), 60)
    where = f"{processes(accelerator)} on {accelerator.device.type}"
    of = versions()
    facts = {
        "data": f"`{data.name}`{source}: {examples:,} training examples",
        "command": f"`{command}`",
        "training": f"{hours} h {minutes:02d} min, {where}, batches of {preset.training.batch_size}",
        "versions": ", ".join(f"{name} {of[name]}" for name in ("vflow", "torch", "python")),
    }
    statistics = {"step": progress.step, "val_bits_per_dim": progress.val_bits_per_dim}
    title = options.output.resolve().name
    return model_card(title, preset.model, statistics, facts, pictures)
