"""Settings of drawn digits."""

from __future__ import annotations

from typing import Annotated, Literal

from vflow.config.settings import SEED, Samples, Seed, Settings, Shown, Temperature

ALL = "all"
CLASSES = (("All", ALL), *((str(digit), str(digit)) for digit in range(10)))


class DigitsSettings(Settings):
    """Digits to draw, and their files."""

    label: Annotated[str, Shown("Class", choices=CLASSES, metavar=f"0..9|{ALL}")] = ALL
    """The class to draw; all when not given."""
    num_samples: Annotated[Samples, Shown("Digits per class", most=32)] = 8
    """Samples of each class."""
    temperature: Annotated[
        Temperature, Shown("Temperature", "0 is the most typical; higher draws more varied hands.")
    ] = 1.0
    """Scale of the noise (as the checkpoint suggests): one number, or one per level."""
    seed: Annotated[Seed, SEED] = 0
    """Names the noise."""
    format: Annotated[Literal["png", "npz"], Shown(served="npz")] = "png"
    """png: DIR/CLASS/s000.png, 28×28; npz: DIR/digits.npz with images and labels."""
