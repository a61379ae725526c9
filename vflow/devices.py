"""Devices that models run on."""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import os
import platform
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import torch

from vflow.errors import ConfigError

CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # cgroups of version 1
)
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
_RESTORED: list[int] = []  # count of threads after each ``one_thread`` that is open
_CHANGING = threading.Lock()
_OPEN = threading.local()  # ``here``: a ``one_thread`` of this thread is open
_log = logging.getLogger(__name__)


@contextmanager
def one_thread() -> Iterator[None]:
    """Context, or decorator, in which torch computes in one thread: sums have one order. Then as before.

    Torch keeps a count for each of Python's threads, and one for those that begin later. So of contexts that
    overlap in several threads, all restore what the first one found. One that finds a count of 1, which its
    thread may have from another's context, restores what new threads have. Within another of its own thread
    it does nothing.
    """
    if getattr(_OPEN, "here", False):
        yield
        return
    with _CHANGING:
        found = torch.get_num_threads()  # from here on this thread has a count of its own
        if not _RESTORED and found == 1:
            with ThreadPoolExecutor(1) as new:
                found = new.submit(torch.get_num_threads).result()
        _RESTORED.append(_RESTORED[0] if _RESTORED else found)
        torch.set_num_threads(1)
    _OPEN.here = True
    try:
        yield
    finally:
        _OPEN.here = False
        with _CHANGING:
            torch.set_num_threads(_RESTORED.pop())


def choose_device(name: str = "auto") -> torch.device:
    """Device for ``cpu``, ``cuda`` or ``auto``, which takes a GPU if there is one.

    On a GPU, convolutions and matrix products are from then on computed in float32 and not in TensorFloat-32.
    Apple's GPUs have no float64, which counted pixel maps need.

    Raises:
        ConfigError: the device is not available.
    """
    here = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if here else "cpu"
    kind = name.partition(":")[0]
    if kind == "mps":
        raise ConfigError("--device mps: has no float64, which pixel maps need; use --device cpu")
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not here):
        raise ConfigError(f"--device {name}: not available on this machine; use --device cpu or auto")
    if kind == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def computes_bfloat16(device: torch.device) -> bool:
    """True where the hardware has instructions for bfloat16, and does not emulate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(cpu_flags() & BFLOAT16_FLAGS)


@lru_cache(maxsize=4)
def warn_if_emulated(device: torch.device) -> None:
    """Log, once per device, that bfloat16 is emulated there: convolutions then take tens of times as long."""
    if not computes_bfloat16(device):
        _log.warning("%s only emulates bfloat16, which is far slower; choose --dtype float32 or auto", device)


def physical_memory(limits: Sequence[Path] = CONTAINER_LIMITS) -> float:
    """Bytes of memory of this machine, or of its container; infinite where the system does not tell."""
    try:
        memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        memory = math.inf
    for path in limits:
        with suppress(OSError, ValueError):  # no container, or "max"
            memory = min(memory, float(path.read_text(encoding="ascii")))
    return memory


def release_memory() -> None:
    """Return memory that is no longer used to Linux; glibc keeps what threads free for their next use."""
    gc.collect()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Instruction sets of this CPU; empty where the system does not list them."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}


def machine() -> str:
    """Processor, cores, memory, system, Python and torch, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB{device}, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
