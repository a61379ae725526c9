"""Parts that pipelines share: settings, precision and threads, chunks of samples, files beside weights."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

import vflow
from vflow.catalog import shipped
from vflow.checkpoint import checkpoint_folder, checkpoint_hash
from vflow.checksum import serialize_tensors, verify_tensors
from vflow.config import (
    ClassConditionalConfig,
    ColorizerConfig,
    DensityConfig,
    NowcastConfig,
    SuperResolutionConfig,
    VideoConfig,
)
from vflow.config.ranges import (
    MAX_TEMPERATURE,
    check_range,
    check_threads,
)
from vflow.data.media import atomic_write, check_mode
from vflow.devices import warn_if_emulated
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import ImageBatch, Sampled, configuration
from vflow.models.glow import Shapes
from vflow.randomness import Key, content_hash, normal
from vflow.registry import families

if TYPE_CHECKING:
    from torch import nn

C = TypeVar(
    "C",
    VideoConfig,
    ClassConditionalConfig,
    ColorizerConfig,
    SuperResolutionConfig,
    NowcastConfig,
    DensityConfig,
)
State = TypeVar("State")
Temperature = float | tuple[float, ...]

CHUNK = 8
"""Rows of every computation: padded to it, sample k is the same bytes whatever the number of samples."""
MAX_REDRAWS = 8
DEFAULT_FPS = 10.0
"""Frames per second of films that do not say theirs."""
BATCH = 32
"""Images whose likelihood is computed in one pass."""


def config_of(model: nn.Module, kind: type[C]) -> C:
    """Configuration of ``model``, a ``kind``.

    Raises:
        CheckpointError: the model is of another kind, or no model.
    """
    config: C = family_config(model, kind.family)
    return config


def family_config(model: nn.Module, family: str, *others: str) -> Any:
    """Configuration of ``model``, of a ``family`` or of ``others``; raises as ``config_of``."""
    config = configuration(model)
    if config.family not in (family, *others):
        remedy = ", such as ".join([f"choose a checkpoint of kind {family}", *shipped([family])[:1]])
        raise CheckpointError(f"a model of kind {config.kind} does not {families()[family].does}; {remedy}")
    return config


def resolve_dtype(name: str = "auto") -> str:
    """``float32`` for ``auto``: encode-then-decode with bfloat16 conditioners comes back grey levels off."""
    if name not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"--dtype {name}: choose auto, float32 or bfloat16")
    return "float32" if name == "auto" else name


def precision(dtype: str, device: torch.device) -> AbstractContextManager[object]:
    """Context in which conditioner networks run in ``dtype``; flow arithmetic stays in float32."""
    if resolve_dtype(dtype) == "float32":
        return nullcontext()
    warn_if_emulated(device)
    return torch.autocast(device.type, torch.bfloat16)


def set_threads(count: int | None) -> int:
    """Limit torch to ``count`` threads (None: leave it) and return how many it uses.

    Raises:
        ConfigError: ``count`` is below 1 or beyond four times the processors.
    """
    if count is not None:
        check_threads(count)
        torch.set_num_threads(count)
    return torch.get_num_threads()


def versions() -> dict[str, str]:
    """Versions on which the bytes of an output depend."""
    return {
        "vflow": vflow.__version__,
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def device_of(model: nn.Module) -> torch.device:
    """Device of the model's parameters."""
    return next(model.parameters()).device


def as_array(value: Any, name: str) -> np.ndarray:
    """Array of a caller's argument: numpy, torch, a picture of Pillow, or a list of these or of numbers.

    Raises:
        InputError: it is something else, such as a path, or a list of arrays of several shapes.
    """
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, str | os.PathLike):
            raise InputError(f"{name}: a path; read it first, by read_clip or read_image of vflow.data.media")
        check_mode(item, name)
    try:
        several = isinstance(value, list | tuple)
        array = np.asarray([_plain(item) for item in value] if several else _plain(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name}: cannot be made an array ({error}); give one, numpy or torch") from error
    if array.ndim == 0:
        raise InputError(f"{name}: is of type {type(value).__name__}; give an array, numpy or torch")
    return array


def _plain(value: Any) -> Any:
    """A tensor as an array, bfloat16 as float32; all else as it is."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def to_array(frames: Tensor) -> np.ndarray:
    """uint8 (B, C, H, W) tensor → uint8 (B, H, W, C) array."""
    return frames.permute(0, 2, 3, 1).cpu().numpy()


def evenly_spaced(available: int, count: int) -> list[int]:
    """``count`` indices evenly spaced over ``available`` examples, or all of them."""
    return np.linspace(0, available - 1, min(count, available)).astype(int).tolist()


def temperature_or_suggested(given: Temperature | list[float] | None, config: Any) -> Temperature:
    """``given``, or where it is None what the model of this ``config`` suggests for its samples.

    A list, as JSON and YAML have it, becomes a tuple.
    """
    suggested: Temperature = config.temperature
    if given is None:
        return suggested
    return tuple(given) if isinstance(given, list) else given


def temperature_text(temperature: float | tuple[float, ...]) -> str:
    """Text that ``--temperature`` takes, ``"0.7,0.8,1"``."""
    values = temperature if isinstance(temperature, tuple) else (temperature,)
    return ",".join(f"{t:g}" if float(f"{t:g}") == t else repr(t) for t in values)


def check_temperature(temperature: Temperature | list[float]) -> None:
    """Refuse temperatures out of range.

    Raises:
        ConfigError: one is not a number in 0..2.
    """
    for value in temperature if isinstance(temperature, tuple | list) else (temperature,):
        check_range("temperature", value, 0, MAX_TEMPERATURE)


class Counts(NamedTuple):
    """Counts of sampled values, before any redraw or clamp."""

    values: int = 0
    nonfinite: int = 0
    out_of_range: int = 0
    redrawn: int = 0

    @classmethod
    def of(cls, sampled: Sampled) -> Self:
        """Counts of all images of ``sampled``, none of which was redrawn."""
        return cls(sampled.raw.numel(), int(sampled.nonfinite.sum()), int(sampled.out_of_range.sum()))

    def plus(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


def draw_finite(
    draw: Callable[[Sequence[int]], tuple[State, Sampled]],
    wanted: int,
    name: Callable[[int], str],
    rows: int = CHUNK,
) -> tuple[State, Sampled, Counts]:
    """Draw a chunk whose first ``wanted`` rows are finite.

    Args:
        draw: given how often each of the ``rows`` was drawn before, which names its noise, returns what comes
            with the samples (None, a rollout) and the samples.
        name: of a row, for the error.

    Raises:
        InputError: a row stays non-finite after 8 redraws.
    """
    attempts = [0] * rows
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
        f"{name(bad[0])} is not finite after {MAX_REDRAWS} redraws; lower the temperature or change the "
        "seed; if training diverged, use an earlier checkpoint"
    )


def sample_noise(
    model: Any,
    key: tuple[Key, ...],
    samples: Sequence[int],
    t: int = 0,
    attempts: Sequence[int] | None = None,
    shapes: Shapes | None = None,
) -> tuple[Tensor, ...]:
    """Standard-normal noise of frame ``t`` of samples, per level (B, C, h, w), on the model's device.

    Named by (``key``, sample, t, level), and for a sample drawn before by its number in ``attempts``, too.

    Args:
        shapes: of each level's noise; None: those of the trained size.
    """
    names = list(zip(samples, attempts or [0] * len(samples), strict=True))
    device = device_of(model)
    return tuple(
        torch.stack([
            normal(shape, *key, sample, t, level, *(("redraw", attempt) if attempt else ()))
            for sample, attempt in names
        ]).to(device)
        for level, shape in enumerate(shapes or model.latent_shapes)
    )  # fmt: skip


def augmented_noise(config: VideoConfig, count: int, *key: Key) -> Tensor | None:
    """Standard-normal noise of the augmented dimensions of frames, (count, D); None where there are none."""
    return normal((count, config.augmented), "augmented", *key) if config.augmented else None


def log_mean_exp(terms: Sequence[Tensor]) -> Tensor:
    """log mean_k exp(term_k): importance-weighted bound from the bounds of K draws (Burda et al. 2016)."""
    return torch.logsumexp(torch.stack(list(terms)), 0) - math.log(len(terms))


@torch.no_grad()
def image_nats(model: Any, images: Tensor, condition: Tensor, draws: int, seed: int) -> np.ndarray:
    """Lower bound on log p(x | y), y the condition, in nats: log mean_k p(x + u_k | y) / q(u_k | x), (B,).

    The image names the noise, not the condition.

    Args:
        images: uint8 (B, C, H, W). condition: as ``ImageBatch`` has it. draws: K.

    Raises:
        ConfigError: ``draws`` is less than 1.
    """
    if draws < 1:
        raise ConfigError(f"draws must be at least 1, got {draws}")
    device, found = device_of(model), []
    for x, y in zip(images.split(BATCH), condition.split(BATCH), strict=True):
        names = [content_hash(image) for image in x.numpy()]
        features, terms = model.features(y.to(device)), []
        for draw in range(draws):
            eps = torch.stack([normal(x.shape[1:], "score", seed, name, draw, 0) for name in names])
            batch = ImageBatch(x.to(device), y.to(device), eps.to(device), features=features)
            terms.append(model(batch).double().cpu())
        found.append(log_mean_exp(terms))
    return torch.cat(found).numpy()


@dataclass(frozen=True)
class Sidecar:
    """A kind of file that lies beside a checkpoint's weights and is bound to them by their hash.

    Attributes:
        file: its name.
        script: the script that makes it, with its arguments but for the checkpoint.
    """

    file: str
    script: str

    def save(self, folder: str | Path, tensors: Mapping[str, Tensor], about: str) -> Path:
        """Write the file, with its digest, into the checkpoint in ``folder``; returns its path."""
        path = Path(folder) / self.file
        metadata = {"checkpoint": checkpoint_hash(folder), "about": about}
        with atomic_write(path) as temporary:
            temporary.write_bytes(serialize_tensors(tensors, metadata))
        return path

    def find(self, name: str | Path) -> Path | None:
        """Path of the file beside the checkpoint ``name``, or None if there is none.

        Raises:
            CheckpointError: no such checkpoint.
        """
        path = checkpoint_folder(name, allow_hub=True) / self.file
        return path if path.is_file() else None

    def about(self, path: Path) -> str:
        """The file's own words on what it was computed from.

        Raises:
            CheckpointError: the file is damaged, or was made with other weights than lie beside it.
        """
        metadata = verify_tensors(path)
        if metadata.get("checkpoint") != checkpoint_hash(path.parent):
            raise CheckpointError(f"{path}: made with other weights; {self.remedy(path)}")
        return metadata.get("about", "")

    def remedy(self, path: Path) -> str:
        """Remedy for a file that does not fit, as errors end."""
        return f"delete it, or run: python {self.script} --checkpoint {path.parent}"
