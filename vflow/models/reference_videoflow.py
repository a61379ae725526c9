"""VideoFlow that codes each frame against a reference frame: a displaced or a predicted one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from vflow.config import ReferenceVideoFlowConfig
from vflow.models.base import Condition
from vflow.models.frame_conditioned import FrameEncodingModel
from vflow.models.frame_predictor import FramePredictor
from vflow.models.reference import MotionReference, Past, Reference
from vflow.models.video import Pyramid, Rollout, VideoBatch


@final
class ReferenceVideoFlow(FrameEncodingModel):
    """p(x_t | past) ≥ p(k | past) · p(x_t | r(k, past), past), r(k, past) the reference frame.

    The reference joins the window of past frames as its newest one, and is that of a conditional pixel map.
    Its noise is the last entry of ``latent_shapes``.
    """

    has_reference: ClassVar[bool] = True

    def __init__(self, config: ReferenceVideoFlowConfig) -> None:
        super().__init__(config, config.encoder.hidden)
        self.config: ReferenceVideoFlowConfig = config
        self.reference = _reference(config)
        self.latent_shapes = (*self.flow.latent_shapes, self.reference.noise_shape)
        self.add_encoders(config.encoder, config.prior, config.context + 1)

    def condition_targets(self, batch: VideoBatch) -> Condition:
        window, past = self._past(batch)
        log_prob, reference = self.reference.encode(past, batch.targets)
        return self._condition(window, past.mask, reference, (log_prob[:, None, None],))

    def references(self, batch: VideoBatch) -> Tensor:
        return self.reference.encode(self._past(batch)[1], batch.targets)[1]

    @torch.no_grad()
    def fit(self, batches: Sequence[VideoBatch]) -> None:
        """Set what the reference counts, then the pixel map's table."""
        clean = [batch._replace(corrupted_past=None) for batch in batches]
        self.reference.fit([(self._past(batch)[1], batch.targets) for batch in clean])
        super().fit(clean)

    def condition_next(
        self, rollout: Rollout, eps: Sequence[Tensor], temperature: Sequence[float]
    ) -> Condition:
        reference = self.reference.sample(_past_of(rollout), eps[-1], temperature[-1])
        return self._condition(rollout.history, rollout.mask, reference, ())

    def encode_reference(self, rollout: Rollout, frame: Tensor) -> tuple[Tensor, ...]:
        return (self.reference.whiten(_past_of(rollout), frame),)

    def _past(self, batch: VideoBatch) -> tuple[Pyramid, Past]:
        """Features and frames of each target's window."""
        window, frames, mask = self.past_windows(batch)
        return window, Past(frames, mask, _summary(window))

    def _condition(
        self, window: Pyramid, mask: Tensor, reference: Tensor, log_prob_terms: tuple[Tensor, ...]
    ) -> Condition:
        newest = self.remember(reference[:, None])
        window = tuple(torch.cat(pair, 1) for pair in zip(window, newest, strict=True))
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        return Condition(window, self.window_encoder(window, mask), reference, log_prob_terms)


def _reference(config: ReferenceVideoFlowConfig) -> Reference:
    reference, glow = config.reference, config.glow
    if reference.kind == "motion":
        return MotionReference(reference.max_displacement, config.context * config.encoder.hidden[-1])
    return FramePredictor(reference, config.context, (glow.channels, glow.height, glow.width))


def _past_of(rollout: Rollout) -> Past:
    return Past(rollout.frames, rollout.mask, _summary(rollout.history))


def _summary(window: Pyramid) -> Tensor:
    """The coarsest features of a window (B, n, F, H, W), averaged over space: (B, n · F)."""
    return window[-1].mean((3, 4)).flatten(1)
