"""Model cards from a model's config, its statistics, and facts of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from vflow.config import (
    ClipCodecConfig,
    DensityConfig,
    IntegerFlowConfig,
    ModelConfig,
    PhotoCodecConfig,
    PixelCNNConfig,
    VideoConfig,
)
from vflow.config.density import expand
from vflow.errors import counted

COLORS = {1: "grey", 2: "ab", 3: "RGB"}


class Family(NamedTuple):
    """Text of a family's cards: hub tag, description, and a line of Python that uses the model."""

    tag: str
    description: str
    use: str


FAMILIES: dict[str, Family] = {
    "videoflow": Family(
        "video-prediction",
        "A VideoFlow: draws futures of a short video and scores its frames",
        "futures = vflow.predict(model, frames, num_frames=10, num_samples=8)",
    ),
    "digits": Family(
        "image-generation",
        "A class-conditional flow of small images",
        "images = vflow.digits(model, 7, num_samples=8)",
    ),
    "colorizer": Family(
        "image-colorization",
        "A wavelet flow: draws colours for the lightness of a photo",
        "colourings = vflow.colorize(model, photo, num_samples=8)",
    ),
    "codec": Family(
        "lossless-compression",
        "A pyramid of lattices: codes photos or clips without loss, by their likelihood",
        "data = vflow.compress(model, pixels); pixels = vflow.decompress(model, data)",
    ),
    "discrete": Family(
        "image-generation",
        "A model of whole numbers: draws small images and scores them exactly",
        "images = model.generate(8, None, torch.Generator())",
    ),
    "super_resolution": Family(
        "image-super-resolution",
        "A conditional flow: draws details for a photo enlarged 2 or 4 times",
        "variants = vflow.upscale(model, photo, scale=4, num_samples=4)",
    ),
    "segmentation": Family(
        "image-segmentation",
        "A conditional flow with half-infinite noise: draws binary masks of an image",
        "masks = model.decode(noise, images, [1.0] * len(noise)).frame",
    ),
    "nowcast": Family(
        "rain-nowcasting",
        "A wavelet flow: draws the next half hour of a rain radar",
        "members = vflow.nowcast(model, frames, num_frames=6, num_samples=20)",
    ),
    "density": Family(
        "density-estimation",
        "A normalizing flow on vectors: gives the density of points, and draws more",
        "points = vflow.sample(model, num_samples=1000)",
    ),
}


def model_card(
    title: str, config: ModelConfig, statistics: Mapping[str, Any], facts: Mapping[str, str]
) -> str:
    """Markdown with the header that hubs read. ``facts`` are rows: name → text, such as the command."""
    family = FAMILIES[config.family]
    rows = {"model": _describe(config)} | _measured(config, statistics) | dict(facts)
    table = [f"| {name} | {' '.join(text.split())} |" for name, text in rows.items()]
    return "\n".join([
        "---", "library_name: vflow", "tags:", "- normalizing-flow", f"- {family.tag}", "---", "",
        f"# {title}", "", f"{family.description}.", "",
        "```python", "import vflow", "", 'model = vflow.load("…")  # this folder, or a hub id: "user/name"',
        family.use, "```", "",
        "| | |", "|---|---|", *table, "",
        "Written by vflow. Say here what the data show, where they come from, what the model cannot do.", "",
    ])  # fmt: skip


def _describe(config: ModelConfig) -> str:
    if isinstance(config, PhotoCodecConfig | ClipCodecConfig):
        return f"`{config.kind}`; trained on squares of {config.crop} pixels"
    if isinstance(config, IntegerFlowConfig | PixelCNNConfig):
        return f"`{config.kind}`; {config.height}×{config.width} {COLORS[config.channels]}"
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
