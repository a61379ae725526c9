"""Examples that come with the app."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.data.rain import color_rain, read_npz
from vflow.pipelines.selection import SAME_DATA

from .html import ExampleTile, example_strip, reduced

FOLDER = Path(__file__).resolve().parents[2] / "examples"
LONGEST = 96  # pixels a side of a radar picture on its button
PHOTOS = {
    "a cat": "photo-chelsea.png",
    "coffee": "photo-coffee.png",
    "an astronaut": "photo-astronaut.png",
    "a photographer": "photo-camera.png",
}
SMALL_PHOTOS = {
    "a cat": "walk-chelsea.png",
    "coffee": "walk-coffee.png",
    "an astronaut": "walk-astronaut.png",
}
CAMERA_PHOTOS = {
    "a cat": "camera-chelsea.jpg",
    "coffee": "camera-coffee.jpg",
    "an astronaut": "camera-astronaut.jpg",
}
DIGITS = {"a four": "digit-four.png", "a two": "digit-two.png", "a seven": "digit-seven.png"}


@dataclass(frozen=True)
class ClipExample:
    """Frames to predict from, and the settings that suit them.

    Attributes:
        from_start: the first frames are given, and the rest is what really happened.
        num_samples: None: as the form has it.
    """

    title: str
    checkpoint: str
    files: tuple[Path, ...]
    num_frames: int
    from_start: bool
    num_samples: int | None = None

    @property
    def is_rain(self) -> bool:
        """True for radar frames, whose grey levels are no colours."""
        return self.checkpoint == "rain"

    def last_frame(self) -> np.ndarray:
        """uint8 (H, W, C)."""
        if self.is_rain:
            radar = read_npz(self.files[0])
            return reduced(color_rain(radar.frames[-1:], radar.valid), LONGEST)[0]
        return media.read_frames(self.files).frames[-1]


def all_clips() -> list[ClipExample]:
    """All clips, in the order of examples.json."""
    entries = json.loads((FOLDER / "examples.json").read_text())
    return [
        ClipExample(
            entry["title"],
            entry["checkpoint"],
            tuple(FOLDER / name for name in entry["files"]),
            entry["num_frames"],
            entry["from_start"],
            entry.get("num_samples"),
        )
        for entry in entries
    ]


def clips_for(checkpoints: list[str]) -> list[ClipExample]:
    """Clips for the ``checkpoints`` on offer; all of them when those are only models of one's own."""
    data = {SAME_DATA.get(name, name) for name in checkpoints}
    matching = [example for example in all_clips() if example.checkpoint in data]
    return matching or all_clips()


def picture_strip(pictures: Mapping[str, str], heading: str, verb: str, identifier: str) -> str:
    """A row of buttons, one for each of ``pictures`` (title → file), under ``heading``."""
    tiles = [
        ExampleTile(title, [media.read_image(FOLDER / name).frames[0]]) for title, name in pictures.items()
    ]
    return example_strip(heading, verb, identifier, tiles)


def picture_file(pictures: Mapping[str, str], index: int) -> Path:
    """File of one of ``pictures``, by its place in the row."""
    return FOLDER / list(pictures.values())[index]


def copy_to_cache(path: Path, cache: Path) -> str:
    """Path of a copy inside the app's cache: the only place from which uploads are taken."""
    folder = cache / "examples" / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    return str(shutil.copy(path, folder / path.name))
