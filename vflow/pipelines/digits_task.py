"""The engine's task that draws digits by class and writes them, and the record of what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from vflow.data import io
from vflow.pipelines.compute import precision
from vflow.pipelines.digits import ALL, chosen, digits_config, draw
from vflow.pipelines.drawing import Counts
from vflow.pipelines.items import Item
from vflow.pipelines.predict import PredictSettings
from vflow.pipelines.record import Drawn

if TYPE_CHECKING:
    from torch import nn

ARRAY = "digits"
"""Name of the array file, and of the item that is all of it."""


class DigitsRecord(Drawn):
    """Digits: what was drawn, with what. ``num_samples`` counts per class."""

    label: str = ALL
    format: Literal["png", "npz"] = "png"

    def settings(self) -> PredictSettings:
        """The part that decides what is drawn of a class."""
        return PredictSettings(1, self.num_samples, self.temperature, self.seed)


@dataclass(frozen=True)
class DigitsTask:
    """``vflow digits``: an item per class with a png per sample, or one item with an npz of all.

    Attributes:
        model: from ``vflow.load``.
        resolved: all settings.
        note: told remarks for people.
        progress: told (digits drawn, digits in all) of the item at hand.
    """

    model: nn.Module
    resolved: DigitsRecord
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[int, int], None] = lambda done, total: None

    def items(self) -> list[Item]:
        """What to draw. No input files: classes are all that is given."""
        labels = [ARRAY] if self._in_one else [str(label) for label in self._labels()]
        return [Item(label, ()) for label in labels]

    def record(self) -> dict[str, Any]:
        return self.resolved.fields()

    def identity(self) -> dict[str, Any]:
        fields = self.resolved.identity()
        if not self._in_one:
            del fields["label"]  # its item names a class; an array depends on which classes were asked for
        return fields

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        settings = self.resolved.settings()
        labels = self._labels() if self._in_one else chosen(item.name, digits_config(self.model).classes)
        images: list[np.ndarray] = []
        counts = Counts()
        with precision(self.resolved.dtype, torch.device(self.resolved.device)):
            for chunk in draw(self.model, labels, settings, progress=self.progress):
                counts = counts.plus(chunk.counts)
                if self._in_one:
                    images.append(chunk.images)
                else:
                    for sample, image in enumerate(chunk.images, chunk.first):
                        io.write_png(folder / f"s{sample:03d}.png", image)
        if self._in_one:
            drawn = np.repeat(np.array(labels), settings.num_samples)
            io.write_npz(folder / f"{ARRAY}.npz", images=np.concatenate(images), labels=drawn)
        if counts.redrawn:
            self.note(f"{item.name}: {counts.redrawn} digit(s) were not finite and were redrawn")
        return counts._asdict()

    @property
    def _in_one(self) -> bool:
        return self.resolved.format == "npz"

    def _labels(self) -> tuple[int, ...]:
        return chosen(self.resolved.label, digits_config(self.model).classes)
