"""VideoFlows that code each frame against a reference frame: a displaced or a predicted one."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from vflow.config import AugmentedVideoFlowConfig, ReferenceVideoFlowConfig
from vflow.models.base import Condition
from vflow.models.frame_conditioned import FrameEncodingModel
from vflow.models.frame_predictor import FramePredictor
from vflow.models.reference import MotionReference, Past, Reference
from vflow.models.video import NoiseSources, Pyramid, Rollout, VideoBatch


class ReferenceModel(FrameEncodingModel, ABC):
    """p(x_t | past) ≥ E_q p(z | past) · p(x_t | r(z, past), past) / q(z), r(z, past) the reference frame.

    The reference joins the window of past frames as its newest one, and is that of a conditional pixel map.
    Its noise is the last entry of ``latent_shapes``.
    """

    has_reference: ClassVar[bool] = True

    def __init__(
        self, config: ReferenceVideoFlowConfig | AugmentedVideoFlowConfig, make: Callable[[], Reference]
    ) -> None:
        super().__init__(config, config.encoder.hidden)
        self.reference = make()  # here, since initial weights depend on the order in which parts are made
        self.latent_shapes = (*self.flow.latent_shapes, self.reference.noise_shape)
        self.add_encoders(config.encoder, config.prior, config.context + 1)

    def condition_targets(self, batch: VideoBatch) -> Condition:
        window, past = self._past(batch)
        log_prob, reference = self._encode_reference(past, batch)
        return self._condition(window, past.mask, reference, (log_prob[:, None, None],))

    def references(self, batch: VideoBatch) -> Tensor:
        return self._encode_reference(self._past(batch)[1], batch)[1]

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

    def encode_reference(self, rollout: Rollout, frame: Tensor, eps: Tensor | None) -> tuple[Tensor, ...]:
        return (self.reference.whiten(_past_of(rollout), frame, eps),)

    def _encode_reference(self, past: Past, batch: VideoBatch) -> tuple[Tensor, Tensor]:
        """Log-density of the latents of the batch's targets, and their references: see ``Reference``."""
        eps = batch.augmented_eps
        return self.reference.encode(past, batch.targets, None if eps is None else eps.flatten(0, 1))

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


@final
class ReferenceVideoFlow(ReferenceModel):
    """The reference is the last frame displaced as a whole: a guide beside the flow, a discrete latent."""

    def __init__(self, config: ReferenceVideoFlowConfig) -> None:
        features = config.context * config.encoder.hidden[-1]
        super().__init__(config, lambda: MotionReference(config.reference.max_displacement, features))
        self.config: ReferenceVideoFlowConfig = config


@final
class AugmentedVideoFlow(ReferenceModel):
    """The reference is predicted from the past and from D augmented dimensions z, the flow's top latents.

    Augmented normalizing flow (Huang, Dinh & Courville 2020; Chen et al. 2020, *VFlow*) of a frame x and of
    uniform noise e of D dimensions: (x, e) ↔ (ε, u) is a bijection given the past. The encoding step shifts e
    by what it reads from the frame, z = e + m(x). The flow of z, ``MADEPrior``, takes it to u; the Glow,
    whose couplings and pixel map are conditioned on r(z), takes x to ε. So all noise of a future is the
    flow's, and log p(x) ≥ E_e [log p(z) + log p(x | z)], since q(z | x) has density 1.
    """

    def __init__(self, config: AugmentedVideoFlowConfig) -> None:
        glow = config.glow
        size = (glow.channels, glow.height, glow.width)
        super().__init__(config, lambda: FramePredictor(config.augmentation, config.context, size))
        self.config: AugmentedVideoFlowConfig = config

    def noise_sources(self) -> NoiseSources:
        """Levels of the Glow, and the augmented dimensions above them."""
        found = super().noise_sources()
        return found._replace(names=(*found.names[:-1], "augmented"), levels=len(self.latent_shapes))


def _past_of(rollout: Rollout) -> Past:
    return Past(rollout.frames, rollout.mask, _summary(rollout.history))


def _summary(window: Pyramid) -> Tensor:
    """The coarsest features of a window (B, n, F, H, W), averaged over space: (B, n · F)."""
    return window[-1].mean((3, 4)).flatten(1)
