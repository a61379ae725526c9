"""Makes the `opening-*` films, one a tab: results of the shipped models that show before any click.

They are made with what the tabs' forms say when the page opens (that of Predict, of its first example, whose
model and temperatures are its own); `openings.json` records that by label.

Run from the repository: python -m apps.examples.make_openings [TAB ...]
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from gradio.blocks import Block

import vflow
from apps.app import build
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
RECORD = FOLDER / "openings.json"
FIELDS = (gr.Checkbox, gr.Dropdown, gr.Number, gr.Radio, gr.Slider, gr.Textbox)
Film = tuple[np.ndarray, float]
"""Frames, uint8 (T, H, W, C), and frames per second."""
Values = dict[str, Any]
"""Values of a form, by label."""


def predict(form: Values) -> Film:
    """Futures of a film that no model was trained on, in rows of four, until one falls apart."""
    model: Any = vflow.load("any")
    given = media.read_clip(FOLDER / "film-dog.npz").frames[:3]
    futures = vflow.predict(
        model,
        given,
        num_frames=form["Frames"],
        num_samples=form["Futures"],
        temperature=model.config.temperature,
        seed=form["Seed"],
    )
    clips = np.concatenate([given[None].repeat(len(futures), 0), futures[:, :7]], axis=1)
    return np.stack([tiles(enlarged(at_once, 2), 4) for at_once in clips.swapaxes(0, 1)]), 8.0


def digits(form: Values) -> Film:
    """All ten digits, in one draw after another."""
    model: Any = vflow.load(form["Checkpoint"])
    drawn = [
        vflow.digits(
            model,
            label,
            num_samples=form["Digits per class"],
            temperature=form["Temperature"],
            seed=form["Seed"],
        )
        for label in range(10)
    ]
    draws = np.stack(drawn, 1)[..., None]
    return np.stack([tiles(enlarged(draw, 4), 5) for draw in draws]), 1.0


def colorize(form: Values) -> Film:
    """A photo in grey, then in its colourings."""
    model: Any = vflow.load(form["Checkpoint"])
    photo = media.read_image(FOLDER / "photo-chelsea.png").frames[0]
    levels = tuple(map(float, form["Temperature per level"].split(",")))
    variants = vflow.colorize(
        model, photo, num_samples=form["Variants"], temperature=levels, seed=form["Seed"]
    )
    return np.concatenate([photo[None].repeat(3 // photo.shape[-1], -1), variants]), 1.0


def enlarge(form: Values) -> Film:
    """Part of a small photo, enlarged; a line between bicubic and drawn goes to and fro."""
    model: Any = vflow.load(form["Checkpoint"])
    scale = form["Scale"]
    photo = media.read_image(FOLDER / "walk-chelsea.png").frames[0][20:130, 50:210]
    drawn = vflow.upscale(
        model, photo, scale=scale, num_samples=1, temperature=form["Temperature"], seed=form["Seed"]
    )[0]
    smooth = np.rint(bicubic(photo, scale)).astype(np.uint8)
    frames = []
    for phase in np.linspace(0, 2 * np.pi, 36, endpoint=False):
        line = round(drawn.shape[1] * (0.5 + 0.42 * np.cos(phase)))
        frame = drawn.copy()
        frame[:, :line] = smooth[:, :line]
        frame[:, line - 1 : line + 1] = 255
        frames.append(frame)
    return np.stack(frames), 9.0


def walk(form: Values) -> Film:
    """Eight digits that move together along the strongest direction of their noise, there and back."""
    model: Any = vflow.load(form["Checkpoint"])
    directions = vflow.load_directions(find_checkpoints()[form["Checkpoint"]], model)
    walks = [
        vflow.walk(
            model,
            (),
            WalkSettings(
                kind=form["Walk"],
                label=label,
                seed=form["Seed"],
                steps=form["Steps"],
                extent=form["Distance each way"],
                level=int(form["Level"]),
                direction=form["Direction"] - 1,
                temperature=form["Temperature"],
            ),
            directions=directions,
        ).frames
        for label in (0, 2, 3, 4, 5, 7, 8, 9)
    ]
    steps = [tiles(enlarged(np.stack(step), 4), 4) for step in zip(*walks, strict=True)]
    return np.stack([*steps, *steps[-2:0:-1]]), 8.0


def surprise(form: Values) -> Film:
    """A clip whose frames 11 and 16 were swapped, beside the map of what the model did not expect."""
    model: Any = vflow.load(form["Checkpoint"])
    frames = media.read_clip(FOLDER / "push-00064.mp4").frames
    frames[[10, 15]] = frames[[15, 10]]
    statistics = vflow.load_clip_statistics(find_checkpoints()[form["Checkpoint"]], model)
    quantile = form["Limit in % (percentile)"] / 100
    surprisal = vflow.surprisal(model, frames, statistics=statistics, quantile=quantile, seed=form["Seed"])
    under = overlay_on(surprisal.frames, surprisal.excess, top_of(surprisal))
    pairs = [enlarged(np.stack(pair), 4) for pair in zip(surprisal.frames, under, strict=True)]
    return np.stack([tiles(pair, 2) for pair in pairs]), 4.0


def compress(form: Values) -> Film:
    """A photo as its file is decoded: every 64th pixel along each side, then ever finer lattices."""
    photo = media.read_image(FOLDER / "walk-coffee.png").frames[0]
    height, width = 2 * photo.shape[0], 2 * photo.shape[1]
    strides = (64, 32, 16, 8, 4, 2, 1)
    known = [photo[::s, ::s].repeat(2 * s, 0).repeat(2 * s, 1)[:height, :width] for s in strides]
    return np.stack([*known, *[known[-1]] * 4]), 2.0


LAB_SIDE = 200


def lab(form: Values) -> Film:
    """A spline flow learns two moons (true, learned), then its layers bend the grid of the base into them."""
    with tempfile.TemporaryDirectory() as folder:
        app = AppContext(ModelStore(), RunStore(Path(folder)), Jobs(), Path(folder))
        job = Job.begin(app, Request.checked(form["Density"], form["Flow"], form["Steps"], form["Seed"]))
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


def enlarged(pictures: np.ndarray, times: int) -> np.ndarray:
    """Pictures (N, H, W, C) whose pixels are repeated ``times`` × ``times``."""
    return pictures.repeat(times, 1).repeat(times, 2)


OPENINGS: dict[str, Callable[[Values], Film]] = {
    "predict": predict,
    "digits": digits,
    "colorize": colorize,
    "enlarge": enlarge,
    "walk": walk,
    "surprise": surprise,
    "compress": compress,
    "lab": lab,
}


def opening_forms(page: gr.Blocks) -> dict[str, Values]:
    """Values of the forms when a page opens, by tab and label; hidden fields are left out."""
    fields = [block for block in page.blocks.values() if isinstance(block, FIELDS)]
    values, visible = {field: field.value for field in fields}, {field: field.visible for field in fields}
    for event in page.fns.values():
        if not event.inputs_as_dict or (page._id, "load") not in event.targets:
            continue  # Gradio does not call it on opening
        changes = event.fn({part: getattr(part, "value", None) for part in event.inputs})
        for field, update in changes.items():
            if field in values:
                values[field] = update.get("value", values[field])
                visible[field] = update.get("visible", visible[field])
    tabs = [block for block in page.blocks.values() if isinstance(block, gr.Tab)]
    return {
        str(tab.id): {
            str(block.label): values[block]
            for block in _inside(tab)
            if isinstance(block, FIELDS) and visible[block]
        }
        for tab in tabs
    }


def _inside(block: Block) -> Iterator[Block]:
    for child in getattr(block, "children", []):
        yield child
        yield from _inside(child)


if __name__ == "__main__":
    forms = opening_forms(build())
    for name in sys.argv[1:] or OPENINGS:
        media.write_video(FOLDER / f"opening-{name}.mp4", *OPENINGS[name](forms[name]), enlarge=False)
        record = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
        RECORD.write_text(json.dumps({**record, name: forms[name]}, indent=2) + "\n")
