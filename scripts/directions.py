"""Finds the principal directions of a trained model's latents and stores them beside its weights.

python scripts/directions.py --checkpoint push --config push-small --data DATA/push
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vflow
from vflow.checkpoint import checkpoint_folder
from vflow.config import Preset, VideoFlowConfig
from vflow.data.datasets.registry import open_image_dataset, open_video_dataset
from vflow.errors import VflowError
from vflow.pipelines.walk.directions import Directions, principal_directions, save_directions
from vflow.training.args import TrainOptions, resolve

BATCH = 16


def main() -> int:
    """0, or the exit code of an error that people meet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, help="a directory, or the name of a shipped one")
    parser.add_argument("--config", required=True, help="preset whose data section names the data set")
    parser.add_argument("--data", help="where the data are, as for vflow train")
    parser.add_argument("--count", type=int, default=2000, help="examples")
    arguments = parser.parse_args()
    try:
        store(arguments.checkpoint, arguments.config, arguments.data, arguments.count)
    except VflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def store(checkpoint: str, config: str, data: str | None, count: int) -> None:
    """Compute, save and say where."""
    preset = resolve(TrainOptions(config=config, output=Path(), data=data))
    folder = checkpoint_folder(checkpoint)
    model = vflow.load(folder, device="auto")
    noise = gather(model, preset, count)
    found = principal_directions(noise, about=f"{len(noise[0])} training examples of {preset.data.name}")
    path = save_directions(folder, found)
    print(f"{path} ({os.path.getsize(path) / 1024:.0f} KB)")
    print_shares(found)


def gather(model: Any, preset: Preset, count: int) -> list[torch.Tensor]:
    """Noise of ``count`` training examples spread over the data set: per level (N, C, h, w)."""
    batches = videos if isinstance(model.config, VideoFlowConfig) else images
    noise = []
    for eps in batches(model, preset, count):
        noise.append([level.cpu() for level in eps])
        print(f"\r{sum(len(levels[0]) for levels in noise)} of {count} examples", end="", flush=True)
    print()
    return [torch.cat(levels) for levels in zip(*noise, strict=True)]


def videos(model: Any, preset: Preset, count: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """Noise of a frame given no more than the model needs, as walks encode it."""
    data_config = preset.data.model_copy(update={"frames": model.config.min_context + 1})
    data = open_video_dataset(data_config, model.config, "train")
    for rows in spread(len(data), count):
        clips = np.stack([data.example(i, (0,)) for i in rows])
        frames = torch.from_numpy(clips.transpose(0, 1, 4, 2, 3).copy()).to(device(model))
        yield model.encode_frame(model.start(frames[:, :-1]), frames[:, -1])


def images(model: Any, preset: Preset, count: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """Noise of pictures; photos are given without hints."""
    data = open_image_dataset(preset.data, model.config, "train")
    for rows in spread(len(data), count):
        examples = [data.example(i, (0, 0)) for i in rows]
        planes = torch.from_numpy(np.stack([e.image for e in examples]).transpose(0, 3, 1, 2).copy())
        given = torch.from_numpy(np.stack([e.condition for e in examples]))
        if given.ndim == 4:
            given[:, 1:] = 0
        yield model.encode(planes.to(device(model)), given.to(device(model)))


def spread(length: int, count: int) -> Iterator[list[int]]:
    """Indices evenly spread over ``length`` examples, ``count`` or all of them, in batches."""
    chosen = np.linspace(0, length - 1, min(count, length)).astype(int).tolist()
    yield from (chosen[i : i + BATCH] for i in range(0, len(chosen), BATCH))


def device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def print_shares(found: Directions) -> None:
    for key, level in found.levels.items():
        shares = " ".join(f"{100 * share:.1f}%" for share in level.explained)
        spreads = " ".join(f"{float(v) ** 0.5:.2f}" for v in level.variance)
        print(f"level {key}: explained {shares}; standard deviations {spreads}")


if __name__ == "__main__":
    sys.exit(main())
