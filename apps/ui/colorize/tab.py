"""Colourise: grey photos in, many plausible colourings out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from vflow.data import media
from vflow.errors import InputError
from vflow.tasks.colorize.settings import Hint

from ..shared import examples
from ..shared.context import AppContext, Tab
from ..shared.events import (
    FOLLOW_LINK,
    ON_CLICK,
    ON_PAYLOAD,
    QUEUED,
    QUICK,
    Buttons,
    Shown,
    StatusBar,
    Steps,
    Trigger,
    Updates,
    html_block,
    in_turn,
    run_place,
    unless_empty,
    wire_jobs,
)
from ..shared.fit import fit_line, wire_fit
from ..shared.forms import SORT, by_name, no_model_banner
from ..shared.handing import Taker
from ..shared.html import ExampleTile, download_link, example_strip, message, progress
from ..shared.jobs import paced
from ..shared.opening import COLORIZE, opening
from ..shared.turns import Turn
from .job import FAMILY, ColorizedPhoto, archive
from .page import DownloadsOnDemand, Form, Page, View
from .state import PhotoState, SessionState

COFFEE = (
    Hint(0.47, 0.38, (110, 65, 35)),
    Hint(0.22, 0.62, (170, 40, 45)),
    Hint(0.9, 0.8, (150, 105, 60)),
)
EXAMPLES: dict[str, tuple[str, tuple[Hint, ...]]] = {
    "coffee, with three colours given": (examples.PHOTOS["coffee"], COFFEE),
    **{title: (name, ()) for title, name in examples.PHOTOS.items()},
}
"""Title → photo, and colours that are given."""
ROWS = "Rows coloured, in per cent"
STRENGTH = "100 shows only the drawn colours; lower values mix in the upload's own (grey if it has none)."


def build(app: AppContext) -> None:
    """Lay out the tab and wire it."""
    no_model_banner(app, FAMILY)
    state = gr.State(SessionState())
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            files, photos = _uploads()
            line = fit_line("colorize")
            strip = html_block(_example_strip(), js_on_load=ON_CLICK)
            with run_place():
                buttons = Buttons.row("Colourise", "colorize", ready=app.models.default(FAMILY) is not None)
            form = Form(app, files, state)
            form.advanced()
            editor = html_block("", "vf-editor", js_on_load=ON_PAYLOAD)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "colorize")
            compare = html_block(opening(app, COLORIZE), "vf-compare")
            with gr.Group(visible=False, elem_classes="vf-card") as tools:
                strength = gr.Slider(0, 100, 100, step=1, label="Colour strength in %", info=STRENGTH)
            cards = html_block("", "vf-cards", js_on_load=ON_CLICK)
            view = View(bar, photos, editor, compare, tools, cards, _downloads())
    page = Page(app, form, view, strength)
    wire_fit(app, line, files, form.checkpoint, FAMILY)
    app.takers["colorize"] = Taker(files)
    _wire_clicks(page)
    _wire_jobs(page, strip)
    _wire_downloads(page)


def _example_strip() -> str:
    tiles = []
    for title, (name, hints) in EXAMPLES.items():
        dots = "".join(f'<i style="background: rgb{color}"></i>' for _, _, color, _ in hints)
        mark = f'<span class="vf-dots" aria-hidden="true">{dots}</span>' if dots else ""
        picture = media.read_image(examples.FOLDER / name).frames[0]
        tiles.append(ExampleTile(title, [picture], mark))
    return example_strip("Or colourise an example", "Colourise example", "vf-try-photo", tiles)


def _uploads() -> tuple[gr.File, gr.HTML]:
    """The upload box and the thumbnails."""
    files = gr.File(
        label="Photos", file_count="multiple", height=132, elem_id="vf-photos", elem_classes="vf-files"
    )
    photos = html_block("", "vf-photo-list", js_on_load=ON_CLICK)
    add = gr.UploadButton("Add photos", file_count="multiple", size="sm", min_width=90, visible=False)
    files.change(lambda paths: gr.update(visible=bool(paths)), files, add, **QUICK)
    add.upload(None, [files, add], files, js=SORT, **QUICK)
    return files, photos


def _downloads() -> DownloadsOnDemand:
    with gr.Row(visible=False, elem_classes="vf-downloads") as row:
        variant = gr.Button("This variant (png)", size="sm", min_width=100)
        all_variants = gr.Button("All variants (zip)", size="sm", min_width=100)
        settings = gr.Button("Settings (json)", size="sm", min_width=100)
    link = html_block("", "vf-saved", js_on_load=FOLLOW_LINK)
    return DownloadsOnDemand(row, variant, all_variants, settings, link)


def _wire_clicks(page: Page) -> None:
    """Events that are answered at once: uploads, choice of photo and variant, strength, hints."""
    form, view = page.form, page.view

    def choose_photo(values: Updates, event: gr.EventData) -> Updates:
        return page.choose_photo(values, str(event.action), str(event.key))

    def choose_variant(values: Updates, event: gr.EventData) -> Updates:
        return unless_empty(page.choose_variant(values, str(event.action), int(event.index)), view.cards)

    def change_hints(values: Updates, event: gr.EventData) -> Updates:
        return unless_empty(page.change_hints(values, event), view.editor)

    def large(values: Updates) -> Updates:
        return unless_empty(page.answer(values, page.large), view.compare)

    def small(values: Updates) -> Updates:
        return unless_empty(page.answer(values, page.small), view.cards)

    inputs, outputs = {form.files, form.state, page.strength}, [form.files, *view.components()]
    glance = page.app.turns.glance
    form.files.change(glance(page.uploaded), inputs, outputs, **QUICK)
    every: dict[str, Any] = {"trigger_mode": "multiple", **QUICK}  # a click during another's answer counts
    view.photos.select(glance(choose_photo), inputs, outputs, **every)
    view.editor.select(change_hints, inputs, outputs, **every)
    view.cards.select(choose_variant, inputs, outputs, **every)
    for pictures in (large, small):  # at once: the large picture does not wait for the small ones
        page.strength.change(pictures, inputs, outputs, trigger_mode="always_last", **QUICK)


def _wire_jobs(page: Page, strip: gr.HTML) -> None:
    """Four triggers of a job: Colourise, an example, More like this, changed hints."""
    form, view = page.form, page.view

    def take_uploads(values: Updates, event: gr.EventData) -> Updates:
        return page.set_photos(values, by_name(values[form.files]))

    def load_example(values: Updates, event: gr.EventData) -> Updates:
        name, hints = list(EXAMPLES.values())[int(event.index)]
        path = examples.copy_to_cache(examples.FOLDER / name, page.app.cache)
        state = page.state(values)
        with state.turn:
            results = page.set_photos(values, [path])
            state.update(path, lambda photo: replace(photo, hints=hints))
        return {form.files: [path], **form.usual(values[form.checkpoint]), **results}

    triggers = [
        Trigger(view.bar.buttons.run.click, page.colorize_all, take_uploads),
        Trigger(strip.select, page.colorize_all, load_example),
        Trigger(view.cards.input, page.more_like),
        # A group of its own: a new hint does not end a run over many photos.
        Trigger(view.editor.input, page.colorize_again, page.change_hints, group="hints"),
    ]
    changed = [part for part in form.components() if part is not form.state]
    inputs = [*form.components(), page.strength]
    outputs, kept = [*view.components(), *changed], [form.files, form.state]
    wire_jobs(page.app, "colorize", view.bar, triggers, inputs, outputs, kept)


# -- downloads: pictures at the photo's own size take seconds and are made on demand --

Make = Callable[[SessionState, float], Generator[Updates | Turn, None, Path]]
"""Yields progress and returns the file."""


def _wire_downloads(page: Page) -> None:
    """Wire each button to make its file, whose link the page then follows."""
    form, bar, downloads = page.form, page.view.bar, page.view.downloads

    def variant(state: SessionState, strength: float) -> Generator[Updates | Turn, None, Path]:
        photo, result = _shown(state)
        yield Turn.READ
        yield {bar.status: progress(0, 100, "Reading the photo at full size…", ROWS)}
        path = result.folder / f"{Path(result.source).stem}-variant-{photo.variant + 1}.png"
        image = result.full_size()
        yield Turn.COMPUTE
        for share in paced(result.color_rows(image, photo.variant, strength)):
            yield {bar.status: progress(round(100 * share), 100, f"{share:.0%} of the photo", ROWS)}
        yield {bar.status: progress(100, 100, "Writing the file…", ROWS)}
        media.write_png(path, image)
        return path

    def all_variants(state: SessionState, strength: float) -> Generator[Updates | Turn, None, Path]:
        _, result = _shown(state)
        path = result.folder / "colourised.zip"
        results = [photo.result for photo in state.photos if photo.result]
        total = sum(each.count for each in results)
        text = "Writing images at full size…"
        yield Turn.COMPUTE
        yield {bar.status: progress(0, total, text, "Images written")}
        for done in paced(archive(path, results, strength)):
            text = f"Image {min(int(done) + 1, total)} of {total} at full size"
            yield {bar.status: progress(done, total, text, "Images written")}
        return path

    def settings(state: SessionState, strength: float) -> Generator[Updates | Turn, None, Path]:
        _, result = _shown(state)
        yield {bar.status: message("Writing the settings…")}
        return result.save_settings(strength)

    def saver(make: Make) -> Callable[[Updates, gr.Request], Shown]:
        def steps(values: Updates) -> Steps:
            path = yield from make(page.state(values), values[page.strength] / 100)
            yield {
                bar.status: message(f"Saved {path.name}", "done"),
                downloads.link: download_link(path),
            }

        async def save(values: Updates, request: gr.Request) -> Shown:
            saving = bar.with_errors(page.app, (), steps(values))
            async with aclosing(in_turn(page.app, saving, bar.status, request)) as shown:
                async for updates in shown:
                    yield updates

        return save

    inputs, outputs = {form.state, page.strength}, [*bar.components(), downloads.link]
    for button, make in (
        (downloads.variant, variant),
        (downloads.archive, all_variants),
        (downloads.settings, settings),
    ):
        button.click(saver(make), inputs, outputs, show_progress_on=bar.status, **QUEUED)


def _shown(state: SessionState) -> tuple[PhotoState, ColorizedPhoto]:
    photo = state.photo
    if photo is None or photo.result is None:
        raise InputError("no coloured photo on show; press Colourise")
    return photo, photo.result


TAB = Tab("Colourise", "colorize", build)
