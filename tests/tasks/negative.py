"""Negatives of photos: a task in one file, as another package would bring it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from vflow.config import Config
from vflow.config.settings import Settings, Shown
from vflow.data import media
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.evaluate.report import Evaluation
from vflow.pipelines.runner import ShouldStop, Step, Task, never
from vflow.registry import Card, Command, Family, Kind

STRIPS = 8


class NegativeConfig(Config):
    family: ClassVar[str] = "negative"
    kind: Literal["negative"] = "negative"
    temperature: float = 1.0


class Negative(nn.Module):
    """White minus a photo."""

    def __init__(self, config: NegativeConfig) -> None:
        super().__init__()
        self.config, self.white = config, nn.Parameter(torch.tensor(255.0))


class NegativeSettings(Settings):
    """Share of the negative in what is written."""

    strength: Annotated[float, Field(ge=0, le=1), Shown("Strength", step=0.05)] = Field(
        1.0, description="Share of the negative; 0 leaves the photo as it is"
    )


class Negatives(Task[NegativeSettings, np.ndarray, Step]):
    """Strips of rows, one after the other, and a png of them all."""

    unit = "strip"

    def read(self, model: Any, item: Item, settings: Any) -> np.ndarray:
        return media.read_image(item.paths[0]).frames[0]

    def iterate(
        self, model: Any, given: np.ndarray, settings: Any, should_stop: ShouldStop = never
    ) -> Iterator[Step]:
        for strip in np.array_split(given.astype(np.float32), STRIPS):
            mixed = (1 - settings.strength) * strip + settings.strength * (float(model.white) - strip)
            yield Step(np.rint(mixed).astype(np.uint8))

    def write(self, folder: Path, given: np.ndarray, results: Iterable[Step], settings: Any) -> None:
        media.write_png(folder / "negative.png", np.concatenate([step.value for step in results]))

    def total(self, given: np.ndarray, settings: Any) -> int:
        return STRIPS


def evaluate(model: Any, settings: Any, stage: Any) -> Evaluation:
    """Mean grey level of the negatives of a folder's photos."""
    photos = [media.read_image(path).frames[0] for path in media.list_media(Path(settings.data))]
    return Evaluation({"mean_level": float(model.white) - np.mean(photos)}, {"photos": len(photos)})


FAMILY = Family(
    name="negative", does="make negatives", kinds={"negative": Kind(NegativeConfig, Negative)},
    card=Card("image-to-image", "Negatives of photos", "model.white"), evaluate=evaluate,
    task=Negatives(), settings=NegativeSettings,
    command=Command("negative", "negatives of photos", "Make negatives of photos.", "strip", "Photos."),
)  # fmt: skip
