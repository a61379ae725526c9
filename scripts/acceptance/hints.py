"""Colour hints on photographs whose things people outlined."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

import vflow
from scripts.acceptance.colours import model
from scripts.acceptance.models import data
from scripts.acceptance.registry import NotHere, Result, measure
from vflow.data.media import read_image
from vflow.pipelines.color.photo import lab_planes
from vflow.tasks.colorize.settings import Hint

RED = (190, 45, 40)
PHOTOS, SHARES, WANTED = 24, (0.1, 0.35), 0.2  # shares of the photo that a thing may fill, and should
NEAR = 12.0  # difference of a and b


def thing(outlines: Path, size: tuple[int, int]) -> np.ndarray | None:
    """The outlined part that fills most nearly a fifth of the photo, bool (H, W); None if there is none.

    Parts that touch the photo's edge count as further from that.
    """
    from scipy import io, ndimage

    best, found = 0.35, None
    for drawn in io.loadmat(outlines)["groundTruth"][0]:
        parts = cv2.resize(
            drawn["Segmentation"][0, 0].astype(np.uint16), size[::-1], interpolation=cv2.INTER_NEAREST
        )
        for part in np.unique(parts):
            pieces, count = ndimage.label(parts == part)
            for mask in (pieces == number for number in range(1, count + 1)):
                edge = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
                off = abs(mask.mean() - WANTED) + 0.15 * edge
                if SHARES[0] < mask.mean() < SHARES[1] and off < best:
                    best, found = off, mask
    return found


def middle(mask: np.ndarray) -> tuple[float, float]:
    """The point furthest from the edge of a part (H, W): fractions of width and height."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return (int(column) + 0.5) / mask.shape[1], (int(row) + 0.5) / mask.shape[0]


@measure("U")
def hints() -> Result:
    """One red hint in the middle of an outlined thing that fills about a fifth of the photo; 24 photos of
    photos/val with outlines (BSDS500), variant 0 at the suggested temperatures, seed 0."""
    folder = Path(os.environ.get("VFLOW_OUTLINES", ""))
    if not os.environ.get("VFLOW_OUTLINES"):
        raise NotHere(
            "needs outlines: VFLOW_OUTLINES=BSDS500/data/groundTruth of the repository BIDS/BSDS500"
        )
    outlines = {path.stem: path for path in folder.rglob("*.mat")}
    rows: list[tuple[float, float, float]] = []
    for path in sorted(data("photos", "val").iterdir()):
        if (name := path.stem.removeprefix("bsds_")) not in outlines or len(rows) == PHOTOS:
            continue
        photo = read_image(path).frames[0]
        if (mask := thing(outlines[name], photo.shape[:2])) is None:
            continue
        grey = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        hint = Hint(*middle(mask), RED)
        free, hinted = (
            lab_planes(vflow.colorize(model(), grey, num_samples=1, hints=given)[0])[0, 1:].numpy()
            for given in ((), (hint,))
        )
        change = np.hypot(*(hinted - free))
        x, y = int(hint.x * mask.shape[1]), int(hint.y * mask.shape[0])
        near = np.hypot(*(hinted - hinted[:, y, x, None, None])) < NEAR
        rows.append((change[mask].sum() / change.sum(), change[~mask].mean(), near[mask].mean()))
    inside, outside, coloured = np.array(rows).T
    medians = ", ".join(f"{float(np.median(values)):.2f}" for values in (inside, outside, coloured))
    return Result(
        {"inside": inside.mean(), "outside": outside.mean(), "coloured": coloured.mean()},
        note=f"{len(rows)} photos; medians {medians}",
    )
