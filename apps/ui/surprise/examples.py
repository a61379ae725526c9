"""Examples of the Surprise tab: clips in order, and the same clips with two frames swapped."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np

from vflow.data import media
from vflow.data.datasets.shapes import draw, move

from ...examples.make_shapes import chosen
from ..shared.context import AppContext
from ..shared.examples import FOLDER
from ..shared.html import ExampleTile, example_strip

STEP = (1, 0)  # of the square, to the right


@dataclass(frozen=True)
class Example:
    """A clip: a file of apps/examples, or the moving square; the frames ``swap`` change places."""

    title: str
    checkpoint: str
    file: str | None
    swap: tuple[int, int] | None = None

    def frames(self) -> np.ndarray:
        """uint8 (T, H, W, C)."""
        frames = media.read_clip(FOLDER / self.file).frames if self.file else moving_square()
        order = np.arange(len(frames))
        if self.swap:
            order[list(self.swap)] = self.swap[::-1]
        return frames[order]

    def save(self, app: AppContext) -> list[str]:
        """Path of the clip inside the app's cache: the only place from which uploads are taken."""
        stem = self.file.partition(".")[0] if self.file else "square"
        name = f"{stem}{'-swapped' if self.swap else ''}.npz"
        path = app.cache / "examples" / secrets.token_hex(8) / name
        media.write_npz(path, frames=self.frames(), fps=10.0)
        return [str(path)]


EXAMPLES = (
    Example("a robot arm, two frames swapped", "push", "push-00064.mp4", (10, 15)),
    Example("the same arm in order", "push", "push-00064.mp4"),
    Example("a calm arm, two frames swapped", "push", "push-00056.mp4", (5, 12)),
    Example("a moving square, two frames swapped", "shapes", None, (1, 3)),
    Example("the same square in order", "shapes", None),
)


def moving_square() -> np.ndarray:
    """A held-out square that moves to the right: uint8 (5, 64, 64, 3)."""
    shape = next(shape for shape in chosen() if shape.kind == "square")
    return np.stack([draw(move(shape, STEP, t)) for t in range(5)])


def examples_for(checkpoints: list[str]) -> list[Example]:
    """Examples for the ``checkpoints`` on offer; all of them when those are only models of one's own."""
    matching = [example for example in EXAMPLES if example.checkpoint in checkpoints]
    return matching or list(EXAMPLES)


def strip(checkpoints: list[str]) -> str:
    """HTML of the examples, each with a frame from the middle of its clip; swaps are marked."""
    tiles = []
    for example in examples_for(checkpoints):
        frames = example.frames()
        mark = '<span class="vf-swap" aria-hidden="true">⇄</span>' if example.swap else ""
        tiles.append(ExampleTile(example.title, [frames[len(frames) // 2]], mark))
    heading = "Or try an example (⇄: two frames swapped)"
    return example_strip(heading, "Try example", "vf-surprise-try", tiles)
