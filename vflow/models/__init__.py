"""Models: ``forward(batch)`` is the log-likelihood of each example in nats."""

from __future__ import annotations

from typing import Any

from vflow.config import ModelConfig
from vflow.errors import CheckpointError
from vflow.models.base import Condition as Condition
from vflow.models.base import LikelihoodModel as LikelihoodModel
from vflow.models.base import Sampled as Sampled
from vflow.models.codec import ClipCodec as ClipCodec
from vflow.models.codec import CodecBatch as CodecBatch
from vflow.models.codec import PhotoCodec as PhotoCodec
from vflow.models.colorizer import Colorizer as Colorizer
from vflow.models.density import DensityModel as DensityModel
from vflow.models.digits import Digits as Digits
from vflow.models.flow import Flow as Flow
from vflow.models.flow import PointBatch as PointBatch
from vflow.models.flow import VectorFlow as VectorFlow
from vflow.models.frame_conditioned import FrameConditionedVideoFlow as FrameConditionedVideoFlow
from vflow.models.image import ConditionalFlow as ConditionalFlow
from vflow.models.image import ImageBatch as ImageBatch
from vflow.models.lattice_videoflow import LatticeVideoFlow as LatticeVideoFlow
from vflow.models.nowcast import Nowcast as Nowcast
from vflow.models.nowcast import NowcastBatch as NowcastBatch
from vflow.models.reference_videoflow import AugmentedVideoFlow as AugmentedVideoFlow
from vflow.models.reference_videoflow import ReferenceVideoFlow as ReferenceVideoFlow
from vflow.models.super_resolution import SuperResolution as SuperResolution
from vflow.models.tarflow import TarFlow as TarFlow
from vflow.models.video import Rollout as Rollout
from vflow.models.video import VideoBatch as VideoBatch
from vflow.models.video import VideoModel as VideoModel
from vflow.models.videoflow import VideoFlow as VideoFlow
from vflow.registry import config_class, kinds, resolve

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
