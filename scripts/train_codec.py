"""Train a codec, an integer flow or a PixelCNN.

``python scripts/train_codec.py photo-codec --data DIR --output RUN``
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from vflow.checkpoint import load
from vflow.config import ClipCodecConfig, IntegerFlowConfig, PhotoCodecConfig, PixelCNNConfig
from vflow.models import build_model
from vflow.training.codecs import CodecTraining, open_examples, train_codec

CONFIGS: dict[str, Any] = {
    "photo-codec": PhotoCodecConfig,
    "clip-codec": ClipCodecConfig,
    "integer-flow": IntegerFlowConfig,
    "pixelcnn": PixelCNNConfig,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a codec of photos or clips, or a model of MNIST's digits."""

    kind: tyro.conf.Positional[Literal["photo-codec", "clip-codec", "integer-flow", "pixelcnn"]]
    data: Path
    """Folder of photos or clips, or the one that holds MNIST/raw."""
    output: Path
    """Folder of the run: log.jsonl and model/."""
    init_from: Path | None = None
    """Checkpoint of the same kind to start from."""
    threads: int = 1
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the networks in training; coding computes in float32."""
    training: Annotated[CodecTraining, tyro.conf.arg(name="")] = field(default_factory=CodecTraining)


def main() -> int:
    """Train and print validation bits/dim; returns the exit code."""
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.training.seed)
    model: Any = (
        build_model(CONFIGS[options.kind]()) if options.init_from is None else load(options.init_from)
    )
    model.train().requires_grad_(True)
    examples = open_examples(model, options.data, options.training, getattr(torch, options.dtype))
    print(train_codec(model, examples, options.training, options.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
