"""VideoFlow conditioned on past frames, whose features couplings and prior see (cf. Marino et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor

from vflow.config import EncoderConfig, FrameConditionedConfig, PriorConfig
from vflow.models.base import Condition, Sampled
from vflow.models.glow import Glow
from vflow.models.video import Pyramid, Rollout, VideoBatch, VideoModel, fold, scale_bytes, windows
from vflow.nn.encoder import FrameEncoder, WindowEncoder
from vflow.nn.modules import ModuleList
from vflow.priors.temporal import TemporalPrior


@final
class FrameConditionedVideoFlow(VideoModel):
    """p(x_t | x_{t−n} … x_{t−1}): a frame depends on the last n frames themselves and on no others.

    A conditional pixel map takes the frame before as its reference.
    """

    dequantizes_past: ClassVar[bool] = False

    def __init__(self, config: FrameConditionedConfig) -> None:
        super().__init__(config, config.encoder.hidden)
        self.config: FrameConditionedConfig = config
        self.frame_encoder = FrameEncoder(config.glow.channels, config.encoder)
        self.window_encoder = WindowEncoder(config.context, config.encoder)
        self.priors = frame_priors(self.flow, config.encoder, config.prior, config.context)

    def condition_targets(self, batch: VideoBatch) -> Condition:
        past = batch.frames[:, :-1] if batch.corrupted_past is None else batch.corrupted_past
        n = self.config.context
        window, mask = windows(self.remember(past), batch, n)
        (frames,), _ = windows((past,), batch, n)
        return self._condition(window, mask, frames[:, -1])

    def references(self, batch: VideoBatch) -> Tensor:
        return fold(batch.frames[:, batch.first - 1 : -1])

    def remember(self, frames: Tensor) -> Pyramid:
        return encode_frames(self.frame_encoder, frames)

    def remember_sample(self, sampled: Sampled, latents: Sequence[Tensor]) -> Pyramid:
        return self.remember(sampled.frame[:, None])

    def condition_next(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> Condition:
        return self._condition(rollout.history, rollout.mask, rollout.frame)

    def _condition(self, window: Pyramid, mask: Tensor, last: Tensor) -> Condition:
        return Condition(window, self.window_encoder(window, mask), last)


def encode_frames(encoder: FrameEncoder, frames: Tensor) -> Pyramid:
    """Features of each frame (B, T, C, H, W): per level (B, T, F_l, H_l, W_l)."""
    return tuple(f.unflatten(0, frames.shape[:2]) for f in encoder(scale_bytes(fold(frames))))


def frame_priors(
    flow: Glow, encoder: EncoderConfig, config: PriorConfig, frames: int
) -> ModuleList[TemporalPrior]:
    """A temporal prior per level over a window of features of so many ``frames``."""
    return ModuleList(
        [
            TemporalPrior(
                channels=channels,
                above=flow.level_channels(level),
                history=encoder.hidden[level],
                frames=frames,
                size=min(height, width),
                config=config,
                skip=False,
            )
            for level, (channels, height, width) in enumerate(flow.latent_shapes)
        ]
    )
