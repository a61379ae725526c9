"""What is trained: models whose ``forward(batch)`` is the log-likelihood of each example in nats."""

from __future__ import annotations

from vflow.config import VideoFlowConfig
from vflow.models.batches import Rollout, Sampled, VideoBatch
from vflow.models.videoflow import VideoFlow

__all__ = ["Rollout", "Sampled", "VideoBatch", "VideoFlow", "build_model"]


def build_model(config: VideoFlowConfig) -> VideoFlow:
    """A freshly initialised model for ``config``."""
    return VideoFlow(config)
