"""Batches that bad inputs, shards, batch sizes and kills leave the same; and evaluation against score."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scripts.acceptance.models import push_clips, shape_clips, shipped_model
from scripts.acceptance.registry import Figure, NotHere, Result, measure
from scripts.acceptance.report import ROOT
from vflow.data import media
from vflow.randomness import generator

INPUTS, CORRUPT = 200, 3
FRAMES = 4
SHARDED, SHARDS = 12, ((2, 1), (1, 8), (3, 100))
KILLS = 6
EVALUATED = {"shapes": 8, "push": 4}
VFLOW = (sys.executable, "-m", "vflow")
ROWS = (
    "bits_per_dim", "bits_per_dim_k16", "psnr_best", "psnr_mean", "psnr_of_mean", "ssim_best", "ssim_mean",
    "ssim_of_mean", "psnr_best_per_frame", "ssim_best_per_frame", "diversity", "round_trip_data",
    "round_trip_latent", "nonfinite", "out_of_range", "seconds_per_frame", "psnr_copy_last",
    "psnr_training_mean", "psnr_regression", "bits_per_dim_x264", "bits_per_dim_ffv1",
)  # fmt: skip


def vflow(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [*VFLOW, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment())


def environment() -> dict[str, str]:
    """This process's, with the source on the path and as many threads as torch has here."""
    import torch

    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}


@contextmanager
def inputs(count: int, corrupt: int) -> Iterator[tuple[Path, Path]]:
    """A folder with ``count`` first frames of shapes, some of them no pictures; and one for outputs."""
    shipped_model("shapes")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "inputs"
        for number, clip in enumerate(shape_clips(count)):
            media.write_png(folder / f"{number:03d}.png", clip[0])
        for number in range(corrupt):
            damaged = folder / f"{number * count // corrupt:03d}.png"
            whole = damaged.read_bytes()
            damaged.write_bytes([b"", b"not a picture", whole[: len(whole) // 2]][number % 3])
        yield folder, Path(name) / "out"


def generate(folder: Path, output: Path, *more: object) -> list[object]:
    """The words of ``vflow generate video``."""
    what = ["generate", "video", "--checkpoint", "shapes", "--input", folder, "--output", output]
    return [*what, "--num-frames", FRAMES, *more]


def outputs(folder: Path) -> dict[str, bytes]:
    """Files of all items, under their final names."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    return {name: data for name, data in named.items() if not name.startswith(".partial")}


def pictures(folder: Path) -> int:
    """How many pictures are there under their final names."""
    return sum(1 for _ in folder.glob("[!.]*/**/*.png"))


def entries(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of all manifests."""
    lines = [line for path in folder.glob("manifest*.jsonl") for line in path.read_text().split("\n")[:-1]]
    return [json.loads(line) for line in lines]


def differing(first: dict[str, bytes], second: dict[str, bytes]) -> int:
    """Files that only one side has, or that differ."""
    return sum(first.get(name) != second.get(name) for name in first.keys() | second.keys())


@measure(
    "E",
    done=Figure(f"{INPUTS} inputs, {CORRUPT} corrupt: done", "", at_least=INPUTS - CORRUPT),
    reasons=Figure("of them failed, with a reason in the manifest", "", at_least=CORRUPT, at_most=CORRUPT),
    code=Figure("exit code", "", at_least=1, at_most=1),
    redone=Figure("outputs written anew by the same command again", "", at_most=0),
    share=Figure("time of the second run over that of the first", "%", at_most=10),
    first=Figure("time of the first run", "s"),
)
def batch() -> Result:
    """`vflow generate video` with the shapes model, 8 futures × 4 frames as npz of 200 pictures (an empty
    file, one that is text, one cut short), twice."""
    with inputs(INPUTS, CORRUPT) as (folder, out):
        words = generate(folder, out, "--format", "npz")
        began = time.perf_counter()
        run = vflow(*words)
        first = time.perf_counter() - began
        times = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
        began = time.perf_counter()
        vflow(*words)
        second = time.perf_counter() - began
        again = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
        lines = entries(out)
    failed = [line["error"] for line in lines if line["status"] == "failed"]
    return Result(
        {
            "done": sum(line["status"] == "done" for line in lines),
            "reasons": sum(bool(reason) for reason in failed),
            "code": run.returncode,
            "redone": sum(times.get(path) != stamp for path, stamp in again.items()),
            "share": 100 * second / first,
            "first": first,
        },
        note="; ".join(failed),
    )


@measure(
    "E",
    shards=Figure("3 shards with batch sizes 1, 8 and 100: files that differ from one run", "", at_most=0),
    launched=Figure("2 processes of accelerate launch: files that differ from one run", "", at_most=0),
    files=Figure("files compared, each way", "", at_least=1),
)
def shards() -> Result:
    """12 first frames of shapes, 9 futures × 4 frames; npz and png, byte for byte."""
    values = {"shards": 0.0, "launched": 0.0, "files": 0.0}
    with inputs(SHARDED, 0) as (folder, out):
        for suffix in ("npz", "png"):
            flags = ("--num-samples", 9, "--format", suffix)
            succeed(vflow(*generate(folder, out / suffix, *flags)))
            whole = outputs(out / suffix)
            for index, size in SHARDS:
                part = ("--shard", f"{index}/{len(SHARDS)}", "--batch-size", size)
                succeed(vflow(*generate(folder, out / f"{suffix}-shards", *flags, *part)))
            values["shards"] += differing(whole, outputs(out / f"{suffix}-shards"))
            succeed(launch(generate(folder, out / f"{suffix}-launched", *flags)))
            values["launched"] += differing(whole, outputs(out / f"{suffix}-launched"))
            values["files"] += len(whole)
    return Result(values)


def launch(words: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """``accelerate launch scripts/generate.py`` with two processes on the CPU."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command = [*launcher, "--main_process_port", "0", str(ROOT / "scripts" / "generate.py")]
    cpu = environment() | {"ACCELERATE_USE_CPU": "true"}
    return subprocess.run([*command, *map(str, words[1:])], cwd=ROOT, capture_output=True, text=True, env=cpu)


def succeed(done: subprocess.CompletedProcess[str]) -> None:
    """AssertionError with what was said, unless the exit code is 0."""
    assert done.returncode == 0, done.stderr[-500:]


@measure(
    "E",
    kills=Figure("SIGKILL at random moments", "", at_least=KILLS),
    half=Figure("files under final names that were not whole after a kill", "", at_most=0),
    differing=Figure("files that differ from an undisturbed run, in the end", "", at_most=0),
)
def killed() -> Result:
    """`vflow generate video`, 8 futures × 4 frames as png of 12 pictures, killed at random after each run's
    first output and started again."""
    kills = half = 0
    with inputs(SHARDED, 0) as (folder, out):
        began = time.perf_counter()
        succeed(vflow(*generate(folder, out / "whole", "--format", "png")))
        length, whole = time.perf_counter() - began, outputs(out / "whole")
        words = [*VFLOW, *map(str, generate(folder, out / "killed", "--format", "png"))]
        for number in range(KILLS):
            process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL, env=environment())
            before = pictures(out / "killed")
            while process.poll() is None and pictures(out / "killed") == before:
                time.sleep(0.01)
            time.sleep(length / SHARDED * generator("kill", number).uniform(0, 0.8))
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
            half += sum(whole.get(name) != data for name, data in outputs(out / "killed").items())
        succeed(vflow(*generate(folder, out / "killed", "--format", "png")))
        left = differing(whole, outputs(out / "killed"))
    return Result({"kills": kills, "half": half, "differing": left})


EVALUATION = {
    "rows": Figure("rows of the table that are missing", "", at_most=0),
    "apart": Figure("bits/dim by evaluate and by `vflow score`: largest difference", "", at_most=1e-3),
    "noise": Figure("frames of uniform noise", "bits/dim", at_least=8),
    "disorder": Figure("shuffled frames less ordered ones", "bits/dim", at_least=1e-6),
}


@measure("E", **EVALUATION)
def evaluate_shapes() -> Result:
    """`vflow evaluate --data shapes --limit 8`, and `vflow score --context 1` on the same clips as npz."""
    from vflow.data.datasets.shapes import Shapes

    data = Shapes(split="test")
    count = EVALUATED["shapes"]
    clips = [data.example(int(i), (0, 0)) for i in np.linspace(0, len(data) - 1, count).astype(int)]
    return agreement("shapes", "shapes", clips, context=1, extra=("direction_entropy",))


@measure("E", **EVALUATION)
def evaluate_push() -> Result:
    """`vflow evaluate --data push --limit 4`, and `vflow score --context 3` on the same clips as npz."""
    clips = push_clips("test")
    chosen = np.linspace(0, len(clips) - 1, EVALUATED["push"]).astype(int)
    return agreement("push", "push", list(clips[chosen]), context=3)


def agreement(
    name: str, data: str, clips: list[np.ndarray], *, context: int, extra: tuple[str, ...] = ()
) -> Result:
    """Compare both commands on the same clips."""
    shipped_model(name)
    if data == "push" and not os.environ.get("VFLOW_DATA"):
        raise NotHere("needs the push clips: VFLOW_DATA=folder with push/train and push/test")
    common = ("--checkpoint", name, "--json")
    done = vflow("evaluate", *common, "--data", data, "--limit", len(clips), "--num-samples", 8)
    succeed(done)
    found = json.loads(done.stdout)
    with tempfile.TemporaryDirectory() as folder:
        for number, clip in enumerate(clips):
            media.write_npz(Path(folder) / f"{number:03d}.npz", frames=clip)
        done = vflow("score", *common, "--context", context, "--input", folder)
    succeed(done)
    scores = [json.loads(line)["bits_per_dim"] for line in done.stdout.splitlines()]
    return Result(
        {
            "rows": sum(found.get(row) is None for row in (*ROWS, *extra)),
            "apart": abs(found["bits_per_dim"] - float(np.mean(scores))),
            "noise": found["bits_per_dim_noise_frames"],
            "disorder": found["bits_per_dim_shuffled"] - found["bits_per_dim_ordered"],
        },
        note=f"{len(clips)} clips, {found['bits_per_dim']:.4f} bits/dim",
    )
