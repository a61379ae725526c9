"""The engine's task that draws futures of a clip and writes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.records import PredictRecord, SamplingRecord
from vflow.pipelines.batch.writers import open_writer
from vflow.pipelines.color.colorize import ColorSettings, PhotoColorizer, colorize_film
from vflow.pipelines.color.hints import parse_hint
from vflow.pipelines.color.photo import color_config, read_photo
from vflow.pipelines.common import CHUNK, Counts, SamplingSettings, precision
from vflow.pipelines.digits.digits import ALL, digits_config, draw, label_classes
from vflow.pipelines.video.predict import GROUP, groups, prepare
from vflow.randomness import content_hash

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PredictTask:
    """``vflow predict`` and ``vflow generate video``.

    Attributes:
        model: from ``vflow.load``.
        resolved: all settings, with ``format`` and ``fps`` filled in.
        note: told remarks for people.
        progress: told (frames drawn, frames in all) of the item at hand.
        batch_size: samples in memory together; the bytes do not depend on it.
    """

    model: nn.Module
    resolved: PredictRecord
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[int, int], None] = lambda done, total: None
    batch_size: int = GROUP

    def record(self) -> dict[str, Any]:
        return self._settings.fields()

    def cache_key(self) -> dict[str, Any]:
        return self._settings.cache_key()

    @property
    def _settings(self) -> PredictRecord:
        """Those of all items: without the content of the one that a settings file was made with."""
        return self.resolved.model_copy(update={"context_sha": None})

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        clip = media.read_frames(item.paths)
        resolved, settings = self.resolved, self.resolved.settings()
        with precision(resolved.dtype, torch.device(resolved.device)):
            prepared = prepare(self.model, clip)
            self._remarks(item, prepared.notes, prepared.far_outside)
            sha = content_hash(prepared.context)
            if resolved.context_sha not in (None, sha):
                self.note(f"{item.name}: not the input that the settings were made with; futures will differ")
            writer = open_writer(
                str(resolved.format), folder, num_samples=settings.num_samples,
                num_frames=settings.num_frames, context=prepared.context, fps=float(resolved.fps or 10),
            )  # fmt: skip
            counts = Counts()
            drawn = groups(
                self.model, prepared.context, settings, progress=self.progress, size=self.batch_size
            )
            for group in drawn:
                writer.add(group.first, group.frames)
                counts = counts.plus(group.counts)
            writer.close()
        if counts.redrawn:
            self.note(f"{item.name}: {counts.redrawn} frame(s) were not finite and were redrawn")
        return {"context_sha": sha, "bits_per_dim": prepared.bits, **counts._asdict()}

    def _remarks(self, item: Item, notes: tuple[str, ...], far_outside: bool) -> None:
        for text in notes:
            self.note(f"{item.name}: {text}")
        if far_outside:
            self.note(f"{item.name}: far from what the model was trained on; expect poor futures")


if TYPE_CHECKING:
    from torch import nn

Format = Literal["png", "mp4", "webm", "gif"]
DEFAULT_RATE = 10.0
"""Frames per second of films that do not say theirs."""


class ColorRecord(SamplingRecord):
    """Colourings: what was drawn, with what. ``num_samples`` counts per picture; hints as ``X,Y,#RRGGBB``.

    Without ``format`` photos become png and films mp4. ``near`` names the variant that these are steps away
    from, as for ``variants_near``.
    """

    strength: float = 1.0
    hints: tuple[str, ...] = ()
    near: tuple[int, ...] = ()
    format: Format | None = None

    def settings(self) -> ColorSettings:
        """The part that decides what is drawn."""
        hints = tuple(parse_hint(text) for text in self.hints)
        return ColorSettings(
            num_samples=self.num_samples,
            temperature=self.temperature,
            seed=self.seed,
            strength=self.strength,
            hints=hints,
        )


@dataclass(frozen=True)
class ColorizeTask:
    """``vflow colorize``: a folder per photo with a png per variant; per film with a preview per variant.

    Attributes:
        model: from ``vflow.load``.
        resolved: all settings.
        note: told remarks for people.
        progress: told (pictures made, pictures in all) of the item at hand.
    """

    model: nn.Module
    resolved: ColorRecord
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[int, int], None] = lambda done, total: None

    def record(self) -> dict[str, Any]:
        return self.resolved.fields()

    def cache_key(self) -> dict[str, Any]:
        return self.resolved.cache_key()

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        path = item.paths[0]
        work = self._photo if _is_photo(path) else self._film
        with precision(self.resolved.dtype, torch.device(self.resolved.device)):
            content, counts = work(item, folder)
        if counts.redrawn:
            self.note(f"{item.name}: {counts.redrawn} picture(s) were not finite and were redrawn")
        return {"content_sha": content, **counts._asdict()}

    def _photo(self, item: Item, folder: Path) -> tuple[str, Counts]:
        if self.resolved.format not in (None, "png"):
            raise InputError(f"{item.paths[0].name}: a single picture; leave --format out or give png")
        photo, notes = read_photo(color_config(self.model), item.paths[0])
        self._remarks(item, notes)
        settings, counts = self.resolved.settings(), Counts()
        palette = PhotoColorizer(self.model, photo, settings)
        for first, ab, new in palette.draw(self.resolved.near):
            counts = counts.plus(new)
            for sample, planes in enumerate(ab.split(1), first):
                image = palette.join(planes)[0]
                if photo.alpha is not None:
                    image = np.concatenate([image, photo.alpha[..., None]], -1)
                media.write_png(folder / f"s{sample:03d}.png", image)
                self.progress(sample + 1, settings.num_samples)
        return photo.content, counts

    def _film(self, item: Item, folder: Path) -> tuple[str, Counts]:
        settings, counts, content = self.resolved.settings(), Counts(), ""
        frames = media.probe(item.paths[0]).frames
        # Every eight variants go through the film anew: memory stays bounded.
        for first in range(0, settings.num_samples, CHUNK):
            film = media.stream_frames(item.paths[0])
            if not first:
                self._remarks(item, film.notes)
            samples = range(first, min(first + CHUNK, settings.num_samples))
            with ExitStack() as stack:
                writers = [self._writer(stack, folder, sample, film.fps) for sample in samples]
                made = colorize_film(self.model, film.frames, settings, first=first, near=self.resolved.near)
                for t, frame in enumerate(made):
                    counts, content = counts.plus(frame.counts), content or frame.content
                    for write, image in zip(writers, frame.images, strict=True):
                        write(image)
                    done = first * frames + (t + 1) * len(samples)
                    self.progress(done, max(done, frames * settings.num_samples))
        return content, counts

    def _writer(
        self, stack: ExitStack, folder: Path, sample: int, fps: float | None
    ) -> Callable[[np.ndarray], None]:
        """What takes the frames of a variant: a preview, or a folder of pictures."""
        name = f"s{sample:03d}"
        if self.resolved.format != "png":
            path = folder / f"{name}.{self.resolved.format or 'mp4'}"
            return stack.enter_context(media.video_writer(path, fps or DEFAULT_RATE))
        count = iter(range(media.DEFAULT_LIMITS.frames))
        return lambda image: media.write_png(folder / name / f"t{next(count):03d}.png", image)

    def _remarks(self, item: Item, notes: tuple[str, ...]) -> None:
        for text in notes:
            self.note(f"{item.name}: {text}")


def _is_photo(path: Path) -> bool:
    """Whether a file holds one picture. Arrays are refused where they are read."""
    return path.suffix.lower() in media.ARRAY_SUFFIXES or media.probe(path) == media.Probe(1, None)


if TYPE_CHECKING:
    from torch import nn

ARRAY = "digits"
"""Name of the array file, and of the item that is all of it."""


class DigitsRecord(SamplingRecord):
    """Digits: what was drawn, with what. ``num_samples`` counts per class."""

    label: str = ALL
    format: Literal["png", "npz"] = "png"

    def settings(self) -> SamplingSettings:
        """The part that decides what is drawn of a class."""
        return SamplingSettings(num_samples=self.num_samples, temperature=self.temperature, seed=self.seed)


@dataclass(frozen=True)
class DigitsTask:
    """``vflow digits``: an item per class with a png per sample, or one item with an npz of all.

    Attributes:
        model: from ``vflow.load``.
        resolved: all settings.
        note: told remarks for people.
        progress: told (digits drawn, digits in all) of the item at hand.
    """

    model: nn.Module
    resolved: DigitsRecord
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[int, int], None] = lambda done, total: None

    def items(self) -> list[Item]:
        """What to draw. No input files: classes are all that is given."""
        labels = [ARRAY] if self._in_one else [str(label) for label in self._labels()]
        return [Item(label, ()) for label in labels]

    def record(self) -> dict[str, Any]:
        return self.resolved.fields()

    def cache_key(self) -> dict[str, Any]:
        fields = self.resolved.cache_key()
        if not self._in_one:
            del fields["label"]  # its item names a class; an array depends on which classes were asked for
        return fields

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        settings = self.resolved.settings()
        labels = (
            self._labels() if self._in_one else label_classes(item.name, digits_config(self.model).classes)
        )
        images: list[np.ndarray] = []
        counts = Counts()
        with precision(self.resolved.dtype, torch.device(self.resolved.device)):
            for chunk in draw(self.model, labels, settings, progress=self.progress):
                counts = counts.plus(chunk.counts)
                if self._in_one:
                    images.append(chunk.images)
                else:
                    for sample, image in enumerate(chunk.images, chunk.first):
                        media.write_png(folder / f"s{sample:03d}.png", image)
        if self._in_one:
            drawn = np.repeat(np.array(labels), settings.num_samples)
            media.write_npz(folder / f"{ARRAY}.npz", images=np.concatenate(images), labels=drawn)
        if counts.redrawn:
            self.note(f"{item.name}: {counts.redrawn} digit(s) were not finite and were redrawn")
        return counts._asdict()

    @property
    def _in_one(self) -> bool:
        return self.resolved.format == "npz"

    def _labels(self) -> tuple[int, ...]:
        return label_classes(self.resolved.label, digits_config(self.model).classes)
