"""How a model runs: type of the conditioners, threads, versions."""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata

import torch

import vflow
from vflow.errors import ConfigError


def resolve_dtype(name: str = "auto") -> str:
    """``float32`` for ``auto``: encode-then-decode with bfloat16 conditioners comes back grey levels off."""
    if name not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"--dtype {name}: choose auto, float32 or bfloat16")
    return "float32" if name == "auto" else name


def precision(dtype: str, device: torch.device) -> AbstractContextManager[object]:
    """Context in which conditioner networks run in ``dtype``; flow arithmetic stays in float32."""
    if resolve_dtype(dtype) == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def most_threads() -> int:
    """How many threads torch may be told to use: four times the processors."""
    return 4 * (os.cpu_count() or 1)


def set_threads(count: int | None) -> int:
    """Limit torch to ``count`` threads (None: leave it) and return how many it uses.

    Raises:
        ConfigError: ``count`` is below 1 or beyond four times the processors.
    """
    most = most_threads()
    if count is not None:
        if not 1 <= count <= most:
            raise ConfigError(f"--threads {count}: must lie in 1..{most} on this machine")
        torch.set_num_threads(count)
    return torch.get_num_threads()


def versions() -> dict[str, str]:
    """Versions on which the bytes of an output depend."""
    return {
        "vflow": vflow.__version__,
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
