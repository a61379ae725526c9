"""VideoFlow conditioned on past frames, whose features couplings and prior see (cf. Marino et al. 2020)."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import final

from torch import Tensor

from vflow.config import EncoderConfig, FrameConditionedConfig, PriorConfig
from vflow.models.base import Condition
from vflow.models.video import (
    Pyramid,
    Rollout,
    VideoBatch,
    VideoModel,
    fold,
    scale_bytes,
    temporal_priors,
    windows,
)
from vflow.nn.encoder import FrameEncoder, WindowEncoder


class FrameEncodingModel(VideoModel, ABC):
    """A video model whose window holds features of past frames, for couplings and prior."""

    def add_encoders(self, encoder: EncoderConfig, prior: PriorConfig, frames: int) -> None:
        """Networks over a window of ``frames`` frames."""
        self.frame_encoder = FrameEncoder(self.image_shape[0], encoder)
        self.window_encoder = WindowEncoder(frames, encoder)
        self.priors = temporal_priors(self.flow, encoder.hidden, prior, frames)

    def remember(self, frames: Tensor) -> Pyramid:
        features = self.frame_encoder(scale_bytes(fold(frames)))
        return tuple(f.unflatten(0, frames.shape[:2]) for f in features)

    def past_windows(self, batch: VideoBatch) -> tuple[Pyramid, Tensor, Tensor]:
        """Features of each target's window, its frames (B · targets, n, C, H, W), and its mask."""
        past = batch.frames[:, :-1] if batch.corrupted_past is None else batch.corrupted_past
        window, mask = windows(self.remember(past), batch, self.config.context)
        (frames,), _ = windows((past,), batch, self.config.context)
        return window, frames, mask


@final
class FrameConditionedVideoFlow(FrameEncodingModel):
    """p(x_t | x_{t−n} … x_{t−1}): a frame depends on the last n frames themselves and on no others.

    A conditional pixel map takes the frame before as its reference.
    """

    def __init__(self, config: FrameConditionedConfig) -> None:
        super().__init__(config, config.encoder.hidden)
        self.config: FrameConditionedConfig = config
        self.add_encoders(config.encoder, config.prior, config.context)

    def condition_targets(self, batch: VideoBatch) -> Condition:
        window, frames, mask = self.past_windows(batch)
        return self._condition(window, mask, frames[:, -1])

    def references(self, batch: VideoBatch) -> Tensor:
        return fold(batch.frames[:, batch.first - 1 : -1])

    def condition_next(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> Condition:
        return self._condition(rollout.history, rollout.mask, rollout.frame)

    def _condition(self, window: Pyramid, mask: Tensor, last: Tensor) -> Condition:
        return Condition(window, self.window_encoder(window, mask), last)
