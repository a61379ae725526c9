"""Cuts the `grasp-*` examples out of held-out episodes: thirteen frames each, of which three are given.

Run from the repository: python -m apps.examples.make_grasp DATA, a folder with grasp/test in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vflow.data import media

FOLDER = Path(__file__).resolve().parent
FIRST_FRAMES = {"episode_014": 15, "episode_076": 20}
NUM_FRAMES = 13


def main(data: Path) -> None:
    """Cut and write."""
    for name, first in FIRST_FRAMES.items():
        frames = media.read_clip(data / "grasp" / "test" / f"{name}.mp4").frames
        number = name.removeprefix("episode_")
        media.write_npz(FOLDER / f"grasp-{number}.npz", frames=frames[first : first + NUM_FRAMES])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
