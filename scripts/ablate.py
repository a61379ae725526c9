"""Train variants of a preset for equal time and print their figures on held-out data.

python scripts/ablate.py shapes-guided --minutes 20 --set model.noise=learned --set model.pixel_map=marginal
python scripts/ablate.py push --data clips --set 'training.losses=[]' --set model.glow.coupling=mixture

Each call trains one variant on one thread and prints one line of JSON. The time is processor time without
validation, and the learning rate decays over it, so no variant is cut off half-way. Other work on the machine
makes a call last longer but hardly changes its result, which includes the number of steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from vflow.checkpoint import save_checkpoint
from vflow.config import Preset, TrainingConfig
from vflow.errors import ConfigError, InputError, VflowError
from vflow.pipelines.common import set_threads
from vflow.training.args import TrainOptions, resolve
from vflow.training.data import DataModule, Prefetcher, micro_batches
from vflow.training.distributed import make_accelerator
from vflow.training.loop import DivergedError
from vflow.training.schedule import learning_rate
from vflow.training.setup import check_batch, new_model, open_data, prepare, start_model
from vflow.training.state import Progress
from vflow.training.step import PATIENCE, TrainState
from vflow.training.validate import validate

SPAN = 1_000_000
"""Steps that the schedule is told of: more than fit in any time."""


def main() -> int:
    """Exit code: 0, or that of a user-facing error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="preset name or YAML file")
    parser.add_argument("--minutes", type=float, default=20.0, help="processor time of training")
    parser.add_argument("--data", help="as for vflow train")
    parser.add_argument("--set", action="append", default=[], help="preset entry, as key.path=value")
    parser.add_argument("--seed", type=int, help="seed of weights, order and noise")
    parser.add_argument("--output", type=Path, help="folder for the averaged weights, as a checkpoint")
    arguments = parser.parse_args()
    set_threads(1)
    options = TrainOptions(
        config=arguments.config,
        output=Path(),
        data=arguments.data,
        set=tuple(arguments.set),
        max_steps=SPAN,
        seed=arguments.seed,
    )
    try:
        row = ablate(resolve(options), 60 * arguments.minutes, arguments.output)
    except VflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({"config": arguments.config, "set": arguments.set, **row}), flush=True)
    return 0


def ablate(preset: Preset, seconds: float, output: Path | None = None) -> dict[str, float | int]:
    """Train for ``seconds`` of processor time: parameters, steps, seconds, held-out bits/dim (EMA).

    Raises:
        ConfigError: nothing is held out. DivergedError: too many steps in a row were skipped.
    """
    check_batch(preset, 1)
    accelerator = make_accelerator("cpu")
    data = open_data(preset)
    if not data.held_out:
        raise ConfigError("nothing is held out of this data; a variant cannot be judged by it")
    model = new_model(preset)
    start_model(model, preset, data, accelerator, None)
    state, average = prepare(model, preset, data, accelerator)
    wall = time.perf_counter()
    progress, spent = _train(state, data, seconds)
    wall = time.perf_counter() - wall
    state.ema.copy_to(average, state.plain)
    if output is not None:
        save_checkpoint(output, average, config=preset.model)
    found = validate(average, data, preset.training.validation_examples, accelerator, lambda: False)
    if found is None:
        raise InputError("none of the held-out examples can be read; check the data")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": progress.step,
        "skipped": progress.skipped,
        "seconds": round(spent, 1),
        "wall_seconds": round(wall, 1),
        "held_out_bits_per_dim": found.bits_per_dim,
    }


def _train(state: TrainState, data: DataModule[Any, Any], seconds: float) -> tuple[Progress, float]:
    """Train until the time is spent; the progress and the seconds taken."""
    config, progress, began = state.config, Progress(), time.process_time()

    def load(start: int) -> list[Any]:
        return micro_batches(data, config, start, state.accelerator)

    with Prefetcher(load, 0, config.batch_size) as batches:
        while (spent := time.process_time() - began) < seconds:
            rate = _rate(config, progress.step, spent / seconds)
            result = state.step(next(batches), progress, rate, False)
            progress.step += 1
            if progress.skipped_in_a_row >= PATIENCE:
                raise DivergedError(f"step {progress.step}: {PATIENCE} steps in a row were skipped")
            if progress.step % config.log_every == 0:
                print(
                    f"{spent:.0f} s, step {progress.step}: {state.objective} {result.loss:.4f}",
                    file=sys.stderr,
                )
    return progress, spent


def _rate(config: TrainingConfig, step: int, spent: float) -> float:
    """Learning rate: the preset's warm-up in steps, then its cosine over the share ``spent`` of the time."""
    warm = config.warmup_steps
    return learning_rate(config, step if step < warm else warm + round(spent * (config.max_steps - warm)))


if __name__ == "__main__":
    sys.exit(main())
