"""Verification of ensemble forecasts of rain rate: CRPS, CSI, FSS, rank histogram, reliability, spectra.

Fields are float arrays in mm/h; ensembles have the members first, (N, H, W), the truth is (H, W). ``valid``
is a boolean (H, W): pixels outside it count nowhere. Definitions: Jolliffe & Stephenson, *Forecast
Verification*, 2nd edition; FSS: Roberts & Lean 2008; rank histogram: Hamill 2001. Scores of several cases
are those of summed counts (``Contingency``, ``Fractions``, ``Reliability``), not means of the cases' scores:
a mean leaves out the cases without an event, and these differ between methods.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

Array = np.ndarray


def crps(members: Array, truth: Array) -> Array:
    """mean |X − o| − ½ mean |X − X'| over all pairs of members, at each pixel, (H, W), mm/h.

    The ensemble's empirical distribution is scored as it stands (no correction for its size), so only
    ensembles of equal size compare; of one member it is the absolute error. Sorting makes the mean over pairs
    a weighted sum: Σᵢⱼ |xᵢ − xⱼ| = 2 Σᵢ (2i − N + 1) x₍ᵢ₎ with i from 0.
    """
    n = len(members)
    ordered = np.sort(members.astype(np.float64), axis=0)
    weights = 2 * np.arange(n) - n + 1
    half_spread = np.tensordot(weights, ordered, axes=1) / n**2
    error: Array = np.abs(ordered - truth).mean(0) - half_spread
    return error


class Contingency(NamedTuple):
    """Counts of pixels where an event was forecast and where it happened."""

    hits: int
    misses: int
    false_alarms: int

    @classmethod
    def of(cls, forecast: Array, truth: Array, threshold: float, valid: Array) -> Contingency:
        """Events are values of ``threshold`` mm/h or more."""
        predicted, happened = forecast[valid] >= threshold, truth[valid] >= threshold
        return cls(
            int((predicted & happened).sum()),
            int((~predicted & happened).sum()),
            int((predicted & ~happened).sum()),
        )

    @property
    def csi(self) -> float:
        """Critical success index: hits over all pixels with an event, forecast or real; NaN if none."""
        total = sum(self)
        return float(self.hits / total) if total else float("nan")

    @property
    def bias(self) -> float:
        """Frequency bias: events forecast over events that happened; NaN if none did."""
        happened = self.hits + self.misses
        return float((self.hits + self.false_alarms) / happened) if happened else float("nan")


class Fractions(NamedTuple):
    """Squared differences between the fractions forecast and real, and their largest possible sum.

    error: Σ (p − o)² over pixels. worst: Σ p² + Σ o², reached if no event is forecast where one happens.
    """

    error: float
    worst: float

    @classmethod
    def of(cls, forecast: Array, truth: Array, threshold: float, size: int, valid: Array) -> Fractions:
        """Fractions p and o of events in the known part of the ``size`` × ``size`` pixels around each one.

        ``forecast`` holds rain rates, or, as (N, H, W), members whose fractions are averaged. Events are
        values of ``threshold`` mm/h or more.
        """

        def mean(field: Array) -> Array:
            filtered: Array = cv2.blur(field.astype(np.float64), (size, size), borderType=cv2.BORDER_CONSTANT)
            return filtered[valid]

        weight = mean(valid)  # never 0: each square holds the pixel at its centre

        def fraction(event: Array) -> Array:
            return mean(event & valid) / weight

        members = forecast if forecast.ndim == 3 else forecast[None]
        predicted = np.mean([fraction(member >= threshold) for member in members], axis=0)
        happened = fraction(truth >= threshold)
        worst = np.square(predicted).sum() + np.square(happened).sum()
        return cls(float(np.square(predicted - happened).sum()), float(worst))

    @property
    def fss(self) -> float:
        """Fractions skill score: 1 perfect, 0 none; NaN if there is no event, forecast or real."""
        return float(1 - self.error / self.worst) if self.worst else float("nan")


def fss(forecast: Array, truth: Array, threshold: float, size: int, valid: Array) -> float:
    """Fractions skill score of one field, as ``Fractions`` has it."""
    return Fractions.of(forecast, truth, threshold, size, valid).fss


def rank_histogram(members: Array, truth: Array, random: np.random.Generator, valid: Array) -> Array:
    """Counts of the truth's rank among N members, int64 (N + 1,); ties are broken at random."""
    ensemble, real = members[:, valid], truth[valid]
    below = (ensemble < real).sum(0)
    ties = (ensemble == real).sum(0)
    ranks = below + random.integers(0, ties + 1)
    return np.bincount(ranks, minlength=len(members) + 1)


def outer_share(histogram: Array) -> float:
    """Share of the two outer ranks of N members; NaN of no ranks.

    When calibrated it is 2 / (N + 1) for independent members. For pairs of opposite noise, as
    ``vflow.nowcast`` draws them, it is less, down to 2 / (N + 2) where opposite noise gives opposite errors.
    """
    return float((histogram[0] + histogram[-1]) / (histogram.sum() or np.nan))


class Reliability(NamedTuple):
    """Counts per forecast probability k / N of an event, and how often it happened; int64 (N + 1,)."""

    forecasts: Array
    events: Array

    @classmethod
    def of(cls, members: Array, truth: Array, threshold: float, valid: Array) -> Reliability:
        """Probability is the share of members with ``threshold`` mm/h or more."""
        n = len(members)
        share = (members[:, valid] >= threshold).sum(0)
        happened = truth[valid] >= threshold
        return cls(
            np.bincount(share, minlength=n + 1),
            np.bincount(share, weights=happened, minlength=n + 1).astype(int),
        )

    def __add__(self, other: object) -> Reliability:
        if not isinstance(other, Reliability):
            return NotImplemented
        return Reliability(self.forecasts + other.forecasts, self.events + other.events)

    @property
    def brier(self) -> float:
        """Mean squared error of the probability; NaN of no forecasts."""
        p = np.arange(len(self.forecasts)) / (len(self.forecasts) - 1)
        happened = self.events * (1 - p) ** 2 + (self.forecasts - self.events) * p**2
        return float(happened.sum() / (self.forecasts.sum() or np.nan))


def power_spectrum(field: Array) -> Array:
    """Radially averaged power of a square field (N, N), (N // 2,): wavenumbers 0 … N/2 − 1 cycles a side."""
    size = field.shape[0]
    if field.shape != (size, size):
        raise ValueError(f"a power spectrum needs a square field, not {field.shape}")
    power = np.abs(np.fft.fft2(field - field.mean())) ** 2 / field.size
    frequency = np.fft.fftfreq(size, 1 / size)
    radius = np.rint(np.hypot(frequency[:, None], frequency[None])).astype(int)
    total = np.bincount(radius.ravel(), power.ravel())
    spectrum: Array = (total / np.bincount(radius.ravel()))[: size // 2]
    return spectrum
