"""``vflow predict``: futures of clips."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vflow.commands.common import (
    NONE_GIVEN,
    CommonFlags,
    Inputs,
    Number,
    Text,
    Whole,
    note,
    open_model,
    parse_temperature,
)
from vflow.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from vflow.pipelines.engine import Options, Summary
    from vflow.pipelines.items import Item
    from vflow.pipelines.record import Record


Format = Literal["mp4", "webm", "gif", "png", "npz"]


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Draw many futures of a clip."""

    checkpoint: Text = None
    """A directory, a shipped name or a hub id."""
    input: Inputs = ()
    """A video, a folder of frames, an npz, or pictures in the order of time."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for the futures, manifest.jsonl and run.json."""
    num_frames: Whole = None
    """Frames per future (10)."""
    num_samples: Whole = None
    """Futures per clip (8)."""
    temperature: Annotated[Text, tyro.conf.arg(metavar="F")] = None
    """Scale of the noise (1); one number, or one per level, fine to coarse: 0.7,0.8,1."""
    format: Annotated[Format | None, tyro.conf.arg(constructor=Format, help_behavior_hint="")] = None
    """mp4 (the default), webm, gif: enlarged previews; png, npz: native pixels."""
    fps: Number = None
    """Frames per second of previews; the model's when not given."""
    settings: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Settings to repeat (settings.json of the app, run.json of a run); flags given beside it win."""
    on_existing: Literal["skip", "overwrite", "error"] = "skip"
    """Outputs that are there: skip what matches input, settings and checksum; redo all; or refuse."""
    json: bool = False
    """Print the manifest's entries instead of paths."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0, or 1 when some items failed."""
        from vflow.pipelines import engine, items
        from vflow.pipelines.futures import FuturesTask

        if self.output is None:
            raise ConfigError("--output: give a folder for the futures")
        found = items.clips(self.input)
        resolved, model = self._resolve()
        flat = resolved.format == "npz" and len(found) == 1
        options = engine.Options(self.output, flat=flat, on_existing=self.on_existing)
        with _progress() as progress:
            task = FuturesTask(model, resolved, note, progress)
            summary = engine.run(found, task, options, report=lambda entry: self._print(entry, options))
        _conclude(summary, found)
        return 1 if summary.failed else 0

    def _resolve(self) -> tuple[Record, Any]:
        """All settings, from flags, then ``--settings``, then defaults; and the model."""
        from vflow import checkpoint as checkpoints
        from vflow.config import parse
        from vflow.pipelines.compute import resolve_dtype, set_threads, versions
        from vflow.pipelines.record import Record, read_record

        old = read_record(self.settings) if self.settings else None
        flags = self._given()
        threads = set_threads(flags.get("threads", old.threads if old else None))
        model, folder, device = open_model(
            flags.get("checkpoint", old.checkpoint if old else None),
            flags.get("device", old.device if old else "auto"),
        )
        sha = checkpoints.checkpoint_hash(folder)
        if old:
            self._compare(old, sha)
        fields: dict[str, Any] = {"format": "mp4", "fps": model.config.fps}
        fields |= old.model_dump(exclude_none=True) if old else {}
        fields |= flags
        fields |= {
            "checkpoint": fields.get("checkpoint", str(folder)),
            "checkpoint_hash": sha,
            "threads": threads,
        }
        fields |= {"device": device.type, "dtype": resolve_dtype(fields.get("dtype", "auto"))}
        resolved = parse(Record, fields | {"versions": versions()}, "settings")
        resolved.settings().levels(len(model.latent_shapes))
        return resolved, model

    def _given(self) -> dict[str, Any]:
        """Flags given on the command line, by the names of ``Record``."""
        own = ("checkpoint", "num_frames", "num_samples", "format", "fps")
        given = {name: getattr(self, name) for name in own}
        given |= {name: getattr(self.common, name) for name in ("seed", "device", "dtype", "threads")}
        given = {name: value for name, value in given.items() if value not in (None, "auto")}
        if self.temperature is not None:
            given["temperature"] = parse_temperature(self.temperature)
        return given

    def _compare(self, old: Record, sha: str) -> None:
        for remark in old.differences():
            note(f"{self.settings}: {remark}")
        if sha == old.checkpoint_hash:
            return
        if self.checkpoint is None:
            raise CheckpointError(
                f"{self.settings}: made with another version of '{old.checkpoint}' (sha256 "
                f"{old.checkpoint_hash[:12]}…, here {sha[:12]}…); name a model with --checkpoint"
            )
        note(f"{self.settings}: made with another model than {self.checkpoint}; futures will differ")

    def _print(self, entry: dict[str, Any], options: Options) -> None:
        if entry["status"] == "failed":
            print(f"error: {entry['error']}", file=sys.stderr)
        if self.json:
            print(json.dumps(entry, ensure_ascii=False), flush=True)
        elif entry["status"] == "done":
            only = list(entry["outputs"]) if len(entry["outputs"]) == 1 else [entry["item"]]
            print(options.output / only[0], flush=True)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar of frames on stderr, if that is a terminal; one item after the other."""
    from tqdm import tqdm

    with tqdm(unit="frame", disable=None, leave=False) as bar:

        def update(done: int, total: int) -> None:
            if done < bar.n or bar.total != total:
                bar.reset(total)
            bar.update(done - bar.n)

        yield update


def _conclude(summary: Summary, found: list[Item]) -> None:
    if len(found) > 1:
        counts = (
            f"{len(summary.done)} done ({len(summary.skipped)} of them before), {len(summary.failed)} failed"
        )
        print(f"{len(found)} items: {counts}", file=sys.stderr)
