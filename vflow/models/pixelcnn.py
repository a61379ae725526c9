"""Autoregressive models of grey images, pixel by pixel in raster order (van den Oord et al. 2016).

PixelCNN with gates (*Conditional Image Generation with PixelCNN Decoders*): a stack of convolutions over
the rows above and one over the pixels to the left, so that no pixel above is hidden. Row LSTM (*Pixel
Recurrent Neural Networks*, 3.1): states run from row to row. Each pixel's distribution is a softmax over
256 grey levels or a mixture of discretised logistics; a class shifts every gate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vflow.config import PixelCNNConfig
from vflow.models.discrete import DiscreteModel
from vflow.models.image import ImageBatch
from vflow.nn.modules import ModuleList

LEVELS = 256
Labels = Tensor | None


def _down(x: Tensor) -> Tensor:
    """Rows moved down by one; the first is zero."""
    return functional.pad(x, (0, 0, 1, 0))[..., :-1, :]


def _right(x: Tensor) -> Tensor:
    """Columns moved right by one; the first is zero."""
    return functional.pad(x, (1, 0))[..., :-1]


@final
class CausalConv2d(nn.Module):
    """Convolution of rows up to a pixel's own: all columns, or those up to its own if ``rows`` is 1."""

    def __init__(self, inputs: int, outputs: int, rows: int, columns: int, *, centered: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, (rows, columns))
        side = columns // 2 if centered else columns - 1
        self.padding = (side, columns - 1 - side, rows - 1, 0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W)."""
        result: Tensor = self.conv(functional.pad(x, self.padding))
        return result


def _gate(x: Tensor, shift: Tensor) -> Tensor:
    value, gate = (x + shift[..., None, None]).chunk(2, 1)
    return torch.tanh(value) * torch.sigmoid(gate)


@final
class GatedLayer(nn.Module):
    """Vertical stack (rows up to the pixel's own) and horizontal one (rows above, and pixels to the left)."""

    def __init__(self, hidden: int, kernel: int, classes: int) -> None:
        super().__init__()
        half = kernel // 2 + 1
        self.vertical = CausalConv2d(hidden, 2 * hidden, half, kernel, centered=True)
        self.horizontal = CausalConv2d(hidden, 2 * hidden, 1, half, centered=False)
        self.link = nn.Conv2d(2 * hidden, 2 * hidden, 1)
        self.leave = nn.Conv2d(hidden, hidden, 1)
        self.label = nn.Embedding(max(1, classes), 4 * hidden)
        nn.init.normal_(self.label.weight, std=0.02)

    def forward(self, vertical: Tensor, horizontal: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Both stacks (B, C, H, W), given ``rows`` of the label table, int64 (B,)."""
        shift = self.label(rows)
        above = self.vertical(vertical)
        beside = self.horizontal(horizontal) + self.link(_down(above))
        first, second = shift.chunk(2, 1)
        return _gate(above, first), horizontal + self.leave(_gate(beside, second))


class PixelNetwork(nn.Module, ABC):
    """Features of each pixel that depend on pixels before it in raster order alone."""

    @abstractmethod
    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [−1, 1] and rows of label tables, int64 (B,), to (B, hidden, H, W)."""


@final
class GatedNetwork(PixelNetwork):
    """Gated PixelCNN: ``layers`` gated layers without a blind spot."""

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        hidden, half = config.hidden, config.kernel // 2 + 1
        self.vertical = CausalConv2d(2, hidden, half, config.kernel, centered=True)
        self.horizontal = CausalConv2d(2, hidden, 1, half, centered=False)
        self.layers = ModuleList(
            [GatedLayer(hidden, config.kernel, config.classes) for _ in range(config.layers)]
        )

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        x = torch.cat([x, torch.ones_like(x)], 1)  # ones tell pixels from the border's zeros
        vertical = self.vertical(x)
        horizontal = _right(self.horizontal(x)) + _down(vertical)
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal, rows)
        return horizontal


@final
class RowLSTMLayer(nn.Module):
    """LSTM over rows: gates from the pixels to the left in a row and from the states around in the row above.

    ``strict``: a pixel's own input is left out, as in the first layer.
    """

    def __init__(self, inputs: int, hidden: int, kernel: int, classes: int, *, strict: bool) -> None:
        super().__init__()
        self.hidden, self.strict = hidden, strict
        self.entry = CausalConv2d(inputs, 4 * hidden, 1, kernel // 2 + 1, centered=False)
        self.state = nn.Conv1d(hidden, 4 * hidden, 3, padding=1)
        self.label = nn.Embedding(max(1, classes), 4 * hidden)
        nn.init.normal_(self.label.weight, std=0.02)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """(B, C, H, W) → (B, hidden, H, W)."""
        entry = self.entry(x)
        entry = (_right(entry) if self.strict else entry) + self.label(rows)[..., None, None]
        state = cell = entry.new_zeros(len(x), self.hidden, x.shape[-1])
        states = []
        for row in entry.unbind(2):
            output, forget, write, value = (row + self.state(state)).chunk(4, 1)
            cell = torch.sigmoid(forget + 1) * cell + torch.sigmoid(write) * torch.tanh(value)
            state = torch.sigmoid(output) * torch.tanh(cell)
            states.append(state)
        return torch.stack(states, 2)


@final
class RowLSTM(PixelNetwork):
    """``layers`` row LSTMs with residual connections."""

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        widths = [2] + [config.hidden] * (config.layers - 1)
        self.layers = ModuleList(
            [
                RowLSTMLayer(width, config.hidden, config.kernel, config.classes, strict=index == 0)
                for index, width in enumerate(widths)
            ]
        )

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        x = torch.cat([x, torch.ones_like(x)], 1)
        h = self.layers[0](x, rows)
        for layer in list(self.layers)[1:]:
            h = h + layer(h, rows)
        return h


@final
class PixelCNN(DiscreteModel[ImageBatch]):
    """p(image | class) = Π p(pixel | pixels before it, class)."""

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.image_shape = (1, config.height, config.width)
        self.network: PixelNetwork = GatedNetwork(config) if config.network == "gated" else RowLSTM(config)
        outputs = LEVELS if config.output == "softmax" else 3 * config.mixtures
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(config.hidden, 2 * config.hidden, 1), nn.ReLU(),
            nn.Conv2d(2 * config.hidden, outputs, 1),
        )  # fmt: skip

    def log_probabilities(self, images: Tensor, labels: Labels = None) -> Tensor:
        """log p of all grey levels of each pixel given those before it, (B, 256, H, W), nats."""
        rows = torch.zeros(len(images), dtype=torch.int64, device=images.device) if labels is None else labels
        h = self.head(self.network(images.float() / 127.5 - 1, rows))
        if self.config.output == "softmax":
            return torch.log_softmax(h, 1)
        return _logistics(h)

    def forward(self, batch: ImageBatch) -> Tensor:
        """log P (B,), nats, of images given their labels, if there are classes."""
        return self.log_probability(batch.images, batch.condition if self.config.classes else None)

    def reconstruct(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Images (B, 1, H, W) twice: there are no latents."""
        return batch.images.float(), batch.images.float()

    def log_probability(self, images: Tensor, labels: Labels = None) -> Tensor:
        """log p (B,), nats, of uint8 images (B, 1, H, W), with labels, int64 (B,), if there are classes."""
        found = self.log_probabilities(images, labels).gather(1, images.long())
        return found.flatten(1).sum(1)

    def sample(self, uniform: Tensor, labels: Labels = None) -> Tensor:
        """uint8 images (B, 1, H, W) from noise in (0, 1), (B, H, W), in H · W passes over the rows so far."""
        images = torch.zeros_like(uniform, dtype=torch.uint8)[:, None]
        for row in range(uniform.shape[1]):
            for column in range(uniform.shape[2]):
                log_p = self.log_probabilities(images[:, :, : row + 1], labels)[:, :, row, column]
                level = (log_p.exp().cumsum(1) < uniform[:, row, column, None]).sum(1).clamp_max(LEVELS - 1)
                images[:, 0, row, column] = level.to(torch.uint8)
        return images

    @torch.no_grad()
    def generate(self, count: int, labels: Labels, generator: torch.Generator) -> Tensor:
        """uint8 images (B, 1, H, W) of noise from ``generator``; labels, int64 (B,), if there are classes."""
        return self.sample(torch.rand((count, *self.image_shape[1:]), generator=generator), labels)


def _logistics(h: Tensor) -> Tensor:
    """log p of grey levels 0 … 255 (B, 256, H, W) under mixtures (B, 3K, H, W); 0 and 255 take the tails."""
    weight, mean, log_scale = h.chunk(3, 1)
    edges = (torch.arange(1, LEVELS, device=h.device) - 0.5).view(1, 1, -1, 1, 1)
    spread = torch.linspace(0, 255, weight.shape[1], device=h.device).view(1, -1, 1, 1)
    scale = torch.exp(log_scale.clamp(-5, 5) + 2)
    argument = (edges - (32 * mean + spread)[:, :, None]) / scale[:, :, None]
    below = torch.sigmoid(argument)
    mass = torch.cat([below[:, :, :1], below.diff(dim=2), torch.sigmoid(-argument[:, :, -1:])], 2)
    p = (torch.softmax(weight, 1)[:, :, None] * mass).sum(1)
    return torch.log(p * (1 - 1e-5) + 1e-5 / LEVELS)
