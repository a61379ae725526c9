"""A page under test: what it asked for, what it complained about, and the pixels it shows."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import shlex
import shutil
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, Request

T = TypeVar("T")
INSTALL = "apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation"
ARTIFACTS = Path(__file__).parent / "artifacts"
DESKTOP, PHONE = (1280, 900), (390, 844)
# One worker is enough for one page, and nothing may reach for Google's services.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
)
DONE = 90_000  # milliseconds; seconds on an idle machine, the rest is for busy ones

# The video's current picture at the model's size (previews repeat each pixel 8 × 8), as a PNG.
GRAB = """(video) => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth / 8, video.videoHeight / 8];
  const context = canvas.getContext('2d');
  context.imageSmoothingEnabled = false;
  context.drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL('image/png');
}"""
# A picture's own pixels, as the browser has decoded them, as a PNG. One given another source meanwhile
# fails to decode the first; asked again, it decodes the second.
PAINT = """async (image) => {
  await image.decode().catch(() => image.decode());
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext('2d').drawImage(image, 0, 0);
  return canvas.toDataURL('image/png');
}"""
# Asks for the frame until every video rests on it: a player still loading forgets what it was told.
SHOWS = """(frame) => {
  const slider = document.querySelector('.vf-seek');
  const videos = [...document.querySelectorAll('.vf-player video')];
  const total = Number(slider.max);
  const at = (video, time) => Math.abs((time / video.duration) * total - (frame - 0.5)) <= 0.6;
  const rests = (video) => video.readyState >= 2 && !video.seeking && video.paused;
  if (!videos.every((video) => video.duration)) return false;  // not known yet: there is nowhere to seek
  for (const video of videos.filter((video) => !('presented' in video))) {
    video.presented = -1;  // when the picture on the screen is from: it comes later than the seek ends
    const next = () => video.requestVideoFrameCallback((_, shown) => {
      video.presented = shown.mediaTime;
      next();
    });
    next();
    video.pause();
    video.currentTime = frame > 1 ? 0 : video.duration * (1 - 0.5 / total);  // a seek shows something
  }
  const there = (video) => rests(video) && at(video, video.currentTime) && at(video, video.presented);
  if (videos.every(there)) return true;
  if (videos.every((video) => !video.seeking)) {
    slider.value = frame;
    slider.dispatchEvent(new Event('input'));
  }
  return false;
}"""

# When a tab or section is first shown, Gradio gives its fields the server's values once more, a frame later;
# what was typed before that is gone. No person is that fast.
SETTLED = """() => new Promise((done) => {
  const frames = (left) => (left ? requestAnimationFrame(() => frames(left - 1)) : done());
  frames(5);
})"""


def browser_path() -> str:
    """The system's Chromium or Chrome.

    Raises:
        RuntimeError: there is none; the message is the command that installs one.
    """
    names = (os.environ.get("VFLOW_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    for name in filter(None, names):
        if found := shutil.which(name):
            return found
    raise RuntimeError(f"the browser tests need Chromium; install it: {INSTALL}")


@dataclass
class App:
    """The open page and what was recorded since it opened."""

    page: Page
    address: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Go to the page and wait until it can be used."""
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))
        self.page.goto(self.address)
        self.page.locator(".vf-example").first.wait_for()

    def _note(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.foreign.append(url)

    def upload(self, *paths: Path) -> None:
        """Put files into the upload box as a person would; waits for their thumbnails."""
        self.page.locator("#vf-predict-files input[type=file]").set_input_files(list(paths))
        for path in paths:
            self.page.locator(".vf-thumb .vf-name", has_text=path.name).first.wait_for()

    def number(self, label: str, value: float | str) -> None:
        """Type a number beside a slider or into a field."""
        own = self.page.get_by_label(label, exact=True).and_(self.page.locator("input"))
        beside = self.page.get_by_label(f"number input for {label}")
        field = beside.or_(own).filter(visible=True)  # waits for either
        for _ in range(3):  # a busy browser may give the field the server's value after all
            field.fill(str(value))
            field.press("Tab")
            self.page.evaluate(SETTLED)
            if field.input_value() == str(value):
                return

    def choose(self, checkpoint: str) -> None:
        """Select a checkpoint by name, on the tab that is open."""
        self.page.locator("[aria-label=Checkpoint]:visible").click()
        self.page.get_by_role("option", name=checkpoint, exact=True).click()

    def settings(self, *, futures: int = 2, frames: int = 3, seed: int = 0) -> None:
        """Small numbers, so that a run takes a moment."""
        self.number("Futures", futures)
        self.number("Frames", frames)
        self.number("Seed", seed)

    def predict(self) -> str:
        """Press Predict and wait for the finished grid; returns the line of status."""
        self.page.evaluate("document.querySelector('.vf-player')?.classList.add('old')")
        self.page.locator("#vf-predict-run").click()
        return self.finished()

    def finished(self) -> str:
        """Wait for a new finished grid; returns the line of status."""
        self.page.locator(".vf-player:not(.old)").wait_for(timeout=DONE)
        self.page.locator("#vf-predict-run:not([disabled])").wait_for()
        return self.status()

    def status(self) -> str:
        """First line of the status."""
        return self.page.locator("#vf-predict-status .vf-status p").inner_text()

    def seek(self, frame: int) -> None:
        """Show one frame, counted from 1 with the given ones, in all videos."""
        self.page.wait_for_function(SHOWS, arg=frame, polling=100, timeout=DONE)

    def pictures(self, frame: int) -> np.ndarray:
        """What all videos show at ``frame``, decoded by the browser: uint8 (videos, H, W, 3)."""
        self.seek(frame)
        return np.stack([self.grab(index) for index in range(self.videos())])

    def videos(self) -> int:
        """How many videos the grid holds: the futures, their mean, their diversity."""
        return self.page.locator(".vf-player video").count()

    def grab(self, index: int) -> np.ndarray:
        """What a video shows now: uint8 (H, W, 3), at the model's size."""
        return decoded(self.page.locator(".vf-player video").nth(index).evaluate(GRAB))

    def tab(self, name: str) -> None:
        """Go to another tab."""
        self.page.get_by_role("tab", name=name).click()
        self.page.locator(".vf-status-line:visible").first.wait_for()
        self.page.evaluate(SETTLED)

    def advanced(self) -> None:
        """Open the section of that name on the tab that is open."""
        self.page.get_by_role("button", name="Advanced").click()
        self.page.get_by_label("Temperature per level").filter(visible=True).wait_for()
        self.page.evaluate(SETTLED)

    def images(self, selector: str) -> np.ndarray:
        """Pixels of all pictures that ``selector`` finds, decoded by the browser: uint8 (N, H, W, 3)."""
        found = self.page.locator(selector)
        return np.stack([decoded(found.nth(i).evaluate(PAINT)) for i in range(found.count())])

    def advances(self, index: int) -> bool:
        """Whether a video comes to show another picture within some seconds, by itself."""
        before = self.grab(index)
        for _ in range(100):
            if differ(before, self.grab(index)) > 1:
                return True
            self.page.wait_for_timeout(50)
        return False

    def command(self) -> list[str]:
        """Arguments of the command that the result on the tab names."""
        text = self.page.locator(".vf-command code").filter(visible=True).inner_text()
        vflow, *arguments = shlex.split(text)
        assert vflow == "vflow"
        return arguments

    def names(self) -> Locator:
        """File names under the thumbnails, in order."""
        return self.page.locator(".vf-thumb .vf-name")

    def download(self, label: str, folder: Path) -> Path:
        """Click a download button and keep the file."""
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name=label).or_(self.page.get_by_role("link", name=label)).click()
        path = folder / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path

    def keep_the_model(self, file: Path) -> None:
        """Begin a long job in Predict: those of the same page wait for it; ``stop("predict")`` ends it."""
        self.choose("slower")
        self.upload(file)
        self.settings(futures=32, frames=60)
        self.page.locator("#vf-predict-run").click()
        self.page.locator(".vf-live").wait_for(timeout=DONE)

    def stop(self, tab: str) -> None:
        """Press Stop, unless the job has ended by itself."""
        self.page.evaluate(f"document.querySelector('#vf-{tab}-stop').click()")

    @contextmanager
    def until_answered(self) -> Iterator[None]:
        """Do the block, then wait for the end of the job under way, whichever side ends its stream."""
        ended: list[Request] = []

        def note(request: Request) -> None:
            if "/queue/data" in request.url:
                ended.append(request)

        self.page.on("requestfinished", note)
        self.page.on("requestfailed", note)
        yield
        for _ in range(DONE // 100):
            if ended:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError("the job did not end")

    def refused(self, tab: str, message: str) -> None:
        """Press the tab's button and see it fail with exactly ``message``; the form stays usable."""
        self.page.locator(f"#vf-{tab}-run").click()
        self.complained(f"#vf-{tab}-status", message)
        self.page.locator(f"#vf-{tab}-run:not([disabled])").wait_for()

    def complained(self, status: str, message: str) -> None:
        """Wait until exactly ``message`` stands in the line of status and in a toast, and close the toast."""
        self.page.locator(f"{status} .vf-error p").get_by_text(message, exact=True).wait_for()
        self.page.locator(".toast-message-text").get_by_text(message, exact=True).wait_for()
        self.page.evaluate("document.querySelector('.toast-close')?.click()")  # it may have gone by itself
        self.page.locator(".toast-message-text").wait_for(state="detached")


def decoded(address: str) -> np.ndarray:
    """A ``data:`` address with a picture: uint8 (H, W, 3)."""
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return np.asarray(picture.convert("RGB"))


def contrast(part: Locator) -> int:
    """Levels between the darkest and the brightest channel of what the page shows of ``part``."""
    return int(np.ptp(np.asarray(Image.open(io.BytesIO(part.screenshot())).convert("RGB"))))


def color_contrast(a: str, b: str) -> float:
    """Contrast of WCAG between two colours, each the first ``rgb(…)`` or ``#rrggbb`` of a text: 1 to 21."""
    darker, lighter = sorted(map(_luminance, (a, b)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(text: str) -> float:
    if found := re.search(r"rgb\((\d+), (\d+), (\d+)\)", text):
        levels = np.array(list(map(int, found.groups()))) / 255
    else:
        levels = np.frombuffer(bytes.fromhex(text.lstrip("#")), np.uint8) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def differ(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


def found_by_axe(violations: Sequence[dict[str, Any]]) -> list[str]:
    """axe findings of any weight, one line each."""
    return [f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:200]}" for v in violations]


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Result of a coroutine, run in a thread: the browser's own event loop runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
