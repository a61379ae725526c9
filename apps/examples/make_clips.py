"""Cuts the film among the examples out of clips that no model was trained on: thirteen frames each.

Run from the repository: python -m apps.examples.make_clips DATA, a folder with grasp/test in it, and in
any-validation what `python -m scripts.data.fetch scripts/data/any_validation.json` has fetched.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vflow.data import media

FOLDER = Path(__file__).resolve().parent
CLIPS = {
    "film-dog": ("any-validation/014-dynibar-dynibar.github.io-dog-running.npz", 0),
    "grasp-014": ("grasp/test/episode_014.mp4", 15),
    "grasp-076": ("grasp/test/episode_076.mp4", 20),
}
"""Name → the clip, and the first frame taken of it."""
NUM_FRAMES = 13


def main(data: Path) -> None:
    """Cut and write."""
    for name, (file, first) in CLIPS.items():
        frames = media.read_clip(data / file).frames
        media.write_npz(FOLDER / f"{name}.npz", frames=frames[first : first + NUM_FRAMES])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
