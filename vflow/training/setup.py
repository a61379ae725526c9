"""From a preset to something that can take a step."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from vflow.checkpoint import load
from vflow.config import Preset
from vflow.data.base import FrameDataset, open_dataset
from vflow.errors import ConfigError
from vflow.models import VideoFlow, build_model
from vflow.training.ema import Ema
from vflow.training.launch import autocast_dtype
from vflow.training.sampler import Sampler, on_device
from vflow.training.step import Learner, make_optimizer

COUNTED_CLIPS = 512  # examples that the counted parts are fitted to
COUNTED_FRAMES = 4096  # and no more frames than that
COUNTED = 16  # examples at once
FITTED = {"pixels.probability", "motion.after"}  # set by counting, where the model has them


@dataclass(frozen=True)
class Data:
    """The training stream and the fixed validation clips (possibly none)."""

    sampler: Sampler
    validation: FrameDataset


def open_data(preset: Preset) -> Data:
    """Both splits of the preset's data.

    Raises:
        ConfigError, InputError: clips too short for the model, or no data where the preset says.
    """
    model = preset.model
    if preset.data.frames <= model.min_context:
        raise ConfigError(
            f"data.frames = {preset.data.frames} leaves no frame to predict after model.min_context = "
            f"{model.min_context}; use at least {model.min_context + 1}"
        )
    dataset = open_dataset(preset.data, model, "train")
    sampler = Sampler(dataset, preset.training.seed, model.min_context, model.context, preset.data.corruption)
    return Data(sampler, open_dataset(preset.data, model, "validation"))


def check_batch(preset: Preset, world: int) -> None:
    """Refuse a batch that processes and accumulation cannot share equally.

    Raises:
        ConfigError: naming the nearest sizes that fit.
    """
    unit, size = world * preset.training.accumulate, preset.training.batch_size
    if size % unit:
        lower, upper = max(unit, size // unit * unit), -(-size // unit) * unit
        raise ConfigError(
            f"training.batch_size = {size} is not divisible by {world} processes × "
            f"{preset.training.accumulate} accumulated batches; use --batch-size {lower} or {upper}"
        )


def new_model(preset: Preset) -> VideoFlow:
    """A model with seeded weights; its data-dependent parts are not set."""
    torch.manual_seed(preset.training.seed)
    return build_model(preset.model)


def start_model(
    model: VideoFlow, preset: Preset, sampler: Sampler, accelerator: Accelerator, init_from: str | None
) -> None:
    """Set the data-dependent parts, after taking tensors of the checkpoint ``init_from`` if given.

    The main process fits pixel map and ActNorm on the whole initial batch; the others receive the result.
    """
    taken = take_tensors(model, init_from, accelerator.is_main_process) if init_from else set()
    model.to(accelerator.device)
    if accelerator.is_main_process:
        device = accelerator.device
        if not FITTED & model.state_dict().keys() <= taken:
            count = max(COUNTED, min(COUNTED_CLIPS, COUNTED_FRAMES // preset.data.frames))
            starts = range(0, count, COUNTED)
            model.fit([on_device(sampler.batch(start, COUNTED), device) for start in starts])
        model.initialize(on_device(sampler.batch(0, preset.training.actnorm_batch), device))
    for value in model.state_dict().values():
        value.copy_(broadcast(value.clone()))


@torch.no_grad()
def take_tensors(model: VideoFlow, name: str, report: bool) -> set[str]:
    """Copy the tensors of checkpoint ``name`` whose names and shapes match; say which did not.

    Raises:
        CheckpointError: no such checkpoint, or nothing in it matches.
    """
    given, own = load(name).state_dict(), model.state_dict()
    matching = {key for key, value in own.items() if key in given and given[key].shape == value.shape}
    for key in matching:
        own[key].copy_(given[key])
    if report:
        print(f"--init-from {name}: {len(matching)} of {len(own)} tensors taken", file=sys.stderr)
        for key in sorted(own.keys() - matching):
            shape = tuple(own[key].shape)
            reason = f"has shape {tuple(given[key].shape)}, model {shape}" if key in given else "is not in it"
            print(f"  {key}: {reason}; starts afresh", file=sys.stderr)
        for key in sorted(given.keys() - own.keys()):
            print(f"  {key}: the model has no such tensor; not used", file=sys.stderr)
    return matching


def prepare(model: VideoFlow, preset: Preset, accelerator: Accelerator) -> tuple[Learner, VideoFlow]:
    """The prepared learner, and an unprepared copy of the model for the averaged weights."""
    average = copy.deepcopy(model).eval().requires_grad_(False)
    config = preset.training
    optimizer = make_optimizer(model, config)
    prepared, optimizer = accelerator.prepare(model.train(), optimizer)
    plain = accelerator.unwrap_model(prepared)
    dtype = autocast_dtype(config.precision, accelerator.device)
    ema = Ema(plain, config.ema)
    return Learner(accelerator, prepared, plain, optimizer, ema, config, dtype), average
