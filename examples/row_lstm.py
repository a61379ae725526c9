"""Row LSTM of handwritten digits by class (van den Oord et al. 2016, *Pixel Recurrent Neural Networks*, 3.1).

A masked 7×7 convolution, then states that run from row to row; each pixel is given those before it. Trained
by ``vflow train`` with these settings, it had 1.156 bits/dim of 300 test digits after 1,400 steps of 8,
PixelCNN 1.148 (examples/digit_models.py). Run with one thread::

    VFLOW_DATA=… python -m examples.row_lstm --steps 1400
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from scripts.acceptance.models import silent
from vflow.config import PixelCNNConfig, TrainingConfig
from vflow.data.datasets.digits import MnistImages
from vflow.models import ImageBatch, PixelCNN
from vflow.models.pixelcnn import CausalConv2d, Memory, PixelNetwork, moved_right, with_ones
from vflow.nn.modules import ModuleList
from vflow.pipelines.evaluate.discrete import evaluate_discrete
from vflow.pipelines.evaluate.report import Settings
from vflow.randomness import generator
from vflow.training.density import optimize

REACH = 3  # rows and columns that the first convolution goes up and to the sides
CONFIG = PixelCNNConfig(hidden=48, layers=2, kernel=3)
TRAINING = TrainingConfig(batch_size=8, max_steps=1400, learning_rate=3e-3, ema=0.99)


@final
class RowLSTMLayer(nn.Module):
    """LSTM over rows, gated by inputs up to a pixel's own in its row and by states around it a row higher.

    The convolution of inputs is masked, that of states is not (*Pixel Recurrent Neural Networks*, 3.1).
    """

    def __init__(self, hidden: int, kernel: int, classes: int) -> None:
        super().__init__()
        self.entry = CausalConv2d(hidden, 4 * hidden, 1, kernel // 2 + 1, centered=False)
        self.state = nn.Conv1d(hidden, 4 * hidden, kernel, padding=kernel // 2)
        self.label = nn.Embedding(max(1, classes), 4 * hidden)
        nn.init.normal_(self.label.weight, std=0.02)

    def forward(self, x: Tensor, state: Tensor, cell: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, hidden, H, W) → the same, and state and cell (B, hidden, W) after its last row."""
        entry = self.entry(x) + self.label(rows)[..., None, None]
        states = []
        for row in entry.unbind(2):
            output, forget, write, value = (row + self.state(state)).chunk(4, 1)
            cell = torch.sigmoid(forget + 1) * cell + torch.sigmoid(write) * torch.tanh(value)
            state = torch.sigmoid(output) * torch.tanh(cell)
            states.append(state)
        return torch.stack(states, 2), state, cell


@final
class RowLSTM(PixelNetwork):
    """A 7×7 convolution without the pixel itself and those after it, then ``layers`` residual row LSTMs.

    The convolution is a sum of two, over three rows above and over three pixels to the left.
    """

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        self.hidden = config.hidden
        self.above = CausalConv2d(2, config.hidden, REACH, 2 * REACH + 1, centered=True)
        self.left = CausalConv2d(2, config.hidden, 1, REACH, centered=False)
        self.layers = ModuleList(
            [RowLSTMLayer(config.hidden, config.kernel, config.classes) for _ in range(config.layers)]
        )

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        return self._run(x, self.memory(x), rows)[0]

    def memory(self, x: Tensor) -> Memory:
        """The three rows above, (B, 2, 3, W), then state and cell of each layer, (B, hidden, W)."""
        state = x.new_zeros(len(x), self.hidden, x.shape[-1])
        return (x.new_zeros(len(x), 2, REACH, x.shape[-1]), *[state] * (2 * len(self.layers)))

    def row(self, x: Tensor, memory: Memory, rows: Tensor) -> Tensor:
        return self._run(x, memory, rows)[0]

    def advance(self, x: Tensor, memory: Memory, rows: Tensor) -> Memory:
        return self._run(x, memory, rows)[1]

    def _run(self, x: Tensor, memory: Memory, rows: Tensor) -> tuple[Tensor, Memory]:
        x = with_ones(x)
        seen = torch.cat([memory[0], x], 2)
        h = self.above(seen)[:, :, REACH - 1 : -1] + self.left(moved_right(x))
        after = [seen[:, :, -REACH:]]
        for layer, state, cell in zip(self.layers, memory[1::2], memory[2::2], strict=True):
            new, state, cell = layer(h, state, cell, rows)
            h = h + new
            after += [state, cell]
        return h, tuple(after)


def row_lstm(config: PixelCNNConfig) -> PixelCNN:
    """Model of images whose network is a row LSTM."""
    return PixelCNN(config, RowLSTM(config))


def run(training: TrainingConfig, settings: Settings, config: PixelCNNConfig = CONFIG) -> dict[str, Any]:
    """bits/dim of digits and samples per second of processor time, after training."""
    torch.manual_seed(training.seed)
    model, train, random = row_lstm(config), MnistImages(split="train"), generator("rows", training.seed)

    def loss(share: float) -> Tensor:
        rows = random.integers(len(train), size=training.batch_size)
        images = torch.from_numpy(train.images[rows])[:, None]
        labels = torch.from_numpy(train.labels[rows]).long()
        return model.bits_per_dim(model(ImageBatch(images, labels, torch.zeros(len(rows), 0)))).mean()

    steps = sum(1 for _ in optimize(model, loss, training))
    found: Mapping[str, Any] = evaluate_discrete(model.eval(), settings, silent).figures
    size = sum(p.numel() for p in model.parameters())
    figures = {key: found[key] for key in ("bits_per_dim", "digits_per_s")}
    return {
        "model": "row-lstm",
        "parameters": size,
        "trained": f"{steps:,} steps of {training.batch_size}",
        **figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=TRAINING.max_steps, help="training steps")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--limit", type=int, default=300, help="number of digits to score; 0: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings("digits", split=options.split, limit=options.limit, num_samples=4)
    print(json.dumps(run(TRAINING.model_copy(update={"max_steps": options.steps}), settings)))


if __name__ == "__main__":
    main()
