"""``vflow evaluate``: figures of a checkpoint on held-out data."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vflow import registry
from vflow.commands.common import (
    NONE_GIVEN,
    CommonFlags,
    check_checkpoint,
    note,
    open_model,
    parse_temperature,
)
from vflow.errors import CheckpointError, ConfigError, require
from vflow.flags import File, Text, Whole

if TYPE_CHECKING:
    import torch

    from vflow.pipelines.evaluate.report import Evaluation, Progress, Settings

Folder = Annotated[Path | None, tyro.conf.arg(metavar="DIR", constructor=Path, help_behavior_hint="")]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a checkpoint on held-out data, beside baselines."""

    checkpoint: Text = None
    """A folder, a shipped name or a hub id."""
    data: Annotated[Text, tyro.conf.arg(metavar="NAME|FOLDER")] = None
    """shapes, moving-digits, digits, a folder of clips, photos or radar (also one in
    VFLOW_DATA), or points: a CSV, an npz, or the name of a density (two-moons, …) or energy (u1 to u4)."""
    train: Annotated[Text, tyro.conf.arg(metavar="FOLDER")] = None
    """Training data, for baselines and tuning; the 'train' inside or beside --data when not given."""
    split: Literal["test", "validation"] = "test"
    """Data to score; validation is part of the training data."""
    held_out_files: Whole = None
    """Clips that training held out, where its data.held_out_files replaced the usual 5%."""
    limit: Whole = None
    """Examples, evenly spread (64 clips, 1000 digits, 128 photos, all points); 0 takes all."""
    num_samples: Whole = None
    """Futures per clip (20), colourings or enlargements per photo (8), members of rain (20),
    digits per class (100)."""
    num_frames: Whole = None
    """Predicted frames of each clip (10, or what the clips have); given, no later ones are scored."""
    context: Whole = None
    """Given frames of each clip; the model's window when not given, one for shapes."""
    temperature: Annotated[Text, tyro.conf.arg(metavar="F")] = None
    """Scale of the noise (1); one number, or one per level, fine to coarse."""
    tune_temperature: bool = False
    """Choose the temperature on validation data first."""
    num_importance_samples: int = 16
    """K of the second, importance-weighted bound; 1 leaves it out."""
    classifier: File = None
    """Digit classifier (safetensors); one is trained and written there if the file is missing."""
    probe_clips: Whole = None
    """Training clips of the probe that reads the direction of shapes from the latents, 40 or more (4000; none
    with --limit); 0 leaves it out."""
    plots: Folder = None
    """Write plots and contact sheets there."""
    json: bool = False
    """Print one JSON object: a figure per key, and the protocol."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0."""
        checkpoint = check_checkpoint(self.checkpoint, tuple(registry.families()))
        from vflow.data.media import check_folder
        from vflow.pipelines.common import precision, set_threads
        from vflow.pipelines.evaluate.report import write_plots

        settings = self._settings()
        set_threads(self.common.threads)
        model, folder, device = open_model(checkpoint, self.common.device)
        self._note_unread(model.config)
        if model.config.family == "videoflow":  # SSIM, and curves over frames
            require("torchmetrics", "evaluate", "eval")
            if self.plots:
                require("matplotlib", "--plots", "eval")
        if self.plots:
            check_folder(self.plots)
        origin = _origin(self, folder, device)
        with precision(self.common.dtype, device), _stages() as stage:
            try:
                evaluation = self._evaluate(model, settings, stage)
            except CheckpointError as error:
                raise CheckpointError(f"{checkpoint}: {error}") from error
        evaluation = dataclasses.replace(evaluation, protocol={**origin, **evaluation.protocol})
        text = json.dumps(evaluation.to_json(), ensure_ascii=False) if self.json else table(evaluation)
        print(text, flush=True)
        for path in write_plots(self.plots, evaluation) if self.plots else []:
            note(f"wrote {path}")
        return 0

    def _settings(self) -> Settings:
        from vflow.pipelines.evaluate.data import GENERATED
        from vflow.pipelines.evaluate.report import Settings

        if self.data is None:
            raise ConfigError(f"--data: give {', '.join(GENERATED)}, a folder, or points")
        if self.tune_temperature and self.temperature is not None:
            raise ConfigError("--tune-temperature chooses the temperature; leave --temperature out")
        names = {field.name for field in dataclasses.fields(Settings)} - {"seed", "temperature"}
        given = {name: getattr(self, name) for name in names}
        temperature = 1.0 if self.temperature is None else parse_temperature(self.temperature)
        return Settings(**given, seed=self.common.seed or 0, temperature=temperature)

    def _note_unread(self, config: Any) -> None:
        from vflow.pipelines.evaluate.report import Settings

        reads = {"data", "split", *registry.families()[config.family].reads}
        unread = {field.name for field in dataclasses.fields(Settings)} - reads
        for field in dataclasses.fields(self):
            if field.name in unread and getattr(self, field.name) != field.default:
                note(f"--{field.name.replace('_', '-')} does nothing for a model of kind {config.kind}")

    def _evaluate(self, model: Any, settings: Settings, stage: Callable[[str], Progress]) -> Evaluation:
        """All figures; with --tune-temperature, at the temperature that is best on validation data."""
        family = registry.families()[model.config.family]
        evaluate, tune = map(registry.resolve, (family.evaluate, family.tune))
        if not self.tune_temperature:
            return evaluate(model, settings, stage)
        if tune is None:
            raise ConfigError(
                f"--tune-temperature: not for a model of kind {model.config.kind}; leave it out"
            )
        found = tune(model, settings, stage)
        best = max(found, key=lambda temperature: found[temperature])
        evaluation = evaluate(model, dataclasses.replace(settings, temperature=best), stage)
        tuned = {"temperature_scores": {f"{t:g}": score for t, score in found.items()}}
        return dataclasses.replace(
            evaluation, protocol={**evaluation.protocol, "tuned_on": "validation", **tuned}
        )


def _origin(command: Evaluate, folder: Path, device: torch.device) -> dict[str, Any]:
    """Origin of the figures: checkpoint, machine and command line."""
    import torch

    from vflow.checkpoint import checkpoint_hash
    from vflow.pipelines.common import resolve_dtype, versions

    return {
        "command": f"vflow evaluate {shlex.join(flags(command))}",
        "checkpoint": command.checkpoint,
        "checkpoint_hash": checkpoint_hash(folder),
        "seed": command.common.seed or 0,
        "dtype": resolve_dtype(command.common.dtype),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def flags(command: Any) -> list[str]:
    """Flags that decide the figures: not those on the device or on other outputs."""
    words = []
    for field in dataclasses.fields(command):
        if field.name in ("plots", "json"):
            continue
        value = getattr(command, field.name)
        name = f"--{field.name.replace('_', '-')}"
        if field.name == "common":
            words += [] if value.seed is None else ["--seed", str(value.seed)]
        elif value is True:
            words.append(name)
        elif value not in (field.default, None):
            words += [name, str(value)]
    return words


def table(evaluation: Evaluation) -> str:
    """Figures and protocol for people; series in a line each."""
    data = evaluation.to_json()
    protocol = data.pop("protocol")
    width = max(map(len, data))
    lines = [f"{key:<{width}}  {_shown(value)}" for key, value in data.items()]
    return "\n".join([*lines, "", *(f"{key}: {_shown(value)}" for key, value in protocol.items())])


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def _stages() -> Iterator[Callable[[str], Progress]]:
    """A bar on stderr, if that is a terminal, with the name of the stage."""
    from tqdm import tqdm

    with tqdm(file=sys.stderr, disable=None, leave=False) as bar:

        def stage(name: str) -> Progress:
            bar.reset(1)
            bar.set_description(name)

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return progress

        yield stage
