"""HTML of the tab Compress: the picture, and sizes as bars."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vflow.pipelines.video.export import heat

from ..shared.html import SHARP, heat_legend, placeholder, png_uri, reduced

if TYPE_CHECKING:
    from .job import Compressed, Restored, Size

PREVIEW = 640  # pixels of the longer side, at most
PHRASES = {"lossy": "has lost details already"}


def empty(text: str) -> str:
    """Placeholder before a result."""
    ghosts = '<div class="vf-ghost vf-ghost-wide"></div>' + '<div class="vf-ghost vf-ghost-line"></div>' * 4
    return placeholder(ghosts, "A file with the very same pixels appears here.", text)


def compressed(result: Compressed) -> str:
    """The picture and the bytes that each format takes."""
    largest = max(size.bytes for size in result.sizes if size.kind != "raw")
    raw = "three bytes a pixel" if result.frames.shape[-1] == 3 else "one byte a pixel"
    phrases = PHRASES | {"raw": raw}
    came = _came(result.sizes)
    rows = "".join(_row(size, largest, came, phrases.get(size.kind, "")) for size in result.sizes)
    lead, more = _lead(result.sizes), "more " if result.notes else ""  # than reading it has changed
    return (
        f'<section class="vf-results vf-compress{_sharp(result)}" aria-label="Compressed">'
        f'<p class="vf-lead">{lead} Decoding it gave the same pixels: nothing {more}is lost.</p>'
        f"{_figure(result) if result.costs is None else _pair(_figure(result), result.costs)}"
        '<table class="vf-sizes"><caption>Bytes on disk, headers included</caption>'
        '<thead><tr><th scope="col">Format</th><th scope="col">Compared with the largest</th>'
        f'<th scope="col">Bytes</th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="vf-note">{result.bits_per_dim:.3f} bits per value, of which a pixel has'
        f" {'three' if result.frames.shape[-1] == 3 else 'one'}.</p></section>"
    )


def restored(result: Restored) -> str:
    """The picture that a file held."""
    values = result.frames.size
    return (
        f'<section class="vf-results vf-compress{_sharp(result)}" aria-label="Restored">'
        f'<p class="vf-lead">{result.coded_bytes:,} bytes gave back {values:,}: '
        "the pixels as they were, checked frame by frame.</p>"
        f"{_figure(result)}</section>"
    )


def _lead(sizes: tuple[Size, ...]) -> str:
    """A sentence that says whether to keep the file, beside the one that came and other lossless formats."""
    ours = next(size.bytes for size in sizes if size.kind == "ours")
    came = _came(sizes)
    best = min((size for size in sizes if size.kind == "other"), key=lambda size: size.bytes)
    change = 1 - ours / best.bytes
    other = f"{abs(change):.0%} {'smaller' if change >= 0 else 'larger'} than {escape(best.label)}"
    name = escape(came.label.replace("Your", "your"))
    if ours < came.bytes:
        return f"<strong>{1 - ours / came.bytes:.0%} smaller than {name}</strong>, and {other}."
    times = f"{ours / came.bytes:.1f} times" if ours > 1.05 * came.bytes else "As large as"
    return f"<strong>{times} {name}: keep that.</strong> A lossless copy of its pixels, it is {other}."


def _came(sizes: tuple[Size, ...]) -> Size:
    """The file as it came."""
    return next(size for size in sizes if size.kind in ("given", "lossy"))


def _row(size: Size, largest: int, came: Size, phrase: str) -> str:
    remark = f"<small>{phrase}</small>" if phrase else ""
    share = max(100 * size.bytes / largest, 0.5)
    bar = "" if size.kind == "raw" else f'<i style="width: {share:.1f}%"></i>'  # it would dwarf the others
    times = f"{size.bytes / came.bytes:.2g} × {escape(came.label.replace('Your', 'your'))}"
    beside = "" if size is came or size.kind == "raw" else f"<small>{times}</small>"
    return (
        f'<tr class="vf-size-{size.kind}"><th scope="row">{escape(size.label)}{remark}</th>'
        f"<td>{bar}</td><td>{size.bytes:,}{beside}</td></tr>"
    )


def _figure(result: Compressed | Restored) -> str:
    picture = png_uri(reduced(result.frames[:1], PREVIEW)[0], result.profile)
    count, height, width = result.frames.shape[:3]
    kind = f"{width}×{height} pixels" + (f", {count} frames" if count > 1 else "")
    return f'<figure><img src="{picture}" alt="The image"><figcaption>{kind}</figcaption></figure>'


def _pair(figure: str, costs: np.ndarray) -> str:
    """The picture (HTML), and beside it the map of the file's bits."""
    height, width = costs.shape
    scale = min(1.0, PREVIEW / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    shown = cv2.resize(costs, size, interpolation=cv2.INTER_AREA)
    top = max(1.0, float(np.quantile(shown, 0.99)))
    legend = heat_legend(f"{top:.0f} or more bits a pixel")
    alt = f"Where the file's bits went, {costs.mean():.1f} a pixel on average: bright where they are many"
    return (
        f'<div class="vf-two">{figure}<figure><img src="{png_uri(heat(shown, top))}" alt="{alt}">'
        f"<figcaption>Where the file's bits went {legend}</figcaption></figure></div>"
    )


def _sharp(result: Compressed | Restored) -> str:
    return " vf-sharp" if max(result.frames.shape[1:3]) <= SHARP else ""
