"""The engine's task that colours photographs and films and writes them, and the record of what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from vflow.data import io
from vflow.errors import InputError
from vflow.pipelines.color.film import colorize_film
from vflow.pipelines.color.hints import parse_hint
from vflow.pipelines.color.photo import color_config, read_photo
from vflow.pipelines.colorize import ColorSettings, Palette
from vflow.pipelines.compute import precision
from vflow.pipelines.drawing import CHUNK, Counts
from vflow.pipelines.items import Item
from vflow.pipelines.record import Drawn

if TYPE_CHECKING:
    from torch import nn

Format = Literal["png", "mp4", "webm", "gif"]
DEFAULT_RATE = 10.0
"""Frames per second of films that do not say theirs."""


class ColorRecord(Drawn):
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
        return ColorSettings(self.num_samples, self.temperature, self.strength, hints, self.seed)


@dataclass(frozen=True)
class ColorTask:
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

    def identity(self) -> dict[str, Any]:
        return self.resolved.identity()

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
        palette = Palette(self.model, photo, settings)
        for first, ab, new in palette.draw(self.resolved.near):
            counts = counts.plus(new)
            for sample, planes in enumerate(ab.split(1), first):
                image = palette.join(planes)[0]
                if photo.alpha is not None:
                    image = np.concatenate([image, photo.alpha[..., None]], -1)
                io.write_png(folder / f"s{sample:03d}.png", image)
                self.progress(sample + 1, settings.num_samples)
        return photo.content, counts

    def _film(self, item: Item, folder: Path) -> tuple[str, Counts]:
        settings, counts, content = self.resolved.settings(), Counts(), ""
        frames = io.probe(item.paths[0]).frames
        # Every eight variants go through the film anew: memory stays bounded.
        for first in range(0, settings.num_samples, CHUNK):
            film = io.read_film(item.paths[0])
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
            return stack.enter_context(io.open_video(path, fps or DEFAULT_RATE))
        count = iter(range(io.DEFAULT_LIMITS.frames))
        return lambda image: io.write_png(folder / name / f"t{next(count):03d}.png", image)

    def _remarks(self, item: Item, notes: tuple[str, ...]) -> None:
        for text in notes:
            self.note(f"{item.name}: {text}")


def _is_photo(path: Path) -> bool:
    """Whether a file holds one picture. Arrays are refused where they are read."""
    return path.suffix.lower() in io.ARRAY_SUFFIXES or io.probe(path) == io.Probe(1, None)
