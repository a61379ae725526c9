"""The form of the Walk tab: its controls, and which of them a model and a kind of walk ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vflow.errors import VflowError

from . import walk_asked, walk_examples, walk_kinds, walk_view
from .common import Shared, first_temperature, one_line
from .controls import PICK, Seed, Updates
from .temperature import temperature_slider
from .walk_asked import Asked
from .walk_offer import Offer, model_kind, offer

UPLOAD, RANDOM = "Upload or example", "Random"
ORDER = ("digits", "videoflow", "colorizer")  # kinds of model: digits can walk without an input


@dataclass(frozen=True)
class Boxes:
    """Upload boxes: what the walk starts from, where it leads, two groups."""

    start: gr.File
    end: gr.File
    away: gr.File
    towards: gr.File

    @classmethod
    def column(cls) -> Boxes:
        """All four, one below the other."""
        names = ("start", "to", "away", "towards")
        labels = ("Start", "To", "Away from: examples without it", "Towards: examples with it")
        return cls(
            *(
                gr.File(label=label, file_count="multiple", height=132, elem_id=f"vf-walk-{name}")
                for name, label in zip(names, labels, strict=True)
            )
        )


@dataclass(frozen=True)
class Form:
    """Inputs of the tab."""

    checkpoint: gr.Dropdown
    kind: gr.Radio
    source: gr.Radio
    boxes: Boxes
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
    seed: Seed

    def components(self) -> list[Any]:
        """All of them, as inputs and outputs of an event."""
        single = [part for name, part in vars(self).items() if name not in ("boxes", "futures", "seed")]
        return [*single, *vars(self.boxes).values(), *self.futures, *vars(self.seed).values()]

    def random(self, model: str, kind: walk_kinds.Kind, values: Updates) -> bool:
        """Whether the walk starts from a draw: digits can."""
        return model == "digits" and not kind.groups and values[self.source] == RANDOM

    def asked(self, model: str, values: Updates, seed: float) -> Asked:
        """What the form asks of a model of kind ``model``. People count directions and futures from 1."""
        kind = walk_kinds.kind(model, values[self.kind])
        random = self.random(model, kind, values)
        return Asked(
            checkpoint=values[self.checkpoint],
            kind=values[self.kind],
            files=None if random else values[self.boxes.start],
            to=None if random else values[self.boxes.end],
            away=values[self.boxes.away],
            towards=values[self.boxes.towards],
            steps=values[self.steps],
            direction=values[self.direction] - 1,
            level=values[self.level],
            extent=values[self.extent],
            temperature=values[self.temperature] if _drawn(kind, random) else 1.0,
            seed=seed,
            label=values[self.label],
            num_frames=values[self.num_frames],
            first_sample=_before(values[self.futures[0]]),
            second_sample=_before(values[self.futures[1]]),
        )


def _before(number: float | None) -> Any:
    return None if number is None else number - 1


def build(shared: Shared) -> Form:
    """Lay out the form; ``arranged`` then shows what is asked for."""
    first = next(filter(None, map(shared.models.default, ORDER)), None)
    with gr.Group(elem_classes="vf-card"):
        checkpoint = gr.Dropdown(shared.models.names(), value=first, label="Checkpoint", interactive=True)
        kind = gr.Radio([], label="Walk", info=" ", elem_id="vf-walk-kind")
        note = gr.HTML("", visible=False, apply_default_css=False, elem_id="vf-walk-note")
        source = gr.Radio([RANDOM, UPLOAD], value=RANDOM, label="Start from", visible=False)
    boxes = Boxes.column()
    tiles = gr.HTML("", visible=False, js_on_load=PICK, apply_default_css=False, elem_id="vf-walk-try")
    with gr.Group(elem_classes="vf-card"):
        label = gr.Dropdown([], label="Digit", interactive=True, visible=False)
        level = gr.Dropdown([], label="Level", interactive=True, visible=False)
        bars = gr.HTML("", visible=False, js_on_load=PICK, apply_default_css=False, elem_id="vf-walk-bars")
        direction = gr.Slider(1, 8, 1, step=1, label="Direction", info=" ", visible=False)
        extent = gr.Slider(0.5, walk_asked.MAX_EXTENT, 3, step=0.25, label="Extent", info=" ", visible=False)
        with gr.Row():
            steps = gr.Slider(2, walk_asked.MAX_STEPS, 9, step=1, label="Steps", min_width=130)
            num_frames = gr.Slider(
                1, walk_asked.MAX_FRAMES, 8, step=1, label="Frames", min_width=130, visible=False
            )
        with gr.Row():
            futures = (_future("From future", 1), _future("To future", 2))
        temperature = temperature_slider(shared, first)
        seed = Seed.row()
    return Form(
        checkpoint, kind, source, boxes, tiles, label, note, level, bars, direction, extent, steps,
        num_frames, futures, temperature, seed,
    )  # fmt: skip


def _future(label: str, value: int) -> gr.Number:
    return gr.Number(
        value,
        label=label,
        precision=0,
        minimum=1,
        maximum=walk_asked.MAX_SAMPLES,
        min_width=130,
        visible=False,
    )


def arranged(shared: Shared, form: Form, values: Updates, *, fresh: bool = False) -> Updates:
    """Show what the checkpoint, the kind of walk and the start ask for.

    Args:
        fresh: the checkpoint is new: choose what suits it.
    """
    try:
        found = offer(shared, values[form.checkpoint])
    except VflowError as error:
        return {
            form.note: gr.update(value=walk_view.note(one_line(shared, error)), visible=True),
            form.kind: gr.update(choices=[], value=None),
        }
    names = [walk.name for walk in found.walks]
    name = values[form.kind] if values[form.kind] in names else names[0]
    kind = walk_kinds.kind(found.model, name)
    random = form.random(found.model, kind, values)
    chosen = {} if values[form.kind] == name else {"value": name}
    choices = [(walk.title, walk.name) for walk in found.walks]
    tiles = "" if random else walk_examples.tiles(shared, values[form.checkpoint], kind)
    updates = {
        form.kind: gr.update(choices=choices, info=kind.info, interactive=True, **chosen),
        form.source: gr.update(visible=found.model == "digits" and not kind.groups),
        form.label: _label(found.model, kind, random, values[form.label]),
        form.note: gr.update(value=walk_view.note(found.note), visible=bool(found.note)),
        form.tiles: gr.update(value=tiles, visible=bool(tiles)),
        **_boxes(form.boxes, kind, random),
        **_numbers(form, found, kind, random, values),
    }
    if fresh:
        updates[form.temperature] = gr.update(
            value=first_temperature(shared, values[form.checkpoint]), visible=_drawn(kind, random)
        )
    return updates


def _boxes(boxes: Boxes, kind: walk_kinds.Kind, random: bool) -> Updates:
    return {
        boxes.start: gr.update(visible=not random, label=kind.first),
        boxes.end: gr.update(visible=bool(kind.second) and not random, label=kind.second or "To"),
        boxes.away: gr.update(visible=kind.groups),
        boxes.towards: gr.update(visible=kind.groups),
    }


def _label(model: str, kind: walk_kinds.Kind, random: bool, chosen: str | None) -> Any:
    digits = [str(digit) for digit in range(10)]
    if random:
        value = chosen if chosen in digits else "3"
        # Under all ten labels, that of the drawn style is one of them.
        return gr.update(visible=kind.name != "transfer", choices=digits, value=value, label="Digit")
    choices = [("The likeliest", walk_kinds.LIKELIEST), *((digit, digit) for digit in digits)]
    value = walk_kinds.LIKELIEST
    return gr.update(visible=model == "digits", choices=choices, value=value, label="The digit is a")


def _drawn(kind: walk_kinds.Kind, random: bool) -> bool:
    """Whether noise is drawn whose scale can be chosen."""
    return "temperature" in kind.asks or (random and kind.name != "temperature")


def _numbers(form: Form, found: Offer, kind: walk_kinds.Kind, random: bool, values: Updates) -> Updates:
    asks = kind.asks
    along = "direction" in asks
    levels = [(text, key) for text, key in found.levels if not along or key in found.shares]
    keys = [key for _, key in levels]
    level = values[form.level] if values[form.level] in keys else next(iter(keys), None)
    sweep = kind.name == "temperature"
    extent = gr.update(
        visible="reach" in asks, maximum=2 if sweep else walk_asked.MAX_EXTENT, value=1.5 if sweep else 3,
        label="Up to temperature" if sweep else "Extent",
        info="" if sweep else "In standard deviations, each way." if along else
        "Each way; at 3 the walk has moved from one group to the other.",
    )  # fmt: skip
    seeded = found.model == "videoflow" or random
    return {
        form.level: gr.update(visible="level" in asks, choices=levels, value=level),
        form.extent: extent,
        form.steps: gr.update(visible="steps" in asks),
        form.num_frames: gr.update(visible="frames" in asks),
        **{future: gr.update(visible="futures" in asks) for future in form.futures},
        form.temperature: gr.update(visible=_drawn(kind, random)),
        form.seed.value: gr.update(visible=seeded),
        form.seed.randomise: gr.update(visible=seeded),
        **_direction(form, found.shares.get(str(level), ()) if along else (), values[form.direction]),
    }


def _direction(form: Form, shares: Sequence[float], chosen: float) -> Updates:
    """The bars and the slider, for directions with these ``shares`` of the variance."""
    if not shares:
        return {form.bars: gr.update(visible=False), form.direction: gr.update(visible=False)}
    number = min(max(1, int(chosen or 1)), len(shares))
    info = (
        f"Direction {number} holds {walk_view.percent(shares[number - 1])} of the variance at this level, "
        f"all {len(shares)} together {walk_view.percent(sum(shares))}."
    )
    many = len(shares) > 1
    alone = walk_view.note("At this level there is one direction, which holds all of the variance.")
    return {
        form.bars: gr.update(value=walk_view.directions(shares, number) if many else alone, visible=True),
        form.direction: gr.update(visible=many, maximum=max(2, len(shares)), value=number, info=info),
    }


def repainted(shared: Shared, form: Form, values: Updates, chosen: float) -> Updates:
    """The bars and the slider after another direction was chosen."""
    try:
        shares = offer(shared, values[form.checkpoint]).shares.get(str(values[form.level]), ())
    except VflowError:
        return {}
    return _direction(form, shares, chosen)


def filled(shared: Shared, form: Form, values: Updates, index: int) -> Updates:
    """The form with an example in its boxes."""
    kind = walk_kinds.kind(model_kind(shared, values[form.checkpoint]), values[form.kind])
    starts = walk_examples.offered(shared, values[form.checkpoint], kind)[index]
    ends = [start.copied(shared) for start in starts[1:]]
    return {
        form.boxes.start: starts[0].copied(shared),
        form.boxes.end: ends[0] if ends else None,
        form.num_frames: starts[0].num_frames or gr.skip(),
    }
