"""Walk: an input and a direction in, a strip of pictures or clips out, with a slider over its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from . import gallery, walk_engine, walk_form, walk_offer, walk_view
from .common import Shared, Tab
from .controls import QUICK, Board, Buttons, Outputs, Updates, no_checkpoint, wire_runs
from .jobs import Clock
from .models import RECIPES
from .walk_engine import Job
from .walk_files import WalkRun
from .walk_form import Form

TOLD = "Steps decoded"


@dataclass(frozen=True)
class View(Outputs):
    """Outputs of the tab."""

    grid: gr.DownloadButton
    film: gr.DownloadButton
    native: gr.DownloadButton
    settings: gr.DownloadButton


def build(shared: Shared) -> None:
    """Lay out the tab and wire it."""
    if shared.models.default() is None:
        gr.HTML(no_checkpoint(RECIPES["videoflow"]), apply_default_css=False)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            form = walk_form.build(shared)
            buttons = Buttons.row("Walk", "vf-walk", ready=shared.models.default() is not None)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            view = _results(buttons)
    _wire_form(shared, form)
    _wire_runs(shared, form, view)


def _results(buttons: Buttons) -> View:
    board = Board.under(buttons, "vf-walk-status")
    results = gr.HTML(walk_view.empty(), apply_default_css=False, elem_id="vf-walk-results")
    with gr.Row(visible=False, elem_classes="vf-downloads") as row:
        grid = gr.DownloadButton("Grid (png)", size="sm", min_width=130)
        film = gr.DownloadButton("Film (mp4)", size="sm", min_width=130)
        native = gr.DownloadButton("Frames (npz)", size="sm", min_width=130)
        settings = gr.DownloadButton("Settings (json)", size="sm", min_width=130)
    return View(board, results, row, grid, film, native, settings)


def _wire_form(shared: Shared, form: Form) -> None:
    """What answers at once: which controls there are, and the bars of the directions."""

    def arrange(values: Updates) -> Updates:
        return walk_form.arranged(shared, form, values)

    def renew(values: Updates) -> Updates:
        return walk_form.arranged(shared, form, values, fresh=True)

    def pick(values: Updates, event: gr.EventData) -> Updates:
        return walk_form.repainted(shared, form, values, int(event.index))

    def slide(values: Updates) -> Updates:
        return walk_form.repainted(shared, form, values, values[form.direction])

    inputs, outputs = set(form.components()), form.components()
    # Loading a model takes a moment; a kind of walk chosen meanwhile would be the old model's.
    begun = form.checkpoint.input(lambda: gr.update(interactive=False), None, form.kind, **QUICK)
    begun.then(renew, inputs, outputs, **QUICK)
    form.kind.input(arrange, inputs, outputs, **QUICK)
    form.source.input(arrange, inputs, outputs, **QUICK)
    form.level.input(slide, inputs, [form.bars, form.direction], **QUICK)
    form.bars.select(pick, inputs, [form.bars, form.direction], **QUICK)
    form.direction.input(slide, inputs, [form.bars, form.direction], trigger_mode="always_last", **QUICK)
    page = gr.context.Context.root_block
    if page is not None and shared.models.default() is not None:
        page.load(renew, inputs, outputs, **QUICK)


def _wire_runs(shared: Shared, form: Form, view: View) -> None:
    """Two ways into the queue: Walk and an example."""

    def run(values: Updates, request: gr.Request) -> Iterator[Updates]:
        asked = form.asked(
            walk_offer.model_kind(shared, values[form.checkpoint]), values, form.seed.chosen(values)
        )
        steps = _steps(shared, form, view, asked, str(request.session_hash))
        yield from view.board.reported(shared, asked.paths(), steps)

    def example(values: Updates, event: gr.EventData) -> Updates:
        return {**walk_form.filled(shared, form, values, int(event.index)), **view.board.waiting()}

    inputs = set(form.components())
    outputs = [*view.components(), *form.components()]
    ways = [
        (view.board.buttons.run.click(view.board.waiting, None, outputs, **QUICK), run),
        (form.tiles.select(example, inputs, outputs, **QUICK), run),
    ]
    wire_runs(shared, view.board, ways, inputs, outputs)


def _steps(
    shared: Shared, form: Form, view: View, asked: walk_engine.Asked, session: str
) -> Iterator[Updates]:
    """One walk on the page: yields updates after every step or frame that was decoded."""
    status, buttons = view.board.status, view.board.buttons
    with shared.jobs.running(session) as flag:
        reading = gallery.progress(0, 1, "Reading the input…", TOLD)
        yield {status: reading, form.seed.value: asked.seed, **buttons.working()}
        job = walk_engine.begin(shared, asked)
        clock = shared.jobs.clock(f"{asked.checkpoint} {asked.kind}", job.settings.steps)
        for done, total in walk_engine.advance(shared, job, flag.is_set):
            clock.frame_done()
            yield {status: gallery.progress(done, total, _so_far(done, total, clock), TOLD)}
    if job.made is None:
        yield {status: gallery.message("Stopped before the walk was complete."), **buttons.idle()}
        return
    seconds = clock.elapsed()
    writing = gallery.progress(1, 1, "Writing files…", TOLD)
    yield {status: writing, buttons.stop: gr.update(interactive=False)}
    yield _finished(view, job, walk_engine.keep(shared, job), seconds)


def _so_far(done: int, total: int, clock: Clock) -> str:
    left = clock.left(total - done) or 0.0
    return f"{done} of {total} decoded" + (f" · about {round(left)} s left" if left >= 1 else "")


def _finished(view: View, job: Job, run: WalkRun, seconds: float) -> Updates:
    assert job.made is not None
    remarks = [note[:1].upper() + note[1:] for note in job.inputs.notes]
    text = f"{len(job.made.positions)} steps in {seconds:.1f} s"
    return {
        view.board.status: gallery.message(text, "done", remarks),
        view.results: walk_view.player(run, job.made.frames.shape[-3:-1]),
        view.row: gr.update(visible=True),
        view.grid: str(run.grid),
        view.film: str(run.film),
        view.native: str(run.native),
        view.settings: str(run.settings),
        **view.board.buttons.idle(),
    }


TAB = Tab("Walk", "walk", build)
