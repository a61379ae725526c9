"""Processes, devices and precision of a run, checked against what the launcher requested."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from torch.distributed import PrefixStore, TCPStore, init_process_group, is_initialized

from vflow.config import ModelConfig
from vflow.devices import choose_device, computes_bfloat16, warn_if_emulated
from vflow.errors import ConfigError, VflowError

T = TypeVar("T")
WORKING_LINES = (
    "torchrun --nproc-per-node N scripts/train.py …, or "
    "accelerate launch --multi_gpu --num_processes N scripts/train.py …"
)


def make_accelerator(
    device: Literal["auto", "cpu", "cuda"], models: Iterable[ModelConfig] = ()
) -> Accelerator:
    """An Accelerator on ``device`` with as many processes as the launcher started.

    Args:
        models: to be trained. Some leave parts without a gradient, which processes then look for.

    Raises:
        ConfigError: the device is missing, too few processes joined, or the launcher asks for FSDP.
    """
    cpu = choose_device(device).type == "cpu"
    if restarted() and not is_initialized():
        _join_again(cpu)
    incomplete = any(model.leaves_parts_out for model in models)
    keywords = DistributedDataParallelKwargs(
        gradient_as_bucket_view=True, broadcast_buffers=False, find_unused_parameters=incomplete
    )
    accelerator = Accelerator(
        cpu=cpu, mixed_precision="no", step_scheduler_with_optimizer=False, kwargs_handlers=[keywords]
    )
    check_world_size(accelerator.num_processes, os.environ)
    if os.environ.get("ACCELERATE_USE_FSDP", "false") == "true":
        raise ConfigError("FSDP is not supported: models of a few million parameters need none; use DDP")
    return accelerator


def check_world_size(joined: int, environment: Mapping[str, str]) -> None:
    """Error unless as many processes joined as the launcher requested.

    ``accelerate launch --cpu --num_processes 2`` starts one process and says nothing; it leaves
    MASTER_ADDR set without a rank.

    Raises:
        ConfigError: naming the launcher lines that work.
    """
    requested = int(environment.get("WORLD_SIZE", "1"))
    if requested != joined:
        raise ConfigError(f"{requested} processes were requested but {joined} joined; use {WORKING_LINES}")
    accelerate = "ACCELERATE_MIXED_PRECISION" in environment
    if accelerate and "MASTER_ADDR" in environment and "LOCAL_RANK" not in environment:
        raise ConfigError(
            "accelerate launch was to start several processes but started one "
            f"(it does so with --cpu); use {WORKING_LINES}"
        )


def processes(accelerator: Accelerator) -> str:
    """Number of the run's processes, in words."""
    count = accelerator.num_processes
    return "1 process" if count == 1 else f"{count} processes"


def on_main(accelerator: Accelerator, act: Callable[[], T]) -> T:
    """Result of ``act``, which the main process calls while the others wait; all raise its errors."""
    answer: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            answer[0] = act()
        except (VflowError, OSError) as error:
            answer[1] = error
    result, fault = broadcast_object_list(answer)
    if fault:
        raise fault
    return result


class PeerError(VflowError):
    """Another process of a run died, so this one cannot go on."""


@contextmanager
def naming_lost_peers(run: Path) -> Iterator[None]:
    """Context in which a failed collective call becomes one line.

    Raises:
        PeerError: another process has gone.
    """
    try:
        yield
    except RuntimeError as error:
        if any(mark in str(error) for mark in ("closed by peer", "reset by peer", "Broken pipe", "NCCL")):
            raise PeerError(f"{run}: another process of this run ended; run again with --resume") from error
        raise


@contextmanager
def fixed_order(device: torch.device) -> Iterator[None]:
    """Context in which CPUs add gradients in a fixed order, so that a resumed run repeats bit for bit.

    Costs little there; on GPUs it would, and their kernels are left as they are.
    """
    if device.type != "cpu":
        yield
        return
    options: Any = torch.utils.deterministic
    strict, memory = torch.are_deterministic_algorithms_enabled(), options.fill_uninitialized_memory
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    options.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=lenient)
        options.fill_uninitialized_memory = memory


def restarted() -> bool:
    """True in a worker that an elastic launcher started again after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _join_again(cpu: bool) -> None:
    """Process group under a name of this attempt's own.

    torchrun keeps one store for all attempts, so restarted workers may read the addresses of dead ones
    and wait for ever (pytorch issue 135712). Attempts are numbered per node: with several nodes, set
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for the launcher instead.
    """
    environment = os.environ
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or environment["GROUP_WORLD_SIZE"] != "1":
        return
    world, rank = int(environment["WORLD_SIZE"]), int(environment["RANK"])
    address = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    store = TCPStore(*address, world_size=world, is_master=False)
    prefix = f"attempt {environment['TORCHELASTIC_RESTART_COUNT']}"
    backend = "gloo" if cpu else "nccl"
    init_process_group(backend, store=PrefixStore(prefix, store), rank=rank, world_size=world)


def autocast_dtype(
    precision: Literal["auto", "float32", "bfloat16"], device: torch.device
) -> torch.dtype | None:
    """bfloat16 or None (float32). 'auto' takes bfloat16 where the hardware computes in it.

    ``accelerate launch --mixed_precision bf16`` decides for 'auto'.

    Raises:
        ConfigError: the launcher asks for another mixed precision, which flows do not survive.
    """
    requested = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if requested not in ("no", "bf16"):
        raise ConfigError(
            f"--mixed_precision {requested}: use bf16 or no; float16 overflows in log-determinants"
        )
    if precision == "auto":
        wanted = requested == "bf16" or computes_bfloat16(device)
    else:
        wanted = precision == "bfloat16"
    if wanted:
        warn_if_emulated(device)
    return torch.bfloat16 if wanted else None
