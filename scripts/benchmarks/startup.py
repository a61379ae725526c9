"""Time from starting `vflow predict` to the written file, compared with starting Python with torch."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.benchmarks.timing import Clock, alternate
from scripts.benchmarks.train import Setting

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = "shapes-guided"
FRAMES, SAMPLES = 10, 8  # defaults of the command


def startup(setting: Setting) -> dict[str, object]:
    """Medians in seconds; ``ratio``: the command without the sampling itself, relative to importing torch.

    The sampling is timed in a warmed-up process with the same model, clip and settings.
    """
    repeats, clock = setting.repeats, setting.clock
    clip = ROOT / "apps" / "examples" / "shapes-circle.png"
    with tempfile.TemporaryDirectory() as name:
        fresh = (f"{name}/{number}" for number in itertools.count())  # what is there is not drawn again
        words = [
            "-m", "vflow", "predict", "--checkpoint", CHECKPOINT, "--input", str(clip),
            "--num-frames", str(FRAMES), "--num-samples", str(SAMPLES), "--threads", str(setting.threads),
            "--output",
        ]  # fmt: skip
        sides = {
            "import torch": lambda: run("-c", "import torch"),
            "vflow predict": lambda: run(*words, next(fresh)),
        }
        found = alternate(sides, repeats, clock)
    found["sampling"] = sampling(clip, repeats, clock)
    seconds = {name: round(value, 3) for name, value in found.items()}
    ratio = (found["vflow predict"] - found["sampling"]) / found["import torch"]
    return {"seconds": seconds, "ratio": round(ratio, 3), "threads": setting.threads, "clock": clock}


def run(*words: str) -> None:
    """Run Python with ``words`` until it exits."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env=environment, cwd=ROOT)


def sampling(clip: Path, repeats: int, clock: Clock) -> float:
    """Median seconds of drawing the command's default futures."""
    import vflow
    from vflow.data.media import read_image

    model, frames = vflow.load(CHECKPOINT), read_image(clip)
    draw = lambda: vflow.predict(model, frames, num_frames=FRAMES, num_samples=SAMPLES)  # noqa: E731
    return alternate({"sampling": draw}, repeats, clock)["sampling"]
