"""Fetch the clips or photographs that a list names, as data to train or to validate on.

    python -m scripts.data.fetch scripts/data/any_validation.json --output ~/data/any-validation
    python -m scripts.data.fetch scripts/data/photographs.json --output ~/data/photographs

Nothing of it is part of the project: a list names public repositories, with commit, licence and the SHA-256
of each file, which is checked before it is decoded. A photograph is reduced until no trace of JPEG is left,
and cut into tiles; their names agree up to the "@", so that all of a photograph are held out, or none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vflow.data.media import read_clip, read_image, write_npz, write_png
from vflow.errors import InputError

REDUCTIONS = (3.0, 4.5)
TILE = 512  # pixels, at most


class Listed(NamedTuple):
    """One file of a list, on disk and checked, with the row that names it."""

    source: str
    row: dict[str, Any]
    path: Path


def git(*arguments: str) -> bytes:
    """Output of git.

    Raises:
        InputError: git failed; its own last line says why.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise InputError(f"git {' '.join(arguments[:4])}: {reason[0]}")
    return done.stdout


def files(listing: Path, mirror: Path | None, scratch: Path) -> Iterator[Listed]:
    """Files that ``listing`` names, one after another, each checked against its SHA-256.

    Args:
        mirror: folder of git directories OWNER+NAME/repo to read from; without it, repositories are cloned.

    Raises:
        InputError: a repository or file cannot be had, or a file is not the one that was listed.
    """
    for entry in json.loads(listing.read_text()):
        owner, name = entry["repository"].split("/")[-2:]
        repository = mirror / f"{owner}+{name}" / "repo" if mirror else scratch / f"{owner}+{name}"
        if not mirror:
            git("clone", "--quiet", "--bare", "--filter=blob:none", entry["repository"], str(repository))
        for row in entry["files"]:
            data = git("-C", str(repository), "cat-file", "blob", f"{entry['commit']}:{row['path']}")
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                raise InputError(
                    f"{entry['repository']}: {row['path']} is not the file that {listing.name} lists"
                )
            path = scratch / f"file{Path(row['path']).suffix.lower()}"
            path.write_bytes(data)
            yield Listed(f"{owner}-{name}", row, path)


def clip_frames(file: Listed, frames: int, fps: float, side: int) -> np.ndarray:
    """Stretch of a film from its listed start on, uint8 (frames, side, side, 3): its square.

    Raises:
        InputError: the film ends before.
    """
    film = read_clip(file.path, size=(side, side))
    rate = film.fps or fps
    indices = np.rint((file.row["start"] + np.arange(frames) / fps) * rate).astype(int)
    if indices[-1] >= len(film.frames):
        raise InputError(f"{file.row['path']} ends before {frames} frames at {fps:g} a second are over")
    return film.frames[indices]


def tiles(photo: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pixels of the tiles of ``photo``, uint8 (H, W, 3), reduced by each of ``REDUCTIONS``."""
    for factor in REDUCTIONS:
        height, width = (int(side / factor) for side in photo.shape[:2])
        small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
        rows, columns = (np.array_split(np.arange(side), -(-side // TILE)) for side in (height, width))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                yield f"{factor:g}-{i}-{j}", small[row[0] : row[-1] + 1, column[0] : column[-1] + 1]


def main() -> None:
    """Write the files of a list to --output: NNN-SOURCE-NAME.npz of a clip, …@TILE.png of a photograph."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("listing", type=Path, help="JSON list of repositories and their files")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--mirror", type=Path, metavar="FOLDER", help="git directories OWNER+NAME/repo, in place of cloning"
    )
    parser.add_argument("--frames", type=int, default=20, metavar="N", help="of each clip (%(default)s)")
    parser.add_argument("--fps", type=float, default=10.0, metavar="F", help="of each clip (%(default)s)")
    parser.add_argument("--side", type=int, default=64, metavar="PX", help="of each clip (%(default)s)")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for number, file in enumerate(files(arguments.listing, arguments.mirror, Path(scratch))):
            name = f"{number:03d}-{file.source}-{Path(file.row['path']).stem}"
            if "start" in file.row:
                frames = clip_frames(file, arguments.frames, arguments.fps, arguments.side)
                write_npz(arguments.output / f"{name}.npz", frames=frames, fps=arguments.fps)
                continue
            for tile, pixels in tiles(read_image(file.path).frames[0]):
                write_png(arguments.output / f"{name}@{tile}.png", pixels)


if __name__ == "__main__":
    main()
