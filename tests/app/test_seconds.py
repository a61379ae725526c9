"""The line of status says how long the work took, without the time before its turn."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from apps.ui.shared.examples import FOLDER
from tests.app.support import DONE, App

pytestmark = pytest.mark.browser
PHOTO = FOLDER / "walk-astronaut.png"
WAIT = 5  # seconds that another job goes on


def test_seconds_leave_out_the_wait_for_other_jobs(app: App, clip: Path, stills: list[Path]) -> None:
    app.keep_the_model(stills[0])
    uploads = {"enlarge": ("#vf-enlarge-files", PHOTO), "colorize": ("#vf-photos", PHOTO),
               "surprise": ("#vf-surprise-files", clip), "lab": None, "digits": None}  # fmt: skip
    names, clicked = {"colorize": "Colourise"}, dict[str, float]()
    for tab, upload in uploads.items():
        app.tab(names.get(tab, tab.capitalize()))
        if tab == "lab":
            app.number("Steps", 100)
        if tab == "enlarge":
            app.number("Variants", 1)
        if tab == "surprise":
            app.choose("lively")
        if upload is not None:
            box, path = upload
            app.page.locator(f"{box} input[type=file]").set_input_files(path)
            app.page.locator(f"{box} tr.file").get_by_text(path.stem).wait_for(state="attached")
        app.page.locator(f"#vf-{tab}-run").click()
        clicked[tab] = time.monotonic()
        app.page.locator(f"#vf-{tab}-status", has_text="Waiting for").wait_for(timeout=DONE)
    app.page.wait_for_timeout(1000 * WAIT)
    assert app.page.locator(".vf-status.vf-done").count() == 0, "the other job still runs"
    app.stop("predict")
    for tab in uploads:
        line = app.page.locator(f"#vf-{tab}-status .vf-done p")
        line.wait_for(state="attached", timeout=DONE)
        text = str(line.text_content())
        (seconds,) = re.findall(r" in (\d+\.\d) s", text)
        assert float(seconds) < time.monotonic() - clicked[tab] - WAIT, f"{tab}: {text}"
