"""Colours of photos and films as files: a folder each, with a png per variant, or a preview of a film."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from vflow.config import ColorizerConfig
from vflow.data import media
from vflow.data.media import FrameStream
from vflow.errors import InputError
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.color.colorize import ColorSamples, PhotoColorizer, join
from vflow.pipelines.color.film import ColorizedFrame, colorize_film
from vflow.pipelines.color.photo import Photo, color_config, read_photo
from vflow.pipelines.common import CHUNK, DEFAULT_FPS
from vflow.pipelines.runner import ShouldStop, Task, never
from vflow.tasks.colorize.settings import ColorSettings


@dataclass
class Still:
    """A photo, and remarks on it, for people."""

    path: Path
    photo: Photo
    notes: Sequence[str]
    length: ClassVar[int] = 1

    @classmethod
    def read(cls, config: ColorizerConfig, path: Path) -> Still:
        """The photo of a file.

        Raises:
            InputError: not a picture, or damaged.
        """
        return cls(path, *read_photo(config, path))

    @property
    def content(self) -> str:
        """Name of its noise."""
        return self.photo.content

    def prepare(self, settings: ColorSettings) -> Iterator[float]:
        """The work on the photo's pixels that hints need, some rows at a time; yields the share done, 0..1.

        Without it the first variants wait for this work.
        """
        if settings.hints:
            side = len(self.photo.small) // 2
            yield from self.photo.prepare((side, side))

    def draw(
        self, model: nn.Module, settings: ColorSettings, should_stop: ShouldStop
    ) -> Iterator[ColorSamples]:
        """Variants, eight at a time."""
        yield from PhotoColorizer(model, self.photo, settings).draw(should_stop)

    def write(self, folder: Path, results: Iterable[ColorSamples], settings: ColorSettings) -> None:
        """Write a png of each."""
        for first, ab, _ in results:
            for sample, planes in enumerate(ab.split(1), first):
                image = join(self.photo, planes, settings.strength)[0]
                if self.photo.alpha is not None:
                    image = np.dstack([image, self.photo.alpha])
                media.write_png(folder / f"s{sample:03d}.png", image)


@dataclass
class Film:
    """A film, remarks on it, for people, and the name of its noise, once that is known."""

    path: Path
    stream: FrameStream
    notes: list[str]
    content: str = ""

    @property
    def length(self) -> int:
        """Number of frames, as far as it is known."""
        return self.stream.length

    def draw(
        self, model: nn.Module, settings: ColorSettings, should_stop: ShouldStop
    ) -> Iterator[ColorizedFrame]:
        """Frames; every eight variants go through the film anew, so that memory stays bounded."""
        for first in range(0, settings.num_samples, CHUNK):
            film = media.stream_frames(self.path) if first else self.stream
            known = len(film.losses)  # which the notes name, if they should
            made = colorize_film(model, film.frames, settings, first=first, should_stop=should_stop)
            for t, frame in enumerate(made):
                self.content = self.content or frame.content
                yield frame._replace(time=None if film.times is None else film.times[t])
            self.notes += [] if first else [loss.text for loss in film.losses[known:]]

    def write(self, folder: Path, results: Iterable[ColorizedFrame], settings: ColorSettings) -> None:
        """Write a preview of each variant, or a folder of pictures."""
        suffix = "" if settings.format == "png" else f".{settings.format or 'mp4'}"
        for first, frames in groupby(results, lambda frame: frame.first):
            samples = range(first, min(first + CHUNK, settings.num_samples))
            paths = [folder / f"s{sample:03d}{suffix}" for sample in samples]
            with ExitStack() as stack:
                writers = [self._writer(stack, path) for path in paths]
                for frame in frames:
                    for write, image in zip(writers, frame.images, strict=True):
                        write(image, frame.time)
            if suffix not in ("", ".gif"):
                remarks = [media.copy_sound(self.path, path) for path in paths]
                self.notes += filter(None, remarks[:1])

    def _writer(self, stack: ExitStack, path: Path) -> media.Add:
        """Writer of a variant's frames: into a preview, or into a folder of pictures."""
        if path.suffix:
            return stack.enter_context(media.video_writer(path, self.stream.fps or DEFAULT_FPS))
        numbers = count()
        return lambda image, time=None, /: media.write_png(path / f"t{next(numbers):03d}.png", image)


class Colorize(Task[ColorSettings, Still | Film, ColorSamples | ColorizedFrame]):
    """Variants of a photo, eight at a time, or of a film, frame by frame."""

    unit = "image"

    def read(self, model: nn.Module, item: Item, settings: ColorSettings) -> Still | Film:
        path, config = item.paths[0], color_config(model)
        # Arrays are refused where they are read.
        if path.suffix.lower() not in media.ARRAY_SUFFIXES and media.probe(path) != media.Probe(1, None):
            film = media.stream_frames(path)
            return Film(path, film, list(film.notes))
        if settings.format not in (None, "png"):
            raise InputError(f"{path.name}: a single image; leave --format out or give png")
        return Still.read(config, path)

    def iterate(
        self, model: nn.Module, given: Any, settings: ColorSettings, should_stop: ShouldStop = never
    ) -> Iterator[Any]:
        yield from given.draw(model, settings, should_stop)

    def write(self, folder: Path, given: Any, results: Iterable[Any], settings: ColorSettings) -> None:
        given.write(folder, results, settings)

    def total(self, given: Still | Film, settings: ColorSettings) -> int:
        return given.length * settings.num_samples

    def facts(self, given: Still | Film) -> dict[str, str]:
        return {"content_sha": given.content}

    def notes(self, given: Still | Film) -> Sequence[str]:
        return given.notes


COLORIZE = Colorize()
