"""VideoFlow: a Glow per frame with an autoregressive latent prior (Kumar et al. 2020, arXiv 1903.01434)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from vflow.config import VideoFlowConfig
from vflow.models.base import Condition
from vflow.models.video import Pyramid, Rollout, VideoBatch, VideoModel, fold, temporal_priors, windows


@final
class VideoFlow(VideoModel):
    """p(z_t | z_<t) = Π_l p(z_t⁽ˡ⁾ | z_<t⁽ˡ⁾, z_t⁽>ˡ⁾), z_t the latents of frame t by one unconditional Glow.

    The prior of each level is a 3-D residual network over the window of past latents at that level, which are
    those of past frames without noise.
    """

    def __init__(self, config: VideoFlowConfig) -> None:
        super().__init__(config, None)
        self.config: VideoFlowConfig = config
        self.scales_noise = config.prior.mixtures == 1
        channels = [shape[0] for shape in self.flow.latent_shapes]
        prior = config.prior
        self.priors = temporal_priors(
            self.flow, channels, prior, config.context, skip=prior.skip, mixtures=prior.mixtures
        )

    def condition_targets(self, batch: VideoBatch) -> Condition:
        past = batch.frames[:, :-1] if batch.corrupted_past is None else batch.corrupted_past
        window, _ = windows(self.remember(past), batch, self.config.context)
        return self._condition(window, fold(past[:, batch.first - 1 :]))

    def remember(self, frames: Tensor) -> Pyramid:
        """Latents of frames without noise, each by itself."""
        x = fold(frames)
        eps = torch.zeros_like(x, dtype=next(self.priors.parameters()).dtype)
        code = self.encode_images(x, eps, self._condition((), x))
        return tuple(z.unflatten(0, frames.shape[:2]) for z in code.latents)

    def condition_next(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> Condition:
        return self._condition(rollout.history, rollout.frame)

    def dequantize(self, images: Tensor, eps: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        if self.config.noise != "conditional":
            return super().dequantize(images, eps, condition)
        y, weight = self.dequantizer(images.float(), eps, condition.reference)
        return y, weight

    def _condition(self, window: Pyramid, before: Tensor) -> Condition:
        """Condition on past latents, per level (B, n, C_l, H_l, W_l), which the Glow does not see.

        ``before``, the frame before, uint8 (N, C, H, W), is for the noise.
        """
        return Condition(window, [None] * self.config.glow.levels, before)
