"""Finds what is typical of a video model's validation clips and stores it beside its weights.

python scripts/clip_statistics.py --checkpoint push --data push   (VFLOW_DATA/push, or any folder)
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import vflow
from vflow.checkpoint import checkpoint_folder
from vflow.errors import VflowError
from vflow.pipelines.evaluate.data import locate, open_clips
from vflow.pipelines.evaluate.report import Settings
from vflow.pipelines.video.preprocess import video_config
from vflow.pipelines.video.stats import gather, save_clip_statistics


def main() -> int:
    """0, or the exit code of an error that people meet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, help="a directory, or the name of a shipped one")
    parser.add_argument("--data", required=True, help="as for vflow evaluate: its validation split is used")
    parser.add_argument("--count", type=int, default=256, help="clips at most")
    arguments = parser.parse_args()
    try:
        store(arguments.checkpoint, arguments.data, arguments.count)
    except VflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def store(checkpoint: str, data: str, count: int) -> None:
    """Compute, save and say where."""
    folder = checkpoint_folder(checkpoint)
    model = vflow.load(folder, device="auto")
    settings = Settings(data=data, split="validation")
    places = locate(settings, "videoflow")
    if places.test is not None and places.train is None:  # a folder of clips that was trained on
        settings = replace(settings, train=data)
    opened = open_clips(settings, video_config(model))
    clips = opened.chosen(count)
    about = f"{len(clips)} validation clips of {Path(data).name}, {opened.frames} frames each"
    found = gather(measured(model, clips), about)
    path = save_clip_statistics(folder, found)
    print(f"{path} ({os.path.getsize(path) / 1024:.0f} KB): {found.mean:.4f} bits/dim, ", end="")
    print(f"99% of frames below {found.frame_quantile(0.99):.4f}; {about}")


def measured(model: Any, clips: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray, float | None]]:
    """Maps, bits/dim and the best exchange of each clip."""
    for done, clip in enumerate(clips, 1):
        found = vflow.surprisal(model, clip)
        yield found.maps, found.per_frame, found.frame_swap and found.frame_swap.saved
        print(f"\r{done} of {len(clips)} clips", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
