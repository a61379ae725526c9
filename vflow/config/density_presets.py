"""Presets of density models: model, training, and the points they are for."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml
from pydantic import Field

from vflow.config.base import Config, parse
from vflow.config.density import DensityConfig
from vflow.config.presets import TrainingConfig
from vflow.errors import ConfigError

TRAINING = {
    "batch_size": 512,
    "max_steps": 4000,
    "learning_rate": 2e-3,
    "grad_clip_norm": 5.0,
    "actnorm_batch": 2000,
    "validation_examples": 20_000,
}


class DensityPreset(Config):
    """Everything one density needs: model, optimisation, and what it is."""

    note: str = ""
    model: DensityConfig = DensityConfig()
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig.model_validate(TRAINING))


def density_preset_names() -> list[str]:
    """Names of the density presets that ship with vflow."""
    folder = resources.files("vflow") / "presets" / "density"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_density_preset(name: str, **overrides: Any) -> DensityPreset:
    """The preset called ``name``; ``overrides`` replace entries of its model.

    Raises:
        ConfigError: no preset is called so, or it is not valid.
    """
    if name not in density_preset_names():
        raise ConfigError(f"{name}: no such preset; presets: {', '.join(density_preset_names())}")
    text = (resources.files("vflow") / "presets" / "density" / f"{name}.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    data["model"].update(overrides)
    data["training"] = {**TRAINING, **data.get("training", {})}
    return parse(DensityPreset, data, name)
