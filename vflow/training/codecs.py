"""Training of codecs (models/codec.py) and integer flows: likelihood of bytes, without noise."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vflow.checkpoint import save_checkpoint
from vflow.compression.color import GREEN_FIRST, to_planes
from vflow.config import ClipCodecConfig, IntegerFlowConfig, PhotoCodecConfig, PixelCNNConfig
from vflow.data import media
from vflow.data.datasets.digits import MnistImages
from vflow.data.datasets.splits import Split, choose_split
from vflow.errors import ConfigError, InputError
from vflow.models import ClipCodec, IntegerFlow, PhotoCodec, PixelCNN
from vflow.models.lattice import level_sizes
from vflow.randomness import generator

OWN_LEVELS = 3  # the levels that every step trains; coarser ones join one step in four, with that weight
DEEP_SHARE = 0.25
HALF_SIZE_SHARE = 0.25  # of photos: shrunk, they have no traces of JPEG


@dataclass(frozen=True)
class CodecTraining:
    """Optimisation of a codec: Adam, a cosine of the rate, averaged weights."""

    max_steps: int = 4000
    batch_size: int = 4
    crop: int = 96
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    ema: float = 0.998
    grad_clip_norm: float = 1.0
    seed: int = 0
    log_every: int = 50
    save_every: int = 500


class Examples(Protocol):
    """Bits/dim of random training examples, and of the held-out ones."""

    def loss(self, step: int) -> Tensor:
        """Mean bits/dim of the examples of ``step``, with a gradient."""
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean bits/dim of held-out examples under ``model``, by part of the model."""
        ...


def train_codec(
    model: PhotoCodec | ClipCodec | IntegerFlow | PixelCNN,
    examples: Examples,
    config: CodecTraining,
    output: Path,
) -> dict[str, float]:
    """Minimise bits/dim; ``output`` gets the averaged weights (model/) and log.jsonl.

    Returns:
        Validation bits/dim at the end.
    """
    output.mkdir(parents=True, exist_ok=True)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, betas=(0.9, 0.99))
    losses: list[float] = []
    found: dict[str, float] = {}
    with (output / "log.jsonl").open("a", encoding="utf-8") as log:
        for step in range(1, config.max_steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = _rate(config, step)
            optimizer.zero_grad(set_to_none=True)
            loss = examples.loss(step)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip_norm)
            if torch.isfinite(norm):
                optimizer.step()
            _average(average, model, min(config.ema, step / (step + 10)))
            losses.append(float(loss.detach()))
            if step % config.log_every == 0:
                _write(log, {"step": step, "bits_per_dim": float(np.mean(losses)), "lr": _rate(config, step)})
                losses = []
            if step % config.save_every == 0 or step == config.max_steps:
                found = _save(model, average, examples, output)
                _write(log, {"step": step} | {f"val_bits_per_dim_{k}": v for k, v in found.items()})
        _write(log, {"step": config.max_steps, "status": "finished"})
    return found


def _rate(config: CodecTraining, step: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.max_steps))
    return config.learning_rate * min(1, step / config.warmup_steps) * (0.02 + 0.98 * cosine)


@torch.no_grad()
def _average(average: dict[str, Tensor], model: nn.Module, keep: float) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - keep)


def _save(model: Any, average: dict[str, Tensor], examples: Examples, output: Path) -> dict[str, float]:
    """Write the averaged weights, and return their validation bits/dim; the model goes on as it was."""
    trained = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average)
    with torch.no_grad():
        found = examples.validate(model)
    save_checkpoint(output / "model", model, config=model.config)
    model.load_state_dict(trained)
    return found


def _write(log: Any, line: dict[str, Any]) -> None:
    log.write(json.dumps(line) + "\n")
    log.flush()
    print(json.dumps(line), file=sys.stderr, flush=True)


def _levels(size: int, random: np.random.Generator) -> tuple[list[int], Callable[[Tensor], Tensor]]:
    """Levels to train in a step, and the sum of their terms (B, levels + 1), coarse ones weighted up."""
    count = len(level_sizes((size, size))) - 1
    deep = bool(random.random() < DEEP_SHARE)

    def weighted(terms: Tensor) -> Tensor:
        coarse = terms[:, OWN_LEVELS:-1].sum() / DEEP_SHARE
        return terms[:, :OWN_LEVELS].sum() + terms[:, -1].sum() + coarse

    return list(range(count if deep else min(OWN_LEVELS, count))), weighted


def _to_tensor(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def _bits(terms: Tensor, values: int) -> float:
    return -float(terms.sum()) / (math.log(2) * values)


class PhotoExamples:
    """Crops of the photos of a folder; 5% of them by hash of their names are held out."""

    def __init__(self, folder: Path, model: PhotoCodec, config: CodecTraining, dtype: torch.dtype) -> None:
        self.model, self.config, self.dtype = model, config, dtype
        self.held = _photos(folder, "validation")
        self.train = [p for p in _photos(folder, "train") if min(p.shape[:2]) >= config.crop]
        if not self.train:
            raise InputError(
                f"{folder}: no photo is as large as a crop of {config.crop} pixels; use a smaller one"
            )

    def loss(self, step: int) -> Tensor:
        """As ``Examples`` says."""
        random = generator("codec", self.config.seed, step)
        planes = _to_tensor([self._crop(random) for _ in range(self.config.batch_size)])
        levels, weighted = _levels(self.config.crop, random)
        terms = self.model.lattice.log_probability(planes, levels=levels, dtype=self.dtype)
        return -weighted(terms) / (math.log(2) * planes.numel())

    def _crop(self, random: np.random.Generator) -> np.ndarray:
        photo = self.train[int(random.integers(len(self.train)))]
        size = self.config.crop
        if random.random() < HALF_SIZE_SHARE and min(photo.shape[:2]) >= 2 * size:
            photo = halve(photo)
        top, left = (int(random.integers(side - size + 1)) for side in photo.shape[:2])
        cut = photo[top : top + size, left : left + size]
        return to_planes(cut[:, ::-1] if random.random() < 0.5 else cut).planes

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Bits/dim of held-out photos at their own size, colours' remainder left out."""
        assert isinstance(model, PhotoCodec)
        terms = [model(_to_tensor([to_planes(photo).planes])).sum() for photo in self.held]
        return {"photos": _bits(torch.stack(terms), sum(photo.size for photo in self.held))}


def halve(photo: np.ndarray) -> np.ndarray:
    """``photo``, uint8 (H, W, 3), at half its size, by the means of 2×2 pixels: without traces of JPEG."""
    height, width = photo.shape[0] // 2 * 2, photo.shape[1] // 2 * 2
    blocks = photo[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    return np.asarray((blocks.sum((1, 3), dtype=np.uint16) + 2) // 4).astype(np.uint8)


def _photos(folder: Path, split: Split) -> list[np.ndarray]:
    by_name = {path.name: path for path in media.list_media(folder)}
    names = choose_split(list(by_name), split, str(folder))
    if not names:
        raise InputError(f"{folder}: holds no photos; put some directly in it")
    return [media.read_image(by_name[name]).frames[0] for name in names]


class ClipExamples:
    """Crops of three frames in a row of the clips of a folder; 5% of the files by hash are held out.

    One step in eight trains the pyramid of first frames.
    """

    def __init__(self, folder: Path, model: ClipCodec, config: CodecTraining, dtype: torch.dtype) -> None:
        self.model, self.config, self.dtype = model, config, dtype
        self.train, self.held = (_clips(folder, split) for split in ("train", "validation"))

    def loss(self, step: int) -> Tensor:
        """As ``Examples`` says."""
        random = generator("codec", self.config.seed, step)
        frames = np.stack([self._cut(random) for _ in range(self.config.batch_size)])[..., GREEN_FIRST]
        before, last, target = torch.from_numpy(frames).permute(1, 0, 4, 2, 3).contiguous()
        levels, weighted = _levels(target.shape[-1], random)
        first = step % 8 == 0
        pyramid = self.model.first if first else self.model.following
        references = [] if first else [last, last if random.random() < 0.05 else before]
        terms = pyramid.log_probability(target, references, levels=levels, dtype=self.dtype)
        return -weighted(terms) / (math.log(2) * target.numel())

    def _cut(self, random: np.random.Generator) -> np.ndarray:
        clip = self.train[int(random.integers(len(self.train)))]
        start, size = int(random.integers(len(clip) - 2)), min(self.config.crop, *clip.shape[1:3])
        top, left = (int(random.integers(side - size + 1)) for side in clip.shape[1:3])
        cut = clip[start : start + 3, top : top + size, left : left + size]
        return cut[:, :, ::-1] if random.random() < 0.5 else cut

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Bits/dim of first frames, and of frames 3 to 19 given two before, of the held-out clips."""
        assert isinstance(model, ClipCodec)
        clips = [torch.from_numpy(c[:20][..., GREEN_FIRST]).permute(0, 3, 1, 2) for c in self.held]
        first = [model.first.log_probability(c[:1]).sum() for c in clips]
        following = [model.following.log_probability(c[3:], [c[2:-1], c[1:-2]]).sum() for c in clips]
        return {
            "first": _bits(torch.stack(first), sum(c[:1].numel() for c in clips)),
            "following": _bits(torch.stack(following), sum(c[3:].numel() for c in clips)),
        }


def _clips(folder: Path, split: Split) -> list[np.ndarray]:
    by_name = {path.name: path for path in media.list_media(folder)}
    names = choose_split(list(by_name), split, str(folder))
    clips = [media.read_clip(by_name[name]).frames for name in names]
    found = [clip for clip in clips if len(clip) >= 4]
    if not found:
        raise InputError(f"{folder}: holds no clips of four frames or more; put some directly in it")
    return found


class DigitExamples:
    """MNIST for an integer flow or a PixelCNN, with labels if it has classes."""

    def __init__(self, root: Path, model: IntegerFlow | PixelCNN, config: CodecTraining) -> None:
        self.model, self.config = model, config
        splits: tuple[Split, ...] = ("train", "validation")
        self.sets = {split: MnistImages(split=split, root=root) for split in splits}

    def _batch(self, split: Split, indices: np.ndarray) -> tuple[Tensor, Tensor | None]:
        examples = [self.sets[split].example(int(i), (0, 0)) for i in indices]
        images = _to_tensor([e.image for e in examples])
        labels = torch.from_numpy(np.stack([e.condition for e in examples]))
        return images, labels if self.model.config.classes else None

    def loss(self, step: int) -> Tensor:
        """As ``Examples`` says."""
        random = generator("codec", self.config.seed, step)
        images, labels = self._batch(
            "train", random.integers(len(self.sets["train"]), size=self.config.batch_size)
        )
        return -self.model(images, labels).mean() / (math.log(2) * self.model.dims)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Bits/dim of the first 512 held-out digits."""
        assert isinstance(model, IntegerFlow | PixelCNN)
        images, labels = self._batch("validation", np.arange(512))
        return {"digits": model.bits_per_dim(images, labels)}


def open_examples(
    model: Any, folder: Path, config: CodecTraining, dtype: torch.dtype = torch.bfloat16
) -> Examples:
    """Examples that suit ``model``.

    Raises:
        ConfigError: another kind of model. InputError: no data in ``folder``.
    """
    match model.config:
        case PhotoCodecConfig():
            return PhotoExamples(folder, model, config, dtype)
        case ClipCodecConfig():
            return ClipExamples(folder, model, config, dtype)
        case IntegerFlowConfig() | PixelCNNConfig():
            return DigitExamples(folder, model, config)
        case _:
            raise ConfigError(f"{model.config.kind}: is trained by 'vflow train'")
