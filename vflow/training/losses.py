"""Auxiliary losses: what training may minimise beside bits/dim, one class each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, final

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cross_entropy

from vflow.config import (
    BestOfConfig,
    ClassificationConfig,
    ColorMeanLossConfig,
    CrpsConfig,
    DetailMeanConfig,
    EnergyScoreConfig,
    TrainingConfig,
)
from vflow.models import (
    Colorizer,
    Condition,
    ConditionalFlow,
    Digits,
    ImageBatch,
    Nowcast,
    NowcastBatch,
    SuperResolution,
    TarFlow,
    VideoBatch,
    VideoModel,
)
from vflow.models.colorizer import UNIT
from vflow.models.glow import Shapes, split_levels
from vflow.models.nowcast import rain_rate

STD_WEIGHT = 2.0  # of a grey level of spread too little or too much, beside one of error
LOG_UNIT = 16.0  # grey levels of rain that count like 1 mm/h in the score of log rain
TINY_SQUARE = 1e-3  # grey levels²: keeps the slope of square roots finite


class Loss(Protocol):
    """Scalar loss of a model on a batch.

    The mean over equal micro-batches is that of the whole batch, but for what is no mean over examples: the
    bounds of ``BestOfLoss`` and the root of ``DetailMeanLoss`` are each micro-batch's own.

    Attributes:
        uses_features: True where the batch's ``features`` are used, which the step then computes once.
    """

    uses_features: ClassVar[bool]

    def __call__(self, model: Any, batch: Any) -> Tensor: ...


def drawn(model: Any, condition: Condition, eps: Tensor, shapes: Shapes) -> Tensor:
    """Samples (B, N, …) at temperature 1 for B conditions, from noise (B, N, D) of all levels."""
    levels = split_levels(eps.flatten(0, 1), shapes)
    samples: Tensor = model.generate(condition.repeat(eps.shape[1]), levels, [1.0] * len(levels))[0]
    return samples.unflatten(0, eps.shape[:2])


@final
@dataclass(frozen=True)
class BestOfLoss:
    """``weight`` · (RMS error of the best sample + spread missing or too much), in grey levels.

    Fan et al. 2017, *A Point Set Generation Network*, 4.3. Pulled to the mean, samples become flat; so on
    average they must vary within at least ``std_bounds[0]`` times as much as the pictures do. Only the best
    sample has to be near; so none may vary more than ``std_bounds[1]`` times as much, which mends exploding
    scales.
    """

    uses_features: ClassVar[bool] = True
    config: BestOfConfig

    def __call__(self, model: ConditionalFlow, batch: ImageBatch) -> Tensor:
        """Mean over the batch's first examples, those with ``sample_eps``."""
        if batch.sample_eps is None:  # none of this micro-batch's examples take part
            return batch.eps.new_zeros(())
        examples = len(batch.sample_eps)
        condition = model.condition([f[:examples] for f in model.features_of(batch)])
        samples = drawn(model, condition, batch.sample_eps, model.latent_shapes)
        truth = batch.images[:examples].float() + 0.5
        errors = ((samples - truth[:, None]) ** 2).mean((2, 3, 4)).add(TINY_SQUARE).sqrt()
        least, most = (bound * std_within(truth).mean() for bound in self.config.std_bounds)
        std = std_within(samples)
        outside = torch.relu(least - std.mean()) + torch.relu(std - most).mean()
        share = examples * self.config.subsample / len(batch.images)
        return self.config.weight * share * (errors.amin(1).mean() + STD_WEIGHT * outside)


def std_within(images: Tensor) -> Tensor:
    """Standard deviation within pictures (…, C, H, W), root mean square over channels: (…)."""
    return images.var((-2, -1)).mean(-1).add(TINY_SQUARE).sqrt()


@final
@dataclass(frozen=True)
class ClassificationLoss:
    """``weight`` · cross-entropy of p(y | x) ∝ p(x | y) in nats (IB-INN: Ardizzone et al. 2020)."""

    uses_features: ClassVar[bool] = False
    config: ClassificationConfig

    def __call__(self, model: Digits | TarFlow, batch: ImageBatch) -> Tensor:
        """Mean over the batch's first ``selected`` examples."""
        if not batch.selected:
            return batch.eps.new_zeros(())
        classes = model.config.classes
        images, labels, eps = (t[: batch.selected] for t in (batch.images, batch.condition, batch.eps))
        under_all = ImageBatch(
            images.repeat_interleave(classes, 0),
            torch.arange(classes, device=labels.device).repeat(len(images)),
            eps.repeat_interleave(classes, 0),
        )
        nats = model(under_all).unflatten(0, (len(images), classes))
        share = len(images) * self.config.subsample / len(batch.images)
        return self.config.weight * share * cross_entropy(nats, labels)


@final
@dataclass(frozen=True)
class EnergyScoreLoss:
    """``weight`` · E(‖x − y‖ − ½ ‖x − x′‖) in grey levels: samples x, x′ at temperature 1, the real frame y.

    Energy score (Gneiting & Raftery 2007, *Strictly Proper Scoring Rules*, 4.3) of each clip's last frame,
    given the condition of its likelihood. For an ``AugmentedVideoFlow`` that condition holds z, encoded from
    the frame itself: what is scored is p(frame | z, past), a reconstruction and the spread around it, while
    the choice of a future, p(z | past), is left to the likelihood. It is no score of the predictive
    distribution.
    """

    uses_features: ClassVar[bool] = False
    config: EnergyScoreConfig

    def __call__(self, model: VideoModel, batch: VideoBatch) -> Tensor:
        """Mean over clips."""
        assert batch.sample_eps is not None
        last = batch.last_target()
        condition, shapes = model.condition_targets(last), model.flow.latent_shapes
        samples = drawn(model, condition, batch.sample_eps, shapes)
        error = rms(samples - last.targets[:, None].float() - 0.5)
        return self.config.weight * (error - 0.5 * rms(samples - samples.roll(1, 1))).mean()


def rms(difference: Tensor) -> Tensor:
    """Root mean square of each frame: (B, N, C, H, W) → (B, N)."""
    return difference.square().flatten(2).mean(2).add(TINY_SQUARE).sqrt()


@final
@dataclass(frozen=True)
class CrpsLoss:
    """``weight`` · CRPS of members drawn at temperature 1, in mm/h and in grey levels (log rain).

    Estimated as E|X − o| − ½ E|X − X'| over different members, which is fair for any number of them (Ferro
    2014). The score is proper: least for the true distribution of each pixel; that of means over squares of
    ``scales`` pixels also asks for the right correlation in space.
    """

    uses_features: ClassVar[bool] = True
    config: CrpsConfig

    def __call__(self, model: Nowcast, batch: NowcastBatch) -> Tensor:
        """Mean over pixels, leads and scales; unobserved pixels and squares count as 0."""
        assert batch.sample_eps is not None
        shapes = model.latent_shapes_at(*batch.targets.shape[2:])
        condition = model.condition_targets(batch)
        members = drawn(model, condition, batch.sample_eps, shapes).clamp(-64, 288)
        truth, observed = batch.targets[:, None].float(), batch.observed[:, None].float()
        rate = self._score(rain_rate(members), rain_rate(truth), observed)
        log_rain = self._score(members.relu() / LOG_UNIT, truth / LOG_UNIT, observed)
        return self.config.weight * (rate + self.config.log_weight * log_rain)

    def _score(self, members: Tensor, truth: Tensor, observed: Tensor) -> Tensor:
        """Scalar of members (B, N, T, h, w), truth and ``observed`` (B, 1, T, h, w)."""
        scores = []
        for scale in self.config.scales:
            share = _block_means(observed, scale)
            x, o = (_block_means(field * observed, scale) for field in (members, truth))
            score = (x - o).abs().mean(1) - 0.5 * (x - x.roll(1, 1)).abs().mean(1)
            scores.append((score * (share[:, 0] > 0)).mean())
        return torch.stack(scores).mean()


def _block_means(field: Tensor, size: int) -> Tensor:
    """Means over squares of ``size`` pixels: (B, N, T, h, w) → (B, N, T, h / size, w / size)."""
    return avg_pool2d(field.flatten(0, 1), size).unflatten(0, field.shape[:2]) if size > 1 else field


@final
@dataclass(frozen=True)
class ColorMeanLoss:
    """``weight`` · RMS of each picture less its predicted mean, in grey levels.

    The predictor of structure is conditioned on the mean colour, which is a sample when colours are drawn.
    So in training it is given mean colours with ``mean_noise`` ab units of noise, made from the batch's own.
    """

    uses_features: ClassVar[bool] = True
    config: ColorMeanLossConfig

    def __call__(self, model: Colorizer, batch: ImageBatch) -> Tensor:
        """Mean over pictures."""
        _, _, height, width = batch.eps.shape
        noise = (
            self.config.mean_noise / UNIT * math.sqrt(height * width) * batch.eps.mean((2, 3), keepdim=True)
        )
        features = model.features_of(batch)
        color, structure = model.color_mean_errors(batch.images, batch.eps, features, noise)
        errors = (color + structure).square().mean((1, 2, 3))  # the structure has no mean: squares add up
        return self.config.weight * UNIT * (errors + 1e-6).sqrt().mean()


@final
@dataclass(frozen=True)
class DetailMeanLoss:
    """``weight`` · RMS of photos less what is predicted of them, in grey levels."""

    uses_features: ClassVar[bool] = True
    config: DetailMeanConfig

    def __call__(self, model: SuperResolution, batch: ImageBatch) -> Tensor:
        """Root of the mean square over the batch: that asks for the highest PSNR."""
        errors = model.detail_errors(batch.images, model.features_of(batch))
        return self.config.weight * errors.square().mean().add(TINY_SQUARE).sqrt()


LOSSES: dict[type[Any], type[Any]] = {
    BestOfConfig: BestOfLoss,
    ClassificationConfig: ClassificationLoss,
    CrpsConfig: CrpsLoss,
    EnergyScoreConfig: EnergyScoreLoss,
    ColorMeanLossConfig: ColorMeanLoss,
    DetailMeanConfig: DetailMeanLoss,
}


def auxiliary_losses(config: TrainingConfig, step: int) -> list[Loss]:
    """Losses that ``config`` adds to bits/dim after ``step`` steps, in its order."""
    return [LOSSES[type(loss)](loss) for loss in config.losses if step >= loss.start * config.max_steps]


def pretraining_loss(config: TrainingConfig) -> ColorMeanLoss | None:
    """Loss that takes the place of the likelihood, where a configuration says so."""
    for loss in config.losses:
        if isinstance(loss, ColorMeanLossConfig) and loss.pretrain_only:
            return ColorMeanLoss(loss)
    return None
