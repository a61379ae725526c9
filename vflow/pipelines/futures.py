"""The engine's task that draws futures of a clip and writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vflow.data import io
from vflow.pipelines.compute import precision
from vflow.pipelines.items import Item
from vflow.pipelines.predict import GROUP, Counts, groups, prepare
from vflow.pipelines.record import Record
from vflow.pipelines.writers import open_writer
from vflow.randomness import content_hash

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class FuturesTask:
    """``vflow predict`` and ``vflow generate video``.

    Attributes:
        model: from ``vflow.load``.
        resolved: all settings, with ``format`` and ``fps`` filled in.
        note: told remarks for people.
        progress: told (frames drawn, frames in all) of the item at hand.
        batch_size: samples in memory together; the bytes do not depend on it.
    """

    model: nn.Module
    resolved: Record
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[int, int], None] = lambda done, total: None
    batch_size: int = GROUP

    def record(self) -> dict[str, Any]:
        return self._settings.fields()

    def identity(self) -> dict[str, Any]:
        return self._settings.identity()

    @property
    def _settings(self) -> Record:
        """Those of all items: without the content of the one that a settings file was made with."""
        return self.resolved.model_copy(update={"context_sha": None})

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        clip = io.read_frames(item.paths)
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
