"""Models: ``forward(batch)`` is the log-likelihood of each example in nats."""

from __future__ import annotations

from typing import Any

from vflow.config import ModelConfig
from vflow.errors import CheckpointError
from vflow.models.base import Condition, LikelihoodModel, Sampled
from vflow.models.codec import ClipCodec, CodecBatch, PhotoCodec
from vflow.models.colorizer import Colorizer
from vflow.models.density import DensityModel
from vflow.models.digits import Digits
from vflow.models.flow import Flow, PointBatch, VectorFlow
from vflow.models.frame_conditioned import FrameConditionedVideoFlow
from vflow.models.image import ConditionalFlow, ImageBatch
from vflow.models.lattice_videoflow import LatticeVideoFlow
from vflow.models.nowcast import Nowcast, NowcastBatch
from vflow.models.reference_videoflow import AugmentedVideoFlow, ReferenceVideoFlow
from vflow.models.super_resolution import SuperResolution
from vflow.models.tarflow import TarFlow
from vflow.models.video import Rollout, VideoBatch, VideoModel
from vflow.models.videoflow import VideoFlow
from vflow.registry import config_class, kinds, resolve

__all__ = [
    "AugmentedVideoFlow",
    "ClipCodec",
    "CodecBatch",
    "Colorizer",
    "Condition",
    "ConditionalFlow",
    "DensityModel",
    "Digits",
    "Flow",
    "FrameConditionedVideoFlow",
    "ImageBatch",
    "LatticeVideoFlow",
    "LikelihoodModel",
    "Model",
    "Nowcast",
    "NowcastBatch",
    "PhotoCodec",
    "PointBatch",
    "ReferenceVideoFlow",
    "Rollout",
    "Sampled",
    "SuperResolution",
    "TarFlow",
    "VectorFlow",
    "VideoBatch",
    "VideoFlow",
    "VideoModel",
    "build_model",
    "configuration",
]

Model = VideoModel | ConditionalFlow | Nowcast | DensityModel | PhotoCodec | ClipCodec


def build_model(config: ModelConfig) -> Model:
    """A freshly initialised model for ``config``."""
    model: Model = resolve(kinds()[config.kind].model)(config)
    return model


def configuration(model: object) -> Any:
    """Configuration of a model of any kind.

    Raises:
        CheckpointError: ``model`` is something else, such as a checkpoint's name.
    """
    config = getattr(model, "config", None)
    kind = getattr(config, "kind", None)
    if not isinstance(kind, str) or kind not in kinds() or type(config) is not config_class(kind):
        name = model if isinstance(model, str) else "NAME"
        raise CheckpointError(f"{type(model).__name__} is not a model; give vflow.load({name!r})")
    return config
