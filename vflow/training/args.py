"""Options of ``vflow train`` and ``scripts/train.py``, and the preset they make. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vflow.config import DataConfig, ModelConfig, Preset, load_preset, preset_names
from vflow.config.density import SphereMixtureBase
from vflow.config.ranges import check_seed
from vflow.disk import parse_yaml
from vflow.errors import ConfigError, counted, printable
from vflow.flags import Text, Whole

_log = logging.getLogger(__name__)
_CLIPS = "give a folder of clips or frame folders"
_DIGITS = "give a folder of four IDX files, or of MNIST/raw with them"
CONTENTS = {
    "shapes": _CLIPS,
    "video-folder": _CLIPS,
    "moving-digits": _DIGITS,
    "digits": _DIGITS,
    "bair": "give a folder of BAIR's TFRecords",
    "photos": "give a folder or zip of photos",
    "moving-photos": "give a folder with photos/, and clips/SOURCE/ and validation/ if you have films",
    "rain": "give a folder of radar sequences (npz)",
}
"""Data set of a preset → what ``--data`` takes."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train a model from a preset or a recipe; the run goes to --output and can be resumed at any time."""

    config: Text = None
    """Preset name or YAML file ('vflow config NAME' prints a preset)."""
    recipe: Text = None
    """Recipe name or YAML file: all stages of a shipped checkpoint, one after the other."""
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the run: commits, log.jsonl, sample grids; a recipe has a run for each stage, and model/."""
    data: Annotated[Text, tyro.conf.arg(metavar="DATA")] = None
    """Folder of your own clips or photos (photos also in a zip), root of the preset's data set, or points: a
    CSV, an npz, or the name of a density (two-moons, …) or energy (u1 to u4). For a recipe, the folder
    that its note describes."""
    condition: Text = None
    """Columns of a table, NAME,NAME, that the others are modelled given."""
    drop_missing: bool = False
    """Leave out a table's rows with missing cells, which are refused otherwise."""
    resume: bool = False
    """Continue from the newest intact commit in the output folder; start afresh if there is none."""
    init_from: Text = None
    """Checkpoint to start the weights from (folder, shipped name or hub id): fine-tuning."""
    max_steps: Whole = None
    """Total steps; also the length of the learning rate's decay."""
    batch_size: Whole = None
    """Examples per step, over all processes and accumulation."""
    checkpoint_every: Whole = None
    """Steps between commits."""
    log_every: Whole = None
    """Steps between lines of log.jsonl."""
    keep: Annotated[int, tyro.conf.arg(metavar="N")] = 3
    """Newest commits to keep; 0 keeps all."""
    dry_run: bool = False
    """Print parameters, memory and time from three measured steps, and write nothing."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE…", help_behavior_hint="")] = ()
    """Preset entries to change, as key.path=value."""
    tensorboard: bool = False
    """Also write TensorBoard events to OUTPUT/tensorboard."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on."""
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        tyro.conf.arg(metavar="{auto,float32,bfloat16}", help_behavior_hint=""),
    ] = None
    """Precision of the conditioner networks; the preset's when not given."""
    threads: Whole = None
    """CPU threads per process."""
    patience: Whole = None
    """Validations without a better one after which the run ends, with the weights that were best; for your
    own points 8, else the run goes to its end."""
    seed: Whole = None
    """Seed of weights, order, crops and noise; the preset's when not given."""
    debug: bool = False
    """Show tracebacks."""


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``key.path=value`` strings as a mapping of dotted keys to YAML values.

    Raises:
        ConfigError: an entry has no '=', or its value is not YAML.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(f"--set {setting}: expected key.path=value, e.g. training.learning_rate=0.0005")
        try:
            parsed[key] = parse_yaml(text)
        except ValueError as error:
            raise ConfigError(f"--set {setting}: the value is not valid YAML") from error
    return parsed


def resolve(options: TrainOptions) -> Preset:
    """Preset of ``options``: file or name, then ``--set``, then the named flags.

    Raises:
        ConfigError: unknown preset or key, a value out of range, or flags that contradict each other.
    """
    if options.config is None:
        raise ConfigError("name what to train: --config PRESET, or --recipe NAME")
    if options.keep < 0:
        raise ConfigError(f"--keep {options.keep}: give the number of commits to keep, or 0 for all")
    overrides = parse_settings(options.set)
    typed = {text.partition("=")[0].strip(): f"--set {text}" for text in options.set}
    if options.seed is not None:
        check_seed(options.seed, "--seed")
    for flag in ("max_steps", "batch_size", "checkpoint_every", "log_every", "dtype", "seed", "patience"):
        if (value := getattr(options, flag)) is not None:
            key = "training.precision" if flag == "dtype" else f"training.{flag}"
            overrides[key], typed[key] = value, f"--{flag.replace('_', '-')} {value}"
    if options.drop_missing:
        overrides["data.drop_missing"] = True
    if options.data is not None:
        table = options.condition, options.drop_missing
        overrides |= own_data(options.data, options.config, overrides, typed, table)
    elif options.condition is not None:
        raise ConfigError("--condition: goes with --data, a table with such columns")
    preset = load_preset(options.config, overrides, typed)
    if options.data is not None and (held := held_out_events(preset.data, overrides)) is not None:
        return load_preset(options.config, overrides | {"data.held_out_events": held}, typed)
    return preset


Reading = tuple[str | None, bool]
"""``--condition`` and ``--drop-missing``: how a table is read."""


def own_data(
    data: str, config: str, overrides: dict[str, Any], typed: dict[str, str], table: Reading = (None, False)
) -> dict[str, Any]:
    """Entries of the preset ``config`` that ``--data`` changes, beside ``overrides`` and what was ``typed``.

    A folder replaces generated data by the folder's clips; named data sets take it as their root. Vectors are
    as long as the points, unless ``model.dim`` is among the overrides.

    Raises:
        ConfigError: no such folder, data that take none, or the preset cannot be read. InputError: a table
            cannot be read, or has missing cells.
    """
    path = Path(data)
    name = load_preset(config, overrides, typed).data.name
    if name == "points":
        entries = _own_points(data, config, *table)
        if overrides.get("model.dim", entries["model.dim"]) != entries["model.dim"]:
            entries.pop("model.columns", None)  # they are described for rows of another length
        return {key: value for key, value in entries.items() if key not in overrides}
    if any(table):
        raise ConfigError("--condition and --drop-missing are for tables; leave them out")
    if not path.is_dir() and not (name == "photos" and path.is_file()):
        raise ConfigError(f"--data {path}: no such folder; {CONTENTS[name]}")
    entries = {"data.path": str(path)}
    if name == "shapes":
        entries["data.name"] = "video-folder"
    return entries


def _own_points(data: str, config: str, condition: str | None, drop_missing: bool) -> dict[str, Any]:
    from vflow.densities import ENERGIES, TARGETS, target  # these need torch

    if data in ENERGIES or data in TARGETS:
        if condition is not None:
            raise ConfigError(f"--condition: {data} is no table; leave it out")
        return {"data.path": data, "model.dim": 2 if data in ENERGIES else target(data).dim}
    from vflow.data.datasets.points import describe_columns, read_table

    table = read_table(Path(data), drop_missing=drop_missing)
    given = [] if condition is None else [name.strip() for name in condition.split(",")]
    columns = describe_columns(table, given, data)
    model = load_preset(config).model
    if model.kind == "density" and model.on_manifold:
        columns = [column.model_copy(update={"kind": "number"}) for column in columns]
    whole = [column.name for column in columns if column.kind != "number" and not column.condition]
    if whole:
        names = ", ".join(whole[:10]) + (" …" if whole[10:] else "")
        _log.warning("%s: noise of [0, 1) is added to columns of whole numbers: %s", data, names)
    if dropped := int((~table.complete).sum()):
        _log.warning("%s: %s with missing cells left out", data, counted(dropped, "row"))
    entries: dict[str, Any] = {
        "data.path": data,
        "model.dim": len(columns) - len(given),
        "model.features": len(given),
        "model.columns": [column.model_dump() for column in columns],
    }
    if model.kind == "density" and model.on_sphere and len(columns) == 2 and not given:
        entries["model.dim"] = 3  # latitude and longitude
    if config in preset_names():
        entries |= table_settings(len(table.numbers), model)
    return entries


MANY_ROWS = 20_000


def table_settings(rows: int, model: ModelConfig) -> dict[str, Any]:
    """Entries of a preset that suit a table of ``rows``: the fewer, the gentler the fit.

    The model starts as the Gaussian of the rows' shrunk covariance and keeps a share of it. Noise on the rows
    stands for those that there might have been. Held-out rows say when to stop; with few of them it counts
    that a second run takes all rows.
    """
    few = rows < MANY_ROWS
    entries: dict[str, Any] = {"training.patience": 8, "training.actnorm_batch": min(rows, 100_000)}
    if model.kind == "density" and not model.on_manifold:
        entries["model.defensive"] = True
        entries["training.input_noise"] = round(min(0.3, 0.2 * (500 / rows) ** 0.5), 3) if few else 0.0
    if model.kind == "density" and isinstance(model.base, SphereMixtureBase):
        return entries | {"training.refit": few}
    if few:
        entries |= {
            "training.batch_size": 64 if rows < 5000 else 256,
            "training.learning_rate": 2e-3,
            "training.warmup_steps": 50,
            "training.max_steps": 2000,
            "training.ema": 0.98,
            "training.validate_every": 25,
            "training.refit": True,
        }
    return entries


def held_out_events(data: DataConfig, overrides: dict[str, Any]) -> list[str] | None:
    """Events to hold out of a folder that has none of those the preset names: the last, if there are others.

    None: those of the preset are there, or none are to be held out.
    """
    named = any(key.startswith("data.held_out_events") for key in overrides)
    if named or data.name != "rain" or data.path is None or not data.held_out_events:
        return None
    from vflow.data.datasets.rain import event_names  # needs OpenCV

    names = event_names(data.path)
    if set(names) & set(data.held_out_events):
        return None
    if len(names) == 1:
        _log.warning("%s: only one event, so training goes on without validation", printable(data.path))
        return []
    _log.warning(
        "%s: has no %s, which the preset holds out, so the last event, %s, is for validation; "
        "--set 'data.held_out_events=[NAME]', or in a recipe the stage's set, names another",
        printable(data.path),
        data.held_out_events[0],
        printable(names[-1]),
    )
    return [names[-1]]
