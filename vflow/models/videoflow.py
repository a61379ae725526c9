"""VideoFlow: a Glow per frame with an autoregressive latent prior (Kumar et al. 2020, arXiv 1903.01434)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from vflow.config import VideoFlowConfig
from vflow.models.base import Condition, Sampled
from vflow.models.glow import Encoded
from vflow.models.video import Pyramid, Rollout, VideoBatch, VideoModel, fold, temporal_priors, windows


@final
class VideoFlow(VideoModel):
    """p(z_t | z_<t) = Π_l p(z_t⁽ˡ⁾ | z_<t⁽ˡ⁾, z_t⁽>ˡ⁾), z_t the latents of frame t by one unconditional Glow.

    The prior of each level is a 3-D residual network over the window of past latents at that level.
    """

    dequantizes_past: ClassVar[bool] = True

    def __init__(self, config: VideoFlowConfig) -> None:
        super().__init__(config, None)
        self.config: VideoFlowConfig = config
        channels = [shape[0] for shape in self.flow.latent_shapes]
        self.priors = temporal_priors(
            self.flow, channels, config.prior, config.context, skip=config.prior.skip
        )

    def encode_batch(self, batch: VideoBatch) -> tuple[Condition, Encoded]:
        """Condition and codes of the targets, every frame encoded once; given frames have noise 0."""
        clips = batch.frames.shape[:2]
        given = torch.zeros_like(batch.eps[:, :1]).expand(-1, batch.first, -1, -1, -1)
        eps = torch.cat([given, batch.eps], 1)
        code = self.encode_images(fold(batch.frames), fold(eps), self._condition(()))
        past = tuple(z.unflatten(0, clips)[:, :-1] for z in code.latents)
        rows = torch.arange(clips.numel(), device=eps.device).unflatten(0, clips)[:, batch.first :].flatten()
        targets = Encoded(
            tuple(z[rows] for z in code.latents),
            tuple(None if above is None else above[rows] for above in code.passed_up),
            [term[rows] for term in code.log_prob_terms],
        )
        return self._condition(windows(past, batch, self.config.context)[0]), targets

    def condition_targets(self, batch: VideoBatch) -> Condition:
        return self.encode_batch(batch)[0]

    def remember(self, frames: Tensor) -> Pyramid:
        x = fold(frames)
        code = self.encode_images(x, torch.zeros_like(x, dtype=torch.float32), self._condition(()))
        return tuple(z.unflatten(0, frames.shape[:2]) for z in code.latents)

    def remember_sample(self, sampled: Sampled, latents: Sequence[Tensor]) -> Pyramid:
        return tuple(z[:, None] for z in latents)

    def condition_next(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> Condition:
        return self._condition(rollout.history)

    def _condition(self, window: Pyramid) -> Condition:
        """Condition on past latents, per level (B, n, C_l, H_l, W_l); the Glow alone needs none."""
        return Condition(window, [None] * self.config.glow.levels)
