"""Training state on disk: weights, optimiser, averages and progress, as safetensors and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from vflow.config import Preset
from vflow.disk import parse_json, read_regular
from vflow.errors import CheckpointError
from vflow.training.ema import Ema


@dataclass
class Progress:
    """Counters of one run; written to state.json.

    ``position`` counts examples consumed, ``seconds`` the training time over all resumes. The sums run
    since the last line of the log, so that a line comes out the same when a kill fell between two lines.
    ``best_bits`` are the validation's at ``best_step``, before ``waited`` that were no better.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)

    step: int = 0
    position: int = 0
    epoch: int = 0
    lr: float = 0.0
    seconds: float = 0.0
    accepted: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    rollbacks: int = 0
    rate_scale: float = 1.0
    log_norm: float = 0.0
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    summed: int = 0
    val_bits_per_dim: float | None = None
    best_bits: float | None = None
    best_step: int = 0
    waited: int = 0
    refitted: bool = False
    validation_bits: tuple[float, float] | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any], source: str) -> Self:
        """Counters that were written with ``dataclasses.asdict``; floats survive JSON exactly.

        Raises:
            CheckpointError: fields are missing, unknown or of another type.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        data = {name: getattr(cls, name) for name in ADDED} | data
        if set(data) != names:
            wrong = ", ".join(sorted(set(data) ^ names))
            raise CheckpointError(f"{source}: fields do not match this version of vflow: {wrong}")
        try:
            return TypeAdapter(cls).validate_python(data)
        except ValidationError as error:
            wrong = ", ".join(sorted({str(fault["loc"][0]) for fault in error.errors()}))
            raise CheckpointError(
                f"{source}: not numbers of a run: {wrong}; resume from another commit"
            ) from error


SCHEMA = 1
ADDED = ("best_bits", "best_step", "waited", "refitted")  # counters that older states lack
SHARD_BYTES = 14 << 20
STATE = "state.json"


def gather(model: nn.Module, optimizer: Optimizer, ema: Ema) -> dict[str, Tensor]:
    """All tensors of a run on the CPU, as ``model.NAME``, ``ema.NAME`` and ``optimizer.NAME.KEY``."""
    tensors = {f"model.{name}": _on_cpu(value) for name, value in model.state_dict().items()}
    tensors |= {f"ema.{name}": _on_cpu(value) for name, value in ema.tensors().items()}
    states = optimizer.state_dict()["state"]
    for number, (name, _) in enumerate(model.named_parameters()):
        for key, value in states.get(number, {}).items():
            tensors[f"optimizer.{name}.{key}"] = _on_cpu(value)
    return tensors


def _on_cpu(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous()


@torch.no_grad()
def restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: Optimizer, ema: Ema) -> None:
    """Inverse of ``gather``; every value keeps the memory layout of its parameter, on any device.

    Raises:
        CheckpointError: a tensor is missing or has another shape.
    """
    for name, value in model.state_dict().items():
        value.copy_(_find(tensors, f"model.{name}", value.shape))
    ema.load({name: _find(tensors, f"ema.{name}", p.shape) for name, p in model.named_parameters()})
    states: dict[int, dict[str, Tensor]] = {}
    for number, (name, parameter) in enumerate(model.named_parameters()):
        states[number] = _optimizer_entry(tensors, f"optimizer.{name}.", parameter)
    saved = optimizer.state_dict()
    states = {number: entry for number, entry in states.items() if entry}
    optimizer.load_state_dict({"state": states, "param_groups": saved["param_groups"]})


def _find(tensors: dict[str, Tensor], name: str, shape: torch.Size) -> Tensor:
    if name not in tensors or tensors[name].shape != shape:
        found = f"shape {tuple(tensors[name].shape)}" if name in tensors else "no such tensor"
        raise CheckpointError(f"commit does not fit the model: {name} needs {tuple(shape)}, has {found}")
    return tensors[name]


def _optimizer_entry(tensors: dict[str, Tensor], prefix: str, parameter: Tensor) -> dict[str, Tensor]:
    entry = {}
    for name in [name for name in tensors if name.startswith(prefix)]:
        value = tensors[name]
        if value.shape == parameter.shape and value.dim() > 0:
            moved = torch.empty_like(parameter)  # a fused step reads memory in the parameter's own order
            value = moved.copy_(value)
        entry[name.removeprefix(prefix)] = value
    return entry


def write_state(folder: Path, tensors: dict[str, Tensor], progress: Progress, preset: Preset) -> None:
    """Write ``state.json`` and safetensors shards of at most 15 MiB (a larger tensor has its own)."""
    folder.mkdir()
    shards = list(_shards(tensors))
    for number, shard in enumerate(shards, start=1):
        save_file(shard, folder / f"state-{number:05d}-of-{len(shards):05d}.safetensors")
    state = {
        "schema": SCHEMA,
        "progress": dataclasses.asdict(progress),
        "preset": preset.model_dump(mode="json"),
    }
    (folder / STATE).write_text(json.dumps(state, indent=1, allow_nan=False))


def _shards(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    size = 0
    for name, value in tensors.items():
        if shard and size + value.nbytes > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = value
        size += value.nbytes
    if shard:
        yield shard


def read_state(folder: Path) -> tuple[dict[str, Tensor], Progress, dict[str, Any]]:
    """Tensors, progress and the preset (as data) of the state folder of an intact commit.

    Raises:
        CheckpointError: the folder is not one that ``write_state`` wrote.
    """
    path = folder / STATE
    try:
        state = parse_json(read_regular(path))
        progress, preset = dict(state["progress"]), dict(state["preset"])
        tensors: dict[str, Tensor] = {}
        for shard in sorted(folder.glob("state-*.safetensors")):
            tensors |= load_file(shard)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: unreadable training state ({error})") from error
    return tensors, Progress.from_json(progress, str(path)), preset


def changed_keys(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys whose values differ between two presets given as data."""
    keys: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            keys += changed_keys(old, new, f"{prefix}{key}.")
        elif old != new:
            keys.append(f"{prefix}{key}")
    return keys
