"""Parts of a model that are counted from data and not learned: pixel maps, the table of displacements."""

from __future__ import annotations

import math
from typing import Any

import torch

from vflow.models import Model
from vflow.training.material import Material, on_device

CHUNK = 16  # examples at once while counting
COUNTED = {  # tensors, where present
    "pixels.probability",
    "pixels.map.probability",
    "motion.after",
    "foresight.background",
}
MARGIN = 0.98  # counts of these data have to need fewer bits than those taken, and not by chance


def count_parts(model: Model, material: Material[Any, Any], first: Any, taken: set[str]) -> str:
    """Count on the training data, on the device of the batch ``first``.

    When all counted tensors are in ``taken``, from a checkpoint, whose weights go with them, they stay unless
    ``first`` then needs more bits than with counts of these data. Returns which it was, for people.
    """
    state = model.state_dict()
    names = COUNTED & state.keys()
    if not names:
        return ""
    old = {name: state[name].clone() for name in names} if names <= taken else {}
    before = _bits(model, material, first) if old else math.inf
    starts, device = range(0, max(CHUNK, material.counted), CHUNK), first[0].device
    model.fit([on_device(material.batch(start, CHUNK), device) for start in starts])
    if not old:
        return ""
    after = _bits(model, material, first)
    if after < MARGIN * before:
        return f"values and movements counted anew: {before:.4g} → {after:.4g} bits/dim at the start"
    for name, value in old.items():
        state[name].copy_(value)
    return f"values and movements stay as they were: {before:.4g} bits/dim at the start (anew: {after:.4g})"


@torch.no_grad()
def _bits(model: Model, material: Material[Any, Any], batch: Any) -> float:
    """Mean bits/dim; infinite where it is no number."""
    bits = float(model.bits_per_dim(model(batch), material.targets).mean())
    return bits if math.isfinite(bits) else math.inf
