"""Set-up of a run: data module, model, fitted statistics, initial weights, prepared train state."""

from __future__ import annotations

import copy
import logging
import math
import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, broadcast
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vflow.checkpoint import load
from vflow.config import Preset, TrainingConfig
from vflow.data.datasets.registry import require_suitable
from vflow.devices import physical_memory
from vflow.errors import CheckpointError, ConfigError, counted, naming_memory
from vflow.models import Model, VectorFlow, build_model
from vflow.nn.backbone import STRIDES, WIDTHS
from vflow.quantization import is_inside
from vflow.registry import families, resolve
from vflow.training.data import READY, DataModule, on_device
from vflow.training.distributed import autocast_dtype
from vflow.training.ema import Ema
from vflow.training.features import FeatureCache
from vflow.training.logging import announce
from vflow.training.losses import pretraining_loss
from vflow.training.schedule import make_optimizer
from vflow.training.step import TrainState

_log = logging.getLogger(__name__)
GIB = 1 << 30
CHUNK = 16  # examples at once while fitting
STATISTICS = {  # fitted tensors, where present
    "pixel_map.probability",
    "pixel_map.map.probability",
    "reference.transition_logits",
    "reference.background",
    "actions.mean",
    "actions.scale",
    "actions.step",
}
INITIALIZED = ".initialized"  # mark of parts that were set from data
MARGIN = 0.98  # statistics of these data replace those taken only if bits fall below this share


def fit_statistics(model: Model, data: DataModule[Any, Any], first: Any, taken: set[str]) -> str:
    """Pixel maps and tables fitted to the training data, on the device of the batch ``first``.

    Statistics ``taken`` from a checkpoint stay, since its weights go with them, unless ``first`` costs fewer
    bits with statistics of these data. Returns a remark for people, empty where there was no choice.
    """
    state = model.state_dict()
    names = STATISTICS & state.keys()
    if not names:
        return ""
    old = {name: state[name].clone() for name in names} if names <= taken else {}
    before = _bits(model, data, first) if old else math.inf
    starts, device = range(0, max(CHUNK, data.statistics_examples), CHUNK), first[0].device
    model.fit([on_device(data.batch(start, CHUNK), device) for start in starts])
    if not old:
        return ""
    after = _bits(model, data, first)
    if after < MARGIN * before:
        return f"statistics fitted anew: {before:.4g} → {after:.4g} bits/dim at the start"
    for name, value in old.items():
        state[name].copy_(value)
    return f"statistics kept: {before:.4g} bits/dim at the start (fitted anew: {after:.4g})"


@torch.no_grad()
def _bits(model: Model, data: DataModule[Any, Any], batch: Any) -> float:
    """Mean bits/dim; infinite where it is no number."""
    bits = float(model.bits_per_dim(model(batch), data.targets).mean())
    return bits if math.isfinite(bits) else math.inf


def open_data(preset: Preset) -> DataModule[Any, Any]:
    """The preset's data, as its model wants it.

    Raises:
        ConfigError, InputError: no data where the preset says, or data that does not suit the model.
    """
    module: DataModule[Any, Any] = resolve(families()[preset.model.family].data)(preset.model, preset)
    return module


def check_preset(preset: Preset, accelerator: Accelerator) -> None:
    """Error for what shows before any data are opened.

    Raises:
        ConfigError: batches or losses that do not suit the processes, or data that do not suit the model.
    """
    check_batch(preset, accelerator.num_processes)
    check_losses(preset.training, accelerator.distributed_type)
    model, data = preset.model, preset.data
    require_suitable(data, model.kind if model.family == "codec" else model.family)


def check_batch(preset: Preset, world: int) -> None:
    """Error for a batch that processes and accumulation cannot share equally.

    Raises:
        ConfigError: naming the nearest sizes that fit.
    """
    unit, size = world * preset.training.accumulate, preset.training.batch_size
    if size % unit:
        lower, upper = size // unit * unit, -(-size // unit) * unit
        parts = f"{preset.training.accumulate} (training.accumulate)"
        raise ConfigError(
            f"training.batch_size = {size} is not divisible by "
            f"{parts if world == 1 else f'{world} processes × {parts}'}; "
            f"set it to {f'{lower} or ' if lower else ''}{upper}"
        )


def check_memory(config: TrainingConfig, data: DataModule[Any, Any], world: int) -> None:
    """Error for batches that this machine or container has no memory for, before their examples fill it.

    Raises:
        ConfigError: naming the largest batch that fits.
    """
    example = sum(part.nbytes for part in data.batch(0, 1) if isinstance(part, Tensor))
    memory = physical_memory()
    for key, size, copies in (
        ("actnorm_batch", config.actnorm_batch, 1),
        ("batch_size", config.batch_size, (1 + READY) / world),
    ):
        if (needed := size * copies * example) > memory:
            raise ConfigError(
                f"training.{key} = {size}: its examples alone take {needed / GIB:,.1f} GiB, this machine or "
                f"container has {memory / GIB:,.1f}; use {int(memory / (copies * example))} at most"
            )


def naming_batch_memory(config: TrainingConfig) -> AbstractContextManager[None]:
    """Context in which a batch that memory cannot hold becomes one line."""
    return naming_memory(
        f"lower training.batch_size ({config.batch_size}) or training.actnorm_batch "
        f"({config.actnorm_batch}), raise training.accumulate, or make the model smaller"
    )


def check_losses(config: TrainingConfig, distributed: DistributedType) -> None:
    """Error for losses that do not work with several processes.

    Raises:
        ConfigError: pretraining skips the ``forward`` through which DDP shares gradients.
    """
    if pretraining_loss(config) and distributed != DistributedType.NO:
        raise ConfigError(
            "color_mean with pretrain_only runs in one process: start it with plain vflow train"
        )


def new_model(preset: Preset) -> Model:
    """A model with seeded weights; its data-dependent parts are not set."""
    torch.manual_seed(preset.training.seed)
    model = build_model(preset.model)
    for part in model.modules():
        if isinstance(part, VectorFlow):
            part.started = True  # by ``start_model``, or by the commit that is loaded
    return model


def start_model(
    model: Model,
    preset: Preset,
    data: DataModule[Any, Any],
    accelerator: Accelerator,
    init_from: str | None,
    *,
    warn: bool = True,
) -> None:
    """Set the data-dependent parts, after taking tensors of the checkpoint ``init_from`` if given.

    The main process counts, and sets ActNorm on the whole initial batch; the others receive the result.

    Args:
        warn: say so if a backbone's weights are random.
    """
    taken = load_matching(model, init_from, accelerator.is_main_process) if init_from else set()
    if preset.training.backbone_weights:
        load_backbone(model, preset.training.backbone_weights)
    elif (
        warn
        and getattr(preset.model, "backbone", False)
        and not any(is_inside(key, ["backbone"]) for key in taken)
    ):
        _log.warning(
            "model.backbone: its weights are random; start from a checkpoint that has it "
            "(--init-from colorizer), name training.backbone_weights, or --set model.backbone=false"
        )
    model.to(accelerator.device)
    if accelerator.is_main_process:
        first = data.batch(0, min(preset.training.actnorm_batch, data.length))
        first = on_device(first, accelerator.device)
        if STATISTICS & model.state_dict().keys():
            announce(accelerator, f"counting: statistics of {counted(data.statistics_examples, 'example')}")
        if remark := fit_statistics(model, data, first, taken):
            announce(accelerator, f"--init-from {init_from}: {remark}")
        announce(accelerator, "initialising the model")
        model.initialize(first)
    for value in model.state_dict().values():
        value.copy_(broadcast(value.clone()))


@torch.no_grad()
def load_matching(model: Model, name: str, report: bool) -> set[str]:
    """Copy the tensors of checkpoint ``name`` whose names and shapes match; say which did not.

    Raises:
        CheckpointError: no such checkpoint, or nothing in it matches.
    """
    source, own = load(name).state_dict(), model.state_dict()
    matching = {key for key, value in own.items() if key in source and source[key].shape == value.shape}
    matching -= {norm + INITIALIZED for norm in _halved(own, matching)}
    if not matching:
        raise CheckpointError(f"--init-from {name}: nothing in it fits this model; name one of its kind")
    for key in matching:
        own[key].copy_(source[key])
    for key, buffer in model.named_buffers():
        if key.endswith(INITIALIZED) and key not in own:  # parts whose files do not hold the mark
            buffer.fill_(_whole(key.removesuffix(INITIALIZED), own, matching))
    if report:
        print(f"--init-from {name}: {_summary(own, source, matching)}", file=sys.stderr)
    return matching


def load_backbone(model: Any, path: str) -> None:
    """Take the weights of the model's backbone from a safetensors file.

    Raises:
        CheckpointError: no such file, or the weights of something else.
    """
    try:
        model.backbone.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: no weights of EfficientNet-Lite0; make them by python scripts/convert_backbone.py "
            f"--output {path}"
        ) from error


def _summary(own: dict[str, Tensor], source: dict[str, Tensor], matching: set[str]) -> str:
    """Counts of tensors taken, started afresh and not used, with an example of each of the latter."""
    text = f"{len(matching)} of {counted(len(own), 'tensor')} taken"
    if fresh := sorted(own.keys() - matching):
        key = next((key for key in fresh if key in source and source[key].shape != own[key].shape), fresh[0])
        there = f"{tuple(source[key].shape)} there" if key in source else "not there"
        text += f"; {len(fresh)} start afresh, such as {key} ({tuple(own[key].shape)} here, {there})"
    if unused := sorted(source.keys() - own.keys()):
        text += f"; {len(unused)} of its own not used, such as {unused[0]}"
    return text


def _halved(own: dict[str, Tensor], matching: set[str]) -> set[str]:
    """ActNorms with a tensor that does not match: they still have to be initialised from data."""
    names = {key.removesuffix(INITIALIZED) for key in own if key.endswith(INITIALIZED)}
    return {name for name in names if not _whole(name, own, matching)}


def _whole(name: str, own: dict[str, Tensor], matching: set[str]) -> bool:
    """True if all tensors of the part ``name`` match."""
    return all(key in matching for key in own if key.startswith(f"{name}."))


def freeze(model: Model, trainable: Sequence[str]) -> None:
    """Gradients for the parts named in ``trainable`` alone; none named: for all that the model trains.

    Raises:
        ConfigError: a part that the model does not have, or no weights at all.
    """
    names = dict(model.named_parameters())
    for part in trainable:
        if not any(is_inside(name, [part]) for name in names):
            parts = ", ".join(sorted({name.partition(".")[0] for name in names}))
            raise ConfigError(
                f"training.trainable: the model has no part {part!r} with weights; it has {parts}"
            )
    for name, parameter in names.items() if trainable else ():
        parameter.requires_grad_(is_inside(name, trainable))
    if not any(parameter.requires_grad for parameter in names.values()):
        raise ConfigError("the model has no weights to train; give model.layers one that has some")


def prepare(
    model: Model,
    preset: Preset,
    data: DataModule[Any, Any],
    accelerator: Accelerator,
    cache_root: Path | None = None,
) -> tuple[TrainState, Model]:
    """Prepared train state, and an unprepared copy of the model for the averaged weights.

    ``cache_root`` holds a backbone's features, where they are kept; None: the folder of ``VFLOW_CACHE``.
    """
    model.to(accelerator.device)  # before the copy, which stays where it is
    average = copy.deepcopy(model).eval().requires_grad_(False)
    config = preset.training
    freeze(model, config.trainable)
    optimizer = make_optimizer(model, config)
    with warnings.catch_warnings():
        # Newer names of this setting are unknown to the older releases of PyTorch that are supported.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        prepared, optimizer = accelerator.prepare(model.train(), optimizer)
    plain = accelerator.unwrap_model(prepared)
    if config.compile:
        prepared.compile()  # in place: names of weights stay
    dtype = autocast_dtype(config.precision, accelerator.device)
    ema = Ema(plain, config.ema)
    cache = open_feature_cache(plain, data, cache_root) if config.cache_features else None
    state = TrainState(accelerator, prepared, plain, optimizer, ema, config, dtype, data.targets, cache)
    return state, average


def open_feature_cache(model: Any, images: Any, root: Path | None = None) -> FeatureCache:
    """Cache of the backbone's features of a colouriser's training photos, below ``root`` if given.

    Raises:
        InputError: it cannot be written.
    """
    height, width = (2 * side for side in model.image_shape[1:])
    shapes = [(channels, height // s, width // s) for channels, s in zip(WIDTHS, STRIDES, strict=True)]
    return FeatureCache.of(model.backbone, images.train.fingerprint, len(images.train), shapes, root)
