"""Digits by class: drawing, restyling, classification. Noise is named by (seed, class, sample, level).

A class is drawn in chunks of one fixed size whose padding rows are its next samples, later thrown away, so
sample k of a class is the same bytes whatever the number of samples and whichever classes are drawn with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from vflow.config import ClassConditionalConfig
from vflow.data import media
from vflow.errors import ConfigError, InputError
from vflow.models import Sampled
from vflow.models.glow import Chains
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.common import (
    Counts,
    Temperature,
    as_array,
    config_of,
    device_of,
    draw_finite,
    image_nats,
    sample_noise,
    temperature_or_suggested,
    to_array,
)
from vflow.pipelines.digits.preprocess import prepare_digit as prepare_digit
from vflow.pipelines.runner import ShouldStop, Task, never
from vflow.tasks.digits.settings import ALL, DigitsSettings

if TYPE_CHECKING:
    from torch import nn

DIGITS_ARRAY = "digits"
"""Name of the array file, and of the item that is all of it."""
Images = Any
"""Pictures, uint8 (…, H, W), numpy or torch."""


class Chunk(NamedTuple):
    """Samples ``first`` … of a class, uint8 (n, H, W), and counts of faults."""

    label: int
    first: int
    images: np.ndarray
    counts: Counts

    @property
    def size(self) -> int:
        """Digits in it."""
        return len(self.images)


def digits_config(model: nn.Module) -> ClassConditionalConfig:
    """Configuration of ``model``.

    Raises:
        CheckpointError: the model does not draw digits.
    """
    return config_of(model, ClassConditionalConfig)


def label_classes(label: int | str, classes: int) -> tuple[int, ...]:
    """Classes that ``label`` stands for: itself, or every one for ``all``.

    Raises:
        ConfigError: no such class.
    """
    if str(label) == ALL:
        return tuple(range(classes))
    if str(label) not in map(str, range(classes)):
        raise ConfigError(f"label must be between 0 and {classes - 1}, or {ALL}, got {label}")
    return (int(label),)


def digits(
    model: nn.Module,
    label: int | str,
    *,
    num_samples: int = 8,
    temperature: Temperature | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Draw handwritten digits.

    Args:
        model: from ``vflow.load("digits")``.
        label: class 0..9, or ``"all"``: every class in order, ``num_samples`` of each.
        num_samples: how many, 1..10000.
        temperature: scale of the noise, 0..2; one number, or one per level, fine to coarse. None: as the
            checkpoint suggests (``model.config.temperature``); 1 draws from the model's own distribution.
        seed: names the noise.

    Returns:
        uint8 (N, 28, 28); (10 N, 28, 28) for all classes.

    Raises:
        ConfigError: a setting is out of range. InputError: a sample stays non-finite after 8 redraws.
        CheckpointError: the model does not draw digits.

    Examples:
        >>> vflow.digits(vflow.load("digits"), 7, num_samples=2).shape
        (2, 28, 28)
    """
    config = digits_config(model)
    settings = DigitsSettings.of(
        num_samples=num_samples, temperature=temperature_or_suggested(temperature, config), seed=seed
    )
    labels = label_classes(label, config.classes)
    return np.concatenate([chunk.images for chunk in DRAW_DIGITS.iterate(model, labels, settings)])


class DrawDigits(Task[DigitsSettings, tuple[int, ...], Chunk]):
    """Digits of each class in turn, chunk by chunk: an item per class with a png each, or an array of all."""

    unit = "digit"

    def items(self, model: nn.Module, settings: DigitsSettings) -> list[Item]:
        labels = label_classes(settings.label, digits_config(model).classes)
        names = [DIGITS_ARRAY] if settings.format == "npz" else map(str, labels)
        return [Item(name, ()) for name in names]

    def told_by_items(self, settings: DigitsSettings) -> Sequence[str]:
        return () if settings.format == "npz" else ("label",)  # an array depends on the classes in it

    def read(self, model: nn.Module, item: Item, settings: DigitsSettings) -> tuple[int, ...]:
        label = settings.label if item.name == DIGITS_ARRAY else item.name
        return label_classes(label, digits_config(model).classes)

    def iterate(
        self,
        model: nn.Module,
        given: Sequence[int],
        settings: DigitsSettings,
        should_stop: ShouldStop = never,
    ) -> Iterator[Chunk]:
        rows = digits_config(model).rows
        chains = cast(Any, model).flow.with_cached_inverse()
        for label in given:
            for first in range(0, settings.num_samples, rows):
                if should_stop():
                    return
                wanted = min(rows, settings.num_samples - first)
                images, counts = _chunk(model, chains, label, first, wanted, settings)
                yield Chunk(label, first, images, counts)

    def write(
        self, folder: Path, given: Sequence[int], results: Iterable[Chunk], settings: DigitsSettings
    ) -> None:
        if settings.format == "npz":
            chunks = list(results)
            media.write_npz(
                folder / f"{DIGITS_ARRAY}.npz",
                images=np.concatenate([chunk.images for chunk in chunks]),
                labels=np.concatenate([np.full(chunk.size, chunk.label) for chunk in chunks]),
            )
            return
        for chunk in results:
            for sample, image in enumerate(chunk.images, chunk.first):
                media.write_png(folder / f"s{sample:03d}.png", image)

    def total(self, given: Sequence[int], settings: DigitsSettings) -> int:
        return len(given) * settings.num_samples


DRAW_DIGITS = DrawDigits()


@torch.no_grad()
def _chunk(
    model: Any, chains: Chains, label: int, first: int, wanted: int, settings: DigitsSettings
) -> tuple[np.ndarray, Counts]:
    rows = model.config.rows
    given = torch.full((rows,), label, device=device_of(model))
    temperature = settings.levels(len(model.latent_shapes))
    key, samples = (settings.seed, "digits", label), range(first, first + rows)

    def attempt(attempts: Sequence[int]) -> tuple[None, Sampled]:
        noise = sample_noise(model, key, samples, attempts=attempts)
        return None, model.decode(noise, given, temperature, chains)

    _, sampled, counts = draw_finite(
        attempt, wanted, lambda row: f"sample {first + row + 1} of class {label}", rows
    )
    return to_array(sampled.frame[:wanted])[..., 0], counts


@torch.no_grad()
def restyle(model: Any, image: Images, label: int) -> np.ndarray:
    """Style transfer to every class: the noise of ``image`` under its class, decoded under each.

    Args:
        image: uint8 (28, 28), as ``prepare_digit`` makes it.
        label: its class; under that one, the picture itself comes back.

    Returns:
        uint8 (10, 28, 28).

    Raises:
        ConfigError: no such class. InputError: not such a picture, or one too unlike digits to be decoded.
    """
    config, device = digits_config(model), device_of(model)
    rows = config.rows
    own = label_classes(label, config.classes)
    if len(own) > 1:
        raise ConfigError(f"label: give the one class of the image, 0 to {config.classes - 1}")
    picture = _pictures(model, image)[:1].expand(rows, -1, -1, -1).to(device)
    eps = model.encode(picture, torch.full((rows,), own[0], device=device))
    padded = torch.arange(config.classes + -config.classes % rows, device=device)
    chains = model.flow.with_cached_inverse()
    decoded = [
        model.decode(eps, given.clamp_max(config.classes - 1), (1.0,) * len(eps), chains)
        for given in padded.split(rows)
    ]
    if any(int(sampled.nonfinite.sum()) for sampled in decoded):
        raise InputError("the image is too unlike a digit of its class; choose another class or image")
    return to_array(torch.cat([sampled.frame for sampled in decoded]))[: config.classes, ..., 0]


def classify(model: nn.Module, images: Images, *, draws: int = 1, seed: int = 0) -> np.ndarray:
    """Probability of each class by Bayes' rule, p(y | x) ∝ p(x | y), all classes being as likely before.

    Args:
        images: uint8 (…, 28, 28).
        draws: K of the bound on p(x | y); the noise is the same for every class.

    Returns:
        float64 (…, 10).

    Raises:
        InputError: not such pictures, or one without a finite likelihood. CheckpointError: the model does not
            draw digits.
    """
    nats = log_likelihoods(model, images, draws=draws, seed=seed)
    if not np.isfinite(nats.max(-1)).all():
        raise InputError("the image is unlike every digit that the model knows; choose another image")
    shares = np.exp(nats - nats.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def bits(
    model: nn.Module, images: Images, labels: Sequence[int] | np.ndarray, *, draws: int = 1, seed: int = 0
) -> np.ndarray:
    """Upper bound on −log₂ p(x | y) per dimension of each picture, float64 (B,).

    Args:
        images: uint8 (B, 28, 28), of the classes ``labels`` (B,).
        draws: K of the importance-weighted bound over the dequantisation noise.

    Raises:
        InputError: not such pictures, or not a class for each. CheckpointError: the model draws no digits.
    """
    classes = digits_config(model).classes
    pictures, given = _pictures(model, images), torch.as_tensor(labels).long().reshape(-1)
    if len(given) != len(pictures) or not bool(((given >= 0) & (given < classes)).all()):
        raise InputError(
            f"labels: {len(given)} for {len(pictures)} images; give one from 0 to {classes - 1} for each"
        )
    return -image_nats(model, pictures, given, draws, seed) / (math.log(2) * pictures[0].numel())


def log_likelihoods(model: nn.Module, images: Images, *, draws: int = 1, seed: int = 0) -> np.ndarray:
    """Lower bound on log p(x | y) in nats for every class y: float64 (…, 10) of uint8 (…, 28, 28)."""
    classes = digits_config(model).classes
    images = as_array(images, "images")
    pictures = _pictures(model, images)
    columns = [
        image_nats(model, pictures, torch.full((len(pictures),), label), draws, seed)
        for label in range(classes)
    ]
    return np.stack(columns, -1).reshape(*images.shape[:-2], classes)


def _pictures(model: Any, images: Images) -> Tensor:
    """uint8 (B, 1, H, W) in memory of the CPU.

    Raises:
        InputError: another size or type.
    """
    glow = digits_config(model).glow
    array = as_array(images, "images")
    if array.dtype != np.uint8 or array.shape[-2:] != (glow.height, glow.width) or array.size == 0:
        shape = "×".join(map(str, array.shape))
        raise InputError(
            f"digits of {array.dtype} {shape}: the model takes uint8 images {glow.height}×{glow.width}; "
            "prepare_digit makes one of any image"
        )
    return torch.from_numpy(np.array(array, order="C")).reshape(-1, 1, glow.height, glow.width)
