"""Fields of the tabs' forms: seed, temperature, uploads."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import median_low
from typing import Any

import gradio as gr
import numpy as np

from vflow.data import media
from vflow.errors import VflowError

from . import html
from .checks import MAX_SEED, MAX_TEMPERATURE
from .context import AppContext
from .events import ON_CLICK, QUICK, ComponentGroup, Updates, html_block
from .models import smallest_preset


def no_model_banner(app: AppContext, *families: str) -> None:
    """Say how to train a model of the first of these families (of any), if there is none of them."""
    if app.models.default(*families) is None:
        html_block(html.no_model_banner(smallest_preset(*families)))


@dataclass(frozen=True)
class Seed(ComponentGroup):
    """The seed, and whether each run draws a new one."""

    value: gr.Number
    randomize: gr.Checkbox

    @classmethod
    def row(cls) -> Seed:
        """Both, side by side."""
        with gr.Row():
            value = gr.Number(0, label="Seed", min_width=130)
            randomize = gr.Checkbox(False, label="Randomise", info="A new seed each time.", min_width=130)
        return cls(value, randomize)

    def draw(self, values: Updates) -> float:
        """The seed to use, given the form's ``values``."""
        return secrets.randbelow(MAX_SEED) if values[self.randomize] else values[self.value]


SLIDER_WITH_LEVELS = (
    "How far results vary; 0 is the most typical. Moving it clears the values per level {place}."
)
AUGMENTED_LAST = "the augmented dimensions, if the model has any"


def slider_temperature(app: AppContext, name: str | None) -> float:
    """The temperature that a checkpoint suggests; the middle one above 0, if it suggests one per level."""
    suggested = app.models.suggested_temperature(name)
    levels = suggested if isinstance(suggested, tuple) else (suggested,)
    return median_low([level for level in levels if level > 0] or [0.0])


def level_temperatures(app: AppContext, name: str | None) -> str:
    """The temperatures per level that a checkpoint suggests, as people type them; empty: one for all."""
    suggested = app.models.suggested_temperature(name)
    return ", ".join(f"{value:g}" for value in suggested) if isinstance(suggested, tuple) else ""


def temperature_slider(app: AppContext, checkpoint: str | None, info: str | None = None) -> gr.Slider:
    """One temperature for all levels, at first as ``slider_temperature``."""
    first = slider_temperature(app, checkpoint)
    return gr.Slider(0, MAX_TEMPERATURE, first, step=0.05, label="Temperature", info=info)


def levels_box(
    app: AppContext, checkpoint: str | None, slider: gr.Slider, last: str, *, visible: bool = True
) -> gr.Textbox:
    """Temperatures per level as text; whichever of box and ``slider`` was touched last counts.

    Args:
        last: name of the last level.
    """
    box = gr.Textbox(
        level_temperatures(app, checkpoint),
        label="Temperature per level",
        placeholder="one number per level, such as 0.8, 0.9, …",
        info=f"From fine detail to coarse layout, then {last}. Holds until you move the slider.",
        visible=visible,
    )
    slider.input(lambda: "", None, box, trigger_mode="always_last", **QUICK)
    return box


THUMBNAIL = 144  # pixels a side; the page shows half as many
MAX_THUMBNAILS = 24  # the files behind them are all used


def paths_of(files: Sequence[str] | str | None) -> list[str]:
    """Uploaded files as plain paths, in the order shown."""
    if files is None:
        return []
    return [str(f) for f in ([files] if isinstance(files, str) else files)]


SORT = "(...lists) => [window.vfByName(...lists)]"
"""``by_name`` in the browser, of the files of several lists together."""
NAME_ORDER = "frames taken in the order of their names; sort_by_name=False keeps the order given"


def by_name(files: Sequence[str] | None) -> list[str]:
    """Natural order: frame2 before frame10."""
    return sorted(paths_of(files), key=lambda path: media.natural_key(Path(path).name))


@dataclass
class FileOrder:
    """Order of a clip's files: by name, until a person moves one.

    Lives in ``gr.State``, where ``see`` changes it in place. So it holds whether the browser's list has been
    sorted by the time of a click or not.

    Attributes:
        last: the browser's list when it changed last. moved: whether a person chose its order.
    """

    last: list[str] = field(default_factory=list)
    moved: bool = False

    def of(self, files: Sequence[str] | None) -> list[str]:
        """The files in their order, of a list as the browser has it."""
        paths = paths_of(files)
        return paths if self._is_moved(paths) else by_name(paths)

    def see(self, files: Sequence[str] | None) -> list[str]:
        """The same, of a list that has changed."""
        paths = paths_of(files)
        self.last, self.moved = paths, self._is_moved(paths)
        return self.of(paths)

    def _is_moved(self, paths: list[str]) -> bool:
        if not set(paths) <= set(self.last):  # some are new
            return False
        return self.moved or paths != [path for path in self.last if path in paths]


def unless_listed(paths: list[str], listed: Sequence[str] | None) -> Any:
    """Update of a box to ``paths``, or none where it lists them so."""
    return gr.skip() if paths == paths_of(listed) else paths


def file_list(files: Sequence[str] | None) -> str:
    """HTML of the files in order, each with buttons to move or remove it."""
    paths = paths_of(files)
    if not paths:
        return ""
    items = [_file_item(path, index, len(paths)) for index, path in enumerate(paths[:MAX_THUMBNAILS])]
    more = len(paths) - MAX_THUMBNAILS
    rest = f'<li class="vf-more">and {more} more</li>' if more > 0 else ""
    return f'<ol class="vf-thumbs" aria-label="Files in order">{"".join(items)}{rest}</ol>'


def _file_item(path: str, index: int, count: int) -> str:
    name, key = (escape(text, quote=True) for text in (Path(path).name, path))
    try:
        clip = media.read_clip(path, max_frames=1)
    except VflowError as error:
        picture = f'<p class="vf-bad" role="alert">{escape(str(error).replace(path, Path(path).name))}</p>'
    else:
        picture = f'<img src="{html.png_uri(thumbnail(clip.frames[0]))}" alt="{index + 1}: {name}">'
    place = f'data-index="{index}" data-key="{key}"'
    buttons = (
        _file_button("earlier", "←", f"Move {name} earlier", place, disabled=index == 0)
        + _file_button("later", "→", f"Move {name} later", place, disabled=index == count - 1)
        + _file_button("remove", "×", f"Remove {name}", place, disabled=False)
    )
    return (
        f'<li class="vf-thumb">{picture}<span class="vf-name" title="{name}">{name}</span>'
        f'<span class="vf-moves">{buttons}</span></li>'
    )


def _file_button(action: str, sign: str, label: str, place: str, *, disabled: bool) -> str:
    off = " disabled" if disabled else ""
    return f'<button type="button" data-action="{action}" {place} aria-label="{label}"{off}>{sign}</button>'


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """Square thumbnail, uint8 (h, w, C); small frames keep their pixels (the page enlarges them)."""
    if max(frame.shape[:2]) <= THUMBNAIL:
        return frame
    return media.resize(frame[None], THUMBNAIL, THUMBNAIL, frame.shape[-1])[0]


@dataclass(frozen=True)
class Upload(ComponentGroup):
    """Upload box for a picture: of several the last is taken."""

    box: gr.File

    def arrange(self, values: Updates, event: gr.EventData) -> Updates:
        """The files that a job takes at a click, where the box in ``values`` has others."""
        paths = paths_of(values[self.box])
        return {self.box: paths[-1:]} if len(paths) > 1 else {}


@dataclass(frozen=True)
class ClipUpload(Upload):
    """Upload box for one clip."""

    order: gr.State

    def arrange(self, values: Updates, event: gr.EventData) -> Updates:
        paths = values[self.order].of(values[self.box])
        return {} if paths == paths_of(values[self.box]) else {self.box: paths}


def file_box(tab: str, label: str, *, ordered: bool = False) -> gr.File:
    """Upload box of a tab."""
    return gr.File(
        label=label, file_count="multiple", allow_reordering=ordered, height=132, elem_id=f"vf-{tab}-files",
        elem_classes="vf-files",
    )  # fmt: skip


def clip_upload(app: AppContext, tab: str) -> ClipUpload:
    """Upload box for one clip, with thumbnails whose order can be changed."""
    files = file_box(tab, "Frames: images in order, one video, or npz", ordered=True)
    order = gr.State(FileOrder())
    thumbnails = html_block("", f"vf-{tab}-list", js_on_load=ON_CLICK, elem_classes="vf-strip")
    with gr.Row(visible=False, elem_classes="vf-order") as buttons:
        add = gr.UploadButton("Add files", file_count="multiple", size="sm", min_width=90)
        sort = gr.Button("Sort by name", size="sm", min_width=90)
        reverse = gr.Button("Reverse", size="sm", min_width=90)

    def redraw(listed: list[str] | None, order: FileOrder) -> tuple[Any, ...]:
        paths = order.see(listed)
        rest = (gr.update(visible=len(paths) > least) for least in (0, 1, 1))
        return unless_listed(paths, listed), file_list(paths), *rest

    shown = [files, thumbnails, buttons, sort, reverse]
    files.change(app.turns.glance(redraw), [files, order], shown, **QUICK)
    every = {**QUICK, "trigger_mode": "multiple"}  # gradio's own mode drops clicks while one is answered
    thumbnails.select(None, files, files, js="(files) => [window.vfChanged(files)]", **every)
    sort.click(None, files, files, js=SORT, **every)
    add.upload(None, [files, add], files, js=SORT, **every)
    reverse.click(None, files, files, js="(files) => [files?.toReversed() ?? null]", **every)
    return ClipUpload(files, order)
