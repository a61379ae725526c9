"""Compute statistics of surprisal over a video model's validation clips and store them with its weights.

python scripts/clip_statistics.py --checkpoint push --data push   (VFLOW_DATA/push, or any folder)
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import vflow
from vflow.checkpoint import checkpoint_folder
from vflow.errors import VflowError
from vflow.pipelines.evaluate.data import locate, open_clips
from vflow.pipelines.evaluate.report import Settings
from vflow.pipelines.video.preprocess import video_config
from vflow.pipelines.video.stats import save_clip_statistics
from vflow.pipelines.video.surprisal import measure_clips


def main() -> int:
    """Exit code: 0, or that of a user-facing error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, help="folder, or name of a shipped checkpoint")
    parser.add_argument("--data", required=True, help="as for vflow evaluate: its validation split is used")
    parser.add_argument("--held-out-files", type=int, help="as for vflow evaluate")
    parser.add_argument("--count", type=int, default=256, help="maximum number of clips")
    arguments = parser.parse_args()
    try:
        store(arguments.checkpoint, arguments.data, arguments.count, arguments.held_out_files)
    except VflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def store(checkpoint: str, data: str, count: int, held_out_files: int | None = None) -> None:
    """Compute and save the statistics; print the path."""
    folder = checkpoint_folder(checkpoint)
    model = vflow.load(folder, device="auto")
    settings = Settings(data=data, split="validation", held_out_files=held_out_files)
    places = locate(settings, "videoflow")
    if places.test is not None and places.train is None:  # a folder of clips that was trained on
        settings = replace(settings, train=data)
    opened = open_clips(settings, video_config(model))
    clips = opened.chosen(count)
    about = f"{len(clips)} validation clips of {Path(data).name}, {opened.frames} frames each"
    found = measure_clips(model, clips, about, report)
    path = save_clip_statistics(folder, found)
    print(f"{path} ({os.path.getsize(path) / 1024:.0f} KB): {found.mean:.4f} bits/dim, ", end="")
    print(f"99% of frames below {found.frame_quantile(0.99):.4f}; {about}")


def report(done: int, total: int) -> None:
    print(f"\r{done} of {total} clips", end="\n" if done == total else "", flush=True, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
