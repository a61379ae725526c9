"""The form of the Walk tab: its controls, and which of them a model and a kind of walk ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from vflow.errors import VflowError

from ..shared.checks import whole_number
from ..shared.context import AppContext
from ..shared.events import ON_CLICK, QUICK, ComponentGroup, Updates, html_block, run_place
from ..shared.fit import fit_line, wire_fit
from ..shared.forms import (
    AUGMENTED_LAST,
    SLIDER_WITH_LEVELS,
    Seed,
    by_name,
    level_temperatures,
    levels_box,
    slider_temperature,
    temperature_slider,
    unless_listed,
)
from ..shared.html import note
from . import examples, html
from .job import MAX_EXTENT, MAX_FRAMES, MAX_SAMPLES, MAX_STEPS, Request
from .kinds import LIKELIEST, Capabilities, Kind, capabilities, find_kind, first_checkpoint, walkable

UPLOAD, RANDOM = "Upload or example", "Random"


@dataclass(frozen=True)
class Uploads(ComponentGroup):
    """Upload boxes: the start of the walk, its end, two groups."""

    start: gr.File
    end: gr.File
    negatives: gr.File
    positives: gr.File

    @classmethod
    def column(cls) -> Uploads:
        """All four, one below the other."""
        labels = {
            "start": "Start",
            "end": "To",
            "negatives": "From: examples without the property",
            "positives": "To: examples with the property",
        }
        boxes = [
            gr.File(label=label, file_count="multiple", height=132, elem_id=f"vf-walk-{name}")
            for name, label in labels.items()
        ]
        for box in boxes:
            box.upload(lambda files: unless_listed(by_name(_own(files)), files), box, box, **QUICK)
        return cls(*boxes)


@dataclass(frozen=True)
class Form(ComponentGroup):
    """Inputs of the tab."""

    checkpoint: gr.Dropdown
    kind: gr.Radio
    source: gr.Radio
    uploads: Uploads
    tiles: gr.HTML
    label: gr.Dropdown
    note: gr.HTML
    level: gr.Dropdown
    bars: gr.HTML
    direction: gr.Slider
    extent: gr.Slider
    steps: gr.Slider
    num_frames: gr.Slider
    futures: tuple[gr.Number, gr.Number]
    temperature: gr.Slider
    levels: gr.Textbox
    seed: Seed

    def request(self, family: str, values: Updates) -> Request:
        """The form as a request to a model of this family; people count directions and futures from 1.

        Raises:
            InputError: a future is missing or out of range.
        """
        kind = find_kind(family, values[self.kind])
        random = kind.starts_at_random(family, upload=values[self.source] != RANDOM)
        drawn = kind.draws_noise(random=random)
        return Request(
            checkpoint=values[self.checkpoint],
            kind=values[self.kind],
            files=None if random else by_name(values[self.uploads.start]),
            to=None if random else by_name(values[self.uploads.end]),
            negatives=by_name(values[self.uploads.negatives]),
            positives=by_name(values[self.uploads.positives]),
            steps=values[self.steps],
            direction=values[self.direction] - 1,
            level=values[self.level],
            extent=values[self.extent],
            temperature=values[self.temperature] if drawn else None,
            level_temperatures=values[self.levels] if drawn else "",
            seed=self.seed.draw(values),
            label=values[self.label],
            num_frames=values[self.num_frames],
            first_sample=_from_zero("from future", values[self.futures[0]]),
            second_sample=_from_zero("to future", values[self.futures[1]]),
        )


def _own(files: list[str]) -> list[str]:
    """Files without those of an example that was there before."""
    return [file for file in files if Path(file).parent.parent.name != "examples"] or files


def _from_zero(name: str, number: Any) -> int:
    return whole_number(name, number, 1, MAX_SAMPLES) - 1


def build(app: AppContext) -> tuple[Form, gr.Column]:
    """Lay out the form, with a place for buttons; ``form_updates`` then shows the controls in use."""
    first = first_checkpoint(app.models)
    with gr.Group(elem_classes="vf-card"):
        checkpoint = gr.Dropdown(walkable(app.models), value=first, label="Checkpoint", interactive=True)
        kind = gr.Radio([], label="Walk", info=" ", elem_id="vf-walk-kind")
        remark = html_block("", "vf-walk-note", visible=False)
        source = gr.Radio([RANDOM, UPLOAD], value=RANDOM, label="Start from", visible=False)
    uploads = Uploads.column()
    line = fit_line("walk")
    wire_fit(app, line, uploads.start, checkpoint)
    tiles = html_block("", "vf-walk-try", visible=False, js_on_load=ON_CLICK)
    place = run_place()
    with gr.Group(elem_classes="vf-card"):
        # Any value: gradio would refuse a click that the browser sent just before it got the new choices.
        label = gr.Dropdown([], label="Digit", interactive=True, visible=False, allow_custom_value=True)
        level = gr.Dropdown([], label="Level", interactive=True, visible=False, allow_custom_value=True)
        bars = html_block("", "vf-walk-bars", visible=False)
        direction = gr.Slider(
            1, 8, 1, step=1, label="Direction", info=" ", visible=False, elem_id="vf-walk-direction"
        )
        extent = gr.Slider(0.5, MAX_EXTENT, 3, step=0.25, label="Distance each way", info=" ", visible=False)
        with gr.Row():
            steps = gr.Slider(2, MAX_STEPS, 9, step=1, label="Steps", min_width=130)
            num_frames = gr.Slider(1, MAX_FRAMES, 8, step=1, label="Frames", min_width=130, visible=False)
        with gr.Row():
            futures = (_future("From future", 1), _future("To future", 2))
        temperature = temperature_slider(app, first)
        levels = levels_box(app, first, temperature, AUGMENTED_LAST, visible=False)
        seed = Seed.row()
    form = Form(
        checkpoint, kind, source, uploads, tiles, label, remark, level, bars, direction, extent, steps,
        num_frames, futures, temperature, levels, seed,
    )  # fmt: skip
    return form, place


def _future(label: str, value: int) -> gr.Number:
    return gr.Number(value, label=label, min_width=130, visible=False)


def form_updates(app: AppContext, form: Form, values: Updates, *, new_model: bool = False) -> Updates:
    """Show the controls that the checkpoint, the kind of walk and the start ask for.

    Args:
        new_model: the checkpoint was chosen just now: suggest its temperature, and forget the other's files.
    """
    try:
        able = capabilities(app, values[form.checkpoint])
    except VflowError as error:
        return {
            form.note: gr.update(value=note(app.error_message(error)), visible=True),
            form.kind: gr.update(choices=[], value=None),
        }
    names = [kind.name for kind in able.kinds]
    name = values[form.kind] if values[form.kind] in names else names[0]
    kind = find_kind(able.family, name)
    random = kind.starts_at_random(able.family, upload=values[form.source] != RANDOM)
    chosen = {} if values[form.kind] == name else {"value": name}
    choices = [(kind.title, kind.name) for kind in able.kinds]
    cleared = {"value": None} if new_model else {}
    tiles = "" if random else examples.strip(app, values[form.checkpoint], kind)
    return {
        form.kind: gr.update(choices=choices, info=kind.info, interactive=True, **chosen),
        form.source: gr.update(visible=able.family == "digits" and not kind.groups),
        form.label: _label(able.family, kind, random, values[form.label]),
        form.note: gr.update(value=note(able.note), visible=bool(able.note)),
        form.tiles: gr.update(value=tiles, visible=bool(tiles)),
        form.uploads.start: gr.update(visible=not random, label=kind.start, **cleared),
        form.uploads.end: gr.update(visible=bool(kind.end) and not random, label=kind.end or "To", **cleared),
        form.uploads.negatives: gr.update(visible=kind.groups, **cleared),
        form.uploads.positives: gr.update(visible=kind.groups, **cleared),
        **_numbers(form, able, kind, random, values),
        **_temperatures(app, form, values, drawn=kind.draws_noise(random=random), new_model=new_model),
    }


def _temperatures(app: AppContext, form: Form, values: Updates, *, drawn: bool, new_model: bool) -> Updates:
    """The slider, and the box where the checkpoint suggests a temperature for each level."""
    name = values[form.checkpoint]
    levels = level_temperatures(app, name)
    value = {"value": slider_temperature(app, name)} if new_model else {}
    typed = {"value": levels} if new_model and values[form.levels] != levels else {}
    info = SLIDER_WITH_LEVELS.format(place="below") if levels else ""
    return {
        form.temperature: gr.update(visible=drawn, info=info, **value),
        form.levels: gr.update(visible=drawn and bool(levels), **typed),
    }


def _label(family: str, kind: Kind, random: bool, chosen: str | None) -> Any:
    digits = [str(digit) for digit in range(10)]
    if random:
        value = chosen if chosen in digits else "3"
        # Under all ten labels, that of the drawn style is one of them.
        return gr.update(visible=kind.name != "transfer", choices=digits, value=value, label="Digit")
    choices = [("The likeliest", LIKELIEST), *((digit, digit) for digit in digits)]
    return gr.update(visible=family == "digits", choices=choices, value=LIKELIEST, label="The digit is a")


def _numbers(form: Form, able: Capabilities, kind: Kind, random: bool, values: Updates) -> Updates:
    controls = kind.controls
    directions = "direction" in controls
    names = {key: text for text, key in able.levels}
    keys = [key for key in able.explained if key in names] if directions else list(names)
    levels = [(names[key], key) for key in keys]
    level = values[form.level] if values[form.level] in keys else next(iter(keys), None)
    if kind.name == "temperature":
        extent = {"maximum": 2, "value": 1.5, "label": "Up to temperature", "info": ""}
    else:
        info = (
            "In standard deviations of the training data."
            if directions
            else "3 is all the way from one group to the other."
        )
        extent = {"maximum": MAX_EXTENT, "value": 3, "label": "Distance each way", "info": info}
    seeded = able.family == "videoflow" or random
    return {
        form.level: gr.update(visible="level" in controls, choices=levels, value=level),
        form.extent: gr.update(visible="extent" in controls, **extent),
        form.steps: gr.update(visible="steps" in controls),
        form.num_frames: gr.update(visible="frames" in controls),
        **{future: gr.update(visible="futures" in controls) for future in form.futures},
        form.seed.value: gr.update(visible=seeded),
        form.seed.randomize: gr.update(visible=seeded),
        **_direction(form, able, str(level) if directions else "", values[form.direction]),
    }


def _direction(form: Form, able: Capabilities, level: str, chosen: float) -> Updates:
    """The buttons of effects and the slider, for the directions of a level."""
    explained, effects = able.explained.get(level, ()), able.effects.get(level, ())
    if not explained:
        return {form.bars: gr.update(visible=False), form.direction: gr.update(visible=False)}
    number = min(max(1, int(chosen or 1)), len(explained))
    several = len(explained) > 1
    info = (
        f"Direction {number} explains {html.percent(explained[number - 1])} of how training data vary at "
        f"this level (of their variance), all {len(explained)} together {html.percent(sum(explained))}."
    )
    bars = (
        html.directions(explained, effects, number)
        if several
        else note("This level has one direction, along which all of its data vary.")
    )
    moved = {} if number == chosen else {"value": number}  # does not undo what is chosen meanwhile
    return {
        form.bars: gr.update(value=bars, visible=True),
        form.direction: gr.update(visible=several, maximum=max(2, len(explained)), info=info, **moved),
    }


def direction_updates(app: AppContext, form: Form, values: Updates) -> Updates:
    """The buttons of effects and the slider after another direction was chosen."""
    try:
        able = capabilities(app, values[form.checkpoint])
    except VflowError:
        return {form.bars: gr.skip()}
    return _direction(form, able, str(values[form.level]), values[form.direction])


def first_example(app: AppContext, form: Form, values: Updates) -> Updates:
    """The first example in boxes that are needed and still empty; no change where there is none."""
    family = app.models.family(values[form.checkpoint])
    try:
        kind = find_kind(family, values[form.kind])
    except VflowError:  # the job says what is wrong
        return {}
    random = kind.starts_at_random(family, upload=values[form.source] != RANDOM)
    given = values[form.uploads.start] or values[form.uploads.end]
    if random or given or not examples.suitable(app, values[form.checkpoint], kind):
        return {}
    return example_updates(app, form, values, 0)


def example_updates(app: AppContext, form: Form, values: Updates, index: int) -> Updates:
    """The form with an example in its upload boxes."""
    kind = find_kind(app.models.family(values[form.checkpoint]), values[form.kind])
    start, *ends = examples.suitable(app, values[form.checkpoint], kind)[index]
    return {
        form.uploads.start: start.copies(app),
        form.uploads.end: ends[0].copies(app) if ends else None,
        form.num_frames: start.num_frames or gr.skip(),
    }
