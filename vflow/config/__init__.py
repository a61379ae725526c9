"""Frozen, validated configurations and their YAML codec. Unknown keys are errors."""

from vflow.config.base import Config, parse, to_yaml
from vflow.config.codec import (
    ClipCodecConfig,
    IntegerFlowConfig,
    LatticeConfig,
    PhotoCodecConfig,
    PixelCNNConfig,
)
from vflow.config.density import DensityConfig
from vflow.config.models import (
    MODEL_CONFIGS,
    ColorizerConfig,
    ConvolutionalVideoConfig,
    DigitsConfig,
    EncoderConfig,
    FrameConditionedConfig,
    FramePredictorConfig,
    FrameStackConfig,
    GlowConfig,
    LatentPriorConfig,
    LatticePriorConfig,
    LatticeVideoFlowConfig,
    LevelNetConfig,
    ModelConfig,
    MotionConfig,
    Noise,
    NowcastConfig,
    PriorConfig,
    ReferenceVideoFlowConfig,
    SegmentationConfig,
    SuperResolutionConfig,
    VideoConfig,
    VideoFlowConfig,
    WaveletPriorConfig,
)
from vflow.config.presets import (
    BestOfConfig,
    ClassificationConfig,
    ColorMeanLossConfig,
    CrpsConfig,
    DataConfig,
    DetailMeanConfig,
    EnergyScoreConfig,
    LossConfig,
    Preset,
    TrainingConfig,
    load_preset,
    preset_names,
)
from vflow.config.recipes import Export, Recipe, Stage, load_recipe, recipe_names
