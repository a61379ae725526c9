"""Statistics of surprisal over a model's validation clips, against which a clip is surprising or not.

``scripts/clip_statistics.py`` computes them once and stores them beside the weights as
``statistics.safetensors``, with a digest and bound to the weights by their hash; the checkpoint's own hash
does not depend on the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vflow.catalog import CONFIG, STATISTICS
from vflow.checkpoint import read_header, read_tensors
from vflow.errors import CheckpointError
from vflow.pipelines.common import Sidecar
from vflow.pipelines.video.preprocess import video_config

if TYPE_CHECKING:
    from torch import nn

SIDECAR = Sidecar(STATISTICS, "scripts/clip_statistics.py --data FOLDER")
MOST = 1 << 16
"""Values of a kind that a file may hold."""


@dataclass(frozen=True)
class ClipStatistics:
    """Statistics of validation clips.

    Attributes:
        mean_map: bits of each pixel, mean over frames, float32 (H, W).
        frames: bits/dim of each frame, float32 (N,), rising.
        frame_swaps: bits that the best swap of two frames saves, of each clip, float32 (M,), rising.
        about: what they come from.
    """

    mean_map: np.ndarray
    frames: np.ndarray
    frame_swaps: np.ndarray
    about: str = ""

    @property
    def mean(self) -> float:
        """Bits/dim of a frame."""
        return float(self.frames.mean(dtype=np.float64))

    def frame_quantile(self, q: float) -> float:
        """Bits/dim that a share ``q`` of frames does not exceed."""
        return float(np.quantile(self.frames, q))

    def frame_swap_quantile(self, q: float) -> float:
        """Bits that the best frame swap does not exceed in a share ``q`` of clips."""
        return float(np.quantile(self.frame_swaps, q))


def save_clip_statistics(folder: str | Path, statistics: ClipStatistics) -> Path:
    """Write statistics beside the checkpoint in ``folder``; returns the file."""
    tensors = {
        "mean_map": torch.from_numpy(statistics.mean_map),
        "frames": torch.from_numpy(statistics.frames),
        "frame_swaps": torch.from_numpy(statistics.frame_swaps),
    }
    return SIDECAR.save(folder, tensors, statistics.about)


def load_clip_statistics(name: str | Path, model: nn.Module) -> ClipStatistics | None:
    """Statistics stored beside the checkpoint ``name`` of ``model``; None if there are none.

    Args:
        name: as for ``vflow.load``.
        model: from there.

    Raises:
        CheckpointError: no such checkpoint, or the file is damaged or belongs to other weights.

    Examples:
        >>> vflow.load_clip_statistics("push", vflow.load("push")).mean_map.shape
        (64, 64)
    """
    path = SIDECAR.find(name)
    if path is None:
        return None
    glow = video_config(model).glow
    _check(path, (glow.height, glow.width))
    arrays = {key: value.numpy() for key, value in read_tensors(path).items()}
    about = SIDECAR.about(path)
    for key in ("frames", "frame_swaps"):
        arrays[key].sort()
    return ClipStatistics(**arrays, about=about)


def _check(path: Path, size: tuple[int, int]) -> None:
    """Check that names, types and shapes are those of the model.

    Raises:
        CheckpointError: one is not.
    """
    header = read_header(path)
    if set(header) != {"mean_map", "frames", "frame_swaps"}:
        raise CheckpointError(f"{path}: holds other tensors than it should; {SIDECAR.remedy(path)}")
    for key, (kind, shape) in header.items():
        fits = shape == size if key == "mean_map" else len(shape) == 1 and 1 <= shape[0] <= MOST
        if kind != "float32" or not fits:
            what = f"tensor '{key}' is {kind} {shape}, which {CONFIG} does not allow"
            raise CheckpointError(f"{path}: {what}; {SIDECAR.remedy(path)}")
