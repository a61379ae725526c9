"""Examples that come with the app: one click loads the frames and predicts."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from html import escape
from pathlib import Path

from vflow.data import io

from .gallery import png_uri

FOLDER = Path(__file__).resolve().parent.parent / "examples"


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
    items = []
    for index, example in enumerate(shown):
        frame = io.read_frames(example.files).frames[-1]
        title = escape(example.title, quote=True)
        items.append(
            f'<li><button type="button" class="vf-example" data-index="{index}"'
            f' aria-label="Predict from example: {title}" title="{title}">'
            f'<img src="{png_uri(frame)}" alt=""></button></li>'
        )
    return (
        '<div class="vf-try"><h2 id="vf-try">Or predict from an example</h2>'
        f'<ol class="vf-examples" aria-labelledby="vf-try">{"".join(items)}</ol></div>'
    )


def copied(example: Example, cache: Path) -> list[str]:
    """Paths of the example's files inside the app's cache: the only place uploads are taken from."""
    folder = cache / "examples" / example.files[0].stem
    folder.mkdir(parents=True, exist_ok=True)
    return [str(shutil.copy(path, folder / path.name)) for path in example.files]
