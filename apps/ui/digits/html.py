"""HTML of the Digits tab: the grid of drawn digits, the drawing pad, and one style as all ten digits."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from ..shared.html import ghost_items, placeholder, png_uri

COLUMNS = 8


def empty() -> str:
    """Placeholder of the grid before the first run."""
    rows = "".join(
        f'<div class="vf-class-row"><span class="vf-class">{label}</span><ol class="vf-cells">'
        f"{ghost_items(COLUMNS)}</ol></div>"
        for label in range(4)
    )
    return placeholder(
        rows, "Your digits appear here.", "Choose a digit, or all ten, and press Draw.", "vf-many"
    )


def grid(images: np.ndarray, labels: Sequence[int], *, done: bool) -> str:
    """Digits by class, each a button that takes it as the style of the panel below.

    Args:
        images: uint8 (M, 28, 28).
        labels: their M classes, equal ones side by side.
        done: all have been drawn; until then the digits are no buttons.
    """
    classes = list(dict.fromkeys(labels))
    rows = [_row(label, images, labels, done=done) for label in classes]
    size = "vf-many" if len(classes) > 1 else "vf-few"
    state = "vf-drawn" if done else "vf-live"
    return f'<section class="vf-results {size} {state}" aria-label="Digits drawn">{"".join(rows)}</section>'


def _row(label: int, images: np.ndarray, labels: Sequence[int], *, done: bool) -> str:
    indices = [index for index, other in enumerate(labels) if other == label]
    cells = "".join(
        f"<li>{_digit(images[index], label, number, index, done=done)}</li>"
        for number, index in enumerate(indices, 1)
    )
    return (
        f'<div class="vf-class-row"><h2 class="vf-class"><span class="vf-sr">Class </span>{label}</h2>'
        f'<ol class="vf-cells">{cells}</ol></div>'
    )


def _digit(image: np.ndarray, label: int, number: int, index: int, *, done: bool) -> str:
    picture = f'<img src="{png_uri(image[..., None])}" alt="Digit {label}, sample {number}">'
    if not done:
        return picture
    return (
        f'<button type="button" class="vf-digit" data-action="style" data-index="{index}"'
        f' aria-label="Use digit {label}, sample {number}, as the style" title="Show as all ten digits">'
        f"{picture}</button>"
    )


def empty_panel() -> str:
    """Placeholder of the panel before any digit is given."""
    ghosts = "".join(f'<li class="vf-ghost"><span>{label}</span></li>' for label in range(10))
    text = "Draw a digit, upload an image, or click one above."
    return placeholder(f'<ol class="vf-tens">{ghosts}</ol>', "Ten digits in one handwriting.", text)


def prepared(image: np.ndarray, source: str, likeliest: Sequence[tuple[int, float]]) -> str:
    """The digit as the model sees it, uint8 (28, 28), and its likeliest classes (class, probability)."""
    bars = "".join(
        f'<li><span>{label}</span><i style="width: {100 * share:.1f}%"></i><b>{_percent(share)}</b></li>'
        for label, share in likeliest
    )
    return (
        f'<figure class="vf-prepared"><img src="{png_uri(image[..., None])}" alt="{escape(source)}, as the'
        f' model sees it: 28×28"><figcaption>As the model sees it</figcaption></figure>'
        f'<ol class="vf-likely" aria-label="Chance of each digit, by Bayes\' rule">{bars}</ol>'
    )


def all_ten(images: np.ndarray, label: int) -> str:
    """One style under all ten classes, uint8 (10, 28, 28); ``label`` is the class it came with."""
    items = "".join(
        f'<li{" class=vf-own" if other == label else ""}><img src="{png_uri(image[..., None])}"'
        f' alt="The style as a {other}"><span>{other}</span></li>'
        for other, image in enumerate(images)
    )
    return f'<ol class="vf-tens" aria-label="The style as all ten digits">{items}</ol>'


def _percent(share: float) -> str:
    if share > 0.995:
        return "> 99%" if share < 1 else "100%"
    return f"{100 * share:.0f}%" if share >= 0.01 else "< 1%"
