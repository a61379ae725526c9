"""Cuts the `rain-*` examples out of a radar sequence: ten frames of 256×256 km each, of which four are given.

Run from the repository: python -m apps.examples.make_rain DATA, a folder with rain/test in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vflow.data import media
from vflow.data.rain import read_npz

FOLDER = Path(__file__).resolve().parent
ROWS, COLUMNS = slice(150, 406), slice(200, 456)
STARTS = (8, 26)
"""First frames ahead: four before them are given, six follow."""


def main(data: Path) -> None:
    """Cut and write."""
    sequence = read_npz(data / "rain" / "test" / "mch_20170131.npz")
    for start in STARTS:
        frames = sequence.frames[start - 4 : start + 6, ROWS, COLUMNS]
        valid = sequence.valid[ROWS, COLUMNS]
        media.write_npz(FOLDER / f"rain-{start:02d}.npz", frames=frames, valid=valid)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
