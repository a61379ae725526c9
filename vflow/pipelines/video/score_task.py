"""Bits per dimension of clips and maps of what surprises, as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from vflow.data import media
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.runner import ShouldStop, Step, Task, never
from vflow.pipelines.video import export
from vflow.pipelines.video.actions import actions_of
from vflow.pipelines.video.score import check_finite
from vflow.pipelines.video.stats import load_clip_statistics
from vflow.pipelines.video.surprisal import FittedClip, finalize, iterate, prepare
from vflow.tasks.video.settings import ScoreSettings

NO_STATISTICS = "no figures of validation clips beside the checkpoint; nothing is flagged"


@dataclass
class Scoring:
    """A clip as the model sees it, and what manifests tell about it once it is scored."""

    clip: FittedClip
    notes: list[str]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score(Task[ScoreSettings, Scoring, Step]):
    """Surprisal of a clip: ``score.json`` with the figures of its frames, and maps as npz, png and mp4.

    Attributes:
        checkpoint: the model's, beside which figures of validation clips are, if any.
        actions: a file of actions, or a folder with one of each clip's name.
    """

    checkpoint: str = ""
    actions: Path | str | None = None
    unit = "frame"

    def read(self, model: nn.Module, item: Item, settings: ScoreSettings) -> Scoring:
        plan = None if self.actions is None else actions_of(model, Path(self.actions), item.name)
        clip = prepare(model, media.read_frames(item.paths), settings.num_frames, plan)
        return Scoring(clip, list(clip.notes))

    def iterate(
        self, model: Any, given: Scoring, settings: ScoreSettings, should_stop: ShouldStop = never
    ) -> Iterator[Step]:
        """Maps, float32 (t, H, W), of some frames at a time; at the end their ``Surprisal``.

        Raises:
            InputError: the clip's likelihood is not finite.
        """
        maps = []
        for part in iterate(model, given.clip, settings.seed):
            if should_stop():
                return
            check_finite(self.checkpoint, "the clip", part)
            maps.append(part)
            yield Step(part, len(part))
        statistics = load_clip_statistics(self.checkpoint, model) if self.checkpoint else None
        given.notes += [] if statistics else [NO_STATISTICS]
        found = finalize(model, given.clip, maps, statistics, settings.quantile, settings.seed)
        yield Step((found, model.config.fps), 0)

    def write(self, folder: Path, given: Scoring, results: Iterable[Step], settings: ScoreSettings) -> None:
        found, fps = list(results)[-1].value
        given.facts = found.to_json()
        export.write(folder, "score", found, fps)
        (folder / "score.json").write_text(json.dumps(given.facts, indent=2) + "\n", encoding="utf-8")

    def total(self, given: Scoring, settings: ScoreSettings) -> int:
        return len(given.clip.frames)

    def facts(self, given: Scoring) -> dict[str, Any]:
        return {name: given.facts[name] for name in ("bits_per_dim", "flagged")}

    def notes(self, given: Scoring) -> Sequence[str]:
        return given.notes


SCORE = Score()
