"""Colourise: grey photos in, many plausible colourings out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from . import colourise_page as page
from . import colourise_save, colourise_view, examples
from .colourise_desk import Desk
from .colourise_flow import KIND, MAX_VARIANTS
from .colourise_page import Downloads, Form, View
from .colourise_run import Runner
from .common import Shared, Tab
from .controls import PICK, QUICK, SAVE, TOLD, Board, Buttons, Seed, Updates, no_checkpoint, wire_runs
from .models import RECIPES
from .temperature import BESIDE_LEVELS, levels_box, suggested_temperature, temperature_slider
from .uploads import by_name, paths_of


def build(shared: Shared) -> None:
    """Lay out the tab and wire it."""
    if shared.models.default(KIND) is None:
        gr.HTML(no_checkpoint(RECIPES[KIND]), apply_default_css=False)
    desk = gr.State(Desk())
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            files, chooser = _photos()
            tiles = examples.picture_tiles(
                examples.PHOTOS, "Or colourise an example", "Colourise example", "vf-try-photo"
            )
            strip = gr.HTML(tiles, js_on_load=PICK, apply_default_css=False)
            form, buttons = _settings(shared, files, desk)
            editor = gr.HTML("", js_on_load=TOLD, apply_default_css=False, elem_id="vf-editor")
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            view = _results(buttons, chooser, editor)
    _wire_desk(form, view)
    _wire_runs(shared, form, view, strip)
    colourise_save.wire(shared, form, view)


def _photos() -> tuple[gr.File, gr.HTML]:
    """The upload box and the thumbnails."""
    files = gr.File(
        label="Photos", file_count="multiple", height=132, elem_id="vf-photos", elem_classes="vf-files"
    )
    chooser = gr.HTML("", js_on_load=PICK, apply_default_css=False, elem_id="vf-chooser")
    more = gr.UploadButton("Add photos", file_count="multiple", size="sm", min_width=90, visible=False)
    files.change(lambda paths: gr.update(visible=bool(paths)), files, more, **QUICK)
    more.upload(lambda old, new: by_name([*paths_of(old), *new]), [files, more], files, **QUICK)
    return files, chooser


def _settings(shared: Shared, files: gr.File, desk: gr.State) -> tuple[Form, Buttons]:
    first = shared.models.default(KIND)
    with gr.Group(elem_classes="vf-card"):
        num_samples = gr.Slider(1, MAX_VARIANTS, 8, step=1, label="Variants")
        one = temperature_slider(shared, first, BESIDE_LEVELS)
        seed = Seed.row()
        checkpoint = gr.Dropdown(shared.models.names(KIND), value=first, label="Checkpoint", interactive=True)
    buttons = Buttons.row("Colourise", "vf", ready=first is not None)
    with gr.Accordion("Advanced", open=False):
        levels = levels_box(shared, first, one, "the mean colour")

    def chosen(name: str | None, typed: str) -> tuple[float, Any]:
        return suggested_temperature(shared, name, typed)

    checkpoint.change(chosen, [checkpoint, levels], [one, levels], **QUICK)
    return Form(files, desk, checkpoint, num_samples, one, levels, seed), buttons


def _results(buttons: Buttons, chooser: gr.HTML, editor: gr.HTML) -> View:
    board = Board.under(buttons, "vf-colourise-status")
    compare = gr.HTML(colourise_view.empty(), apply_default_css=False, elem_id="vf-compare")
    with gr.Group(visible=False, elem_classes="vf-card") as tools:
        strength = gr.Slider(0, 100, 100, step=1, label="Colour strength in %")
    cards = gr.HTML("", js_on_load=PICK, apply_default_css=False, elem_id="vf-cards")
    with gr.Row(visible=False, elem_classes="vf-downloads") as row:
        one = gr.Button("This variant (png)", size="sm", min_width=100)
        archive = gr.Button("All variants (zip)", size="sm", min_width=100)
        settings = gr.Button("Settings (json)", size="sm", min_width=100)
    link = gr.HTML("", js_on_load=SAVE, apply_default_css=False, elem_id="vf-saved")
    downloads = Downloads(row, one, archive, settings, link)
    return View(board, chooser, editor, compare, tools, strength, cards, downloads)


def _wire_desk(form: Form, view: View) -> None:
    """What answers at once: uploads, the photo and the variant on show, strength, colour points."""

    def uploaded(values: Updates) -> Updates:
        page.desk_of(form, values).hold(by_name(values[form.files]))
        return page.everything(form, view, values)

    def choose(values: Updates, event: gr.EventData) -> Updates:
        return page.choose(form, view, values, str(event.action), int(event.index))

    def point(values: Updates, event: gr.EventData) -> Updates:
        return page.point(form, view, values, event)

    def card(values: Updates, event: gr.EventData) -> Updates:
        return page.card(form, view, values, str(event.action), int(event.index))

    def joined(values: Updates) -> Updates:
        return page.at_once(form, view, values, page.large)

    def all_joined(values: Updates) -> Updates:
        return page.at_once(form, view, values, page.small)

    inputs, outputs = {form.files, form.desk, view.strength}, [form.files, *view.components()]
    form.files.change(uploaded, inputs, outputs, **QUICK)
    view.chooser.select(choose, inputs, outputs, **QUICK)
    view.editor.select(point, inputs, outputs, trigger_mode="multiple", **QUICK)
    view.cards.select(card, inputs, outputs, **QUICK)
    for join in (joined, all_joined):  # at once: the large picture does not wait for the small ones
        view.strength.change(join, inputs, outputs, trigger_mode="always_last", **QUICK)


def _wire_runs(shared: Shared, form: Form, view: View, strip: gr.HTML) -> None:
    """Four ways into the same queue: Colourise, an example, changed points, More like this."""
    index = gr.State(0)  # of the variant to go on from: an event's data reaches only its first handler

    def runner(request: gr.Request) -> Runner:
        return Runner(shared, form, view, str(request.session_hash))

    def run(values: Updates, request: gr.Request) -> Iterator[Updates]:
        yield from runner(request).everything(values)

    def again(values: Updates, request: gr.Request) -> Iterator[Updates]:
        yield from runner(request).again(values)

    def like(values: Updates, request: gr.Request) -> Iterator[Updates]:
        yield from runner(request).like(values, values[index])

    def clicked(values: Updates) -> Updates:
        page.desk_of(form, values).hold(by_name(values[form.files]))
        return view.board.waiting()

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        path = examples.copied_file(examples.photo(int(event.index)), shared.cache)
        page.desk_of(form, values).hold([path])
        return {form.files: [path], **view.board.waiting()}

    def pointed(values: Updates, event: gr.EventData) -> Updates:
        return {**view.board.waiting(), **page.point(form, view, values, event)}

    def liked(event: gr.EventData) -> Updates:
        return {index: int(event.index), **view.board.waiting()}

    inputs = form.components() | {view.strength, index}
    outputs = [*view.components(), *(form.components() - {form.desk}), index]
    ways = [
        (view.board.buttons.run.click(clicked, inputs, outputs, **QUICK), run),
        (strip.select(load_example, inputs, outputs, **QUICK), run),
        (view.cards.input(liked, None, outputs, **QUICK), like),
    ]
    edits = [(view.editor.input(pointed, inputs, outputs, trigger_mode="multiple", **QUICK), again)]
    wire_runs(shared, view.board, ways, inputs, outputs, edits)


TAB = Tab("Colourise", "colourise", build)
