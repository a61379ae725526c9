"""Makes the `opening-*` films, one a tab: results of the shipped models that show before any click.

Run from the repository: python -m apps.examples.make_openings [TAB ...]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import vflow
from apps.ui.lab.job import Job, Request
from apps.ui.lab.render import Drawing
from apps.ui.shared.context import AppContext
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from vflow.checkpoint import find_checkpoints
from vflow.data import media
from vflow.metrics.super_resolution import bicubic
from vflow.pipelines.video.export import overlay_on, top_of
from vflow.pipelines.walk.render import tiles
from vflow.pipelines.walk.space import WalkSettings

FOLDER = Path(__file__).resolve().parent
TEAL = (15, 118, 110)
Film = tuple[np.ndarray, float]
"""Frames, uint8 (T, H, W, C), and frames per second."""


def predict() -> Film:
    """The clip as it really went on, framed, and eight futures of a held-out clip, in rows of three."""
    model: Any = vflow.load("push")
    clip = media.read_clip(FOLDER / "push-00064.mp4").frames[:13]
    given = model.config.context
    futures = vflow.predict(
        model, clip[:given], num_frames=len(clip) - given, temperature=model.config.temperature
    )
    context = np.repeat(clip[None, :given], len(futures), axis=0)
    all_clips = np.concatenate([clip[None], np.concatenate([context, futures], axis=1)])
    frames = np.stack([tiles(at_once.repeat(3, 1).repeat(3, 2), 3) for at_once in all_clips.swapaxes(0, 1)])
    side = 3 * clip.shape[1]
    for frame in frames:
        cv2.rectangle(frame, (2, 2), (side - 3, side - 3), TEAL, 5)
    return np.concatenate([frames, frames[-1:].repeat(4, 0)]), 5.0


def digits() -> Film:
    """All ten digits in one style after another, each style drawn as another digit first."""
    model: Any = vflow.load("digits")
    styles = [
        vflow.walk(model, (), WalkSettings(kind="transfer", label=label, seed=label)).frames
        for label in (3, 8, 5, 2, 6, 9)
    ]
    return np.stack([tiles(style.repeat(4, 1).repeat(4, 2), 5) for style in styles]), 1.0


def colorize() -> Film:
    """A photo in grey, then in six colourings."""
    model: Any = vflow.load("colorizer")
    photo = media.read_image(FOLDER / "photo-chelsea.png").frames[0]
    variants = vflow.colorize(model, photo, num_samples=6, temperature=model.config.temperature)
    return np.concatenate([photo[None].repeat(3 // photo.shape[-1], -1), variants]), 1.0


def enlarge() -> Film:
    """Part of a small photo, enlarged; a line between bicubic and drawn goes to and fro."""
    model: Any = vflow.load("enlarge")
    photo = media.read_image(FOLDER / "walk-chelsea.png").frames[0][20:130, 50:210]
    drawn = vflow.upscale(model, photo, num_samples=1, temperature=model.config.temperature)[0]
    smooth = np.rint(bicubic(photo, 4)).astype(np.uint8)
    frames = []
    for phase in np.linspace(0, 2 * np.pi, 36, endpoint=False):
        line = round(drawn.shape[1] * (0.5 + 0.42 * np.cos(phase)))
        frame = drawn.copy()
        frame[:, :line] = smooth[:, :line]
        frame[:, line - 1 : line + 1] = 255
        frames.append(frame)
    return np.stack(frames), 9.0


def walk() -> Film:
    """Eight digits that move together along the strongest direction of their noise, there and back."""
    model: Any = vflow.load("digits")
    directions = vflow.load_directions(find_checkpoints()["digits"], model)
    walks = [
        vflow.walk(
            model,
            (),
            WalkSettings(kind="direction", label=label, seed=1, steps=13, extent=2.0, level=-1, direction=0),
            directions=directions,
        ).frames
        for label in (0, 2, 3, 4, 5, 7, 8, 9)
    ]
    steps = [tiles(np.stack(step).repeat(4, 1).repeat(4, 2), 4) for step in zip(*walks, strict=True)]
    return np.stack([*steps, *steps[-2:0:-1]]), 8.0


def surprise() -> Film:
    """A clip whose frames 11 and 16 were swapped, beside the map of what the model did not expect."""
    model: Any = vflow.load("push")
    frames = media.read_clip(FOLDER / "push-00064.mp4").frames
    frames[[10, 15]] = frames[[15, 10]]
    statistics = vflow.load_clip_statistics(find_checkpoints()["push"], model)
    surprisal = vflow.surprisal(model, frames, statistics=statistics)
    under = overlay_on(surprisal.frames, surprisal.excess, top_of(surprisal))
    pairs = [np.stack(pair).repeat(4, 1).repeat(4, 2) for pair in zip(surprisal.frames, under, strict=True)]
    return np.stack([tiles(pair, 2) for pair in pairs]), 4.0


def compress() -> Film:
    """A photo as its file is decoded: every 64th pixel along each side, then ever finer lattices."""
    photo = media.read_image(FOLDER / "walk-coffee.png").frames[0]
    height, width = 2 * photo.shape[0], 2 * photo.shape[1]
    strides = (64, 32, 16, 8, 4, 2, 1)
    known = [photo[::s, ::s].repeat(2 * s, 0).repeat(2 * s, 1)[:height, :width] for s in strides]
    return np.stack([*known, *[known[-1]] * 4]), 2.0


LAB_SIDE = 200


def lab() -> Film:
    """A spline flow learns two moons (true, learned), then its layers bend the grid of the base into them."""
    with tempfile.TemporaryDirectory() as folder:
        app = AppContext(ModelStore(), RunStore(Path(folder)), Jobs(), Path(folder))
        job = Job.begin(app, Request.checked("two-moons", "spline", 600, 0))
        snapshots = [job.snapshot for _ in job.advance(lambda: False)]
        learned = [_enlarged(snapshot.density) for snapshot in snapshots if snapshot]
    assert job.snapshot
    drawing, last = job.snapshot.drawing, len(job.snapshot.drawing.stages) - 1
    bent = [_raster(drawing, last * share) for share in np.linspace(0, 1, 25)]
    true = _enlarged(job.task.picture)
    first = [np.concatenate([true, picture], 1) for picture in learned[:: max(1, len(learned) // 8)]]
    second = [np.concatenate([learned[-1], picture], 1) for picture in [bent[0]] * 3 + bent + [bent[-1]] * 8]
    return np.stack([frame for frame in first for _ in range(2)] + second), 8.0


def _enlarged(picture: np.ndarray) -> np.ndarray:
    return media.resize(picture[None, ..., :3], LAB_SIDE, LAB_SIDE, 3)[0]


def _raster(drawing: Drawing, position: float) -> np.ndarray:
    """Grid and dots between two layers, as lab.js draws them: uint8 (200, 200, 3)."""
    start = min(int(position), len(drawing.stages) - 2)
    share = position - start
    places = (1 - share) * drawing.stages[start] + share * drawing.stages[start + 1]
    points = (places * LAB_SIDE * 16 / 1000).astype(np.int32)
    canvas = np.full((LAB_SIDE, LAB_SIDE, 3), (20, 19, 18), np.uint8)
    lines = points[: -drawing.dots].reshape(-1, drawing.per_line, 2)
    cv2.polylines(canvas, list(lines), isClosed=False, color=(70, 175, 160), lineType=cv2.LINE_AA, shift=4)
    for x, y in points[-drawing.dots :: 2]:
        cv2.circle(canvas, (int(x), int(y)), 28, (251, 191, 36), -1, cv2.LINE_AA, 4)
    return canvas


OPENINGS: dict[str, Callable[[], Film]] = {
    "predict": predict,
    "digits": digits,
    "colorize": colorize,
    "enlarge": enlarge,
    "walk": walk,
    "surprise": surprise,
    "compress": compress,
    "lab": lab,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or OPENINGS:
        media.write_video(FOLDER / f"opening-{name}.mp4", *OPENINGS[name](), enlarge=False)
