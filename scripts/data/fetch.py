"""Fetch the clips that a list names, as data to validate on.

    python -m scripts.data.fetch scripts/data/any_validation.json --output ~/data/any-validation

Nothing of it is part of the project: a list names public repositories, with commit, licence and the SHA-256
of each film, which is checked before it is decoded.
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

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vflow.data.media import read_clip, write_npz
from vflow.errors import InputError


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


def main() -> None:
    """Write the clips of a list to --output, as NNN-SOURCE-NAME.npz."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("listing", type=Path, help="JSON list of repositories and their films")
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
            name = f"{number:03d}-{file.source}-{Path(file.row['path']).stem}.npz"
            frames = clip_frames(file, arguments.frames, arguments.fps, arguments.side)
            write_npz(arguments.output / name, frames=frames, fps=arguments.fps)


if __name__ == "__main__":
    main()
