"""Checkpoints: folders of ``config.json``, ``model.safetensors`` and ``README.md``; nothing is pickled.

``load`` trusts neither file. Weights of too many values are refused by their header; a config that describes
far more than these is refused before memory is allocated; names, shapes and types must agree before a tensor
is read. So a damaged, foreign or hostile file costs one line of error.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from torch.overrides import TorchFunctionMode

from vflow.catalog import (
    CARD,
    CONFIG,
    DIRECTIONS,
    FILES,
    MAX_CONFIG_BYTES,
    STATISTICS,
    WEIGHTS,
    checkpoint_folder,
    missing_message,
)
from vflow.catalog import find_checkpoints as find_checkpoints
from vflow.checksum import serialize_checkpoint, verify_checkpoint
from vflow.config import Config, ModelConfig, parse
from vflow.devices import choose_device
from vflow.disk import parse_json, sync
from vflow.errors import CheckpointError, ConfigError
from vflow.models import build_model
from vflow.quantization import SUFFIX, dequantize, quantize
from vflow.randomness import forked_rng
from vflow.registry import config_class, kinds

SCHEMA = 1
MAX_PARAMETERS = 500_000_000
_OLD = ".old"
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
HALF_STORED = ("float16", "float32")
"""Types on disk and in memory of weights that are stored at half precision."""

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""Tensor name → (torch type name, shape)."""


def read_config(folder: str | Path) -> ModelConfig:
    """Model configuration of the checkpoint in ``folder``.

    Raises:
        CheckpointError: ``config.json`` is missing, damaged, of another schema, or has an unknown key.
    """
    path = Path(folder) / CONFIG
    return _parse_config(path, _read_json(path))


def read_statistics(folder: str | Path) -> dict[str, Any]:
    """Data statistics stored beside the model configuration of the checkpoint in ``folder``; may be empty.

    Raises:
        CheckpointError: as ``read_config``.
    """
    path = Path(folder) / CONFIG
    data = _read_json(path)
    _parse_config(path, data)
    statistics: dict[str, Any] = data.get("statistics", {})
    return statistics


def read_card(folder: str | Path) -> str | None:
    """Text of the model card in ``folder``; None where there is none. Damaged UTF-8 is replaced."""
    path = Path(folder) / CARD
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _parse_config(path: Path, data: dict[str, Any]) -> ModelConfig:
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
    if kind not in kinds():
        raise CheckpointError(f"{path}: model kind {kind!r} is unknown; known: {', '.join(kinds())}")
    try:
        config: Any = parse(config_class(kind), model, str(path))
        return config
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def checkpoint_hash(folder: str | Path) -> str:
    """SHA-256 over config and weights, by which settings files and manifests name a model."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        with _open(Path(folder) / name) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def load(name: str | Path, *, device: str | torch.device = "cpu", allow_hub: bool = True) -> nn.Module:
    """Load a model in evaluation mode, float32, on ``device``.

    Args:
        name: a folder, the name of a shipped checkpoint (``"shapes"``), or a hub id (``"owner/name"``).
        device: ``auto``, ``cpu`` or ``cuda``.
        allow_hub: a name that is neither a folder nor shipped may be fetched from the Hugging Face hub.

    Returns:
        The model, a class of ``vflow.models``, with its ``config``.

    Raises:
        ConfigError: no such device.
        CheckpointError: no such checkpoint, or its files are damaged, unsafe, absurd, or disagree.

    Examples:
        >>> model = vflow.load("digits")
        >>> model.config.kind
        'digits'
    """
    folder = checkpoint_folder(name, allow_hub=allow_hub)
    target = choose_device(str(device))
    data, layout = _read_json(folder / CONFIG), read_header(folder / WEIGHTS)
    model = _build(_parse_config(folder / CONFIG, data), layout, folder)
    state = model.state_dict()
    _compare(folder / WEIGHTS, layout, {k: (str(t.dtype)[6:], tuple(t.shape)) for k, t in state.items()})
    verify_checkpoint(folder / WEIGHTS, data, CONFIG)
    model.load_state_dict(dequantize(read_tensors(folder / WEIGHTS)), strict=True)
    return model.to(target).eval().requires_grad_(False)


def _build(config: ModelConfig, layout: Layout, folder: Path) -> nn.Module:
    """Model of ``config``, allowed hardly more memory than the tensors of ``layout`` take."""
    total = sum(math.prod(shape) for _, shape in layout.values())
    if total > MAX_PARAMETERS:
        limit = f"vflow refuses more than {MAX_PARAMETERS:,}"
        raise CheckpointError(f"{folder / WEIGHTS}: {total:,} parameters; {limit}")
    try:
        # The global generator is left as it was: initial values are drawn, and then overwritten. One model is
        # built at a time, since generator and default type are the process's. Building also makes temporary
        # tensors (rotations); a limit of twice the values leaves room for them.
        with (
            forked_rng(),
            _AllocationLimit(2 * total + 1_000_000),
            _float32_by_default(),
        ):
            return build_model(config)
    except _AllocationLimitError as error:
        raise CheckpointError(
            f"{folder / CONFIG}: describes a model far larger than the {total:,} values in {WEIGHTS}; "
            "they do not belong together"
        ) from error


@contextmanager
def _float32_by_default() -> Iterator[None]:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def save_checkpoint(
    folder: str | Path,
    model: nn.Module,
    *,
    config: Config,
    card: str | None = None,
    extra: Mapping[str, Any] | None = None,
    half: bool = False,
    int8: Sequence[str] = (),
) -> None:
    """Write a checkpoint; the folder appears complete or not at all.

    It takes the place of a checkpoint that is there. Principal directions and statistics of clips stay if
    they belong to these weights.

    Args:
        card: text of the model card; None keeps the card that is already there.
        extra: data statistics, stored under ``statistics`` in ``config.json``.
        half: round learned weights to float16, which halves the file; counted tables stay as they are.
        int8: parts of the model whose kernels are rounded to 8 bits, as ``quantize`` does.

    Raises:
        ConfigError: ``folder`` is a file, or holds something else; ``int8`` names a part that the model does
            not have; or the model is in float64 or has values that are not finite, or ``half`` cannot hold
            them, all of which ``load`` would refuse.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _put_back(folder)
    check_place(folder)
    data = {"schema": SCHEMA, "model": config.model_dump(mode="json")}
    if extra:
        data["statistics"] = json.loads(json.dumps(dict(extra)))  # keys are text, as they are when it is read
    state = _stored_tensors(model, folder, half, int8)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        (new / WEIGHTS).write_bytes(serialize_checkpoint(state, data))
        (new / CONFIG).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        if card is not None:
            (new / CARD).write_text(card, encoding="utf-8")
        for name in _lasting(folder, new):
            shutil.copy2(folder / name, new / name)
        for path in (*new.iterdir(), new):
            sync(path)
        _swap(new, folder)


def _stored_tensors(
    model: nn.Module, folder: Path, half: bool, int8: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Tensors of ``model`` in the types in which ``folder`` stores them; ConfigError where it cannot."""
    state = {k: v.detach().cpu().clone().contiguous() for k, v in model.state_dict().items()}
    learned = {name: state[name] for name, _ in model.named_parameters()}
    if half:
        state |= {name: weight.half() for name, weight in learned.items()}
    if int8:
        state |= quantize(learned, int8)
    if any(value.dtype == torch.float64 for value in state.values()):
        raise ConfigError(f"{folder}: the model is in float64, checkpoints hold float32; save model.float()")
    _check_finite(folder, state, half)
    return state


def _lasting(folder: Path, new: Path) -> list[str]:
    """Files in ``folder`` that stay with the checkpoint ``new``: the card, and what fits its weights."""
    names = [] if (new / CARD).exists() else [CARD]
    if all((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
        names += [DIRECTIONS, STATISTICS] if checkpoint_hash(folder) == checkpoint_hash(new) else []
    return [name for name in names if (folder / name).is_file()]


def check_place(folder: Path) -> None:
    """Refuse a place for a checkpoint that holds anything but one.

    Raises:
        ConfigError: naming what is there.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; name a folder for the checkpoint")
    inside = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if foreign := inside - {*FILES, ".DS_Store"}:  # which macOS puts everywhere
        text = f"holds {sorted(foreign)[0]}, which is no part of a checkpoint and would be deleted"
        raise ConfigError(f"{folder}: {text}; name another folder")


def _check_finite(folder: Path, state: Mapping[str, torch.Tensor], half: bool) -> None:
    """Refuse values that ``load`` would refuse."""
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            why = "has NaN or infinite values; save weights of before training diverged"
            if half and value.dtype == torch.float16 and not bool(value.isnan().any()):
                why = "has values beyond what half precision holds (65,504); save it without half"
            raise ConfigError(f"{folder}: tensor '{name}' {why}")


def _swap(new: Path, folder: Path) -> None:
    """Put ``new`` in the place of ``folder``, whatever was there; that comes back if it fails.

    The old one is deleted once the disk has the new one under its name.
    """
    if not folder.exists():
        os.rename(new, folder)
        sync(folder.parent)
        return
    # Not inside a folder that is deleted whatever happens: a process killed between the two loses nothing.
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_OLD, dir=folder.parent))
    try:
        os.rename(folder, old / folder.name)
        os.rename(new, folder)
    except BaseException:
        if (old / folder.name).exists():
            os.rename(old / folder.name, folder)
        old.rmdir()
        raise
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Give back its name to a checkpoint that a kill in ``_swap`` left without it."""
    for old in folder.parent.glob(f".{glob.escape(folder.name)}.*{_OLD}"):
        left = old / folder.name
        if not left.is_dir():  # such as that of a checkpoint whose name begins with this one's
            continue
        if folder.exists():
            shutil.rmtree(left, ignore_errors=True)
        else:
            os.rename(left, folder)
        with suppress(OSError):
            old.rmdir()


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
        data = parse_json(raw)
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); save the checkpoint again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: not a JSON object; save the checkpoint again")
    return data


def read_header(path: Path) -> Layout:
    """Names, types and shapes in a safetensors file, without reading a tensor; CheckpointError if damaged."""
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


def _compare(path: Path, found: Layout, wanted: Layout) -> None:
    """Refuse weights whose names, types or shapes are not the config's: the first, and how many more."""
    int8 = [key for key, (dtype, shape) in found.items() if dtype == "int8" and len(shape) > 1]
    for key, (dtype, shape) in [(key, wanted[key]) for key in int8 if key in wanted]:
        if dtype == "float32":
            wanted = wanted | {key: ("int8", shape), key + SUFFIX: ("float32", shape[:1])}
    problems = [f"tensor '{key}' is missing" for key in wanted if key not in found]
    problems += [f"tensor '{key}' is unknown" for key in found if key not in wanted]
    for key in [key for key in wanted if key in found]:
        (dtype, shape), (wanted_dtype, wanted_shape) = found[key], wanted[key]
        if dtype != wanted_dtype and (dtype, wanted_dtype) != HALF_STORED:
            problems.append(f"tensor '{key}' has type {dtype}, {CONFIG} needs {wanted_dtype}")
        if shape != wanted_shape:
            problems.append(f"tensor '{key}' has shape {shape}, {CONFIG} needs {wanted_shape}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(f"{path}: {problems[0]}{more}; the weights belong to another {CONFIG}")


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file; CheckpointError if values are not finite."""
    state = load_file(path)
    for key, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(
                f"{path}: tensor '{key}' has NaN or infinite values; use an earlier checkpoint"
            )
    return state


class _AllocationLimitError(Exception):
    """More values were about to be allocated than the limit allows."""


def _full_size(size: Sequence[int], fill_value: Any, **_: Any) -> int:
    return math.prod(size)


def _eye_size(n: int, m: int | None = None, **_: Any) -> int:
    return n * (n if m is None else m)


def _arange_size(start: float = 0, end: float | None = None, step: float = 1, **_: Any) -> int:
    first, last = (0, start) if end is None else (start, end)
    return math.ceil((last - first) / step)


_SIZES: dict[Any, Callable[..., int]] = {
    torch.full: _full_size,
    torch.eye: _eye_size,
    torch.arange: _arange_size,
}
"""Values in what functions return, by the arguments that they take."""


class _AllocationLimit(TorchFunctionMode):
    """Context that allocates tensors only while they have ``limit`` values together.

    A model built on the meta device would tell its size as well, but that imports torch's compiler, which
    takes longer than loading a small model; so would ``eye`` and ``arange`` on that device.

    Raises:
        _AllocationLimitError: before the tensor that exceeds the limit is allocated.
    """

    shaped = (torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.left = limit

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.shaped:
            plain = {key: value for key, value in kwargs.items() if key != "generator"}
            self.left -= torch.empty(*args, **{**plain, "device": "meta"}).numel()
        elif func in _SIZES:
            self.left -= _SIZES[func](*args, **kwargs)
        if self.left < 0:
            raise _AllocationLimitError
        return func(*args, **kwargs)
