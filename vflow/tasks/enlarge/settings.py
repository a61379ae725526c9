"""Settings of enlarged photos."""

from __future__ import annotations

from typing import Annotated, Literal

from vflow.config.settings import SEED, Samples, Seed, Settings, Shown, Temperature

SCALES = (2, 4)


class EnlargeSettings(Settings):
    """Variants of an enlarged photo."""

    scale: Annotated[
        Literal[2, 4],
        Shown("Scale", "Of the width and of the height.", choices=tuple((f"{s}×", s) for s in SCALES)),
    ] = 4
    """2 or 4 times the width and height."""
    reduction: Annotated[
        Literal["area", "bicubic"],
        Shown(
            "How the photo was made small",
            "By averaging blocks of pixels, or by bicubic interpolation, as in published comparisons.",
            choices=(("averaging", "area"), ("bicubic", "bicubic")),
        ),
    ] = "area"
    """How the photo was made small: area, means of blocks, which variants keep exactly, or bicubic."""
    num_samples: Annotated[Samples, Shown("Variants", most=8)] = 4
    """Variants of each photo."""
    temperature: Annotated[
        Temperature, Shown("Temperature", "0 is the smoothest; higher draws more texture.")
    ] = 1.0
    """Scale of the noise (as the checkpoint suggests)."""
    seed: Annotated[Seed, SEED] = 0
    """Names the noise."""
    format: Annotated[Literal["png"], Shown(flag=False)] = "png"
    """of files."""
