"""Examples of the Surprise tab: clips in order, and the same clips with two frames exchanged."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np

from vflow.data import media
from vflow.data.datasets.shapes import draw, move

from ..examples.make_shapes import chosen
from .common import Shared
from .examples import FOLDER
from .gallery import png_uri

STEP = (1, 0)  # of the square, to the right


@dataclass(frozen=True)
class Example:
    """A clip: a file of apps/examples, or the moving square; the ``exchanged`` frames swap places."""

    title: str
    checkpoint: str
    file: str | None
    exchanged: tuple[int, int] | None = None

    def frames(self) -> np.ndarray:
        """uint8 (T, H, W, C)."""
        frames = media.read_clip(FOLDER / self.file).frames if self.file else moving_square()
        order = np.arange(len(frames))
        if self.exchanged:
            order[list(self.exchanged)] = self.exchanged[::-1]
        return frames[order]

    def file_name(self) -> str:
        """What the clip is called in the upload box."""
        stem = self.file.partition(".")[0] if self.file else "square"
        return f"{stem}{'-exchanged' if self.exchanged else ''}.npz"


EXAMPLES = (
    Example("a robot arm, two frames exchanged", "push", "push-00064.mp4", (10, 15)),
    Example("the same arm in order", "push", "push-00064.mp4"),
    Example("a calm arm, two frames exchanged", "push", "push-00056.mp4", (5, 12)),
    Example("a moving square, two frames exchanged", "shapes", None, (1, 3)),
    Example("the same square in order", "shapes", None),
)


def moving_square() -> np.ndarray:
    """A held-out square that moves to the right: uint8 (5, 64, 64, 3)."""
    shape = next(shape for shape in chosen() if shape.kind == "square")
    return np.stack([draw(move(shape, STEP, t)) for t in range(5)])


def offered(checkpoints: list[str]) -> list[Example]:
    """Examples for the ``checkpoints`` on offer; all of them when those are only models of one's own."""
    fitting = [example for example in EXAMPLES if example.checkpoint in checkpoints]
    return fitting or list(EXAMPLES)


def tiles(shown: list[Example]) -> str:
    """A strip of buttons; each shows a frame in the middle of its clip, exchanged ones are marked."""
    items = []
    for index, example in enumerate(shown):
        frames = example.frames()
        mark = '<span class="vf-swap" aria-hidden="true">⇄</span>' if example.exchanged else ""
        items.append(
            f'<li><button type="button" class="vf-example" data-action="example" data-index="{index}"'
            f' aria-label="Look at example: {example.title}" title="{example.title}">'
            f'<img src="{png_uri(frames[len(frames) // 2])}" alt="">{mark}</button></li>'
        )
    return (
        '<div class="vf-try"><h2 id="vf-surprise-try">Or look at an example (⇄: two frames exchanged)</h2>'
        f'<ol class="vf-examples" aria-labelledby="vf-surprise-try">{"".join(items)}</ol></div>'
    )


def copied(example: Example, shared: Shared) -> list[str]:
    """Path of the clip inside the app's cache: the only place uploads are taken from."""
    path = shared.cache / "examples" / secrets.token_hex(8) / example.file_name()
    media.write_npz(path, frames=example.frames(), fps=10.0)
    return [str(path)]
