"""Samples are drawn in chunks of one fixed size; those that are not finite are counted and drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from vflow.errors import InputError

if TYPE_CHECKING:
    from vflow.models import Sampled

CHUNK = 8
"""Rows of every computation: padded to it, sample k is the same bytes whatever the number of samples."""
MAX_REDRAWS = 8

State = TypeVar("State")


class Counts(NamedTuple):
    """Values seen while drawing, before any redraw or clamp."""

    values: int = 0
    nonfinite: int = 0
    out_of_range: int = 0
    redrawn: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


def draw_finite(
    draw: Callable[[Sequence[int]], tuple[State, Sampled]], wanted: int, name: Callable[[int], str]
) -> tuple[State, Sampled, Counts]:
    """Draw a chunk; its first ``wanted`` rows are finite.

    Args:
        draw: given how often each of the 8 rows was drawn before, which names its noise, returns what comes
            with the samples (None, a rollout) and the samples.
        name: of a row, for the error.

    Raises:
        InputError: a row stays non-finite after 8 redraws.
    """
    attempts = [0] * CHUNK
    counts = Counts()
    while max(attempts) <= MAX_REDRAWS:
        state, sampled = draw(attempts)
        bad = [row for row in range(wanted) if int(sampled.nonfinite[row])]
        if not any(attempts):
            nonfinite, beyond = (int(c[:wanted].sum()) for c in (sampled.nonfinite, sampled.out_of_range))
            counts = Counts(wanted * sampled.raw[0].numel(), nonfinite, beyond, len(bad))
        if not bad:
            return state, sampled, counts
        for row in bad:
            attempts[row] += 1
    raise InputError(
        f"{name(bad[0])} is not finite after {MAX_REDRAWS} redraws; lower the temperature or change the seed"
    )
