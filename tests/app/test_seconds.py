"""The line of status says how long the work took, without the time before its turn."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from apps.ui.shared.examples import FOLDER
from tests.app.conftest import Opener
from tests.app.support import DONE

pytestmark = pytest.mark.browser
PHOTO = FOLDER / "walk-astronaut.png"
WAIT = 5  # seconds that another job goes on


def test_seconds_leave_out_the_wait_for_other_jobs(opened: Opener, clip: Path) -> None:
    busy, waiting = opened(), opened()
    busy.tab("Digits")
    busy.choose("slowest-digits")
    busy.number("Digits per class", 32)
    busy.page.locator("#vf-digits-run").click()
    busy.page.locator(".vf-live img").first.wait_for(timeout=DONE)
    uploads = {"enlarge": ("#vf-enlarge-files", PHOTO), "colorize": ("#vf-photos", PHOTO),
               "surprise": ("#vf-surprise-files", clip), "lab": None, "digits": None}  # fmt: skip
    names, clicked = {"colorize": "Colourise"}, dict[str, float]()
    for tab, upload in uploads.items():
        waiting.tab(names.get(tab, tab.capitalize()))
        if tab == "lab":
            waiting.number("Steps", 100)
        if tab == "enlarge":
            waiting.number("Variants", 1)
        if tab == "surprise":
            waiting.choose("lively")
        if upload is not None:
            box, path = upload
            waiting.page.locator(f"{box} input[type=file]").set_input_files(path)
            waiting.page.locator(f"{box} tr.file").get_by_text(path.stem).wait_for(state="attached")
        waiting.page.locator(f"#vf-{tab}-run").click()
        clicked[tab] = time.monotonic()
        waiting.page.locator(f"#vf-{tab}-status", has_text="Waiting for the model").wait_for(timeout=DONE)
    waiting.page.wait_for_timeout(1000 * WAIT)
    assert waiting.page.locator(".vf-status.vf-done").count() == 0, "the other job still runs"
    busy.stop("digits")
    for tab in uploads:
        line = waiting.page.locator(f"#vf-{tab}-status .vf-done p")
        line.wait_for(state="attached", timeout=DONE)
        text = str(line.text_content())
        (seconds,) = re.findall(r" in (\d+\.\d) s", text)
        assert float(seconds) < time.monotonic() - clicked[tab] - WAIT, f"{tab}: {text}"
