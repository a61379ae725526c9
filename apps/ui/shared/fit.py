"""Fit of an upload to the shipped models, in words, and the button that chooses the one that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import gradio as gr
import numpy as np

from vflow.data import media
from vflow.errors import VflowError
from vflow.pipelines.selection import CLIP_FAMILIES, MAX_FRAMES, SAME_DATA, SIDE, unlikenesses

from .context import AppContext
from .events import ON_CLICK, QUICK, html_block

SUBJECTS = {
    "shapes": "a single coloured shape that moves",
    "push": "robot-arm video",
    "grasp": "a robot's hands at a table",
    "digits": "a handwritten digit",
    "colorizer": "a photo",
    "rain": "rain radar",
}
"""Training data of each shipped checkpoint, in words."""
UNKNOWN_CLIP = (
    "No model here has seen a clip like this: expect noise. "
    "Train a model on clips of your own (docs/TRAINING.md)."
)


@dataclass(frozen=True)
class Verdict:
    """Fit of an upload.

    Attributes:
        chosen: the checkpoint selected. fits: its training data look like this; None where they are unknown.
        best: the shipped model that fits best; None if none fits. Of models of frames for a clip of theirs.
        clip: several frames, for a model of frames.
    """

    chosen: str
    fits: bool | None
    best: str | None
    clip: bool = False


def judge(app: AppContext, chosen: str | None, frames: np.ndarray) -> Verdict:
    """Judge frames, uint8 (T, H, W, C), for the checkpoint selected."""
    clip = len(frames) > 1 and app.models.family(chosen) in CLIP_FAMILIES
    names = [
        name
        for name in (*SUBJECTS, *SAME_DATA)
        if app.models.ships(name) and (not clip or app.models.family(name) in CLIP_FAMILIES)
    ]
    scores = unlikenesses(frames, names)
    fitting = [name for name, score in scores.items() if score <= 1]
    # Photos are the broadest kind: whatever else fits says more.
    best = min(
        fitting, key=lambda name: (SAME_DATA.get(name, name) == "colorizer", scores[name]), default=None
    )
    own = scores.get(str(chosen))
    return Verdict(str(chosen), None if own is None else own <= 1, best, clip)


def judged_upload(app: AppContext, chosen: str | None, paths: Sequence[str], names: Sequence[str]) -> str:
    """HTML on how an upload fits; empty where there is none, or it cannot be read.

    Args:
        names: checkpoints that a click can choose; none where choosing one takes the upload away.
    """
    verdict = judge_files(app, chosen, paths)
    return "" if verdict is None else banner(verdict, names)


def judge_files(app: AppContext, chosen: str | None, paths: Sequence[str]) -> Verdict | None:
    """Judge an upload for the checkpoint selected; None where there is none, or it cannot be read.

    Nor is a video judged that a model of photos is given: the job refuses it.
    """
    if not paths or chosen is None:
        return None
    try:
        if len(paths) == 1:
            if app.models.family(chosen) not in CLIP_FAMILIES and media.is_video(paths[0]):
                return None
            return judge(app, chosen, media.read_clip(paths[0], max_frames=MAX_FRAMES).frames)
        stills = [media.read_clip(path, max_frames=1).frames for path in paths[:MAX_FRAMES]]
        return judge(app, chosen, np.concatenate([media.resize(s, SIDE, SIDE, 3) for s in stills]))
    except VflowError:
        return None  # the list of files, or the job, says what is wrong


def sentence(verdict: Verdict) -> str:
    """A verdict in words; empty where nothing is known."""
    chosen, best = verdict.chosen, verdict.best
    if verdict.fits:
        return f"{_seen(chosen)}, which {chosen} was trained on."
    if best is None:
        if verdict.fits is None:
            return ""
        return UNKNOWN_CLIP if verdict.clip else "No model here has seen anything like this: expect nonsense."
    if verdict.fits is None:
        return f"{_seen(best)}, which {best} was trained on."
    return f"{_seen(best)}. {chosen} has seen nothing like it."


def banner(verdict: Verdict, names: Sequence[str]) -> str:
    """HTML of a verdict: quiet where the upload fits, amber where it does not, empty where none is known."""
    best, text, button = verdict.best, escape(sentence(verdict), quote=False), ""
    if not text:
        return ""
    if verdict.fits:
        return f'<p class="vf-fit">{text}</p>'
    if best is not None:
        if best in names:
            button = (
                f'<button type="button" class="vf-small" data-index="{list(names).index(best)}"'
                f' data-action="use">Use {escape(best)}</button>'
            )
        elif not names:
            text += f" Choose {escape(best)} above."
        else:
            tab = {"colorizer": "Colourise", "enlarge": "Enlarge", "digits": "Digits"}.get(best, "Predict")
            text += f" See the tab {tab}."
    amber = "" if verdict.fits is None else " vf-amber"
    return f'<div class="vf-fit{amber}" role="status"><p>{text}</p>{button}</div>'


def digit_warning(app: AppContext, name: str | None, frames: np.ndarray) -> str:
    """Warning where a picture, uint8 (1, H, W, C), is unlike the digits of a model; else empty."""
    verdict = judge(app, name, frames)
    return (
        ""
        if verdict.fits in (True, None)
        else "This does not look like a handwritten digit: expect nonsense."
    )


def fit_line(tab: str) -> gr.HTML:
    """Place of the verdict, below an upload box; wire it with ``wire_fit``."""
    return html_block("", f"vf-{tab}-fit", js_on_load=ON_CLICK)


def wire_fit(app: AppContext, line: gr.HTML, files: gr.File, checkpoint: gr.Dropdown, *families: str) -> None:
    """Judge ``files`` whenever they or the checkpoint change; with ``families``, a click chooses the best."""

    def judged(paths: list[str] | None, name: str | None) -> str:
        return judged_upload(app, name, paths or [], app.models.names(*families) if families else ())

    def choose(event: gr.EventData) -> str:
        return app.models.names(*families)[int(event.index)]

    for part in (files, checkpoint):
        part.change(app.turns.glance(judged), [files, checkpoint], line, **QUICK)
    line.select(choose, None, checkpoint, **QUICK)


def _seen(name: str) -> str:
    return f"This looks like {SUBJECTS[SAME_DATA.get(name, name)]}"
