"""Integer discrete flow: whole numbers to latents of whole numbers, exactly (Hoogeboom et al. 2019).

Per level: squeeze, ``depth`` × (channel permutation, integer coupling), then half of the channels leave as
that level's latent under a discretised logistic given the other half. The top's prior is a mixture of five.
Every map is a permutation of Zᵈ, so log p(x) = Σ log p(z of a level | what remains): a probability, not a
density.

The networks compute with exact sums (nn/exact.py): all machines agree on every translation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vflow.bijections.base import Bijection, Chain, Context
from vflow.bijections.integer import ChannelPermutation, IntegerCoupling
from vflow.bijections.reshape import Squeeze
from vflow.config import IntegerFlowConfig
from vflow.models.discrete import DiscreteModel
from vflow.models.image import ImageBatch
from vflow.nn.exact import ExactConv2d, rounded_relu
from vflow.nn.modules import ModuleList

INPUT_UNIT = 1 / 16  # networks see whole numbers in −255 … 255 times this
INPUT_LIMIT = 255 * INPUT_UNIT
OUTPUT_SCALE = 16.0  # grey levels per unit of a network's output


@final
class ExactDenseNet(nn.Module):
    """DenseNet (Huang et al. 2017) of exact convolutions, same size, zero at the start.

    Each layer is a 1×1 and a 3×3 convolution; it sees the input and the outputs of all layers before it.
    """

    def __init__(self, inputs: int, outputs: int, layers: int, growth: int, classes: int = 0) -> None:
        super().__init__()
        widths = [inputs + growth * i for i in range(layers + 1)]
        self.narrow = ModuleList(
            [ExactConv2d(width, growth, input_limit=INPUT_LIMIT) for width in widths[:-1]]
        )
        self.spatial = ModuleList([ExactConv2d(growth, growth, 3) for _ in widths[:-1]])
        self.last = ExactConv2d(widths[-1], outputs, 3, zero=True, input_limit=INPUT_LIMIT)
        self.label = nn.Embedding(max(1, classes), growth)
        nn.init.zeros_(self.label.weight)

    def forward(self, x: Tensor, context: Context = None) -> Tensor:
        """Whole numbers (B, C, H, W) and labels, int64 (B,), or None → (B, C', H, W)."""
        h = x.clamp(-255, 255) * INPUT_UNIT
        for narrow, spatial in zip(self.narrow, self.spatial, strict=True):
            inner = narrow(h)
            if context is not None:
                inner = inner + self.label(context)[..., None, None]
            new = rounded_relu(spatial(functional.pad(rounded_relu(inner), (1, 1, 1, 1))))
            h = torch.cat([h, new], 1)
        output: Tensor = self.last(functional.pad(h, (1, 1, 1, 1)))
        return output * OUTPUT_SCALE


def discretized_logistic(z: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log P(z) of whole numbers under a logistic with mass summed over unit bins, elementwise, nats."""
    inverse = torch.exp(-log_scale)
    above, below = (z - mean + 0.5) * inverse, (z - mean - 0.5) * inverse
    inside = torch.log(-torch.expm1(-inverse))
    return functional.logsigmoid(above) + functional.logsigmoid(-below) + inside


def logistic_quantile(u: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """The whole number at quantile ``u`` in (0, 1) of such a distribution."""
    return torch.round(mean + torch.exp(log_scale) * torch.logit(u.clamp(1e-6, 1 - 1e-6)))


def _log_scale(h: Tensor) -> Tensor:
    return torch.clamp(h / OUTPUT_SCALE + 2.0, -4.0, 6.0)


@final
class ConditionalPrior(nn.Module):
    """Discretised logistics of a level's latent z given what remains, h."""

    def __init__(self, given: int, channels: int, config: IntegerFlowConfig) -> None:
        super().__init__()
        self.net = ExactDenseNet(given, 2 * channels, config.layers, config.growth, config.classes)

    def parameters_given(self, h: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Mean and log scale, (B, C, H, W) each."""
        mean, scale = self.net(h, context).chunk(2, 1)
        return mean, _log_scale(scale)

    def log_probability(self, z: Tensor, h: Tensor, context: Context) -> Tensor:
        """(B,), nats."""
        return discretized_logistic(z, *self.parameters_given(h, context)).flatten(1).sum(1)


@final
class MixturePrior(nn.Module):
    """Mixture of discretised logistics, one for each position and channel of the top, and for each class."""

    def __init__(self, shape: tuple[int, int, int], config: IntegerFlowConfig) -> None:
        super().__init__()
        size = (max(1, config.classes), config.mixtures, *shape)
        spread = torch.linspace(-1, 1, config.mixtures)[None, :, None, None, None]
        self.mean = nn.Parameter(torch.zeros(size) + 64 * spread)
        self.log_scale = nn.Parameter(torch.full(size, 3.0))
        self.weight = nn.Parameter(torch.zeros(size))

    def _rows(self, z: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        rows = z.new_zeros(len(z), dtype=torch.int64) if context is None else context
        return self.mean[rows], self.log_scale[rows].clamp(-4, 6), torch.log_softmax(self.weight[rows], 1)

    def log_probability(self, z: Tensor, context: Context) -> Tensor:
        """(B,), nats."""
        mean, log_scale, log_weight = self._rows(z, context)
        terms = discretized_logistic(z[:, None], mean, log_scale) + log_weight
        return torch.logsumexp(terms, 1).flatten(1).sum(1)

    def sample(self, u: Tensor, choice: Tensor, context: Context) -> Tensor:
        """Latents at quantiles ``u`` of the components that ``choice`` picks, both (B, C, H, W) in (0, 1)."""
        mean, log_scale, log_weight = self._rows(u, context)
        component = (log_weight.exp().cumsum(1) < choice[:, None]).sum(1, keepdim=True)
        component = component.clamp_max(mean.shape[1] - 1)
        return logistic_quantile(u, mean.gather(1, component)[:, 0], log_scale.gather(1, component)[:, 0])


class Uniforms(NamedTuple):
    """Noise of samples, in (0, 1): per level fine to coarse, and the choice of components at the top."""

    levels: Sequence[Tensor]
    choice: Tensor


@final
class IntegerFlow(DiscreteModel[ImageBatch]):
    """See the module's docstring."""

    def __init__(self, config: IntegerFlowConfig) -> None:
        super().__init__()
        self.config = config
        self.image_shape = (config.channels, config.height, config.width)
        levels = len(config.depth)
        chains: list[Bijection] = []
        priors: list[ConditionalPrior] = []
        self.latent_shapes: list[tuple[int, int, int]] = []
        channels = config.channels
        for level, depth in enumerate(config.depth):
            channels *= 4
            chains.append(Chain([Squeeze(), *self._steps(channels, depth, level)]))
            size = config.height >> level + 1, config.width >> level + 1
            if level < levels - 1:
                leaving = channels // 2
                priors.append(ConditionalPrior(channels - leaving, leaving, config))
                self.latent_shapes.append((leaving, *size))
                channels -= leaving
            else:
                self.latent_shapes.append((channels, *size))
        self.chains, self.priors = ModuleList(chains), ModuleList(priors)
        self.top = MixturePrior(self.latent_shapes[-1], config)

    def _steps(self, channels: int, depth: int, level: int) -> list[Bijection]:
        c, steps = self.config, list[Bijection]()
        for step in range(depth):
            changed = max(1, channels // 4)
            net = ExactDenseNet(channels - changed, changed, c.layers, c.growth, c.classes)
            steps += [ChannelPermutation(channels, 64 * level + step), IntegerCoupling(net, channels)]
        return steps

    def encode(self, images: Tensor, labels: Context = None) -> list[Tensor]:
        """Latents of uint8 images (B, C, H, W), fine to coarse, whole numbers in float32."""
        h, latents = images.float() - 128, []
        for chain, shape in zip(self.chains, self.latent_shapes, strict=True):
            h, _ = chain.transform(h, labels)
            latents.append(h[:, h.shape[1] - shape[0] :])
            h = h[:, : h.shape[1] - shape[0]]
        return latents

    def decode(self, latents: Sequence[Tensor], labels: Context = None) -> Tensor:
        """Whole numbers (B, C, H, W) of latents; of an image's own latents exactly that image, float32."""
        h = latents[-1][:, :0]
        for chain, latent in zip(reversed(self.chains), reversed(latents), strict=True):
            h, _ = chain.invert(torch.cat([h, latent], 1), labels)
        return h + 128

    def forward(self, batch: ImageBatch) -> Tensor:
        """log P (B,), nats, of images given their labels, if there are classes."""
        return self.log_probability(batch.images, batch.condition if self.config.classes else None)

    @torch.no_grad()
    def reconstruct(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W), and the same encoded and decoded, float32."""
        labels = batch.condition if self.config.classes else None
        return batch.images.float(), self.decode(self.encode(batch.images, labels), labels)

    def log_probability(self, images: Tensor, labels: Context = None) -> Tensor:
        """log P (B,), nats, of uint8 images (B, C, H, W), with labels, int64 (B,), if there are classes."""
        h = images.float() - 128
        total = h.new_zeros(len(h))
        for index, chain in enumerate(self.chains):
            h, _ = chain.transform(h, labels)
            if index == len(self.chains) - 1:
                return total + self.top.log_probability(h, labels)
            h, leaving = h.split([h.shape[1] - self.latent_shapes[index][0], self.latent_shapes[index][0]], 1)
            total = total + self.priors[index].log_probability(leaving, h, labels)
        return total

    def sample(self, noise: Uniforms, labels: Context = None) -> Tensor:
        """uint8 images (B, C, H, W); latents off the data may lead out of 0 … 255, and are clipped."""
        h = self.top.sample(noise.levels[-1], noise.choice, labels)
        for level in reversed(range(len(self.chains))):
            h, _ = self.chains[level].invert(h, labels)
            if level:
                mean, log_scale = self.priors[level - 1].parameters_given(h, labels)
                h = torch.cat([h, logistic_quantile(noise.levels[level - 1], mean, log_scale)], 1)
        return (h + 128).clamp(0, 255).to(torch.uint8)

    def uniforms(self, count: int, generator: torch.Generator) -> Uniforms:
        """Noise of ``count`` samples."""
        device = next(self.parameters()).device
        shapes = [*self.latent_shapes, self.latent_shapes[-1]]
        *levels, choice = (torch.rand((count, *shape), generator=generator).to(device) for shape in shapes)
        return Uniforms(levels, choice)

    @torch.no_grad()
    def generate(self, count: int, labels: Context, generator: torch.Generator) -> Tensor:
        """uint8 images (B, C, H, W) of noise from ``generator``; labels, int64 (B,), if there are classes."""
        return self.sample(self.uniforms(count, generator), labels)
