"""Report of a run's parameters, memory and time, from three measured steps."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator

from vflow.config import Preset
from vflow.training.data import micro_batches
from vflow.training.distributed import processes
from vflow.training.logging import unit_of
from vflow.training.setup import GIB, check_memory, new_model, open_data, prepare, start_model
from vflow.training.state import Progress

MEASURED = 3


def dry_run(
    preset: Preset, accelerator: Accelerator, init_from: str | None = None, *, follows: bool = False
) -> int:
    """Take one step to warm up and three measured ones, print the figures on stdout, keep no files.

    Args:
        init_from: checkpoint whose tensors the run starts from.
        follows: the run starts from one that has not been made; weights are random in its place.

    Raises:
        CheckpointError: ``init_from`` does not suit the model.
    """
    config, data = preset.training, open_data(preset)
    check_memory(config, data, accelerator.num_processes)
    model = new_model(preset)
    start_model(model, preset, data, accelerator, init_from, warn=not follows)
    progress, seconds = Progress(), []
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        state, _ = prepare(model, preset, data, accelerator, Path(folder))
        for number in range(1 + MEASURED):
            batches = micro_batches(data, config, number * config.batch_size, accelerator)
            began = time.perf_counter()
            state.step(batches, progress, config.learning_rate, stop=False)
            seconds.append(time.perf_counter() - began)
    if accelerator.is_main_process:
        step = sorted(seconds[1:])[MEASURED // 2]
        parameters = sum(p.numel() for p in state.plain.parameters())
        frames = config.batch_size * data.frames
        memory = peak_memory(accelerator.device)
        for label, text in figures(preset, frames, step, parameters, memory).items():
            print(f"{label:<12}{text}")
        precision = "bfloat16 conditioners" if state.autocast else "float32"
        print(f"{'device':<12}{accelerator.device}, {processes(accelerator)}, {precision}")
    return 0


def figures(preset: Preset, frames: int, step: float, parameters: int, memory: int) -> dict[str, str]:
    """Lines of the report: ``step`` seconds for ``frames`` images or points, ``memory`` bytes per process."""
    config, unit = preset.training, unit_of(preset.model)
    hours, minutes = divmod(round(config.max_steps * step / 60), 60)
    commit = 5 * 4 * parameters / GIB  # weights, two moments, average, and the average as a checkpoint
    return {
        "parameters": f"{parameters:,}",
        "memory": f"{memory / GIB:.2f} GiB at most, per process",
        "step": f"{step:.2f} s for {frames} {unit} ({frames / step:.0f} {unit}/s)",
        "run": f"{config.max_steps:,} steps take about {hours} h {minutes:02d} min, without validation",
        "commit": f"{commit:.2f} GiB on disk each",
    }


def peak_memory(device: torch.device) -> int:
    """Most bytes this process has held: on the GPU if there is one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
