"""Events of jobs: what the page is told last."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from apps.ui.shared.events import NewestWins, ShouldStop, Steps, Trigger, Updates
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.turns import Turns
from tests.app.support import run_async


class Listener:
    """Stands for an event such as ``button.click``; keeps the functions that are wired to it."""

    prepare: Callable[..., Any]
    work: Callable[..., Any]

    def __call__(self, prepare: Callable[..., Any], *args: Any, **options: Any) -> Listener:
        self.prepare = prepare
        return self

    def then(self, work: Callable[..., Any], *args: Any, **options: Any) -> None:
        self.work = work


@pytest.mark.parametrize("discarded", [False, True])
def test_when_a_job_ends_gradio_repeats_the_buttons_alone(discarded: bool) -> None:
    """It sends the last update of a job again as that ends: over an upload box cleared meanwhile."""
    status, button, listener = gr.HTML(render=False), gr.Button(render=False), Listener()
    app: Any = SimpleNamespace(jobs=Jobs(), turns=Turns())
    request: Any = SimpleNamespace(session_hash="s", client=None)
    writing: Updates = {status: "Writing…", button: gr.update(interactive=False)}
    done: Updates = {status: "Done.", button: gr.update(interactive=True)}

    def work(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        yield writing
        yield done

    jobs = NewestWins(app, "tab", status)
    jobs.add(Trigger(listener, work), [], [status, button])
    listener.prepare({}, None, request)
    shown = []

    async def show() -> None:
        async for updates in listener.work(request):
            shown.append(updates)
            if discarded and updates is writing:
                jobs.discard(request)

    run_async(show())
    assert shown[0] == writing
    assert shown[1:] == [{status: gr.skip()}] if discarded else [done, {button: done[button]}]
