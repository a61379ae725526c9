"""Make the figures of README and docs from the shipped checkpoints: python scripts/figures.py futures.

``futures`` shows given frames and their futures; ``directions`` the effect of the first principal directions
of digits, colours and push; ``blend`` the way from one future to another; ``colours`` grey photographs, each
coloured in several ways; ``digits`` drawn digits, one column per class; ``enlarged`` enlarged crops of small
photos; ``surprise`` a clip with two frames swapped; ``app`` the page with futures of an example.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import vflow
from vflow.checkpoint import checkpoint_folder, read_config
from vflow.data.datasets.shapes import DIRECTIONS, Shapes
from vflow.data.media import read_clip, read_image, write_png, write_video
from vflow.metrics.super_resolution import bicubic
from vflow.pipelines.video.export import sheet as surprise_sheet
from vflow.pipelines.walk.render import tiles
from vflow.pipelines.walk.walk import WalkSettings

ROOT = Path(__file__).resolve().parents[1]
FUTURES, FRAMES, ENLARGE, GAP, HOLD, TILE = 8, 10, 2, 2, 6, 112
PART = 200  # side of the parts of enlarged photos
AUGMENTED, TINT = 4, 5  # levels of push's augmented dimensions, and of the mean colour of a photo


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shown = (futures, directions, blend, colours, digits, enlarged, surprise, app)
    figures = {figure.__name__: figure for figure in shown}
    parser.add_argument("figure", choices=figures)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "figures", help="folder")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(figures[arguments.figure](arguments.output))


def examples(pattern: str, count: int) -> list[Path]:
    """The first files of apps/examples that match."""
    return sorted((ROOT / "apps" / "examples").glob(pattern))[:count]


def futures(folder: Path) -> Path:
    """Given frames and eight futures of each, playing."""
    rows = [clip_row("any", read_clip(path).frames[:3], FRAMES) for path in examples("film*.npz", 1)]
    rows += [clip_row("grasp", read_clip(path).frames[:3], FRAMES) for path in examples("grasp*.npz", 1)]
    rows += [clip_row("push", read_clip(path).frames[:3], FRAMES) for path in examples("push*.mp4", 1)]
    path = folder / "futures.gif"
    write_video(path, np.concatenate(rows + shape_rows(1), axis=1), fps=8, enlarge=False)
    return path


def digits(folder: Path) -> Path:
    """Six digits of each class at temperature 1, a column per class."""
    drawn = vflow.digits(vflow.load("digits"), "all", num_samples=6, temperature=1.0, seed=0)
    rows = drawn.reshape(10, 6, *drawn.shape[1:]).swapaxes(0, 1).reshape(-1, *drawn.shape[1:])
    return save(folder / "digits.png", tiles(three(rows).repeat(2, 1).repeat(2, 2), 10))


def colours(folder: Path) -> Path:
    """Photographs as the model sees them, grey, and four colourings of each at the suggested temperature."""
    model, pictures = vflow.load("colorizer-regions"), []
    temperature = read_config(checkpoint_folder("colorizer-regions")).temperature
    for path in examples("photo-*.png", 4):
        photo = read_image(path).frames[0]
        grey = np.repeat(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None], 3, -1)
        made = vflow.colorize(model, grey, num_samples=4, temperature=temperature, seed=0)
        pictures += [square(picture) for picture in (grey, *made)]
    return save(folder / "colours.png", tiles(np.stack(pictures), 5))


def enlarged(folder: Path) -> Path:
    """Parts of small photos, four times as wide: pixels, bicubic interpolation, three variants."""
    model, pictures = vflow.load("enlarge"), []
    temperature = read_config(checkpoint_folder("enlarge")).temperature
    for name, top, left in (("chelsea", 40, 90), ("astronaut", 0, 62), ("coffee", 60, 90)):
        photo = read_image(ROOT / "apps" / "examples" / f"walk-{name}.png").frames[0]
        made = vflow.upscale(model, photo, scale=4, num_samples=3, temperature=temperature, seed=0)
        others = [photo.repeat(4, 0).repeat(4, 1), np.rint(bicubic(photo, 4)).astype(np.uint8)]
        part = np.s_[4 * top : 4 * top + PART, 4 * left : 4 * left + PART]
        pictures += [picture[part] for picture in (*others, *made)]
    return save(folder / "enlarged.png", tiles(np.stack(pictures), 5))


def directions(folder: Path) -> Path:
    """Seven steps along the first directions (digits, colours, augmented dimensions), −3 to 3 deviations."""
    photo = read_image(examples("photo-*.png", 4)[-1]).frames[0]
    clip = read_clip(examples("push*.mp4", 1)[0]).frames[:3]
    rows = []
    walks: tuple[tuple[str, list[Any], int | None, int | None], ...] = (
        ("digits", [], 8, None),
        ("colorizer", [photo], None, TINT),
        ("push", [clip], None, AUGMENTED),
    )
    for name, inputs, label, level in walks:
        model = vflow.load(name)
        known = vflow.load_directions(name, model)
        for number in range(3 if name != "colorizer" else 2):
            settings = WalkSettings(direction=number, level=level, steps=7, label=label, num_frames=1)
            walked = vflow.walk(model, inputs, settings, directions=known)
            steps = walked.frames[:, walked.given - 1] if walked.frames.ndim == 5 else walked.frames
            rows.append(np.stack([square(three(step[None])[0]) for step in steps]))
    return save(folder / "directions.png", tiles(np.concatenate(rows), 7))


def blend(folder: Path) -> Path:
    """Five rows from one future of push to another, along the arc between their latents."""
    clip = read_clip(ROOT / "apps" / "examples" / "push-00056.mp4").frames[-3:]
    settings = WalkSettings("blend", steps=5, num_frames=6)
    walked = vflow.walk(vflow.load("push"), [clip], settings)
    frames = walked.frames[:, walked.given - 1 :]  # the last given one, and those predicted
    pictures = np.stack([square(frame) for future in frames for frame in future])
    return save(folder / "blend.png", tiles(pictures, frames.shape[1]))


def surprise(folder: Path) -> Path:
    """A push clip, two of whose frames were exchanged: where each frame surprises, and which are flagged."""
    frames = read_clip(ROOT / "apps" / "examples" / "push-00064.mp4").frames.copy()
    frames[[10, 15]] = frames[[15, 10]]
    model = vflow.load("push")
    found = vflow.surprisal(model, frames, statistics=vflow.load_clip_statistics("push", model))
    return save(folder / "surprise.png", surprise_sheet(found))


def app(folder: Path) -> Path:
    """The page in a browser after a click on an example of push."""
    from playwright.sync_api import sync_playwright

    from apps.app import build, launch
    from apps.ui.shared.examples import all_clips
    from scripts.acceptance.app import free_port
    from tests.app.support import DONE, FLAGS, browser_path

    running, target = build(), folder / "app.png"
    address = launch(running, "127.0.0.1", free_port())
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=list(FLAGS))
            shown = browser.new_page(viewport={"width": 1600, "height": 900})
            shown.goto(address)
            number = next(i for i, clip in enumerate(all_clips()) if clip.checkpoint == "push")
            shown.locator(".vf-example").nth(number).click()
            shown.locator("#vf-predict-status .vf-done").wait_for(timeout=DONE)
            shown.locator(".vf-playing").wait_for()
            shown.locator(".vf-seek").fill("8")  # the fifth predicted frame
            shown.wait_for_timeout(500)
            shown.screenshot(path=target)
            browser.close()
    finally:
        running.close(verbose=False)
    return target


def three(pictures: np.ndarray) -> np.ndarray:
    """Grey (N, H, W) or (N, H, W, 1) or colour pictures as (N, H, W, 3)."""
    pictures = pictures if pictures.ndim == 4 else pictures[..., None]
    return pictures if pictures.shape[-1] == 3 else np.repeat(pictures, 3, -1)


def square(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture (H, W, 3) at TILE × TILE; small ones by whole numbers as far as that goes."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    cut = picture[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > TILE else cv2.INTER_NEAREST
    return cv2.resize(cut, (TILE, TILE), interpolation=how)


def save(path: Path, picture: np.ndarray) -> Path:
    write_png(path, picture)
    return path


def shape_rows(count: int) -> list[np.ndarray]:
    """Futures of ``count`` held-out first frames of shapes, far apart in the list."""
    data = Shapes(split="test")
    shapes = np.linspace(0, len(data) // len(DIRECTIONS) - 1, count + 2).astype(int)[1:-1]
    return [clip_row("shapes", data.example(int(s) * len(DIRECTIONS))[:1], 4) for s in shapes]


def clip_row(name: str, context: np.ndarray, num_frames: int) -> np.ndarray:
    """The last given frame beside its futures in time, at the temperature the checkpoint suggests.

    Returns uint8 (HOLD + FRAMES + HOLD, H', W', 3).
    """
    temperature = read_config(checkpoint_folder(name)).temperature
    futures = vflow.predict(
        vflow.load(name), context, num_frames=num_frames, num_samples=FUTURES, temperature=temperature, seed=0
    )
    past = np.repeat(context[-1:], HOLD, 0)
    played = np.stack([np.concatenate([past, future]) for future in futures])
    still = np.repeat(context[None, -1:], played.shape[1], 1)
    tiles = np.concatenate([still, played])
    length = HOLD + FRAMES + HOLD
    tiles = np.concatenate([tiles, np.repeat(tiles[:, -1:], length - tiles.shape[1], 1)], 1)
    tiles = tiles.repeat(ENLARGE, 2).repeat(ENLARGE, 3)
    framed = np.pad(tiles, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)
    framed[0, :, :, -GAP:] = 0
    return np.concatenate(list(framed), axis=2)


if __name__ == "__main__":
    main()
