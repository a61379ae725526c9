"""Flow over the next frames of a rain radar, all at once, given the last ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.actnorm import constant_density
from vflow.bijections.base import accumulation_dtype
from vflow.bijections.coupling import soft_clamp
from vflow.config import NowcastConfig
from vflow.config.models import RAIN_LOG_MAXIMUM
from vflow.models.base import Condition, LikelihoodModel
from vflow.models.dequantizer import FARTHEST, MARGIN
from vflow.models.glow import Shapes
from vflow.models.image import level_priors
from vflow.models.wavelet import WaveletFlow, wavelet_shapes
from vflow.nn.encoder import ResidualBlock
from vflow.nn.layers import NormConv2d, ZeroConv2d
from vflow.nn.modules import ModuleList
from vflow.nn.relu import relu
from vflow.nn.reshape import squeeze, unsqueeze

UNIT = 32.0  # grey levels per unit of what the flow codes: 1 mm/h lies at 1.2, 10 mm/h at 4.1
DRY = -0.25  # where a dry pixel is expected, in these units; all below 1 / UNIT is dry
DEPTH = 8.0  # grey levels per unit of the noise of dry pixels


class NowcastBatch(NamedTuple):
    """Radar frames ahead, in a window that drifts with the rain, and the known frames before them.

    planes: float32 (B, P, h, w): frames advected to the window, as ``planes`` lays them out.
    targets: uint8 (B, T, h, w), grey level round(255 · ln(1 + R) / ln 101), R in mm/h; observed: bool, where
        they are known.
    eps: float32 (B, T, h, w), standard normal: dequantisation noise.
    sample_eps: float32 (B, N, D), D = T · h · w: noise of N members, all levels one after the other; None
        where no loss needs samples.
    features: condition computed from ``planes`` before; None: the model computes it.
    scored: number of leading examples whose likelihood is computed; None: all.
    """

    planes: Tensor
    targets: Tensor
    observed: Tensor
    eps: Tensor
    sample_eps: Tensor | None = None
    features: Condition | None = None
    scored: int | None = None

    @property
    def target_eps(self) -> Tensor:
        return self.eps

    @property
    def condition(self) -> Tensor:
        """Input of ``features``."""
        return self.planes

    def scored_part(self) -> NowcastBatch:
        """The leading examples, whose likelihood is computed."""
        n = self.scored
        if n is None:
            return self
        features = self.features
        if features is not None:
            levels = [f[:n] for f in features.prior_inputs]
            mean = None if features.reference is None else features.reference[:n]
            features = Condition(levels, levels, mean)
        part = NowcastBatch(self.planes[:n], self.targets[:n], self.observed[:n], self.eps[:n])
        return part._replace(features=features)


def planes(level: np.ndarray, known: np.ndarray, rain: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Inputs of the model, float32 (C, h, w), from the fields of ``vflow.data.motion.Advected``.

    For T leads: the newest frame, known or not, rain or not (3 T planes); n − 1 older frames; motion.
    """
    level = level / UNIT
    older = level[:, 1:].reshape(-1, *known.shape[1:])
    return np.concatenate([level[:, 0], known, rain, older, motion / 8]).astype(np.float32)


def rain_rate(level: Tensor) -> Tensor:
    """mm/h of grey levels, which need not be whole; 0 below level 0."""
    return torch.expm1(level.clamp(0, 255) * (RAIN_LOG_MAXIMUM / 255))


@final
class RainDequantizer(nn.Module):
    """Learned noise that makes grey levels continuous (Ho et al. 2019, *Flow++*, 3.1), in three kinds of bin.

    Rain of level v ≥ 1 lies in [v, v + 1); dry pixels on the half-line below 1 (Winkler et al. 2019 do so for
    binary values), where a flow can say how near they are to rain; unknown ones anywhere.
    """

    def __init__(self, leads: int, hidden: int) -> None:
        super().__init__()
        self.conv_in = NormConv2d(12 * leads, hidden, 3)
        self.block = ResidualBlock(hidden)
        self.conv_out = ZeroConv2d(hidden, 8 * leads)

    def forward(self, levels: Tensor, observed: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Continuous grey levels, and −log q of each, float32 (B, T, h, w).

        ``levels`` uint8 and ``observed`` bool are (B, T, h, w), ``eps`` standard normal.
        """
        eps = eps.clamp(-FARTHEST, FARTHEST)
        level = levels.to(eps.dtype)
        rain, dry = observed & (levels > 0), observed & (levels == 0)
        planes = torch.cat([level / UNIT * observed, rain.to(level), observed.to(level)], 1)
        hidden = self.block(relu(self.conv_in(squeeze(planes))))
        shift, raw = unsqueeze(self.conv_out(hidden).to(accumulation_dtype(eps.dtype))).chunk(2, 1)
        log_scale = soft_clamp(raw)
        y = shift + log_scale.exp() * eps
        log_normal = -0.5 * eps.square() - 0.5 * math.log(2 * math.pi)
        inside = MARGIN + (1 - 2 * MARGIN) * torch.special.ndtr(y)
        log_slope_inside = -0.5 * y.square() - 0.5 * math.log(2 * math.pi) + math.log1p(-2 * MARGIN)
        below = 1 - MARGIN - DEPTH * F.softplus(y)
        log_slope_below = F.logsigmoid(y) + math.log(DEPTH)
        x = torch.where(rain, level + inside, torch.where(dry, below, UNIT * y))
        slope = torch.where(
            rain, log_slope_inside, torch.where(dry, log_slope_below, torch.full_like(y, math.log(UNIT)))
        )
        return x, slope + log_scale - log_normal


@final
class ConditionEncoder(nn.Module):
    """Features of the advected frames: a U-Net from half the window's size to 1 / 2^levels of it."""

    def __init__(self, inputs: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.conv_in = NormConv2d(4 * inputs, widths[0], 3)
        self.down = ModuleList([NormConv2d(a, b, 3) for a, b in pairwise(widths)])
        self.up = ModuleList([NormConv2d(b, a, 1) for a, b in pairwise(widths)])
        self.descent = ModuleList([nn.Sequential(*(ResidualBlock(w) for _ in range(blocks))) for w in widths])
        self.ascent = ModuleList(
            [nn.Sequential(*(ResidualBlock(w) for _ in range(blocks))) for w in widths[:-1]]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, inputs, h, w) → per level (B, F_l, h / 2^(l+1), w / 2^(l+1)), fine to coarse."""
        h = self.descent[0](self.conv_in(squeeze(x)))
        kept = [h]
        for conv, blocks in zip(self.down, list(self.descent)[1:], strict=True):
            h = blocks(conv(F.avg_pool2d(h, 2)))
            kept.append(h)
        features = [h]
        for level in reversed(range(len(self.up))):
            raised = F.interpolate(self.up[level](features[0]), scale_factor=2.0, mode="nearest")
            features.insert(0, self.ascent[level](kept[level] + raised))
        return tuple(features)


@final
class Nowcast(LikelihoodModel[NowcastBatch]):
    """p(frames ahead | last frames): dequantisation → residual of their mean → wavelet flow → priors.

    The frames ahead are the channels of one picture, so their errors are correlated over time; any size will
    do that 2^levels divides. A U-Net of the advected frames gives the mean, and features for each level of
    a wavelet flow (Yu et al. 2020), which codes coarse errors first and finer ones given them. Samples differ
    by the flow's noise alone.
    """

    dequantizer: RainDequantizer  # type: ignore[assignment]  # its bins depend on what is observed, too

    def __init__(self, config: NowcastConfig) -> None:
        super().__init__()
        self.config = config
        glow, leads = config.glow, config.glow.channels
        inputs = leads * (config.context + 2) + 2
        widths = config.condition.hidden
        self.encoder = ConditionEncoder(inputs, widths, config.condition.blocks)
        self.mean = ZeroConv2d(widths[0], 4 * leads)
        self.project = ModuleList([NormConv2d(a, b, 1) for a, b in zip(widths, config.features, strict=True)])
        per_level = (*config.features, config.features[-1])
        self.flow = WaveletFlow(glow, per_level, smooth=True)
        hidden = (*glow.hidden, glow.hidden[-1])
        self.priors = level_priors(self.flow, hidden, glow.activation, per_level)
        self.dequantizer = RainDequantizer(leads, config.noise_hidden)
        self.image_shape = (leads, glow.height, glow.width)
        self.latent_shapes = self.flow.latent_shapes

    @property
    def leads(self) -> int:
        """Frames ahead that are drawn at once."""
        return self.config.glow.channels

    def latent_shapes_at(self, height: int, width: int) -> Shapes:
        """``latent_shapes`` for a window of another size."""
        return wavelet_shapes(self.config.glow, height, width)

    def forward(self, batch: NowcastBatch) -> Tensor:
        """Log-likelihood of the scored examples in nats, (B,): a lower bound, from one draw of the noise."""
        return self.log_likelihood(batch.scored_part()).sum(1)

    def bits_per_dim(self, nats: Tensor, count: int = 1) -> Tensor:
        """−nats / (ln 2 · h · w · count), of ``count`` frames ahead in windows of the training size."""
        return super().bits_per_dim(nats) * (self.leads / count)

    def features(self, planes: Tensor) -> Condition:
        """Condition of a window of any size that 2^levels divides: features per level, the predicted mean."""
        seen = self.encoder(planes.contiguous(memory_format=torch.channels_last))
        newest, _, rain = planes[:, : 3 * self.leads].chunk(3, 1)
        mean = newest + DRY * (1 - rain) + unsqueeze(self.mean(seen[0]).float())
        levels = [project(f) for project, f in zip(self.project, seen, strict=True)]
        levels.append(levels[-1])  # the coarsest mean shares the last level's
        return Condition(levels, levels, mean)

    def features_of(self, batch: NowcastBatch) -> Condition:
        """``features`` of the batch, computed unless it has them."""
        return self.features(batch.planes) if batch.features is None else batch.features

    def condition_targets(self, batch: NowcastBatch) -> Condition:
        return self.features_of(batch)

    def dequantize_targets(self, batch: NowcastBatch, condition: Condition) -> tuple[Tensor, Tensor]:
        y, weight = self.dequantizer(batch.targets, batch.observed, batch.eps)
        return y, weight

    def to_flow(self, y: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """Grey levels (N, T, h, w) to residuals of their mean, with the log-det of each position."""
        assert condition.reference is not None
        x = (y / UNIT - condition.reference).contiguous(memory_format=torch.channels_last)
        return x, constant_density(x, x.new_tensor(-self.leads * math.log(UNIT)))

    def to_pixels(self, x: Tensor, condition: Condition) -> Tensor:
        assert condition.reference is not None
        return UNIT * (x + condition.reference)

    def fit(self, batches: Sequence[NowcastBatch]) -> None:
        """Nothing is counted from data."""
