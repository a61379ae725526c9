"""Fit of an upload to the shipped models, in words, and the button that chooses the one that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from vflow.catalog import AUTO
from vflow.data import media
from vflow.data.rain import read_npz
from vflow.errors import InputError, VflowError, counted
from vflow.pipelines.selection import (
    CLIP_FAMILIES,
    GENERALIST,
    MAX_FRAMES,
    SAME_DATA,
    SIDE,
    Purpose,
    choose,
    unlikenesses,
)

from .context import AppContext
from .events import ON_CLICK, QUICK, html_block
from .html import refused, way_to, ways

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

OF_PHOTOS = {"colorize": "Open in Colourise", "enlarge": "Open in Enlarge"}
"""Buttons to the tabs that take a photo."""


@dataclass(frozen=True)
class Verdict:
    """Fit of an upload.

    Attributes:
        chosen: the checkpoint selected. fits: its training data look like this; None where they are unknown.
        best: the shipped model that fits best; None if none fits. Of models of frames for a clip of theirs.
        clip: several frames, for a model of frames.
        short: why neither of the two can use so few frames, or such times. photo: the upload is one picture.
    """

    chosen: str
    fits: bool | None
    best: str | None
    clip: bool = False
    short: str = ""
    photo: bool = False


def find_checkpoint(
    app: AppContext, chosen: str, paths: Sequence[str], purpose: Purpose, *families: str
) -> str:
    """``chosen``, or where that is auto the checkpoint that ships and suits an upload.

    Raises:
        CheckpointError: no model knows such clips.
    """
    if chosen != AUTO:
        return chosen
    try:
        frames = _looked_at(paths) if paths else None
    except VflowError:
        frames = None
    if frames is None:  # the job says what is wrong
        return app.models.default(*families) or chosen
    names = [name for name in app.models.names(*families) if app.models.ships(name)]
    return choose(frames, purpose, names).name


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
    if clip and best is None and app.models.ships(GENERALIST):
        best = GENERALIST
    own = scores.get(str(chosen))
    if clip and chosen == GENERALIST and best == GENERALIST:
        own = 0.0  # it is for what no other knows
    return Verdict(str(chosen), None if own is None else own <= 1, best, clip)


def length_for(app: AppContext, name: str | None, paths: Sequence[str]) -> int:
    """Frames of an upload at the rate of a model of frames; raises InputError where it cannot be read."""
    config = app.video_config(name)
    rate = config.fps if config else None
    found = [media.probe(path) for path in paths]
    return sum(len(media.retime(each.frames, each.fps, rate)) for each in found)


def shortage(app: AppContext, name: str | None, paths: Sequence[str], *, scores: bool) -> str:
    """Words on an upload of too few frames for a model; empty where they are enough, and for other models.

    Args:
        scores: frames are scored, for which one more is needed.

    Raises:
        InputError: the upload cannot be read.
    """
    config, rain = app.video_config(name), app.rain_config(name)
    least = (config.min_context if config else rain.context if rain else 0) + int(scores)
    count = length_for(app, name, paths) if config or rain else least
    if count >= least:
        return ""
    source = Path(paths[0]).name if len(paths) == 1 else "the upload"
    found = "one picture" if count == 1 else counted(count, "frame")
    rate = f" at {config.fps:g} per second" if config and count > 1 else ""
    work = "finds surprises in" if scores else "predicts from"
    return f"{source} is {found}{rate}: {name} {work} clips of at least {counted(least, 'frame')}."


def judged_upload(
    app: AppContext, chosen: str | None, paths: Sequence[str], names: Sequence[str], *, scores: bool = False
) -> str:
    """HTML on how an upload fits; empty where there is none, or it cannot be read.

    Args:
        names: checkpoints that a click can choose; none where choosing one takes the upload away.
    """
    verdict = judge_files(app, chosen, paths, scores=scores)
    return "" if verdict is None else banner(verdict, names)


def judge_files(
    app: AppContext, chosen: str | None, paths: Sequence[str], *, scores: bool = False
) -> Verdict | None:
    """Judge an upload for the checkpoint selected; None where there is none, or it cannot be read.

    Nor is a video judged that a model of photos is given: the job refuses it.
    """
    if not paths or chosen is None:
        return None
    try:
        of_frames = app.models.family(chosen) in CLIP_FAMILIES
        if len(paths) == 1 and not of_frames and media.is_video(paths[0]):
            return None
        frames = _looked_at(paths)
        verdict, photo = judge(app, chosen, frames), len(frames) == 1
        short = shortage(app, chosen, paths, scores=scores)
        best = verdict.best if app.models.family(verdict.best) in CLIP_FAMILIES else None
        if best and not shortage(app, best, paths, scores=scores):
            short = ""
        short = _other_times(app, chosen, paths) or _other_times(app, best, paths) or short
        return replace(verdict, short=short, photo=photo)
    except VflowError:
        return None  # the list of files, or the job, says what is wrong


def _other_times(app: AppContext, name: str | None, paths: Sequence[str]) -> str:
    """Words on radar frames at other times apart than a model of rain knows; else empty."""
    rain = app.rain_config(name)
    if rain and len(paths) == 1 and paths[0].endswith(".npz"):
        try:
            read_npz(paths[0]).check_minutes(rain.minutes, Path(paths[0]).name)
        except InputError as error:
            return str(error)
    return ""


def _looked_at(paths: Sequence[str]) -> np.ndarray:
    """The first frames of an upload, uint8 (T, H, W, C): of one file, or of several stills."""
    if len(paths) == 1:
        return media.read_clip(paths[0], max_frames=MAX_FRAMES).frames
    stills = [media.read_clip(path, max_frames=1).frames for path in paths[:MAX_FRAMES]]
    return np.concatenate([media.resize(still, SIDE, SIDE, 3) for still in stills])


def sentence(verdict: Verdict) -> str:
    """A verdict in words; empty where nothing is known."""
    chosen, best = verdict.chosen, verdict.best
    if best == GENERALIST:
        known = f"No other model here has seen a clip like this: {best} predicts film of any kind."
        return "" if verdict.fits is None else known
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
    to_photos = ways(*(way_to(tab, label) for tab, label in OF_PHOTOS.items()))
    if verdict.short:
        return refused(verdict.short, to_photos if verdict.photo else "")
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
        elif SAME_DATA.get(best, best) == "colorizer":
            button = to_photos
        elif best == "digits":
            text += " See the tab Digits."
        else:
            button = way_to("predict", "Open in Predict")
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


@dataclass(frozen=True)
class Selection:
    """The way a checkpoint came to be chosen.

    Attributes:
        by_hand: a person chose it, so it stays. before: what was chosen until an upload switched it.
    """

    by_hand: bool = False
    before: str | None = None


def arrival(
    app: AppContext,
    paths: Sequence[str],
    chosen: str | None,
    names: Sequence[str],
    selection: Selection,
    *,
    scores: bool = False,
) -> tuple[str, str | None, Selection]:
    """Changes that an upload makes: HTML on how it fits, the checkpoint, and how that came to be chosen.

    A model of clips that was not chosen by hand makes way for one that fits better, with a button that takes
    this back.
    """
    verdict = judge_files(app, chosen, paths, scores=scores)
    stays = replace(selection, before=None)
    if verdict is None:
        return "", chosen, stays
    own = verdict.fits is None and chosen != GENERALIST  # nothing is known of it
    kept = selection.by_hand or own or verdict.fits or not verdict.clip or verdict.short
    if kept or verdict.best not in names or chosen not in names:
        return banner(verdict, names), chosen, stays
    return switched(verdict, names), verdict.best, Selection(before=chosen)


def switched(verdict: Verdict, names: Sequence[str]) -> str:
    """HTML that says which checkpoint was chosen in place of another, and takes that back."""
    text = sentence(replace(verdict, chosen=str(verdict.best), fits=True))
    return (
        f'<div class="vf-fit" role="status"><p>Switched to {escape(str(verdict.best))}. {escape(text)}</p>'
        f'<button type="button" class="vf-small" data-index="{list(names).index(verdict.chosen)}"'
        ' data-action="use">Undo</button></div>'
    )


def wire_fit(
    app: AppContext,
    line: gr.HTML,
    files: gr.File,
    checkpoint: gr.Dropdown,
    *families: str,
    scores: bool = False,
) -> None:
    """Judge ``files`` whenever they or the checkpoint change.

    With ``families`` an upload chooses the checkpoint that fits, unless one was chosen by hand, and a click
    chooses another. ``scores``: the tab scores frames.
    """
    app.givers.append((line, files))
    names = app.models.names(*families) if families else []

    def to_compress(text: str, paths: list[str] | None) -> str:
        one_clip = scores and paths and len(paths) == 1 and _is_clip(paths[0])
        return text + ways(way_to("compress", "Compress this clip")) if one_clip else text

    def judged(paths: list[str] | None, name: str | None, selection: Selection) -> Any:
        if selection.before is not None and not selection.by_hand:
            return gr.skip()  # it was switched by the upload, and the line says so
        return to_compress(judged_upload(app, name, paths or [], names, scores=scores), paths)

    def arrived(paths: list[str] | None, name: str | None, selection: Selection) -> tuple[Any, ...]:
        text, best, now = arrival(app, paths or [], name, names, selection, scores=scores)
        return to_compress(text, paths), gr.skip() if best == name else best, now

    selection = gr.State(Selection())
    inputs = [files, checkpoint, selection]
    checkpoint.change(app.turns.glance(judged), inputs, line, **QUICK)
    if not families:
        files.change(app.turns.glance(judged), inputs, line, **QUICK)
        return
    files.change(app.turns.glance(arrived), inputs, [line, checkpoint, selection], **QUICK)

    def choose_listed(event: gr.EventData) -> tuple[str, Selection]:
        return names[int(event.index)], Selection(by_hand=True)

    # Not ``input``, which also comes when the list is left.
    checkpoint.select(lambda: Selection(by_hand=True), None, selection, **QUICK)
    line.select(choose_listed, None, [checkpoint, selection], **QUICK)


def _is_clip(path: str) -> bool:
    """True for several frames."""
    try:
        return media.probe(path).frames > 1
    except VflowError:
        return False


def _seen(name: str) -> str:
    return f"This looks like {SUBJECTS[SAME_DATA.get(name, name)]}"
