"""Temperature on a form: a slider, and a box for one number per level of latents."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import engine
from .common import Shared, first_levels, first_temperature
from .controls import QUICK

BESIDE_LEVELS = "For all levels. Until it is moved, those under Advanced count, if there are any."


def temperature_slider(shared: Shared, checkpoint: str | None, info: str | None = None) -> gr.Slider:
    """One temperature for all levels, at first the lowest that the checkpoint suggests."""
    first = first_temperature(shared, checkpoint)
    return gr.Slider(0, engine.MAX_TEMPERATURE, first, step=0.05, label="Temperature", info=info)


def levels_box(shared: Shared, checkpoint: str | None, one: gr.Slider, last: str) -> gr.Textbox:
    """Temperatures as people type them; the box or the slider ``one`` counts, whichever was touched last.

    Args:
        last: what the last level says.
    """
    box = gr.Textbox(
        first_levels(shared, checkpoint),
        label="Temperature per level",
        placeholder="one number per level, as 0.8, 0.9, …",
        info=f"Fine to coarse, then {last}. Counts instead of the slider, which empties it.",
    )
    one.input(lambda: "", None, box, trigger_mode="always_last", **QUICK)
    return box


def suggested_temperature(shared: Shared, checkpoint: str | None, typed: str) -> tuple[float, Any]:
    """What slider and box show for a checkpoint that is chosen anew; ``typed`` is what the box holds."""
    levels = first_levels(shared, checkpoint)
    per_level = gr.skip() if typed == levels else levels  # does not undo what is typed meanwhile
    return first_temperature(shared, checkpoint), per_level
