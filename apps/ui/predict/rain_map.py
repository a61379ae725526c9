"""Coast and towns on the maps of rain, where a file of radar says where it is."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from pathlib import Path

import cv2
import numpy as np

from vflow.data.media import read_members
from vflow.errors import InputError

from ..shared.examples import FOLDER

COAST = FOLDER / "coast-europe.npz"
NEAR = (8, 16)
"""Degrees of latitude and longitude: what is farther from a map is left out."""
TOWNS = {
    "Amsterdam": (52.37, 4.90), "Barcelona": (41.39, 2.17), "Basel": (47.56, 7.59),
    "Berlin": (52.52, 13.40), "Bern": (46.95, 7.45), "Bordeaux": (44.84, -0.58), "Brussels": (50.85, 4.35),
    "Budapest": (47.50, 19.04), "Copenhagen": (55.68, 12.57), "Dublin": (53.35, -6.26),
    "Eindhoven": (51.44, 5.48), "Frankfurt": (50.11, 8.68), "Geneva": (46.20, 6.14),
    "Gothenburg": (57.71, 11.97), "Groningen": (53.22, 6.57), "Hamburg": (53.55, 9.99),
    "Helsinki": (60.17, 24.94), "Joensuu": (62.60, 29.76), "Jyväskylä": (62.24, 25.75),
    "Kuopio": (62.89, 27.68), "Lahti": (60.98, 25.66), "Lisbon": (38.72, -9.14), "London": (51.51, -0.13),
    "Lugano": (46.00, 8.95), "Lyon": (45.76, 4.84), "Madrid": (40.42, -3.70), "Manchester": (53.48, -2.24),
    "Milan": (45.46, 9.19), "Munich": (48.14, 11.58), "Oslo": (59.91, 10.75), "Oulu": (65.01, 25.47),
    "Paris": (48.86, 2.35), "Pori": (61.49, 21.80), "Prague": (50.08, 14.44), "Riga": (56.95, 24.11),
    "Rome": (41.90, 12.50), "Rotterdam": (51.92, 4.48), "Rovaniemi": (66.50, 25.73), "Sion": (46.23, 7.36),
    "St. Gallen": (47.42, 9.38), "Stockholm": (59.33, 18.07), "Tallinn": (59.44, 24.75),
    "Tampere": (61.50, 23.76), "Turku": (60.45, 22.27), "Utrecht": (52.09, 5.12), "Vaasa": (63.10, 21.62),
    "Vienna": (48.21, 16.37), "Vilnius": (54.69, 25.28), "Warsaw": (52.23, 21.01), "Zurich": (47.37, 8.54),
}  # fmt: skip
"""Latitudes and longitudes, degrees."""


def read_corners(path: Path) -> np.ndarray | None:
    """Latitudes and longitudes of the outer corners of a radar's picture, degrees (2, 2, 2): the upper ones
    first, and of these the left one; None where the file does not say.

    Raises:
        InputError: ``corners`` are no such array.
    """
    corners = read_members(path, ["corners"]).get("corners")
    if corners is None:
        return None
    if corners.shape != (2, 2, 2) or corners.dtype.kind != "f" or not (abs(corners) <= (90, 360)).all():
        raise InputError(
            f"{path.name}: corners are {corners.dtype} {corners.shape}; give latitude and longitude in"
            " degrees of the four corners, (2, 2, 2), the upper ones first, or leave them out"
        )
    return np.asarray(corners, np.float64)


def overlay(corners: np.ndarray, size: tuple[int, int]) -> str:
    """Coast and towns as SVG, over a picture of ``size`` (H, W) pixels."""
    (height, width), given = size, corners.reshape(-1, 2)
    middle = _vectors(given).mean(0)
    ends = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float32)
    # Over some hundred kilometres, a projection of radars is that onto the plane at the middle, seen aslant.
    slant = cv2.getPerspectiveTransform(_on_plane(given, middle).astype(np.float32), ends)

    def pixels(places: np.ndarray) -> np.ndarray:
        seen: np.ndarray = cv2.perspectiveTransform(_on_plane(places, middle)[None], slant)[0]
        return seen

    def near(places: np.ndarray) -> np.ndarray:
        kept: np.ndarray = (abs(places - given.mean(0)) < NEAR).all(1)
        return kept

    coast = _coast()
    at, known = pixels(coast), near(coast)
    known &= (abs(at - ends[3] / 2) < 0.7 * ends[3]).all(1)
    moves = np.where(np.concatenate([[False], known[:-1]]), "L", "M")
    line = "".join(f"{move}{x:.1f} {y:.1f}" for move, (x, y) in zip(moves[known], at[known], strict=True))
    places = np.array(list(TOWNS.values()))
    towns = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{width / 90:.1f}"/><text x="{x + width / 50:.0f}"'
        f' y="{y:.0f}" font-size="{width / 22:.1f}">{escape(name)}</text>'
        for name, (x, y), by in zip(TOWNS, pixels(places), near(places), strict=True)
        if by and 0 < x < 0.85 * width and 0 < y < height
    )
    box = f'viewBox="0 0 {width} {height}" aria-hidden="true"'
    return f'<svg class="vf-coast" {box}><path d="{line}"/>{towns}</svg>'


@lru_cache(maxsize=1)
def _coast() -> np.ndarray:
    """Places of the coasts in degrees (N, 2); what is no place parts two lines."""
    stored: np.ndarray = read_members(COAST, ["coast"])["coast"] / 100
    return stored


def _vectors(places: np.ndarray) -> np.ndarray:
    """Unit vectors (N, 3) of latitudes and longitudes in degrees (N, 2)."""
    latitude, longitude = np.radians(places).T
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], 1)


def _on_plane(places: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Places projected from the middle of the earth onto the plane that touches it at ``middle``, (N, 2)."""
    middle = middle / np.linalg.norm(middle)
    east = np.cross([0, 0, 1], middle)
    east /= np.linalg.norm(east)
    found = _vectors(places)
    return found @ np.stack([east, np.cross(middle, east)], 1) / (found @ middle)[:, None]
