"""``vflow walk``: images or clips along a path through a model's noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vflow.commands.common import (
    NONE_GIVEN,
    CommonFlags,
    check_checkpoint,
    note,
    open_model,
    parse_temperature,
)
from vflow.errors import ConfigError
from vflow.flags import Inputs, Number, Text, Whole
from vflow.registry import walks

if TYPE_CHECKING:
    from vflow.pipelines.walk.space import WalkSettings
    from vflow.pipelines.walk.walk import Walk

Kind = Literal["direction", "semantic", "interpolate", "transfer", "temperature", "blend"]
FLAGS_OF: dict[str, tuple[Kind, ...]] = {
    "direction": ("direction",),
    "level": ("direction", "semantic"),
    "negatives": ("semantic",),
    "positives": ("semantic",),
    "samples": ("blend",),
}
"""Flags that only some kinds of walk take."""


@dataclass(frozen=True, kw_only=True)
class WalkLatents:
    """Walk through a model's latents; writes grid.png and walk.mp4."""

    checkpoint: Text = None
    """A folder, a shipped name or a hub id."""
    kind: Kind = "direction"
    """direction: both ways along a principal direction; semantic: from --negatives to --positives;
    interpolate: from one input to another; transfer: a digit's style as all ten digits, or another photo's
    colours; temperature: the same noise at rising temperature; blend: from one future to another."""
    input: Inputs = ()
    """Clips, digits or photos: the walk's start, then its end. For a drawn digit, use --label."""
    negatives: Inputs = ()
    """First group of a semantic direction."""
    positives: Inputs = ()
    """Second group of a semantic direction."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for grid.png and walk.mp4."""
    steps: Whole = None
    """Steps of the walk (9)."""
    direction: Whole = None
    """Principal direction to walk along, from 0 (0: the one with most variance, number 1 in the app)."""
    level: Annotated[Text, tyro.conf.arg(metavar="N")] = None
    """Level whose noise moves: 0 the finest, -1 the coarsest (the default), or all."""
    extent: Number = None
    """Distance each way in standard deviations (3), or the last temperature (1.5); of other walks, how far
    they go, 1 to their end."""
    temperature: Annotated[Text, tyro.conf.arg(metavar="F")] = None
    """Scale of noise that is drawn (as the checkpoint suggests); one number, or one per level, fine to
    coarse."""
    label: Whole = None
    """Class of the digit; of an input, by default the likeliest."""
    num_frames: Whole = None
    """Predicted frames of each clip (8)."""
    samples: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="I J", help_behavior_hint="")] = None
    """The two futures to blend, from 0 as in the names of files (0 1: the app's futures 1 and 2)."""
    format: Literal["mp4", "npz"] = "mp4"
    """npz: also walk.npz, with native pixels and the steps' positions."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0."""
        if self.output is None:
            raise ConfigError("--output: give a folder for grid.png and walk.mp4")
        if self.common.dtype == "bfloat16":
            raise ConfigError("--dtype bfloat16: walks encode and decode, which takes float32; leave it out")
        self._refuse_unused()
        checkpoint = check_checkpoint(self.checkpoint, tuple(walks()), "walk through latents")
        from vflow.data import media
        from vflow.pipelines.common import set_threads
        from vflow.pipelines.walk.directions import load_directions
        from vflow.pipelines.walk.walk import walk

        settings = self._settings()
        media.check_folder(self.output)
        media.check_keeps((*self.input, *self.negatives, *self.positives), self._files())
        set_threads(self.common.threads)
        model, folder, _ = open_model(checkpoint, self.common.device)
        groups = [_read(paths, model.config.family) for paths in (self.input, self.negatives, self.positives)]
        directions = load_directions(folder, model) if self.kind == "direction" else None
        made = walk(
            model, groups[0], settings, directions=directions, negatives=groups[1], positives=groups[2]
        )
        for text in made.notes:
            note(text)
        for path in self._write(made, getattr(model.config, "fps", 10.0)):
            print(path, flush=True)
        return 0

    def _refuse_unused(self) -> None:
        for name, kinds in FLAGS_OF.items():
            if getattr(self, name) not in (None, ()) and self.kind not in kinds:
                raise ConfigError(
                    f"--{name}: goes with --kind {' or '.join(kinds)}, not with {self.kind}; leave it out"
                )

    def _settings(self) -> WalkSettings:
        from vflow.pipelines.walk.space import WalkSettings

        names = ("steps", "direction", "extent", "label", "num_frames", "samples")
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        given = {name: value for name, value in given.items() if value is not None}
        if self.temperature is not None:
            given["temperature"] = parse_temperature(self.temperature)
        if self.common.seed is not None:
            given["seed"] = self.common.seed
        if self.level is not None:
            given["level"] = _level(self.level)
        return WalkSettings(self.kind, **given)

    def _write(self, made: Walk, fps: float) -> list[Path]:
        from vflow.data import media
        from vflow.pipelines.walk import render as views

        grid, film, *arrays = self._files()
        media.write_png(grid, views.grid(made.frames))
        media.write_video(film, *views.film(made.frames, fps))
        for path in arrays:
            media.write_npz(path, frames=made.frames, positions=list(made.positions))
        return [grid, film, *arrays]

    def _files(self) -> list[Path]:
        assert self.output is not None  # ``run``
        names = ["grid.png", "walk.mp4"] + (["walk.npz"] if self.format == "npz" else [])
        return [self.output / name for name in names]


def _level(text: str) -> int | None:
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"--level {text}: give a whole number, or all") from error


def _read(paths: Sequence[Path], kind: str) -> list[Any]:
    """Content of files and folders: clips for video models, else images."""
    from vflow.data import media
    from vflow.pipelines.batch import inputs as items

    if not paths:
        return []
    if kind == "videoflow":
        return [media.read_frames(item.paths) for item in items.clips(paths)]
    files = [file for path in paths for file in (items.pictures_in(path) if path.is_dir() else [path])]
    return [media.read_image(file) for file in files]
