"""Cuts `rain-finland.npz` out of a radar sequence: ten frames of 192×192 km, of which four are given.

Run from the repository: python -m apps.examples.make_rain DATA, a folder with rain/train in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.data.rain import read_npz

FOLDER = Path(__file__).resolve().parent
ROWS, COLUMNS, FRAMES = slice(784, 976), slice(168, 360), slice(4, 14)
# FMI's composite: polar stereographic, true at 60° N, 25° E upwards; metres.
RADIUS, PIXEL, HEIGHT, EAST, NORTH = 6_371_288.0, 999.674, 1_225_600.0, 380_886.31, 3_395_677.92


def place(row: float, column: float) -> tuple[float, float]:
    """Latitude and longitude in degrees of a corner of pixels."""
    x, y = column * PIXEL - EAST, HEIGHT - row * PIXEL - NORTH
    distance = np.hypot(x, y) / (RADIUS * (1 + np.sin(np.radians(60))))
    return 90 - np.degrees(2 * np.arctan(distance)), 25 + np.degrees(np.arctan2(x, -y))


def main(data: Path) -> None:
    """Cut and write."""
    path = data / "rain" / "train" / "fmi_20170509.npz"
    sequence = read_npz(path)
    with np.load(path) as file:
        time = file["time"][FRAMES]
    ends = [
        [place(row, column) for column in (COLUMNS.start, COLUMNS.stop)] for row in (ROWS.start, ROWS.stop)
    ]
    frames = sequence.frames[FRAMES, ROWS, COLUMNS]
    media.write_npz(FOLDER / "rain-finland.npz", frames=frames, time=time, corners=np.array(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
