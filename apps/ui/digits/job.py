"""Digits on the page: the sheet of all, the grid of drawn ones, and those of a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.walk.render import tiles
from vflow.registry import families

from ..shared.context import AppContext
from ..shared.faces import SETTINGS, Face, Job
from . import html

if TYPE_CHECKING:
    from ..shared.task_tab import TaskForm, TaskView

FAMILY = "digits"
SHEET_COLUMNS = 8
SHEET_SCALE = 4  # the sheet repeats each pixel so many times


@dataclass(frozen=True)
class Result:
    """Drawn digits on disk. Small and copyable: arrays stay there."""

    folder: Path

    def digit(self, index: int) -> tuple[np.ndarray, int]:
        """One digit, uint8 (28, 28), and its class.

        Raises:
            InputError: the files were removed, or there is no such digit.
        """
        try:
            with np.load(self.folder / "digits.npz") as saved:
                images, labels = saved["images"], saved["labels"]
        except FileNotFoundError as error:
            raise InputError("these digits have been cleared from the server; draw again") from error
        if not 0 <= index < len(images):
            raise InputError(f"digit {index + 1}: there are {len(images)} digits to choose from")
        return images[index], int(labels[index])


class DigitsFace(Face):
    """Digits in a grid, each a style for the panel below."""

    verb = "Draw"
    downloads = ("Sheet (png)", "Digits (npz)", "Settings (json)")
    outputs = ("digits.npz", "digits.png", SETTINGS)

    def finish(self, job: Job, folder: Path) -> Result:
        media.write_png(folder / "digits.png", sheet(*drawn(job)))
        return Result(folder)

    def files(self, result: Result) -> Sequence[Path]:
        return [result.folder / name for name in ("digits.png", "digits.npz", SETTINGS)]

    def empty(self, text: str = "") -> str:
        return html.empty()

    def live(self, job: Job) -> str | None:
        return html.grid(*drawn(job), done=False) if job.results else None

    def shown(self, job: Job, result: Result) -> str:
        return html.grid(*drawn(job), done=True)

    def beside(self, app: AppContext, form: TaskForm, view: TaskView) -> None:
        from . import restyle  # which knows results

        restyle.build(app, form.checkpoint, view.results, view.result)


FACE = DigitsFace(families()[FAMILY])


def drawn(job: Job) -> tuple[np.ndarray, list[int]]:
    """Digits so far, uint8 (M, 28, 28), and their classes."""
    images = np.concatenate([chunk.images for chunk in job.results])
    return images, [chunk.label for chunk in job.results for _ in range(chunk.size)]


def sheet(images: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Digits in rows of eight, a new row for each class, each pixel repeated four times: uint8 (H, W, 1)."""
    blank = np.full_like(images[0], 255)
    cells: list[np.ndarray] = []
    most = max(np.unique(np.array(labels), return_counts=True)[1])
    columns = min(SHEET_COLUMNS, int(most))
    for label in dict.fromkeys(labels):
        own = list(images[np.array(labels) == label])
        cells += own + [blank] * (-len(own) % columns)
    page = np.pad(tiles(np.stack(cells)[..., None], columns), ((2, 2), (2, 2), (0, 0)), constant_values=255)
    return page.repeat(SHEET_SCALE, 0).repeat(SHEET_SCALE, 1)
