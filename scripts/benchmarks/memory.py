"""Memory of forward + backward beyond model, gradients and optimiser, each library in its own process."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn

from scripts.benchmarks.models import Log, glow_config, images, started
from scripts.benchmarks.train import Setting, checked_peer, forward_backward
from vflow.devices import release_memory

MIB = 2**20
DEEP = 4  # how many times deeper the second run with recompute is


def memory(setting: Setting, peer: str) -> dict[str, object]:
    """MiB of each library, and the promised ratios."""
    half = setting.dtype == torch.bfloat16
    deep = setting._replace(depth=DEEP * setting.depth)
    cases = {
        peer: (setting, peer, False),
        f"{peer} autocast": (setting, peer, True),
        "plain float32": (setting, "plain", False),
        "plain": (setting, "plain", half),
        "recompute": (setting, "recompute", half),
        f"recompute, depth {deep.depth}": (deep, "recompute", half),
    }
    found = {name: round(alone(*case), 1) for name, case in cases.items()}
    return {
        "mib": found,
        "plain_ratio": round(found["plain"] / found[peer], 3),
        "recompute_ratio": round(found["recompute"] / found[peer], 3),
        "recompute_growth": round(found[f"recompute, depth {deep.depth}"] / found["recompute"], 3),
        "peer": peer,
        "dtype": str(setting.dtype).removeprefix("torch."),
        "threads": setting.threads,
        "measured": "allocated" if setting.device.type == "cuda" else "resident",
    }


def alone(setting: Setting, side: str, autocast: bool) -> float:
    """``extra_memory`` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(extra_memory, setting, side, autocast).result()


def extra_memory(setting: Setting, side: str, autocast: bool) -> float:
    """Peak of forward and backward minus the level before, which includes gradients and Adam's state: MiB."""
    torch.set_num_threads(setting.threads)
    model, log_likelihood, x = build(setting, side)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, fused=True)
    forward_backward(model, log_likelihood, x[:1], autocast)
    optimizer.step()
    reset = reset_cuda if setting.device.type == "cuda" else reset_resident
    peak = peak_cuda if setting.device.type == "cuda" else peak_resident
    level = reset()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        loss = -log_likelihood(x).mean()
    loss.backward()
    return (peak() - level) / MIB


def build(setting: Setting, side: str) -> tuple[nn.Module, Log, torch.Tensor]:
    """Model, log-likelihood and batch of one library."""
    config = glow_config(setting.depth, setting.hidden, "recompute" if side == "recompute" else "plain")
    x = images(setting.batch, config)
    model = started(config, x[:4])
    x = x.to(setting.device)
    model.to(setting.device)
    if side in ("plain", "recompute"):
        return model, model, x
    peer = checked_peer(side, model, x[:4].contiguous())[0]
    return peer.model, peer.log_likelihood, x.contiguous()


def reset_cuda() -> float:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def peak_cuda() -> float:
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def reset_resident() -> float:
    """Return freed memory to Linux and reset its record of the peak; bytes resident now."""
    if sys.platform != "linux":
        raise OSError("memory on a CPU is measured on Linux only")
    release_memory()
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def peak_resident() -> float:
    return resident("VmHWM")


def resident(key: str) -> float:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(key))
