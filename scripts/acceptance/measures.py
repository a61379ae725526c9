"""All measures: importing them registers them."""

from scripts.acceptance import (  # noqa: F401
    app,
    colours,
    damage,
    digits,
    generate,
    inputs,
    launchers,
    predictions,
    reference,
    repository,
    shown,
    speed,
    surprise,
    training,
    weights,
)
