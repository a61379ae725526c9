"""Examples that come with the app: one click loads the frames and predicts."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from vflow.data import media

from .gallery import png_uri

FOLDER = Path(__file__).resolve().parent.parent / "examples"
PHOTOS = {
    "a cat": "photo-chelsea.png",
    "coffee": "photo-coffee.png",
    "an astronaut": "photo-astronaut.png",
    "a photographer": "photo-camera.png",
}
DIGITS = {"a four": "digit-four.png", "a two": "digit-two.png", "a seven": "digit-seven.png"}


@dataclass(frozen=True)
class Example:
    """Files to predict from and the settings that suit them."""

    title: str
    checkpoint: str
    files: tuple[Path, ...]
    num_frames: int


def examples() -> list[Example]:
    """All examples, in the order of examples.json."""
    entries = json.loads((FOLDER / "examples.json").read_text())
    return [
        Example(e["title"], e["checkpoint"], tuple(FOLDER / name for name in e["files"]), e["num_frames"])
        for e in entries
    ]


def offered(checkpoints: list[str]) -> list[Example]:
    """Examples for the ``checkpoints`` on offer; all of them when those are only models of one's own."""
    fitting = [example for example in examples() if example.checkpoint in checkpoints]
    return fitting or examples()


def tiles(shown: list[Example]) -> str:
    """A strip of buttons, each the last frame of an example."""
    frames = [(example.title, media.read_frames(example.files).frames[-1]) for example in shown]
    return _strip("Or predict from an example", "Predict from example", "vf-try", frames)


def picture_tiles(pictures: dict[str, str], heading: str, verb: str, identifier: str) -> str:
    """A strip of buttons, one for each of ``pictures`` (title → file), under ``heading``."""
    frames = [(title, media.read_image(FOLDER / name).frames[0]) for title, name in pictures.items()]
    return _strip(heading, verb, identifier, frames)


def _strip(heading: str, verb: str, identifier: str, frames: list[tuple[str, np.ndarray]]) -> str:
    items = "".join(
        f'<li><button type="button" class="vf-example" data-action="example" data-index="{index}"'
        f' aria-label="{verb}: {escape(title, quote=True)}" title="{escape(title, quote=True)}">'
        f'<img src="{png_uri(frame)}" alt=""></button></li>'
        for index, (title, frame) in enumerate(frames)
    )
    return (
        f'<div class="vf-try"><h2 id="{identifier}">{heading}</h2>'
        f'<ol class="vf-examples" aria-labelledby="{identifier}">{items}</ol></div>'
    )


def photo(index: int) -> Path:
    """File of a photo in the strip that ``picture_tiles(PHOTOS, …)`` draws."""
    return FOLDER / list(PHOTOS.values())[index]


def copied(example: Example, cache: Path) -> list[str]:
    """Paths of the example's files inside the app's cache: the only place uploads are taken from."""
    return [copied_file(path, cache) for path in example.files]


def copied_file(path: Path, cache: Path) -> str:
    """Path of a copy of an example's file inside the app's cache."""
    folder = cache / "examples" / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    return str(shutil.copy(path, folder / path.name))
