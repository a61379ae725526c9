"""Devices that models run on."""

from __future__ import annotations

import torch

from vflow.errors import ConfigError


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
