"""A training run small enough for tests, in this process or in others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from vflow.training.args import TrainOptions
from vflow.training.loop import train

ROOT = Path(__file__).resolve().parents[2]
TINY = """
note: two levels, a few channels
model:
  kind: frame_conditioned_videoflow
  glow: {depth: [1, 1], hidden: [4, 4]}
  prior: {blocks: 1, hidden: 4, dilations: [1]}
  encoder: {hidden: [4, 4], blocks: 1}
  noise: uniform
  pixel_map: scaled
data: {name: shapes, frames: 4}
training:
  batch_size: 4
  max_steps: 6
  warmup_steps: 3
  actnorm_batch: 4
  log_every: 1
  validate_every: 1000
  validation_examples: 2
  checkpoint_every: 2
"""


def tiny_preset(folder: Path) -> str:
    """Path of a preset file that trains in about a second."""
    path = folder / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


def run_here(config: str, output: Path, **changes: Any) -> int:
    """Train in this process."""
    return train(TrainOptions(config=config, output=output, **changes))


def command(config: str, output: Path, *flags: str) -> list[str]:
    """scripts/train.py and its flags, without an interpreter or launcher in front."""
    return [str(ROOT / "scripts" / "train.py"), "--config", config, "--output", str(output), *flags]


_started: list[psutil.Process] = []


def spawn(words: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """Start a process that imports this source tree, its output captured together."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        list(words),
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _started.append(psutil.Process(process.pid))
    return process


def end_all() -> None:
    """Kill what tests started and left running, with their children."""
    while _started:
        process = _started.pop()
        with suppress(psutil.NoSuchProcess):
            for one in [*process.children(recursive=True), process]:
                one.kill()


def finish(process: subprocess.Popen[str], timeout: float = 300) -> tuple[int, str]:
    """Exit code and output."""
    output = process.communicate(timeout=timeout)[0]
    return process.returncode, output


def python(*words: str, **environment: str) -> subprocess.Popen[str]:
    """Start this interpreter on ``words``."""
    return spawn([sys.executable, *words], **environment)


def torchrun(count: int, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``count`` workers under torchrun, on any free port."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return spawn([*launcher, *words], **environment)


def lines(run: Path) -> list[dict[str, Any]]:
    """Whole lines of a run's log; none when there is no log yet."""
    path = run / "log.jsonl"
    found = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in found]


def losses(run: Path) -> dict[int, tuple[float, float, float]]:
    """step → (bits/dim, gradient norm, rate); each step must have been logged once."""
    logged = [line for line in lines(run) if "bits_per_dim" in line]
    steps = [line["step"] for line in logged]
    assert len(steps) == len(set(steps)), "a step was logged twice"
    return {line["step"]: (line["bits_per_dim"], line["grad_norm"], line["lr"]) for line in logged}


def wait_for(condition: Callable[[], Any], timeout: float = 120, interval: float = 0.02) -> None:
    """Poll until ``condition`` holds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(interval)
