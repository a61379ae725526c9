"""Recipes at work: each stage is a training run in a folder of its own, then the export."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from vflow.checkpoint import (
    check_place,
    checkpoint_folder,
    load,
    read_card,
    read_config,
    read_statistics,
    save_checkpoint,
)
from vflow.config import Export, ModelConfig, Preset, Recipe, load_preset, load_recipe, parse, to_yaml
from vflow.data.media import atomic_write
from vflow.disk import real_path
from vflow.errors import ConfigError, InputError
from vflow.models import build_model
from vflow.pipelines.common import set_threads
from vflow.quantization import check_parts
from vflow.randomness import forked_rng
from vflow.training.args import TrainOptions, held_out_events, own_data, resolve
from vflow.training.commit import check_output, newest_commit
from vflow.training.distributed import make_accelerator, naming_lost_peers, on_main, restarted
from vflow.training.logging import LOG, read_log
from vflow.training.loop import run
from vflow.training.setup import check_preset, naming_batch_memory

RECIPE = "recipe.yaml"
# A recipe says these itself.
FIXED = (
    "config",
    "init_from",
    "max_steps",
    "batch_size",
    "set",
    "seed",
    "dtype",
    "condition",
    "drop_missing",
)


def train_recipe(options: TrainOptions) -> int:
    """All stages of ``options.recipe``, each skipped if it is finished, then the export to ``output/model``.

    Returns the exit code of the loop: 0, or 130 when a stage is interrupted.

    Raises:
        VflowError: a setting, the data or a commit cannot be used, or training diverged; one line each. What
            a later stage or the export cannot use is found before the first begins.
    """
    assert options.recipe is not None
    for name in FIXED:
        value = getattr(options, name)
        if value not in (None, ()) and value is not False:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} does not go with --recipe, which sets it; copy the recipe and edit it")
    recipe = load_recipe(options.recipe)
    _check_data(options, recipe)
    presets = stage_presets(recipe, options.data)
    if not (options.dry_run or (options.output / RECIPE).exists()):
        for preset in presets:
            check_output(options.output, preset.data)
    for stage in recipe.stages:
        if stage.init_from and not _is_below(Path(stage.init_from), options.output):
            checkpoint_folder(stage.init_from, allow_hub=True)
    if recipe.export.set or recipe.export.int8:
        _exported_model(presets[-1].model, recipe.export, options.recipe)
    set_threads(options.threads)
    accelerator = make_accelerator(options.device, [preset.model for preset in presets])
    try:
        for stage, preset in zip(recipe.stages, presets, strict=True):
            try:
                check_preset(preset, accelerator)
            except ConfigError as error:
                raise ConfigError(f"stage {stage.name}: {error}") from error
        if options.dry_run:
            return _dry_run(options, recipe, presets, accelerator)
        with naming_lost_peers(options.output):
            return _run_stages(options, recipe, presets, accelerator)
    finally:
        accelerator.end_training()


def _run_stages(
    options: TrainOptions, recipe: Recipe, presets: list[Preset], accelerator: Accelerator
) -> int:
    """All stages, then the export; what is written beside the runs, the main process writes."""
    on_main(accelerator, lambda: check_place(options.output / "model"))
    on_main(accelerator, lambda: _claim(options, recipe))
    before: Path | None = None
    for number, (stage, preset) in enumerate(zip(recipe.stages, presets, strict=True), start=1):
        folder = options.output / f"{number}-{stage.name}"
        finished = on_main(accelerator, lambda: _finished(folder, preset))  # noqa: B023
        if accelerator.is_main_process:
            end = f", {stage.name}: finished before" if finished else f": {stage.name}"
            print(f"stage {number} of {len(presets)}{end}", file=sys.stderr)
        if not finished:
            start = stage.init_from or (str(before) if before else None)
            own = on_main(accelerator, lambda: _stage_options(options, folder, preset, start))  # noqa: B023
            if code := run(own, resolve(own), make_accelerator(options.device, [preset.model])):
                return code
        before = checkpoint_folder(folder)
    assert before is not None
    on_main(accelerator, lambda: export(before, options.output / "model", recipe.export))
    return 0


def _is_below(path: Path, folder: Path) -> bool:
    """True for what a stage before may yet make."""
    return real_path(path).is_relative_to(real_path(folder))


def stage_presets(recipe: Recipe, data: str | None) -> list[Preset]:
    """Preset of each stage, with its data and its backbone's weights below the folder ``data``.

    Raises:
        ConfigError: a stage's preset or setting is wrong, or the data cannot be used; the message names it.
    """
    found = []
    for stage in recipe.stages:
        typed = {key: f"{key} of stage {stage.name}" for key in stage.set}
        changes = dict(stage.set)
        if data:
            changes |= own_data(str(Path(data) / (stage.data or "")), stage.config, changes, typed)
        if data and stage.backbone:
            changes["training.backbone_weights"] = str(Path(data) / stage.backbone)
        preset = load_preset(stage.config, changes, typed)
        if data and (held := held_out_events(preset.data, changes)) is not None:
            preset = load_preset(stage.config, changes | {"data.held_out_events": held}, typed)
        found.append(preset)
    return found


def _check_data(options: TrainOptions, recipe: Recipe) -> None:
    """Refuse a folder that lacks what the recipe reads there."""
    for part in dict.fromkeys(stage.data for stage in recipe.stages if stage.data):
        if options.data is None:
            raise ConfigError(
                f"--data: missing; give the folder that holds {part}/ for the recipe {options.recipe}"
            )
        if not (Path(options.data) / part).is_dir():
            raise ConfigError(
                f"--data {options.data}: holds no {part}/; give the folder that does for the recipe "
                f"{options.recipe}"
            )
    for name in (stage.backbone for stage in recipe.stages if stage.backbone):
        if options.data is None:
            raise ConfigError(f"--data: missing; give the folder that holds {name} for {options.recipe}")
        if not (path := Path(options.data) / name).is_file():
            raise ConfigError(
                f"--data {options.data}: holds no {name}; make it by python "
                f"scripts/convert_backbone.py --output {path}"
            )


def _claim(options: TrainOptions, recipe: Recipe) -> None:
    """Write the recipe to the output folder, or check that the folder holds a run of the same one.

    What has not begun may differ: stages without a log, such as all where the data could not be used, and the
    export.
    """
    path = options.output / RECIPE
    begun = len(list(options.output.glob(f"*/{LOG}"))) if path.is_file() else 0
    if begun and not options.resume and not restarted():
        raise ConfigError(f"{options.output}: holds a recipe's run; add --resume to continue it")
    if begun and load_recipe(str(path)).stages[:begun] != recipe.stages[:begun]:
        raise ConfigError(
            f"{path}: not the recipe {options.recipe} in the stages that have begun; choose another --output"
        )
    text = to_yaml(recipe)
    if not (begun and path.read_text(encoding="utf-8") == text):
        with atomic_write(path) as draft:
            draft.write_text(text, encoding="utf-8")


def _finished(folder: Path, preset: Preset) -> bool:
    """True if the stage's run came to its end, and its last commit is whole."""
    log = read_log(folder / LOG)
    if not log or log[-1].get("status") != "finished":
        return False
    commit = newest_commit(folder)
    return commit is not None and commit.name == f"step_{preset.training.max_steps:07d}"


def _stage_options(
    options: TrainOptions, folder: Path, preset: Preset, init_from: str | None
) -> TrainOptions:
    """Options of one stage; its preset lies in the stage's folder, paths included."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "stage.yaml"
    with atomic_write(path) as draft:
        draft.write_text(to_yaml(preset), encoding="utf-8")
    return replace(
        options, recipe=None, config=str(path), output=folder, data=None, init_from=init_from, resume=True
    )


def _dry_run(options: TrainOptions, recipe: Recipe, presets: list[Preset], accelerator: Accelerator) -> int:
    """Report of each stage, from three measured steps; nothing is written."""
    from vflow.training.dry_run import dry_run

    for number, (stage, preset) in enumerate(zip(recipe.stages, presets, strict=True), start=1):
        if accelerator.is_main_process:
            print(f"stage {number}: {stage.name}")
        made = bool(stage.init_from) and _is_below(Path(stage.init_from or ""), options.output)
        start = None if made else stage.init_from
        with naming_batch_memory(preset.training):
            dry_run(preset, accelerator, start, follows=number > 1 and not start)
    return 0


def _exported_model(config: ModelConfig, settings: Export, source: str) -> Any:
    """Fresh model of the configuration ``config`` of ``source`` as it ships.

    Raises:
        ConfigError: ``settings.set`` changes what the weights depend on, or ``settings.int8`` names no part.
    """
    changed = parse(type(config), config.model_dump() | settings.set, f"{source}: export.set")
    with forked_rng():
        model: nn.Module = build_model(changed)
        own: nn.Module = build_model(config) if settings.set else model
    if _shapes(own) != _shapes(model):
        raise ConfigError(f"{source}: export.set does not fit the weights; change no sizes")
    try:
        check_parts(dict(model.named_parameters()), settings.int8)
    except ConfigError as error:
        raise ConfigError(f"{source}: export.{error}") from error
    return model


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


def export(source: Path, target: Path, settings: Export) -> None:
    """Checkpoint ``source`` as it ships, at ``target``.

    Raises:
        ConfigError: ``settings.set`` changes what the weights depend on, or ``settings.int8`` names no part.
        InputError: ``target`` cannot be written.
    """
    model = _exported_model(read_config(source), settings, str(source))
    statistics, card = read_statistics(source), read_card(source)
    model.load_state_dict(load(source).state_dict())
    try:
        save_checkpoint(
            target,
            model,
            config=model.config,
            card=card,
            extra=statistics,
            half=settings.half,
            int8=settings.int8,
        )
    except OSError as error:
        raise InputError(f"{target}: {error.strerror or error}") from error
    print(f"{target} ({(target / 'model.safetensors').stat().st_size / 1e6:.1f} MB)", file=sys.stderr)
