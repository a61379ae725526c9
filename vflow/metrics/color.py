"""Colourings against the true colours: best of N, spread, diversity, and yardsticks without a model.

All in CIE Lab. Errors are root mean squares over pixels and both planes a and b, of the whole photo reduced
to 64×64, so that grey has the root mean square of a and b themselves; figures of a set are means over photos.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import cv2
import numpy as np
import torch

from vflow.clusters import k_means
from vflow.data.color import rgb_to_lab
from vflow.optical_flow import optical_flow

SIDE = 64
STILL = 2.0
"""Change of L along the motion up to which colours should stay."""
STRIP = 256
"""Rows of a photo that are compared at a time: in Lab a pixel takes a hundred bytes."""


def planes(images: np.ndarray) -> np.ndarray:
    """Lab, float32 (N, 3, H, W), of uint8 (N, H, W, 3)."""
    return rgb_to_lab(torch.tensor(images).movedim(-1, 1).float() / 255).numpy()


def reduced(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """a and b, float32 (2, side, side), of a whole picture, uint8 (H, W, 3), squeezed to a square."""
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return planes(small[None])[0, 1:]


def rmse(ab: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Root mean square of ab − truth over the last three axes: (…, 2, H, W) → (…)."""
    return np.sqrt(((ab - truth) ** 2).mean((-3, -2, -1)))


def spread(ab: np.ndarray) -> np.ndarray:
    """Standard deviation of a and b within a picture: (…, 2, H, W) → (…)."""
    return np.sqrt(ab.var((-2, -1)).mean(-1))


def diversity(ab: np.ndarray) -> float:
    """Difference of variants (N, 2, H, W): standard deviation over them, root mean square over pixels.

    NaN for one.
    """
    return float(np.sqrt(ab.var(0, ddof=1).mean())) if len(ab) > 1 else math.nan


def mean_color_variance(ab: np.ndarray) -> float:
    """Part of the variance over variants (N, 2, H, W) that their mean colours make, ``diversity``² being all.

    Exact: the mean over pixels of x is the projection on constants, and what is left is orthogonal to it. NaN
    for one.
    """
    return float(ab.mean((-2, -1)).var(0, ddof=1).mean()) if len(ab) > 1 else math.nan


def colorfulness(image: np.ndarray) -> float:
    """Colourfulness M of uint8 (H, W, 3), grey levels (Hasler & Süsstrunk 2003, eq. 8)."""
    red, green, blue = image.astype(np.float64).transpose(2, 0, 1)
    opponents = np.stack([red - green, (red + green) / 2 - blue]).reshape(2, -1)
    return float(np.sqrt(opponents.var(1).sum()) + 0.3 * np.sqrt(np.square(opponents.mean(1)).sum()))


def flicker(made: np.ndarray, film: np.ndarray) -> float:
    """Change of a and b along the motion of a film in colour, over that of the ``film`` itself.

    Mean |Δa| and |Δb| from frame to frame, where lightness stays along the optical flow of the film; NaN of a
    film that stands still.

    Args:
        made, film: uint8 (T, H, W, 3), T ≥ 2.
    """
    changes = np.zeros(2)
    side_y, side_x = film.shape[1:3]
    grid = np.dstack(np.meshgrid(np.arange(side_x), np.arange(side_y))).astype(np.float32)
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in film]
    for t in range(1, len(film)):
        source = grid + optical_flow(greys[t], greys[t - 1])
        for place, frames in enumerate((made, film)):
            old, new = planes(frames[t - 1 : t + 1]).transpose(0, 2, 3, 1)
            old = cv2.remap(
                old, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            still = np.abs(new[..., 0] - old[..., 0]) <= STILL
            changes[place] += np.abs(new - old)[..., 1:][still].sum()
    return float(changes[0] / (changes[1] or np.nan))


class Tints(NamedTuple):
    """Guesses of a photo's colour that need no model, fitted on the mean a and b of training photos."""

    mean: np.ndarray  # float64 (2,)
    centres: np.ndarray  # float64 (K, 2), by k-means

    @classmethod
    def fit(cls, photos: Sequence[np.ndarray], count: int = 8, seed: int = 0) -> Self:
        """The mean colour, and the ``count`` tints that serve best if each photo may choose one of them.

        The squared error of one tint for a whole photo is that of the photo's mean plus a constant, so they
        are the centres of k-means over the means.

        Args:
            photos: ``reduced`` pictures (2, H, W), as many as ``count`` or more.
        """
        means = np.stack([photo.mean((1, 2), dtype=np.float64) for photo in photos])
        if len(means) < count:
            raise ValueError(f"{len(means)} photos for {count} tints")
        return cls(means.mean(0), k_means(means, count, "tints", seed))

    def guesses(self, truth: np.ndarray) -> dict[str, float]:
        """Error of each yardstick on a photo (2, H, W): by name."""
        flat = self.centres[:, :, None, None]
        return {
            "grey": float(rmse(np.zeros_like(truth), truth)),
            "mean_tint": float(rmse(self.mean[:, None, None], truth)),
            "tints": float(rmse(flat, truth).min()),
        }


class Verdict(NamedTuple):
    """Figures of the colourings of one photo; those of a set are the means."""

    best: float  # error of the best colouring
    first: float  # error of the first, which people see first
    grey: float  # errors of the yardsticks
    mean_tint: float
    tints: float
    spread: float  # within the colourings, mean over them
    true_spread: float  # within the photo
    diversity: float
    variance: float  # over the colourings, ab units², mean over pixels
    mean_color_variance: float  # of that, what their mean colours make
    colorfulness: float  # of the first colouring
    true_colorfulness: float  # of the photo
    lightness: float  # largest |ΔL| of any pixel, at the photo's own size


def judge(images: np.ndarray, photo: np.ndarray, tints: Tints) -> Verdict:
    """Compare colourings, uint8 (N, H, W, 3), with the photo in colour, uint8 (H, W, 3)."""
    truth = reduced(photo)
    ab = np.stack([reduced(image) for image in images])
    errors, varied = rmse(ab, truth), diversity(ab)
    starts = range(0, len(photo), STRIP)
    lightness = max(_largest_change(images[:, y : y + STRIP], photo[y : y + STRIP]) for y in starts)
    return Verdict(
        best=float(errors.min()),
        first=float(errors[0]),
        **tints.guesses(truth),
        spread=float(spread(ab).mean()),
        true_spread=float(spread(truth)),
        diversity=varied,
        variance=varied**2,
        mean_color_variance=mean_color_variance(ab),
        colorfulness=colorfulness(images[0]),
        true_colorfulness=colorfulness(photo),
        lightness=lightness,
    )


def _largest_change(images: np.ndarray, photo: np.ndarray) -> float:
    """Largest |ΔL| between colourings (N, h, W, 3) and the photo, where they are."""
    own = planes(photo[None])[0, 0]
    return max(float(np.abs(planes(image[None])[0, 0] - own).max()) for image in images)


def means(verdicts: Sequence[Verdict]) -> Verdict:
    """Figures of a set of photos: means, and the largest |ΔL|."""
    mean = Verdict(*np.mean(verdicts, axis=0).tolist())
    return mean._replace(lightness=max(verdict.lightness for verdict in verdicts))
