"""Data of an evaluation: held-out examples, and training data for baselines and tuning."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vflow.config import (
    ClassConditionalConfig,
    ColorizerConfig,
    DataConfig,
    SuperResolutionConfig,
    VideoConfig,
)
from vflow.data.datasets import bair, shapes
from vflow.data.datasets.digits import DIGIT
from vflow.data.datasets.folder import VideoFolder
from vflow.data.datasets.photos import PhotoPairs, Photos, PhotoSet
from vflow.data.datasets.registry import DIGITS, open_video_dataset
from vflow.data.datasets.splits import Split
from vflow.data.datasets.types import VideoDataset
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.pipelines.common import evenly_spaced
from vflow.pipelines.evaluate.report import Settings
from vflow.registry import folder_dataset, suitable_datasets

HELD_OUT = ("test", "val", "valid", "validation")
GENERATED = ("shapes", "moving-digits", "digits")
LONGEST = 32
"""Frames of a clip that are scored at most."""
NUM_FRAMES = 10
"""Frames of a clip that are predicted, where it has so many."""
USUAL_CLIPS = 64
FEWER_FRAMES = "lower --num-frames or --context, or give longer clips"
NO_VALIDATION = "validation data are part of the training data: name their folder with --train"


class Places(NamedTuple):
    """Places of a data set's splits; generated data have a name, and splits of their own."""

    name: str
    test: str | None
    train: str | None

    def folder(self, split: Split) -> str:
        """Folder that holds ``split``: validation data are part of the training data.

        Raises:
            ConfigError: there are no training data.
        """
        path = self.test if split == "test" else self.train
        if path is None:
            raise ConfigError(NO_VALIDATION)
        return path


def locate(settings: Settings, kind: str) -> Places:
    """Find ``settings.data``: a name of generated data, a folder, or one in ``VFLOW_DATA``.

    A folder with ``train`` beside ``test`` (or ``val``) inside holds both; of a folder ``test``, the training
    data are the ``train`` next to it, if there is one.

    Raises:
        ConfigError: no such data, or data for another kind of model. InputError: training data alone.
    """
    data = settings.data
    if data in GENERATED:
        _require(data, kind)
        if settings.train:
            raise ConfigError(f"--train {settings.train}: {data} are always generated; leave it out")
        return Places(data, None, None)
    path = _existing("--data", data, f"give one, or {', '.join(GENERATED)}")
    name = folder_dataset(kind)
    if kind == "videoflow" and next(path.rglob("*.tfrecord*"), None):
        name = "bair"
    remedy = "give one that exists, or leave it out"
    train = _existing("--train", settings.train, remedy) if settings.train else None
    if path.is_file() or name == "digits":
        return Places(name, str(path), str(train) if train else None)
    test, beside = _parts(path)
    train = train or beside
    return Places(name, str(test), str(train) if train else None)


def _require(data: str, kind: str) -> None:
    if data not in (names := suitable_datasets(kind)):
        raise ConfigError(
            f"--data {data}: not for a model of kind {kind}; give {' or '.join(names)}, or a folder"
        )


def _existing(flag: str, data: str, remedy: str) -> Path:
    root = os.environ.get("VFLOW_DATA")
    places = [Path(data), *([Path(root) / data] if root else [])]
    for path in places:
        if path.exists():
            return path
    raise ConfigError(f"{flag} {data}: no such folder, here or in VFLOW_DATA; {remedy}")


def _parts(path: Path) -> tuple[Path, Path | None]:
    """Held-out and training folders of ``path``."""
    inner = next((path / name for name in HELD_OUT if (path / name).is_dir()), None)
    if (path / "train").is_dir():
        if inner is None:
            raise InputError(f"{path}: holds 'train' but no 'test'; give the folder of held-out data")
        return inner, path / "train"
    if path.name in HELD_OUT and (path.parent / "train").is_dir():
        return path, path.parent / "train"
    return path, None


@dataclass(frozen=True)
class Clips:
    """Clips of one data set.

    Attributes:
        held: what is scored.
        train: what baselines are fitted to; None where there is no training data.
        frames: of every clip that is scored. context: of them given.
        num_frames: of them predicted. Clips of ``train`` have ``context + num_frames`` frames, or more.
        places: where they come from.
    """

    held: VideoDataset
    train: VideoDataset | None
    frames: int
    context: int
    num_frames: int
    places: Places

    def chosen(self, count: int) -> list[np.ndarray]:
        """``count`` of those that are scored."""
        return list(spread_clips(self.held, count))


def spread_clips(data: VideoDataset, count: int) -> Iterator[np.ndarray]:
    """``count`` clips, evenly spread, one at a time: uint8 (T, H, W, C) each."""
    return (data.example(index, (0, 0)) for index in evenly_spaced(len(data), count))


def open_clips(settings: Settings, config: VideoConfig) -> Clips:
    """Held-out and training clips that suit the model.

    Raises:
        ConfigError, InputError: no such data, or clips too short.
    """
    places = locate(settings, config.family)
    context = settings.context or (config.min_context if places.name == "shapes" else config.context)
    if context < config.min_context:
        raise ConfigError(f"--context {context}: the model needs at least {config.min_context} given frames")
    held = _open_held(places, config, context, settings)
    num_frames = settings.num_frames or min(NUM_FRAMES, held.frames - context)
    train = _open_train(places, config, held.frames, context + num_frames, settings.held_out_files)
    return Clips(held, train, held.frames, context, num_frames, places)


def _open_held(places: Places, config: VideoConfig, context: int, settings: Settings) -> VideoDataset:
    """Clips to score, as long as the settings say, else as the shortest, up to 32 frames."""
    wanted = context + (settings.num_frames or 1)
    longest = wanted
    if places.name == "shapes":
        longest = shapes.MAX_FRAMES
    elif places.name == "moving-digits":
        longest = max(wanted, context + NUM_FRAMES)
    elif places.name == "bair":
        longest = min(bair.FRAMES, max(wanted, LONGEST))
    if wanted > longest:
        asked = f"{context} given and {wanted - context} predicted frames"
        raise ConfigError(
            f"--data {places.name}: clips have {longest} frames, too few for {asked}; {FEWER_FRAMES}"
        )
    frames = wanted if settings.num_frames else longest
    held = _open(places, config, frames, settings.split, settings.held_out_files)
    if held is None:
        raise ConfigError(NO_VALIDATION)
    if isinstance(held, VideoFolder) and not settings.num_frames:
        return held.with_frames(max(wanted, min(LONGEST, *held.lengths.values())))
    return held


def _open_train(
    places: Places, config: VideoConfig, frames: int, least: int, held_out: int | None
) -> VideoDataset | None:
    """Training clips of ``frames`` frames, as those that are scored; of ``least`` where few are as long."""
    least = least if places.name == "video-folder" else frames
    train = _open(places, config, least, "train", held_out)
    if isinstance(train, VideoFolder) and frames > least:
        long = sum(length >= frames for length in train.lengths.values())
        return train.with_frames(frames) if 2 * long >= len(train.lengths) else train
    return train


def _open(
    places: Places, config: VideoConfig, frames: int, split: Split, held_out: int | None
) -> VideoDataset | None:
    path = places.test if split == "test" else places.train
    if path is None and places.test is not None:
        return None
    found = {"name": places.name, "path": path, "frames": frames, "held_out_files": held_out}
    data = DataConfig.model_validate(found)
    return open_video_dataset(data, config, split, FEWER_FRAMES)


def open_photos(settings: Settings, config: ColorizerConfig) -> tuple[Photos, Photos | None, Places]:
    """Held-out photos, those for training, and where they are.

    Raises:
        ConfigError, InputError: no such data.
    """
    places = locate(settings, config.family)
    size = config.glow.height
    train = Photos(places.train, size=size, split="train") if places.train else None
    return Photos(places.folder(settings.split), size=size, split=settings.split), train, places


def open_pairs(settings: Settings, config: SuperResolutionConfig) -> tuple[PhotoPairs, Places]:
    """Held-out photos for super-resolution, and where they are.

    Raises:
        ConfigError, InputError: no such data.
    """
    places = locate(settings, config.family)
    path = places.folder(settings.split)
    return PhotoPairs(path, size=config.glow.height, split=settings.split), places


def readable_photos(photos: PhotoSet[Any], chosen: Iterable[int]) -> Iterator[np.ndarray]:
    """Photos at their own size, uint8 (H, W, 3); of those that cannot be read there is a warning each."""
    for index in chosen:
        photo = photos.readable(index)
        if photo is not None:
            yield photo


def check_digits(config: ClassConditionalConfig) -> None:
    """Refuse a model that cannot score the digits of MNIST.

    Raises:
        CheckpointError: it has fewer classes than the ten digits, or is of pictures of another size.
    """
    size = config.glow
    if (size.channels, size.height, size.width) != (1, DIGIT, DIGIT):
        raise CheckpointError(
            f"its images are {size.height}×{size.width}×{size.channels}, those of MNIST {DIGIT}×{DIGIT}×1; "
            "train a model of that size"
        )
    if 0 < config.classes < DIGITS:
        raise CheckpointError(
            f"model.classes is {config.classes}, and MNIST has {DIGITS}; train a model with {DIGITS}"
        )


def digits_root(settings: Settings) -> Path | None:
    """Folder of MNIST; None leaves it to ``VFLOW_DATA``."""
    places = locate(settings, "digits")
    return Path(places.test) if places.test else None
