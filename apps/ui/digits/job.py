"""From a class to drawn digits and their files: the path of the tab and of the endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.errors import InputError, counted
from vflow.pipelines.batch.records import DigitsRecord
from vflow.pipelines.digits.digits import ALL, draw
from vflow.pipelines.video.predict import PredictSettings
from vflow.pipelines.walk.render import tiles

from ..shared import checks
from ..shared.context import AppContext, settings_text
from ..shared.turns import work_time

FAMILY = "digits"
MAX_DIGITS = 32  # of a class
SHEET_COLUMNS = 8
SHEET_SCALE = 4  # the sheet repeats each pixel so many times


@dataclass(frozen=True)
class Request:
    """A checked request."""

    checkpoint: str | None
    labels: tuple[int, ...]
    settings: PredictSettings

    @classmethod
    def checked(
        cls, checkpoint: str | None, label: str | None, num_samples: float, temperature: float, seed: float
    ) -> Request:
        """Check values as they come from a form or an endpoint.

        Raises:
            InputError: a value is missing or out of range; the message names it and the range.
        """
        text = str(label or "").strip().lower()
        if text != ALL and text not in map(str, range(10)):
            raise InputError(f"class: give a digit from 0 to 9, or {ALL}")
        settings = PredictSettings(
            num_frames=1,
            num_samples=checks.whole_number("count", num_samples, 1, MAX_DIGITS),
            temperature=checks.single_temperature(temperature),
            seed=checks.seed_number(seed),
        )
        return cls(checkpoint, tuple(range(10)) if text == ALL else (int(text),), settings)


@dataclass
class Job:
    """A request under way: digits so far, uint8 (M, 28, 28), their classes, and the seconds they took."""

    request: Request
    images: np.ndarray = field(default_factory=lambda: np.empty((0, 28, 28), np.uint8))
    labels: tuple[int, ...] = ()
    redrawn: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return len(self.labels)

    @property
    def total(self) -> int:
        return len(self.request.labels) * self.request.settings.num_samples

    def advance(self, app: AppContext, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Draw chunk by chunk; ``images`` and ``labels`` grow before each step is yielded.

        Raises:
            CheckpointError, InputError: with the message to show.
        """
        began = work_time()
        model = app.models.load(self.request.checkpoint, FAMILY)
        for chunk in draw(model, self.request.labels, self.request.settings):
            self.images = np.concatenate([self.images, chunk.images])
            self.labels += (chunk.label,) * len(chunk.images)
            self.redrawn += chunk.counts.redrawn
            self.seconds = work_time() - began
            yield
            if should_stop():
                return

    def save(self, app: AppContext) -> Result:
        """Write arrays, a sheet of all digits, and the settings that make them again."""
        result = Result(app.runs.new_folder())
        media.write_npz(result.native, images=self.images, labels=np.array(self.labels, np.int64))
        media.write_png(result.sheet, sheet(self.images, self.labels))
        settings, labels = self.request.settings, self.request.labels
        record = DigitsRecord(
            **app.models.record(str(self.request.checkpoint)),
            label=str(labels[0]) if len(labels) == 1 else ALL,
            num_samples=settings.num_samples,
            temperature=settings.temperature,
            seed=settings.seed,
            format="npz",
        )
        result.settings.write_text(record.to_json(), encoding="utf-8")
        return result

    def summary(self) -> str:
        """One line on the digits drawn."""
        drawn = counted(self.done, "digit")
        if self.done < self.total:
            drawn = f"Stopped after {self.done} of {counted(self.total, 'digit')}"
        settings = self.request.settings
        made = settings_text(self.request.checkpoint, temperature=settings.temperature, seed=settings.seed)
        return f"{drawn} in {self.seconds:.1f} s · {made}"

    def remarks(self) -> list[str]:
        """Further remarks for people."""
        if not self.redrawn:
            return []
        return [f"{counted(self.redrawn, 'digit')} redrawn because of non-finite values."]


@dataclass(frozen=True)
class Result:
    """Drawn digits on disk. Small and copyable: arrays stay there."""

    folder: Path

    @property
    def native(self) -> Path:
        return self.folder / "digits.npz"

    @property
    def sheet(self) -> Path:
        return self.folder / "digits.png"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"

    def digit(self, index: int) -> tuple[np.ndarray, int]:
        """One digit, uint8 (28, 28), and its class.

        Raises:
            InputError: the files were removed, or there is no such digit.
        """
        try:
            with np.load(self.native) as saved:
                images, labels = saved["images"], saved["labels"]
        except FileNotFoundError as error:
            raise InputError("these digits have been cleared from the server; draw again") from error
        if not 0 <= index < len(images):
            raise InputError(f"digit {index + 1}: there are {len(images)} digits to choose from")
        return images[index], int(labels[index])


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
