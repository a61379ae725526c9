"""Surprisal of a clip on the page and on disk: its figures, maps, sheet and film."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from vflow.data import media
from vflow.errors import VflowError
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.common import versions
from vflow.pipelines.runner import Step
from vflow.pipelines.video import export
from vflow.pipelines.video.score import check_finite
from vflow.pipelines.video.stats import load_clip_statistics
from vflow.pipelines.video.surprisal import FittedClip, Surprisal, finalize, iterate, prepare
from vflow.registry import families

from ..shared.context import AppContext
from ..shared.events import ON_CLICK, html_block
from ..shared.faces import SETTINGS, Face, Job
from ..shared.fit import length_for
from ..shared.jobs import Clock
from . import examples, html

MAX_FRAMES = 60
"""Frames that the page looks at, of longer clips the first."""


def expected_seconds(app: AppContext, name: str | None, paths: Sequence[str] | None) -> float | None:
    """Time that a clip will take; None where nothing is known, or there is none that can be read."""
    config = app.video_config(name)
    if config is None or not paths:
        return None
    try:
        frames = length_for(app, name, paths)
    except VflowError:
        return None
    work = min(frames, MAX_FRAMES) - config.min_context
    return app.jobs.expected(clock_name(name), work) if work > 0 else None


def clock_name(checkpoint: str | None) -> str:
    """Name under which the time of a frame is known."""
    return f"{checkpoint} surprise"


@dataclass(frozen=True)
class Result:
    """Surprisal of one clip and its files; ``fps`` of the film."""

    folder: Path
    surprisal: Surprisal
    fps: float


class SurpriseFace(Face):
    """A clip beside its maps, with what stands out."""

    further, tab, purpose = "score", "surprise", "bits"
    noun, verb, added, past = "frames", "Find surprises", "images or a video", "scored"
    finishing = "Checking the order of the frames…"
    downloads = ("Maps (npz)", "Sheet (png)", "Video (mp4)", "Settings (json)")
    outputs = ("report",)
    fits = timed_as_one = True
    keeps = False
    at_once = 4  # frames between two checks for Stop
    details = (
        "Frames count from 1. maps (npz: bits of each pixel), sheet (png), film (a video, mp4) and settings"
        " (json) are files; remarks say how the frames fit the model, and what was done to them."
    )

    def first(self, app: AppContext) -> str | None:
        """``push``, whose likelihoods say most about a clip's order, if it is there."""
        return "push" if "push" in app.models.names(*self.families) else super().first(app)

    def read(self, model: Any, item: Item, settings: Any) -> FittedClip:
        return prepare(model, media.read_frames(item.paths), settings.num_frames)

    def clock(self, app: AppContext, job: Job) -> Clock:
        return app.jobs.clock(clock_name(job.checkpoint), job.total)

    def total(self, job: Job) -> int:
        return len(job.given.frames) - job.model.config.min_context

    def steps(self, job: Job, should_stop: Callable[[], bool]) -> Iterator[Step]:
        """Maps of some frames at a time, each float32 (t, H, W)."""
        segments = iterate(job.model, job.given, job.settings.seed, self.at_once)
        while not should_stop() and (maps := next(segments, None)) is not None:
            check_finite(job.checkpoint, "this clip", maps)
            yield Step(maps, len(maps))

    def notes(self, job: Job) -> Sequence[str]:
        return job.given.notes

    def drawn(self, job: Job) -> str:
        return f"{super().drawn(job)}{':' if job.done < job.total else ''} scored"

    def save(self, app: AppContext, job: Job, folder: Path) -> Result:
        """The result, once frames out of order are looked for."""
        checkpoint, settings = str(job.checkpoint), job.settings
        statistics = load_clip_statistics(app.models.folder(checkpoint), job.model)
        maps = [step.value for step in job.results]
        found = finalize(job.model, job.given, maps, statistics, settings.quantile, settings.seed)
        result = Result(folder, found, app.preview_fps(checkpoint))
        export.write(folder, "surprise", found, result.fps)
        model, names = app.models.record(checkpoint), [path.name for path in job.paths]
        words = ["vflow", "score", "--checkpoint", model["checkpoint"], "--input", *names]
        words += ["--num-frames", str(settings.num_frames), "--maps-dir", "maps"]
        words += ["--quantile", f"{settings.quantile:g}", "--seed", str(settings.seed)]
        record = {
            **model,
            "files": names,
            **found.to_json(),
            "command": shlex.join(words),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }
        (folder / SETTINGS).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return result

    def files(self, result: Result) -> Sequence[Path]:
        return [*export.files(result.folder, "surprise"), result.folder / SETTINGS]

    def reply(self, result: Result, remarks: Sequence[str]) -> Sequence[Any]:
        report = {**result.surprisal.to_json(), **({"remarks": remarks} if remarks else {})}
        return [report | dict(zip(("maps", "sheet", "film", "settings"), self.files(result), strict=True))]

    def empty(self, text: str = "") -> str:
        return html.empty()

    def shown(self, job: Job, result: Result) -> str:
        return html.player(result)

    def examples(self, app: AppContext) -> gr.HTML:
        return html_block(examples.strip(app.models.names(*self.families)), js_on_load=ON_CLICK)


FACE = SurpriseFace(families()["videoflow"])
