"""Frozen, validated configurations and their YAML codec. Unknown keys are errors."""

from vflow.config.base import KINDS, Config, parse, to_yaml
from vflow.config.models import (
    ColorizerConfig,
    DigitsConfig,
    EncoderConfig,
    FramePredictorConfig,
    GlowConfig,
    ModelConfig,
    Noise,
    PriorConfig,
    VideoFlowConfig,
)
from vflow.config.presets import (
    BestOfConfig,
    ClassificationConfig,
    ColorMeanLossConfig,
    DataConfig,
    EnergyScoreConfig,
    LossConfig,
    Preset,
    TrainingConfig,
    load_preset,
    preset_names,
)
from vflow.config.recipes import Export, Recipe, Stage, load_recipe, recipe_names

__all__ = [
    "KINDS",
    "BestOfConfig",
    "ClassificationConfig",
    "ColorMeanLossConfig",
    "ColorizerConfig",
    "Config",
    "DataConfig",
    "DigitsConfig",
    "EncoderConfig",
    "EnergyScoreConfig",
    "Export",
    "FramePredictorConfig",
    "GlowConfig",
    "LossConfig",
    "ModelConfig",
    "Noise",
    "Preset",
    "PriorConfig",
    "Recipe",
    "Stage",
    "TrainingConfig",
    "VideoFlowConfig",
    "load_preset",
    "load_recipe",
    "parse",
    "preset_names",
    "recipe_names",
    "to_yaml",
]
