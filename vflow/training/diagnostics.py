"""Numbers that warn before samples break: the round trip and the extremes of the scales."""

from __future__ import annotations

from typing import Any

import torch

from vflow.models import Model
from vflow.training.material import Material, on_device

EXAMPLES = 4
SCALES = ("log_scale", "log_diagonal")  # endings of the parameters that are logarithms of scales


@torch.no_grad()
def round_trip(model: Model, material: Material[Any, Any], device: torch.device) -> float:
    """Largest error of data → latent → data over a few pictures held out, float32, in grey levels."""
    before, after = model.reconstruct(on_device(material.probe(EXAMPLES), device))
    return float((after - before).abs().max())


@torch.no_grad()
def largest_log_scale(model: Model) -> float:
    """Largest absolute value of any parameter that is the logarithm of a scale."""
    found = [p.abs().max() for name, p in model.named_parameters() if name.endswith(SCALES)]
    return float(torch.stack(found).max())
