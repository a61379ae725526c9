"""Section D: speed and memory compared with normflows, sampling, start-up, and the effect of low precision.

A CPU is measured in processor time with one thread, so that other work on the machine does not distort the
figures; a GPU by the wall clock. scripts/benchmark.py measures the same by the wall clock with any number of
threads.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from scripts.acceptance.registry import NotHere, Result, measure
from scripts.benchmarks.busy import busy
from scripts.benchmarks.memory import memory as measure_memory
from scripts.benchmarks.models import glow_config, images, started
from scripts.benchmarks.sample import sample
from scripts.benchmarks.startup import startup
from scripts.benchmarks.timing import Clock, alternate
from scripts.benchmarks.train import Setting, training_step
from scripts.benchmarks.train import train as train_beside_peers
from vflow.checkpoint import load
from vflow.config import load_preset
from vflow.devices import choose_device, one_thread
from vflow.models import build_model
from vflow.training.args import TrainOptions
from vflow.training.data import Prefetcher
from vflow.training.distributed import autocast_dtype
from vflow.training.logging import LOG, read_log
from vflow.training.loop import train
from vflow.training.setup import open_data

LACKING = "normflows is missing: pip install -e '.[bench]'"
DATA = {"shapes-guided": None, "push": "push/train", "digits": "", "colorizer": "photos"}
LOADED_STEPS, PRECISION_STEPS = 20, 200


def setting() -> Setting:
    """Settings of the Glow of the promised figures, on this machine, for measures of one thread."""
    device = choose_device("auto")
    dtype = autocast_dtype("auto", device) or torch.float32
    clock: Clock = "cpu" if device.type == "cpu" else "wall"
    return Setting(
        depth=8, hidden=128, batch=32, repeats=7, clock=clock, device=device, dtype=dtype, threads=1
    )  # fmt: skip


def data_of(name: str) -> str | None:
    """Folder of a model's training data; None if it is generated. NotHere: VFLOW_DATA is not set."""
    if DATA[name] is None:
        return None
    if not os.environ.get("VFLOW_DATA"):
        raise NotHere("needs the training data: VFLOW_DATA=folder with MNIST, push and photos")
    return str(Path(os.environ["VFLOW_DATA"]) / str(DATA[name]))


@measure("D")
@one_thread()
def training_speed() -> Result:
    """Glow of 3 levels × 8 steps, width 128, 64×64×3, batch 32: forward, backward, fused Adam. normflows uses
    vflow's weights. The libraries take turns in one process; medians of 7 turns."""
    try:
        found: dict[str, Any] = train_beside_peers(setting(), "normflows", [], compiled=False)
    except ImportError as error:
        raise NotHere(LACKING) from error
    frames, peer, mine = found["sides"], found["peer_frames_per_s"], found["frames_per_s"]
    values = {
        "default": mine / peer,
        "float32": frames.get("vflow float32", mine) / peer,
        "autocast": mine / frames["normflows autocast"],
    }
    table = ", ".join(f"{name} {value:g}" for name, value in frames.items())
    return Result(found | values, note=f"vflow computes in {found['dtype']}; frames/s: {table}")


@measure("D")
@one_thread()
def memory() -> Result:
    """The same model and batch. Peak during forward and backward minus the level with model, gradients and
    Adam's state allocated, each library in its own process: resident memory, or on a GPU the memory allocated
    by torch."""
    try:
        found: dict[str, Any] = measure_memory(setting(), "normflows")
    except ImportError as error:
        raise NotHere(LACKING) from error
    mib = found["mib"]
    values = found | {"float32": mib["plain float32"] / mib["normflows"]}
    return Result(values, note="MiB: " + ", ".join(f"{name} {value:g}" for name, value in mib.items()))


@measure("D")
@one_thread()
def recompute_time() -> Result:
    """The Glow of training_speed with bfloat16 conditioners; both take turns, medians of 7."""
    here = setting()
    x = images(here.batch, glow_config()).to(here.device)
    steps = {}
    for kind in ("plain", "recompute"):
        model = started(glow_config(memory=kind), x.cpu()).to(here.device)
        steps[kind] = training_step(model, model, x, autocast=True)
    seconds = alternate(steps, here.repeats, here.clock)
    return Result({"time": seconds["recompute"] / seconds["plain"]})


@measure("D")
def recompute_gradient() -> Result:
    """bfloat16 conditioners, one anchor per level; shipped models; a training batch of 4."""
    found = {}
    for name in DATA:
        plain: Any = load(name).requires_grad_(True)
        glow = plain.config.glow.model_copy(update={"memory": "recompute"})
        frugal: Any = build_model(plain.config.model_copy(update={"glow": glow}))
        frugal.load_state_dict(plain.state_dict())
        frugal.eval().requires_grad_(True)
        path = {} if data_of(name) is None else {"data.path": data_of(name)}
        preset = load_preset(name, path).model_copy(update={"model": plain.config})
        batch = open_data(preset).batch(0, 4)
        found[name] = float(torch.cosine_similarity(gradient(plain, batch), gradient(frugal, batch), 0))
    note = ", ".join(f"{name} {value:.9f}" for name, value in found.items())
    return Result({"cosine": float(np.min(list(found.values())))}, note=note)


def gradient(model: nn.Module, batch: Any) -> torch.Tensor:
    """Gradient of the mean log-likelihood with respect to all parameters, as one vector."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(batch).mean()
    loss.backward()
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])


@measure("D")
@one_thread()
def sampling() -> Result:
    """shapes-guided (affine couplings), 8 futures × 20 frames, including the encoding of the context; medians
    of 7 runs."""
    found: dict[str, Any] = sample("shapes-guided", setting())
    note = (
        f"frame 2 {found['frame_2_ms']:g} ms, frame 20 {found['frame_20_ms']:g} ms, all "
        f"{found['sampling_ms']:g} ms, forward pass {found['forward_ms']:g} ms"
    )
    return Result(found, note=note)


@measure("D")
@one_thread()
def starting() -> Result:
    """shapes-guided, 8 futures × 10 frames of a shipped picture, from process start to written file; the time
    of sampling, measured in a warmed-up process, is subtracted. Medians of 7 turns."""
    found: dict[str, Any] = startup(setting())
    return Result(found, note=f"seconds: {found['seconds']}")


@measure("D")
@one_thread()
def waiting() -> Result:
    """20 steps of each CPU preset by the wall clock, without the first 3, which find no batch ready."""
    return Result({name: share_waited(name) for name in DATA})


def share_waited(name: str) -> float:
    """Seconds in the prefetcher's ``next`` over seconds of steps."""
    waits, ends, original = [], [], Prefetcher.__next__

    def timed(self: Prefetcher[Any]) -> list[Any]:
        start = time.perf_counter()
        batch = original(self)
        ends.append(time.perf_counter())
        waits.append(ends[-1] - start)
        return batch

    settings = (
        "training.validation_examples=1",
        "training.checkpoint_every=100000",
        "training.actnorm_batch=16",
    )
    with tempfile.TemporaryDirectory() as folder, patch.object(Prefetcher, "__next__", timed):
        data = {} if data_of(name) is None else {"data": data_of(name)}
        quiet(name, Path(folder) / "run", max_steps=LOADED_STEPS, set=settings, threads=1, **data)
    return sum(waits[4:]) / (ends[-1] - ends[3])


@measure("D")
def precision() -> Result:
    """shapes-guided, 200 steps, same seed; validation bits/dim of the averaged weights on 64 clips."""
    settings = ("training.validation_examples=64", "training.checkpoint_every=100000")
    found, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("float32", "bfloat16"):
            run = Path(folder) / dtype
            quiet("shapes-guided", run, max_steps=PRECISION_STEPS, dtype=dtype, set=settings)
            found[dtype] = validation(run)
            seconds[dtype] = read_log(run / LOG)[-1]["seconds"]
    note = ", ".join(f"{name} {found[name]:.5f} in {seconds[name]:.0f} s" for name in found)
    return Result({"difference": abs(found["bfloat16"] - found["float32"])}, note=note)


def quiet(preset: str, run: Path, **options: Any) -> None:
    """Training run in this process, without its output. RuntimeError: the exit code is not 0."""
    with contextlib.redirect_stderr(io.StringIO()):
        code = train(TrainOptions(config=preset, output=run, **options))
    if code:
        raise RuntimeError(f"{run}: ended with {code}")


def validation(run: Path) -> float:
    """Last validation figure of a run, bits/dim."""
    lines = read_log(run / LOG)
    return float([line["val_bits_per_dim"] for line in lines if "val_bits_per_dim" in line][-1])


@measure("D")
def on_a_busy_machine() -> Result:
    """`python scripts/benchmark.py busy`. Fair scheduling alone gives a ratio of 3."""
    found: dict[str, Any] = busy()
    note = f"seconds: digits {found['digits']}, predict {found['predict']}"
    return Result({name: found[name]["ratio"] for name in ("digits", "predict")}, note=note)
