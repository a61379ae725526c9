"""Kinds of prediction, by family of models: how a job begins, and its words and pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from vflow.errors import counted
from vflow.pipelines import nowcast

from ..shared.context import AppContext, sentences, settings_text
from . import html, rain, rain_html
from .job import FAMILY, FRAMES, FUTURES, Job, Request, Result


class Kind(NamedTuple):
    """Parts of a prediction that depend on the model's family.

    Attributes:
        begin: job of a request.
        unit: thing that each step of a job adds.
        live: HTML while a job runs. player: HTML of a job and its result.
        summary: one line on a job that took some seconds. remarks: lines below it.
    """

    begin: Callable[[AppContext, Request], Any]
    unit: str
    live: Callable[[Any], str]
    player: Callable[[Any, Any], str]
    summary: Callable[[Any, float], str]
    remarks: Callable[[Any, Any], list[str]]


def _summary(job: Job, seconds: float) -> str:
    settings, done = job.request.settings, job.done
    futures = counted(settings.num_samples, "future")
    if done < settings.num_frames:
        size = f"Stopped after frame {done} of {settings.num_frames}: {futures}"
    else:
        size = f"{futures} × {counted(done, 'frame')}"
    made = settings_text(job.request.checkpoint, temperature=settings.temperature, seed=settings.seed)
    return f"{size} in {seconds:.1f} s · {made}"


def _remarks(job: Job, result: Result) -> list[str]:
    remarks = sentences(job.prepared.notes)
    if result.comparison:
        closest, psnr = result.comparison.closest + 1, result.comparison.psnr
        compared = counted(result.comparison.frames, "frame")
        remarks.insert(
            0, f"Closest to what really happened: future {closest}, PSNR {psnr:.1f} dB over {compared}."
        )
    elif job.request.start is not None:
        remarks.insert(0, "The clip ends with the given frames, so there is nothing to compare with.")
    if job.prepared.far_outside:
        remarks.insert(0, "These frames are unlike what this model was trained on; expect poor futures.")
    if job.redrawn:
        remarks.append(f"{counted(job.redrawn, 'frame')} redrawn because of non-finite values.")
    return remarks


KINDS = {
    FAMILY: Kind(Job.begin, "frame", html.live, html.player, _summary, _remarks),
    rain.FAMILY: Kind(
        rain.RainJob.begin, "member", rain_html.live, rain_html.player, rain_html.summary, rain_html.remarks
    ),
}
FAMILIES = tuple(KINDS)


def kind_of(app: AppContext, checkpoint: str | None) -> Kind:
    """Kind of prediction of a checkpoint; its job says what is wrong with one of another family."""
    return KINDS.get(app.models.family(checkpoint), KINDS[FAMILY])


def default_size(app: AppContext, checkpoint: str | None) -> tuple[int, int]:
    """Samples and frames of a prediction unless others are asked for."""
    return (nowcast.MEMBERS, nowcast.FRAMES) if app.rain_config(checkpoint) else (FUTURES, FRAMES)
