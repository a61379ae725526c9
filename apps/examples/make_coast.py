"""Cuts `coast-europe.npz` out of Natural Earth's coastlines.

It holds latitudes and longitudes in hundredths of degrees, int16 (N, 2). Lines are parted by (32767, 32767).

Run from the repository: python -m apps.examples.make_coast land-50m.json, of the npm package world-atlas 2.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from vflow.data import media

FOLDER = Path(__file__).resolve().parent
LOW, HIGH = np.array([-12, 34]), np.array([42, 72])
PARTED = 32767


def main(path: Path) -> None:
    """Cut and write."""
    atlas = json.loads(path.read_text())
    scale, origin = (np.array(atlas["transform"][name]) for name in ("scale", "translate"))
    parts = []
    for arc in atlas["arcs"]:
        places = np.cumsum(arc, 0) * scale + origin  # longitude first
        inside = np.flatnonzero(((places >= LOW) & (places <= HIGH)).all(1))
        for run in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1):
            if len(run) > 1:
                parts += [np.rint(100 * places[run, ::-1]), [[PARTED, PARTED]]]
    media.write_npz(FOLDER / "coast-europe.npz", coast=np.concatenate(parts).astype(np.int16))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
