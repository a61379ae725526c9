"""Where and how precisely a model runs: device, type of the conditioners, threads."""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata

import torch

import vflow
from vflow.errors import ConfigError


def choose_device(name: str = "auto") -> torch.device:
    """Device for ``auto``, ``cpu``, ``cuda`` or ``mps``; ``auto`` takes the fastest that is here.

    Raises:
        ConfigError: the named device is not available.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, available in here.items() if available))
    if not here.get(name, False):
        raise ConfigError(f"--device {name}: not available on this machine; use --device cpu or auto")
    return torch.device(name)


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


def set_threads(count: int | None) -> int:
    """Limit torch to ``count`` threads (None: leave it) and return how many it uses.

    Raises:
        ConfigError: ``count`` is below 1 or beyond four times the processors.
    """
    most = 4 * (os.cpu_count() or 1)
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


def exact_float32() -> None:
    """Have the GPU compute convolutions and products in float32 as such, not in TensorFloat-32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
