"""What is trained: models whose ``forward(batch)`` is the log-likelihood of each example in nats."""

from __future__ import annotations

from typing import Any

from vflow.config import ColorizerConfig, DigitsConfig, ModelConfig, VideoFlowConfig
from vflow.models.batches import ImageBatch, Rollout, Sampled, VideoBatch
from vflow.models.colorizer import Colorizer
from vflow.models.conditional import ConditionalFlow
from vflow.models.digits import Digits
from vflow.models.videoflow import VideoFlow

__all__ = [
    "Colorizer",
    "ConditionalFlow",
    "Digits",
    "ImageBatch",
    "Model",
    "Rollout",
    "Sampled",
    "VideoBatch",
    "VideoFlow",
    "build_model",
]

Model = VideoFlow | Digits | Colorizer
BUILDERS: dict[type[Any], type[Any]] = {
    VideoFlowConfig: VideoFlow,
    DigitsConfig: Digits,
    ColorizerConfig: Colorizer,
}


def build_model(config: ModelConfig) -> Model:
    """A freshly initialised model for ``config``."""
    model: Model = BUILDERS[type(config)](config)
    return model
