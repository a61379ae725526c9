"""Settings of drawn digits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vflow.config.settings import SEED, Samples, Seed, Settings, Shown, Temperature

ALL = "all"
CLASSES = (("All", ALL), *((str(digit), str(digit)) for digit in range(10)))


class DigitsSettings(Settings):
    """Digits to draw, and their files."""

    label: Annotated[str, Shown("Class", choices=CLASSES, metavar=f"0..9|{ALL}")] = Field(
        ALL, description="The class to draw; all when not given"
    )
    num_samples: Annotated[Samples, Shown("Digits per class", most=32)] = Field(
        8, description="Samples of each class"
    )
    temperature: Annotated[Temperature, Shown("Temperature")] = Field(
        1.0, description="Scale of the noise (as the checkpoint suggests): one number, or one per level"
    )
    seed: Annotated[Seed, SEED] = Field(0, description="Names the noise")
    format: Annotated[Literal["png", "npz"], Shown(served="npz")] = Field(
        "png", description="png: DIR/CLASS/s000.png, 28×28; npz: DIR/digits.npz with images and labels"
    )
