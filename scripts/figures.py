"""Makes the figures of README and docs from the shipped checkpoints: python scripts/figures.py futures."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import vflow
from vflow.checkpoint import checkpoint_folder, read_config
from vflow.data.io import read_clip, write_video
from vflow.data.shapes import DIRECTIONS, Shapes

ROOT = Path(__file__).resolve().parents[1]
FUTURES, FRAMES, ENLARGE, GAP, HOLD = 8, 10, 2, 2, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=["futures"])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "figures" / "futures.gif")
    examples = sorted((ROOT / "apps" / "examples").glob("push*.mp4"))
    parser.add_argument("--push", type=Path, nargs="*", default=examples[:2], help="clips to predict")
    arguments = parser.parse_args()
    rows = shape_rows(2) + [clip_row("push", read_clip(path).frames[:3], FRAMES) for path in arguments.push]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_video(arguments.output, np.concatenate(rows, axis=1), fps=8, enlarge=False)
    print(arguments.output)


def shape_rows(count: int) -> list[np.ndarray]:
    """Futures of ``count`` held-out first frames of shapes, far apart in the list."""
    data = Shapes(split="test")
    shapes = np.linspace(0, len(data) // len(DIRECTIONS) - 1, count + 2).astype(int)[1:-1]
    return [clip_row("shapes", data.example(int(s) * len(DIRECTIONS))[:1], 4) for s in shapes]


def clip_row(name: str, context: np.ndarray, num_frames: int) -> np.ndarray:
    """The last given frame beside its futures in time, at the temperature the checkpoint suggests.

    Returns uint8 (HOLD + FRAMES + HOLD, H', W', 3).
    """
    temperature = read_config(checkpoint_folder(name)).temperature
    futures = vflow.predict(
        vflow.load(name), context, num_frames=num_frames, num_samples=FUTURES, temperature=temperature, seed=0
    )
    past = np.repeat(context[-1:], HOLD, 0)
    played = np.stack([np.concatenate([past, future]) for future in futures])
    still = np.repeat(context[None, -1:], played.shape[1], 1)
    tiles = np.concatenate([still, played])
    length = HOLD + FRAMES + HOLD
    tiles = np.concatenate([tiles, np.repeat(tiles[:, -1:], length - tiles.shape[1], 1)], 1)
    tiles = tiles.repeat(ENLARGE, 2).repeat(ENLARGE, 3)
    framed = np.pad(tiles, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)
    framed[0, :, :, -GAP:] = 0
    return np.concatenate(list(framed), axis=2)


if __name__ == "__main__":
    main()
