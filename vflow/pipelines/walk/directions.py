"""Principal directions of a model's noise ε over a data set: computed once, stored beside the weights.

``directions.safetensors`` holds, for each level and for all of them together, the directions along which ε
varies most, the variance along each, and the variance in all. It is checked like the weights when it is read,
and bound to them by their hash; the checkpoint's own hash does not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vflow.catalog import CONFIG, DIRECTIONS
from vflow.checkpoint import read_header, read_tensors
from vflow.config import DataConfig, VideoConfig
from vflow.data.datasets.registry import open_image_dataset, open_video_dataset
from vflow.errors import CheckpointError, ConfigError
from vflow.pipelines.common import Sidecar, augmented_noise, device_of, evenly_spaced
from vflow.pipelines.walk.space import flatten

SIDECAR = Sidecar(DIRECTIONS, "scripts/directions.py --config PRESET")
COUNT = 8
BATCH = 16
MAX_BYTES = 1_000_000
"""Of all directions in a file: where one level has too many numbers, it gets fewer directions, or none."""
LEAST = 0.1
"""Total variance below which nothing is left open: a model is sure of its frames."""
ALL = "all"


@dataclass(frozen=True)
class Principal:
    """Directions of one level, most variance first.

    Attributes:
        vectors: float32 (k, D), each of length 1.
        variance: float32 (k,), of ε along each, over the data set.
        total: variance of ε in all D numbers together.
    """

    vectors: Tensor
    variance: Tensor
    total: float

    @property
    def explained(self) -> tuple[float, ...]:
        """Share of the variance along each direction."""
        return tuple(float(v) / max(self.total, 1e-12) for v in self.variance)


@dataclass(frozen=True)
class Directions:
    """By level ("0" is the finest; "all": all levels side by side). ``about`` tells what they come from."""

    levels: Mapping[str, Principal]
    about: str = ""

    def at(self, level: int | None, count: int) -> Principal:
        """Directions of one of ``count`` levels (negative: from the coarsest), or of all together.

        Raises:
            ConfigError: there is no such level, or nothing varies in it.
        """
        if level is not None and not -count <= level < count:
            raise ConfigError(f"level must be between {-count} and {count - 1}, got {level}")
        key = ALL if level is None else str(level % count)
        if key not in self.levels:
            raise ConfigError(f"no directions for level {key}; there are some for {', '.join(self.levels)}")
        return self.levels[key]


def encode_examples(
    model: Any,
    data: DataConfig,
    count: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Tensor]:
    """Noise of ``count`` training examples, evenly spaced over the data set: per level (N, C, h, w).

    Of clips the noise of a frame given no more than the model needs, as walks encode it; of photos given no
    hints. Pixels are taken without dequantisation noise, so that no other noise is mixed in; augmented
    dimensions have theirs, which is a part of their spread.

    Args:
        progress: told (done, of how many).
    """
    encode = _encode_clips if isinstance(model.config, VideoConfig) else _encode_images
    noise = [[level.cpu() for level in eps] for eps in encode(model, data, count, progress)]
    return [torch.cat(levels) for levels in zip(*noise, strict=True)]


def _encode_clips(
    model: Any, data: DataConfig, count: int, progress: Callable[[int, int], None]
) -> Iterator[Sequence[Tensor]]:
    examples = open_video_dataset(
        data.model_copy(update={"frames": model.config.min_context + 1}), model.config, "train"
    )
    for rows in _batches(len(examples), count, progress):
        clips = np.stack([examples.example(i, (0,)) for i in rows])
        frames = torch.from_numpy(clips.transpose(0, 1, 4, 2, 3).copy()).to(device_of(model))
        augmented = augmented_noise(model.config, len(rows), "directions", rows[0])
        eps = None if augmented is None else augmented.to(frames.device)
        yield model.encode_frame(model.start(frames[:, :-1]), frames[:, -1], augmented_eps=eps)


def _encode_images(
    model: Any, data: DataConfig, count: int, progress: Callable[[int, int], None]
) -> Iterator[Sequence[Tensor]]:
    examples, device = open_image_dataset(data, model.config, "train"), device_of(model)
    for rows in _batches(len(examples), count, progress):
        some = [examples.example(i, (0, 0)) for i in rows]
        images = torch.from_numpy(np.stack([e.image for e in some]).transpose(0, 3, 1, 2).copy())
        condition = torch.from_numpy(np.stack([e.condition for e in some]))
        if condition.ndim == 4:
            condition[:, 1:] = 0
        yield model.encode(images.to(device), condition.to(device))


def _batches(available: int, count: int, progress: Callable[[int, int], None]) -> Iterator[list[int]]:
    rows = evenly_spaced(available, count)
    for first in range(0, len(rows), BATCH):
        yield rows[first : first + BATCH]
        progress(min(first + BATCH, len(rows)), len(rows))


def principal_directions(levels: Sequence[Tensor], *, count: int = COUNT, about: str = "") -> Directions:
    """Principal directions of examples' noise: per level (N, C, h, w), N at least 2.

    Examples count alike, however long their vectors (spherical components: Locantore et al. 1999): a few odd
    examples would otherwise be directions of their own. They are found from the N × N products of examples,
    so memory is N · D + N², and no noise is drawn.
    """
    fits = MAX_BYTES // (len(levels) + 1)
    found = {}
    for key, x in [*((str(i), level.flatten(1)) for i, level in enumerate(levels)), (ALL, flatten(levels))]:
        k = min(count, len(x) - 1, x.shape[1], fits // (2 * x.shape[1]))
        if k > 0 and float(x.var(0).sum()) > LEAST:
            found[key] = _principal(x.cpu().float(), k)
    return Directions(found, about)


def _principal(x: Tensor, count: int) -> Principal:
    x = x - x.mean(0)
    alike = x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)
    _, mixtures = torch.linalg.eigh((alike @ alike.T).double())
    vectors = (alike.T @ mixtures.flip(1)[:, :count].float()).T
    vectors = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
    variance = (x @ vectors.T).square().sum(0) / (len(x) - 1)
    order = variance.argsort(descending=True, stable=True)
    vectors = vectors[order]
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return Principal(vectors * largest.sign(), variance[order], float(x.square().sum()) / (len(x) - 1))


def save_directions(folder: str | Path, directions: Directions) -> Path:
    """Write the directions of the checkpoint in ``folder``; returns the file."""
    tensors = {}
    for key, principal in directions.levels.items():
        tensors[f"{key}.vectors"] = principal.vectors.cpu().half().contiguous()
        tensors[f"{key}.variance"] = principal.variance.cpu().float().contiguous()
        tensors[f"{key}.total"] = torch.tensor([principal.total])
    return SIDECAR.save(folder, tensors, directions.about)


def load_directions(name: str | Path, model: Any) -> Directions | None:
    """Directions stored beside the checkpoint ``name`` of ``model``; None if there are none.

    Args:
        name: as for ``vflow.load``.
        model: from there.

    Raises:
        CheckpointError: no such checkpoint, or the file is damaged or belongs to other weights.

    Examples:
        >>> model = vflow.load("digits")
        >>> settings = vflow.WalkSettings(steps=3, label=8)
        >>> vflow.walk(model, (), settings, directions=vflow.load_directions("digits", model)).positions
        (-3.0, 0.0, 3.0)
    """
    path = SIDECAR.find(name)
    if path is None:
        return None
    sizes = {str(i): math.prod(shape) for i, shape in enumerate(model.latent_shapes)}
    sizes[ALL] = sum(sizes.values())
    keys = _checked(path, sizes)
    tensors, about = read_tensors(path), SIDECAR.about(path)
    found = {}
    for key in keys:
        vectors = tensors[f"{key}.vectors"].float()
        vectors = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
        found[key] = Principal(vectors, tensors[f"{key}.variance"], float(tensors[f"{key}.total"]))
    return Directions(found, about)


def _checked(path: Path, sizes: Mapping[str, int]) -> list[str]:
    """Levels in the file, in the model's order, once names, types and shapes are those of the model."""
    header = read_header(path)
    observed = {f"{key}.{part}" for key in sizes for part in ("vectors", "variance", "total")}
    problems = [f"tensor '{name}' is unknown" for name in header if name not in observed]
    keys = [key for key in sizes if any(name.startswith(f"{key}.") for name in header)]
    for key in keys:
        shape = header.get(f"{key}.vectors", ("", ()))[1]
        k = shape[0] if shape else 0
        wanted = {
            "vectors": ("float16", (k, sizes[key])),
            "variance": ("float32", (k,)),
            "total": ("float32", (1,)),
        }
        for part, form in wanted.items():
            if header.get(f"{key}.{part}") != form or not 1 <= k <= COUNT:
                has = header.get(f"{key}.{part}", "missing")
                problems.append(f"tensor '{key}.{part}' is {has}, {CONFIG} needs {form}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(f"{path}: {problems[0]}{more}; {SIDECAR.remedy(path)}")
    return keys
