"""A checkpoint is a directory: ``config.json``, ``model.safetensors``, ``README.md``. Nothing is unpickled.

``load`` compares the names, shapes and types in the safetensors header with those that the config asks for
before it allocates anything, so a damaged, foreign or absurd file is one line and not a crash.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vflow.catalog import (
    CARD,
    CONFIG,
    WEIGHTS,
    available,
    checkpoint_folder,
    missing_message,
    shipped,
)
from vflow.config import Config, VideoFlowConfig, parse
from vflow.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

SCHEMA = 1
MAX_PARAMETERS = 500_000_000
MAX_CONFIG_BYTES = 1 << 20
__all__ = [
    "available", "checkpoint_folder", "checkpoint_hash", "load", "read_config", "save_checkpoint", "shipped",
]  # fmt: skip
KINDS: dict[str, type[VideoFlowConfig]] = {"videoflow": VideoFlowConfig}
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"} | {
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""Tensor name → (torch type name, shape)."""


def read_config(folder: str | Path) -> VideoFlowConfig:
    """Model configuration of the checkpoint in ``folder``.

    Raises:
        CheckpointError: ``config.json`` is missing, damaged, of another schema, or has an unknown key.
    """
    path = Path(folder) / CONFIG
    data = _read_json(path)
    unknown = sorted(set(data) - {"schema", "model", "statistics"})
    if data.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path}: schema {data.get('schema')!r}, this vflow reads {SCHEMA}; update vflow"
        )
    if unknown:
        raise CheckpointError(f"{path}: unknown key '{unknown[0]}'; known: schema, model, statistics")
    model = data.get("model")
    if not isinstance(model, dict) or not isinstance(data.get("statistics", {}), dict):
        raise CheckpointError(f"{path}: 'model' and 'statistics' must be objects; save the checkpoint again")
    kind = str(model.get("kind"))
    if kind not in KINDS:
        raise CheckpointError(f"{path}: model kind {kind!r} is unknown; known: {', '.join(KINDS)}")
    try:
        return parse(KINDS[kind], model, str(path))
    except ConfigError as error:
        raise CheckpointError(
            str(error).replace(" (see 'vflow config NAME' for the known ones)", "")
        ) from error


def checkpoint_hash(folder: str | Path) -> str:
    """SHA-256 over config and weights: names the model in settings files and manifests."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        with _open(Path(folder) / name) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def load(
    name: str | Path,
    *,
    device: str | torch.device = "cpu",
    allow_hub: bool = True,
    folders: Iterable[str | Path] = (),
) -> nn.Module:
    """Load a model in evaluation mode, float32, on ``device``.

    Args:
        name: a directory, the name of a shipped checkpoint (``"shapes"``), or a hub id (``"owner/name"``).
        folders: further directories in which ``name`` is looked up.

    Raises:
        CheckpointError: no such checkpoint, or its files are damaged, unsafe, absurd, or disagree.
    """
    import torch

    from vflow.models import build_model

    folder = checkpoint_folder(name, folders=folders, allow_hub=allow_hub)
    config = read_config(folder)
    path = folder / WEIGHTS
    found = _header(path)
    _check_size(path, found)
    with torch.device("meta"):
        _compare(path, found, _layout(build_model(config).state_dict()))
    with torch.random.fork_rng(devices=[]):  # initial values are drawn, then overwritten: leave no trace
        model = build_model(config)
    model.load_state_dict(_read_weights(path), strict=True)
    return model.to(device).eval().requires_grad_(False)


def save_checkpoint(
    folder: str | Path,
    model: nn.Module,
    *,
    config: Config,
    card: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint; the folder appears complete or not at all.

    Args:
        card: text of the model card; None keeps the card that is already there.
        extra: data statistics, stored under ``statistics`` in ``config.json``.
    """
    from safetensors.torch import save

    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    data = {"schema": SCHEMA, "model": config.model_dump(mode="json")}
    if extra:
        data["statistics"] = dict(extra)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        state = {k: v.detach().cpu().clone().contiguous() for k, v in model.state_dict().items()}
        (new / WEIGHTS).write_bytes(save(state, metadata={"format": "pt"}))
        (new / CONFIG).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        if card is not None:
            (new / CARD).write_text(card, encoding="utf-8")
        elif (folder / CARD).is_file():
            shutil.copy2(folder / CARD, new / CARD)
        for file in new.iterdir():
            _sync(file)
        _swap(new, folder, old)


def _swap(new: Path, folder: Path, old: Path) -> None:
    """Put ``new`` in the place of ``folder``; what was there goes to ``old``, or back if that fails."""
    if not folder.exists():
        os.rename(new, folder)
        return
    os.rename(folder, old)
    try:
        os.rename(new, folder)
    except OSError:
        os.rename(old, folder)
        raise


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _open(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path.parent}: {missing_message(path.parent, path.name)}")
    return open(path, "rb")


def _read_json(path: Path) -> dict[str, Any]:
    with _open(path) as file:
        raw = file.read(MAX_CONFIG_BYTES + 1)
    if len(raw) > MAX_CONFIG_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_CONFIG_BYTES >> 20} MiB; this is no model config")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); save the checkpoint again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: not a JSON object; save the checkpoint again")
    return data


def _header(path: Path) -> Layout:
    """Names, types and shapes in a safetensors file, without reading a tensor."""
    from safetensors import SafetensorError, safe_open

    _open(path).close()
    try:
        with safe_open(path, framework="np") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            return {
                key: (_DTYPES.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape()))
                for key, part in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({error}); copy or download it again"
        ) from error


def _elements(layout: Layout) -> int:
    total = 0
    for _, shape in layout.values():
        count = 1
        for size in shape:
            count *= size
        total += count
    return total


def _check_size(path: Path, layout: Layout) -> None:
    if (total := _elements(layout)) > MAX_PARAMETERS:
        raise CheckpointError(f"{path}: {total:,} parameters; vflow refuses more than {MAX_PARAMETERS:,}")


def _layout(state: Mapping[str, torch.Tensor]) -> Layout:
    return {key: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for key, t in state.items()}


def _compare(path: Path, found: Layout, wanted: Layout) -> None:
    """Refuse weights whose names, types or shapes are not the config's: the first, and how many more."""
    _check_size(path.parent / CONFIG, wanted)
    problems = [f"tensor '{key}' is missing" for key in wanted if key not in found]
    problems += [f"tensor '{key}' is unknown" for key in found if key not in wanted]
    for key in [key for key in wanted if key in found]:
        for word, has, needs in zip(("type", "shape"), found[key], wanted[key], strict=True):
            if has != needs:
                problems.append(f"tensor '{key}' has {word} {has}, {CONFIG} needs {needs}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(f"{path}: {problems[0]}{more}; the weights belong to another {CONFIG}")


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    state = load_file(path)
    for key, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(
                f"{path}: tensor '{key}' has NaN or infinite values; use an earlier checkpoint"
            )
    return state
