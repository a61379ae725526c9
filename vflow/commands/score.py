"""``vflow score``: bits per dimension of clips, and maps of where they surprise; log p of a table's rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from vflow.catalog import AUTO, checkpoint_folder, family_of
from vflow.commands.common import (
    NONE_GIVEN,
    CommonFlags,
    check_checkpoint,
    chosen_checkpoints,
    note,
    open_model,
)
from vflow.commands.predict import PredictFlags
from vflow.errors import ConfigError, InputError, counted, naming_memory
from vflow.flags import File, Inputs, Number, Text, Whole

if TYPE_CHECKING:
    from vflow.data.actions import Actions
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.tasks import RunnerTask
    from vflow.pipelines.video.stats import ClipStatistics


CLIPS, TABLES = "videoflow", "density"
"""Families of models that score clips, and rows of tables."""


@dataclass(frozen=True, kw_only=True)
class ScoreClips:
    """Print how many bits per dimension a model needs for a clip's frames; or score a table's rows."""

    checkpoint: Text = None
    """A folder, a shipped name or a hub id; auto (the default) chooses for each clip by what it shows."""
    input: Inputs = ()
    """A video, a folder of frames, an npz, images in the order of time, or a folder of several clips; for a
    density trained on a table, a CSV of such rows."""
    output: File = None
    """Of a table: its rows with log_p_nats, and rank and percentile among the training rows (rank 1 is the
    least likely), as FILE.csv; replaced if it exists."""
    drop_missing: bool = False
    """Of a table: give rows with missing cells no score; they are refused otherwise."""
    actions: File = None
    """Numbers that come with frames, for a model that takes some: a CSV or npz with a row a frame, or a
    folder with such a file of each clip's name."""
    context: Whole = None
    """Frames at the start that stay out of the mean; by default those that cannot be scored."""
    num_frames: Whole = None
    """Score only the first N frames; all by default."""
    num_importance_samples: int = 1
    """K of the importance-weighted bound over the noise (dequantisation, augmented dimensions)."""
    maps_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Write each clip's map of bits per pixel here: CLIP.npz, CLIP.png and CLIP.mp4."""
    quantile: Number = None
    """Flag frames above this quantile of validation frames (0.99, the 99th percentile); needs --maps-dir."""
    json: bool = False
    """Print one JSON object per clip: item, bits_per_dim, per_frame, draws, seed; flags with --maps-dir; of a
    clip that fails, item and error."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0, or 1 when some items failed."""
        if (self.checkpoint or AUTO) != AUTO:
            checkpoint = check_checkpoint(self.checkpoint, (CLIPS, TABLES))
            if family_of(checkpoint_folder(checkpoint)) == TABLES:
                return self._score_table(checkpoint)
        if self.output is not None or self.drop_missing:
            raise ConfigError("--output and --drop-missing: for a table, with the --checkpoint of a density")
        from vflow.pipelines.batch import inputs

        found = inputs.existing(inputs.clips(self.input))  # before torch is imported
        from vflow.data import media
        from vflow.pipelines.common import set_threads
        from vflow.pipelines.video import export

        self._check()
        if self.maps_dir is not None:
            media.check_folder(self.maps_dir)
            made = (path for item in found for path in export.files(self.maps_dir, item.name))
            media.check_keeps((path for item in found for path in item.paths), made, "--maps-dir")
        set_threads(self.common.threads)
        if (self.checkpoint or AUTO) != AUTO:
            return self._score_all(found)
        chosen = chosen_checkpoints(found, "bits", (CLIPS,))
        return max(replace(self, checkpoint=name)._score_all(own) for name, own in chosen.items())

    def _score_table(self, checkpoint: str) -> int:
        """Write the rows of a table with their scores; returns 0."""
        from vflow.data import media
        from vflow.pipelines.common import precision, set_threads
        from vflow.pipelines.tables import score_table, write_scores

        if len(self.input) != 1 or self.output is None:
            raise ConfigError("--input and --output: give a table to score, and FILE.csv for its scores")
        if self.output.suffix != ".csv":
            raise ConfigError(f"{self.output}: scores are written as .csv; name the file so")
        of_clips = ("context", "num_frames", "maps_dir", "quantile", "actions")
        if given := [name for name in of_clips if getattr(self, name) is not None]:
            raise ConfigError(f"--{given[0].replace('_', '-')}: for clips; leave it out with a table")
        source = self.input[0]
        media.check_folder(self.output.parent)
        media.check_keeps([source], [self.output], "--output")
        set_threads(self.common.threads)
        model, folder, device = open_model(checkpoint, self.common.device)
        with precision(self.common.dtype, device):
            scores = score_table(model, folder, source, drop_missing=self.drop_missing)
        write_scores(self.output, source, scores)
        if dropped := int((~scores.complete).sum()):
            note(f"{source}: {counted(dropped, 'row')} with missing cells not scored")
        data = {"item": source.name, "rows": len(scores.log_p), "nats": -float(scores.log_p.mean())}
        if self.json:
            print(json.dumps(data))
        else:
            print(
                f"{self.output}: {counted(len(scores.log_p), 'row')}, {data['nats']:.4f} nats (mean −log p)"
            )
        return 0

    def _score_all(self, found: Sequence[Item]) -> int:
        """Score clips with one checkpoint; returns 0, or 1 when some failed."""
        from vflow.pipelines.common import precision

        assert self.checkpoint is not None
        model, folder, device = open_model(self.checkpoint, self.common.device)
        statistics = None if self.maps_dir is None else self._statistics(folder, model)
        failed = 0
        with precision(self.common.dtype, device):
            for item in found:
                try:
                    with naming_memory(f"{item.name} does not fit; use a smaller input or fewer frames"):
                        if self.maps_dir is None:
                            line, data = self._score(model, item)
                        else:
                            line, data = self._map(model, item, self.maps_dir, statistics)
                except InputError as error:
                    failed += 1
                    print(f"error: {error}", file=sys.stderr)
                    if self.json:
                        print(json.dumps({"item": item.name, "error": str(error)}), flush=True)
                    continue
                if self.json:
                    print(json.dumps({"item": item.name, **data}), flush=True)
                else:
                    print(f"{item.name}: {line}", flush=True)
        return 1 if failed else 0

    def _check(self) -> None:
        from vflow.config.ranges import check_range
        from vflow.pipelines.video.score import MAX_DRAWS

        check_range("num_importance_samples", self.num_importance_samples, 1, MAX_DRAWS)
        if self.maps_dir is None:
            if self.quantile is not None:
                raise ConfigError("--quantile: goes with --maps-dir DIR")
            return
        single = self.num_importance_samples == 1
        for flag, given in (
            ("--context", self.context is not None),
            ("--num-importance-samples", not single),
        ):
            if given:
                raise ConfigError(
                    f"{flag}: leave it out with --maps-dir, which takes all frames and one draw"
                )

    def _statistics(self, folder: Path, model: Any) -> ClipStatistics | None:
        from vflow.pipelines.video.stats import load_clip_statistics
        from vflow.pipelines.video.surprisal import check_quantile

        if self.quantile is not None:
            check_quantile(self.quantile)
        statistics = load_clip_statistics(folder, model)
        if statistics is None:
            note(f"{folder}: no figures of validation clips (scripts/clip_statistics.py); nothing is flagged")
        return statistics

    def _score(self, model: Any, item: Item) -> tuple[str, dict[str, Any]]:
        """The score of a clip, as a line for people and as data."""
        from vflow.data import media
        from vflow.pipelines.video.score import check_finite, score

        found = score(
            model, media.read_frames(item.paths), context=self.context, num_frames=self.num_frames,
            draws=self.num_importance_samples, seed=self.common.seed or 0, actions=self._plan(model, item),
        )  # fmt: skip
        _remark(item, found.notes)
        check_finite(self.checkpoint, item.name, float(found))
        return f"{float(found):.4f} bits/dim (K = {found.draws})", found.to_json()

    def _plan(self, model: Any, item: Item) -> Actions | None:
        """Actions of the clip's frames."""
        from vflow.pipelines.video.actions import actions_of

        return None if self.actions is None else actions_of(model, self.actions, item.name)

    def _map(
        self, model: Any, item: Item, folder: Path, statistics: ClipStatistics | None
    ) -> tuple[str, dict[str, Any]]:
        """Scores of the clip and of each of its pixels; writes the clip's files into ``folder``."""
        from vflow.data import media
        from vflow.pipelines.video import export
        from vflow.pipelines.video.score import check_finite
        from vflow.pipelines.video.surprisal import surprisal
        from vflow.tasks.video.settings import QUANTILE

        found = surprisal(
            model, media.read_frames(item.paths), statistics=statistics,
            quantile=QUANTILE if self.quantile is None else self.quantile,
            num_frames=self.num_frames, seed=self.common.seed or 0, actions=self._plan(model, item),
        )  # fmt: skip
        _remark(item, found.notes)
        data = found.to_json()
        check_finite(self.checkpoint, item.name, data["bits_per_dim"])
        export.write(folder, item.name, found, model.config.fps)
        line = f"{data['bits_per_dim']:.4f} bits/dim"
        if found.flagged:
            line += f"; surprising: {', '.join(str(t + 1) for t in found.flagged)}"
        if found.out_of_order:
            line += f"; out of order: {found.out_of_order.first + 1} and {found.out_of_order.second + 1}"
        return line, data


@dataclass(frozen=True, kw_only=True)
class ScoreFlags(PredictFlags):
    """Flags of ``vflow generate score``, which writes the maps of every clip."""

    purpose: ClassVar[Literal["futures", "bits"]] = "bits"

    def task(self) -> RunnerTask:
        task = super().task()
        runner: Any = task.runner
        return replace(task, runner=replace(runner, checkpoint=task.record.checkpoint))


def _remark(item: Item, notes: Sequence[str]) -> None:
    for text in notes:
        note(f"{item.name}: {text}")
