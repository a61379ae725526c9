"""Examples of the Walk tab: one input each, or two where the walk goes from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vflow.config import VideoConfig
from vflow.data import media

from ..shared import examples
from ..shared.context import AppContext
from ..shared.examples import FOLDER
from ..shared.html import ExampleTile, example_strip
from .kinds import Kind

PHOTOS = {"a cat": "walk-chelsea.png", "coffee": "walk-coffee.png", "an astronaut": "walk-astronaut.png"}
NEXT_FRAMES = {name.title(): (FOLDER / f"walk-{name}.png",) for name in ("circle", "square", "triangle")}


@dataclass(frozen=True)
class Input:
    """An input: its title and files, and the number of frames of a clip's future that suits it."""

    title: str
    files: tuple[Path, ...]
    num_frames: int | None = None

    def copies(self, app: AppContext) -> list[str]:
        """Its files inside the app's cache."""
        return [examples.copy_to_cache(path, app.cache) for path in self.files]


def strip(app: AppContext, checkpoint: str | None, kind: Kind) -> str:
    """HTML of the examples that suit a checkpoint and a kind of walk; empty if there are none."""
    tiles = [
        ExampleTile(
            " to ".join(each.title for each in inputs),
            [media.read_frames(each.files).frames[-1] for each in inputs],
        )
        for inputs in suitable(app, checkpoint, kind)
    ]
    return example_strip("Or walk from an example", "Walk from example", "vf-walk-examples", tiles)


def suitable(app: AppContext, checkpoint: str | None, kind: Kind) -> list[tuple[Input, ...]]:
    """Examples that suit a checkpoint and a kind of walk: one input each, or two."""
    if kind.groups:
        return []
    inputs = _inputs(app, checkpoint, two=bool(kind.end))
    if not kind.end:
        return [(each,) for each in inputs]
    return list(zip(inputs, [*inputs[1:], *inputs[:1]], strict=True)) if len(inputs) > 1 else []


def _inputs(app: AppContext, checkpoint: str | None, *, two: bool) -> list[Input]:
    config = app.models.config(checkpoint)
    if not isinstance(config, VideoConfig):
        pictures = examples.DIGITS if config is not None and config.family == "digits" else PHOTOS
        return [Input(title, (FOLDER / name,)) for title, name in pictures.items()]
    # A frame that nothing precedes has no noise to walk: between two, clips must be longer than the least.
    least = config.min_context + 1 if two else config.min_context
    clips = [
        Input(clip.title, (*clip.files, *(NEXT_FRAMES.get(clip.title, ()) if two else ())), clip.num_frames)
        for clip in examples.clips_for([str(checkpoint)])
    ]
    return [clip for clip in clips if len(media.read_frames(clip.files).frames) >= least]
