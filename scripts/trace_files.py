"""Own files that a use of vflow runs through, and how deep its calls go: predict, click, or nats.

Files count in which a function's line was executed after import: neither what importing them executes, nor a
class's body. Run it with --files for their names.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CLIP = ROOT / "apps" / "examples" / "grasp-014.npz"
PATIENCE = 300_000  # milliseconds: a trace makes everything slower
_FUNCTION = 0x1  # CO_OPTIMIZED, which modules and classes lack


class Trace:
    """Record of own functions that were called, in all threads started meanwhile.

    Attributes:
        files: paths relative to the root.
        deepest: most own calls that were under way at once in a thread.
    """

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.deepest = 0
        self._threads = threading.local()
        self._own: dict[CodeType, str | None] = {}

    def restart(self) -> None:
        """Forget what was recorded: it led up to the use."""
        self.files, self.deepest = set(), 0

    def __enter__(self) -> Trace:
        threading.setprofile(self._event)
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _event(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        here, code, step = self._threads.__dict__, frame.f_code, 1 if event == "call" else -1
        if code.co_name == "<module>":
            here["imports"] = max(0, here.get("imports", 0) + step)
        if here.get("imports"):
            return
        if code not in self._own:
            self._own[code] = _own_file(code)
        if name := self._own[code]:
            here["depth"] = max(0, here.get("depth", 0) + step)
            if step > 0:
                self.files.add(name)
                self.deepest = max(self.deepest, here["depth"])


def _own_file(code: CodeType) -> str | None:
    """Path below the root of a function of vflow or apps."""
    path = Path(code.co_filename)
    if not code.co_flags & _FUNCTION or not path.is_relative_to(ROOT):
        return None
    name = path.relative_to(ROOT).as_posix()
    return name if name.startswith(("vflow/", "apps/")) else None


def predict(trace: Trace) -> None:
    """``vflow predict``: one future of a clip."""
    from vflow.cli import main

    with tempfile.TemporaryDirectory() as folder:
        line = f"predict --checkpoint shapes --input {CLIP} --num-samples 1 --num-frames 1 --output {folder}"
        if main(line.split()):
            raise RuntimeError("vflow predict failed")


def nats(trace: Trace) -> None:
    """Pixels of a clip to their log-likelihood in nats, by the paper's model."""
    import torch

    from vflow.config import load_preset
    from vflow.models import VideoBatch, build_model

    model = build_model(load_preset("bair", {"model.glow.depth": [1, 1, 1]}).model)
    frames = torch.randint(256, (1, 5, 3, 64, 64), dtype=torch.uint8)
    batch = VideoBatch(frames, torch.randn(1, 2, 3, 64, 64), torch.full((1, 2), 3))
    trace.restart()
    model(batch)


def click(trace: Trace) -> None:
    """A click on Predict with an example of ``shapes``, whose choice already draws futures once."""
    from playwright.sync_api import sync_playwright

    from apps.app import build, launch
    from scripts.acceptance.app import free_port
    from tests.app.support import FLAGS, browser_path

    app = build()
    address = launch(app, "127.0.0.1", free_port())
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=list(FLAGS))
            page = browser.new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            page.locator(".vf-example").nth(1).click()
            page.locator("#vf-predict-run:not([disabled])").wait_for()
            page.locator(".vf-player").wait_for()
            page.evaluate("document.querySelector('.vf-player')?.classList.add('old')")
            trace.restart()
            page.locator("#vf-predict-run:not([disabled])").click()
            page.locator(".vf-player:not(.old)").wait_for()
            page.locator("#vf-predict-run:not([disabled])").wait_for()
            browser.close()
    finally:
        app.close(verbose=False)


def main() -> int:
    """Print files and depth of a use; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("use", choices=("predict", "click", "nats"))
    parser.add_argument("--files", action="store_true", help="list the files")
    arguments = parser.parse_args()
    with Trace() as trace:
        {"predict": predict, "click": click, "nats": nats}[arguments.use](trace)
    print(f"{arguments.use}: {len(trace.files)} own files, deepest stack of own calls {trace.deepest}")
    if arguments.files:
        print("\n".join(sorted(trace.files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
