"""Figures that the project promises, measured by `make accept`. Importing the package registers them all."""

from scripts.acceptance import app, colours, digits, predictions, shown, speed, surprise, weights  # noqa: F401
