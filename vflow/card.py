"""Model cards from a model's config, its statistics, and facts of the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vflow.config import (
    ClipCodecConfig,
    DensityConfig,
    ModelConfig,
    PhotoCodecConfig,
    VideoConfig,
)
from vflow.config.density import expand
from vflow.errors import counted
from vflow.registry import families

CURVE, SAMPLES = "curve.svg", "samples.png"
"""Pictures beside the card of a run's model."""
COLORS = {1: "grey", 2: "ab", 3: "RGB"}


def model_card(
    title: str,
    config: ModelConfig,
    statistics: Mapping[str, Any],
    facts: Mapping[str, str],
    pictures: Iterable[str] = (),
) -> str:
    """Markdown with the header that hubs read.

    Args:
        facts: rows: name → text, such as the command.
        pictures: names of files beside the card.
    """
    text = families()[config.family].card
    rows = {"model": _describe(config)} | _measured(config, statistics) | dict(facts)
    table = [f"| {name} | {' '.join(fact.split())} |" for name, fact in rows.items()]
    return "\n".join([
        "---", "library_name: vflow", "tags:", "- normalizing-flow", f"- {text.tag}", "---", "",
        f"# {title}", "", f"{text.description}.", "",
        "```python", "import vflow", "", 'model = vflow.load("…")  # this folder, or a hub id: "user/name"',
        text.use, "```", "",
        "| | |", "|---|---|", *table, "",
        *(f"![{Path(name).stem}]({name})\n" for name in pictures),
        "Written by vflow. Say here what the data show, where they come from, what the model cannot do.", "",
    ])  # fmt: skip


def _describe(config: ModelConfig) -> str:
    if isinstance(config, PhotoCodecConfig | ClipCodecConfig):
        return f"`{config.kind}`; trained on squares of {config.crop} pixels"
    if isinstance(config, DensityConfig):
        layers = len(list(expand(config.layers)))
        base = config.base if isinstance(config.base, str) else config.base.kind
        return f"`{config.kind}`; vectors of {config.dim}; {layers} layers over a base `{base}`"
    glow = config.glow
    steps = ", ".join(map(str, glow.depth))
    parts = [
        f"`{config.kind}`",
        f"{glow.height}×{glow.width} {COLORS.get(glow.channels, f'× {glow.channels} frames')}",
        f"{glow.levels} levels of {steps} steps",
    ]
    if isinstance(config, VideoConfig):
        past = f"needs at least {counted(config.min_context, 'frame')}, uses the last {config.context}"
        parts.append(f"{config.fps:g} frames per second, {past}")
    return "; ".join(parts)


def _measured(config: ModelConfig, statistics: Mapping[str, Any]) -> dict[str, str]:
    rows = {}
    if "step" in statistics:
        rows["steps"] = f"{statistics['step']:,}"
    if statistics.get("val_bits_per_dim") is not None:
        bits = statistics["val_bits_per_dim"]
        rows["validation"] = f"{bits:.4g} bits/dim (K = 1, averaged weights)"
        if isinstance(config, DensityConfig):
            rows["validation"] = f"{bits * config.dim * math.log(2):.4g} nats (averaged weights)"
    return rows
