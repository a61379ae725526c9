"""Figures that the project promises, measured by `make accept`. Importing the package registers them."""

from scripts.acceptance import (  # noqa: F401
    app,
    colours,
    conditions,
    densities,
    digits,
    files,
    hints,
    latents,
    predictions,
    real,
    recipes,
    shown,
    speed,
    surprise,
    weights,
)
