"""Surprisal as files: arrays, a sheet of all frames with their maps, and a film of both."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from vflow.data import media
from vflow.pipelines.video.surprisal import Surprisal

TILE, GAP, LINE, COLUMNS, LONGEST = 128, 8, 20, 10, 60
INK, FLAG = (40, 37, 35), (180, 35, 24)
LEAST_TOP = 1.0
"""Bits per pixel: the ramp never ends below this, so that an unsurprising clip looks like one."""


def top_of(surprisal: Surprisal) -> float:
    """Bits per pixel at the bright end of the ramp: only one pixel in a thousand lies beyond."""
    top = float(np.quantile(surprisal.excess[surprisal.first :], 0.999))
    return max(LEAST_TOP, math.ceil(top) if top > 5 else math.ceil(2 * top) / 2)


def files(folder: Path, name: str) -> list[Path]:
    """``NAME.npz``, ``NAME.png`` and ``NAME.mp4`` in ``folder``."""
    return [folder / f"{name}.{suffix}" for suffix in ("npz", "png", "mp4")]


def write(folder: Path, name: str, surprisal: Surprisal, fps: float) -> list[Path]:
    """Write ``files(folder, name)``; returns their paths."""
    paths = files(folder, name)
    write_arrays(paths[0], surprisal)
    media.write_png(paths[1], sheet(surprisal))
    media.write_video(paths[2], film(surprisal), fps)
    return paths


def write_arrays(path: Path, surprisal: Surprisal) -> None:
    """Arrays as npz.

    ``maps`` float32 (T, H, W) and ``bits`` float64 (T,), NaN in frames that cannot be scored; ``frames``
    uint8 (T, H, W, C); ``flagged`` and ``out_of_order``, indices of frames; ``mean_map`` if it is known.
    """
    arrays = {
        "maps": surprisal.maps,
        "bits": surprisal.bits,
        "frames": surprisal.frames,
        "flagged": np.array(surprisal.flagged, np.int64),
        "out_of_order": np.array(surprisal.out_of_order[:2] if surprisal.out_of_order else (), np.int64),
    }
    if surprisal.statistics is not None:
        arrays["mean_map"] = surprisal.statistics.mean_map
    media.write_npz(path, **arrays)


def film(surprisal: Surprisal) -> np.ndarray:
    """Frames, and on their right the same in grey under the map: uint8 (T, H, 2 W + GAP, 3)."""
    color = np.repeat(surprisal.frames, 3 // surprisal.frames.shape[-1], -1)
    under = overlay_on(surprisal.frames, surprisal.excess, top_of(surprisal))
    return np.concatenate([color, np.full_like(color[:, :, :GAP], 255), under], 2)


def sheet(surprisal: Surprisal) -> np.ndarray:
    """Each frame above its map, with its number (from 1) and bits/dim, marked if flagged: uint8 (H, W, 3)."""
    top = top_of(surprisal)
    pairs = [_pair(surprisal, t, top) for t in range(min(len(surprisal.frames), LONGEST))]
    columns = min(COLUMNS, len(pairs))
    pairs += [np.full_like(pairs[0], 255)] * (-len(pairs) % columns)
    rows = [np.concatenate(pairs[i : i + columns], 1) for i in range(0, len(pairs), columns)]
    page = np.concatenate(rows)
    legend = _legend(surprisal, top, max(page.shape[1], 5 * TILE))
    page = np.pad(page, ((0, 0), (0, legend.shape[1] - page.shape[1]), (0, 0)), constant_values=255)
    return np.concatenate([page, legend])


def _pair(surprisal: Surprisal, t: int, top: float) -> np.ndarray:
    """Frame ``t`` above its map, whose ramp ends at ``top`` bits per pixel, and a caption."""
    color = np.repeat(surprisal.frames[t], 3 // surprisal.frames.shape[-1], -1)
    under = overlay_on(surprisal.frames[t : t + 1], surprisal.excess[t : t + 1], top)[0]
    height = max(1, round(TILE * color.shape[0] / color.shape[1]))
    tiles = [cv2.resize(x, (TILE, height), interpolation=cv2.INTER_NEAREST) for x in (color, under)]
    bits = surprisal.per_frame[t]
    marked = t in surprisal.flagged or t in (surprisal.out_of_order or ())[:2]
    if marked:
        for tile in tiles:
            cv2.rectangle(tile, (0, 0), (TILE - 1, height - 1), FLAG, 3)
    text = f"{t + 1}  {bits:.3f}" if math.isfinite(bits) else f"{t + 1}  given"
    caption = np.full((LINE, TILE, 3), 255, np.uint8)
    _write(caption, text + (" *" if marked else ""), FLAG if marked else INK)
    gap = np.full((GAP // 2, TILE, 3), 255, np.uint8)
    return np.pad(
        np.concatenate([*tiles, caption, gap]), ((GAP // 2, 0), (GAP // 2,) * 2, (0, 0)), constant_values=255
    )


def _legend(surprisal: Surprisal, top: float, width: int) -> np.ndarray:
    """The ramp, its ends in words, and the meaning of the marks."""
    band = np.full((2 * LINE + GAP, width, 3), 255, np.uint8)
    left = GAP // 2
    band[4 : LINE - 4, left : left + TILE] = heat_ramp(TILE)
    above = "" if surprisal.statistics is None else " above the validation mean"
    _write(band[:, TILE + GAP :], f"0 to {top:g} bits per pixel{above}", INK)
    if surprisal.statistics is None:
        said = "below a frame: bits/dim; no validation figures"
    else:
        beyond = f"beyond {100 * surprisal.quantile:g}% of validation frames ({surprisal.threshold:.3f})"
        said = f"below a frame: bits/dim; * {beyond}, or out of order"
    _write(band[LINE:, GAP // 2 :], said, INK)
    return band


def _write(band: np.ndarray, text: str, color: tuple[int, int, int]) -> None:
    view = np.ascontiguousarray(band)
    cv2.putText(view, text, (0, LINE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)
    band[:] = view


# Anchors of a perceptually even ramp.
_ANCHORS = np.array(
    [
        *((6, 4, 28), (52, 16, 92), (112, 31, 110), (170, 50, 92)),
        *((221, 81, 58), (247, 130, 22), (251, 187, 60), (252, 246, 180)),
    ]
)
CLEAR = 0.3
"""Part of the ramp, from its dark end, over which the overlay fades in."""


def heat(values: np.ndarray, top: float) -> np.ndarray:
    """Colors of ``values`` from 0 to ``top``: float (…) → uint8 (…, 3)."""
    return heat_ramp(256)[_steps(values, top)]


def overlay(values: np.ndarray, top: float) -> np.ndarray:
    """The same with opacity, clear at 0 so that a frame below shows: float (…) → uint8 (…, 4)."""
    steps = _steps(values, top)
    opacity = np.clip(steps / (255 * CLEAR), 0, 1) * 255
    return np.concatenate([heat_ramp(256)[steps], opacity.astype(np.uint8)[..., None]], -1)


def overlay_on(frames: np.ndarray, values: np.ndarray, top: float) -> np.ndarray:
    """Grey frames with the overlay of ``values``: uint8 (T, H, W, C) and float (T, H, W) → (T, H, W, 3)."""
    grey = np.repeat(frames.mean(-1, keepdims=True), 3, -1) * 0.6
    colors = overlay(values, top).astype(float)
    opacity = colors[..., 3:] / 255
    return np.round(grey * (1 - opacity) + colors[..., :3] * opacity).astype(np.uint8)


def heat_ramp(steps: int) -> np.ndarray:
    """``steps`` colours of the ramp: uint8 (steps, 3)."""
    at = np.linspace(0, len(_ANCHORS) - 1, steps)
    channels = [np.interp(at, range(len(_ANCHORS)), _ANCHORS[:, c]) for c in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def _steps(values: np.ndarray, top: float) -> np.ndarray:
    return np.clip(np.nan_to_num(values) / max(top, 1e-6) * 255, 0, 255).astype(np.uint8)
