"""Bad and unusual input: one line, the same from Python, command line and app, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import vflow
from scripts.acceptance.models import shape_clips, shipped_model
from scripts.acceptance.registry import Figure, Result, measure
from scripts.acceptance.report import ROOT
from scripts.acceptance.server import serving
from vflow.checkpoint import checkpoint_folder
from vflow.data.media import read_frames, write_video
from vflow.errors import VflowError

TOO_MANY = 10_000


class Case(NamedTuple):
    """A file (or none) given to a prediction, and whether it is to be accepted."""

    name: str
    accepted: bool = False
    checkpoint: str = "shapes"


CASES = (
    Case(""),
    Case("notes.png"),
    Case("truncated.mp4"),
    Case("huge.png"),
    Case("dot.png"),
    Case("long.npz"),
    Case("nan.npz"),
    Case("one.png", checkpoint="push"),
    Case("sixteen.png", accepted=True),
    Case("cmyk.jpg", accepted=True),
    Case("palette.png", accepted=True),
    Case("animated.gif", accepted=True),
)


def make_files(folder: Path) -> None:
    """Write every case's file."""
    clip = shape_clips(1)[0]
    picture = Image.fromarray(clip[0])
    (folder / "notes.png").write_text("not a picture\n")
    write_video(folder / "whole.mp4", clip, fps=5)
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 3])
    (folder / "huge.png").write_bytes(huge_png(20_000))
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    np.savez_compressed(folder / "long.npz", frames=np.zeros((TOO_MANY, 16, 16, 3), np.uint8))
    holed = clip.astype(np.float32) / 255
    holed[0, 3, 3] = np.nan
    np.savez(folder / "nan.npz", frames=holed)
    picture.save(folder / "one.png")
    Image.fromarray(clip[0, ..., 0].astype(np.uint16) * 257).save(folder / "sixteen.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.quantize(16).save(folder / "palette.png")
    picture.save(folder / "animated.gif", save_all=True, append_images=[Image.fromarray(f) for f in clip[1:]])


def huge_png(side: int) -> bytes:
    """A PNG whose header promises ``side``² pixels; a reader that stops at the header is quick."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 + 3 * side) * 16)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def from_python(checkpoint: str, paths: list[Path]) -> str:
    """Predict one frame; the error's text, or nothing."""
    try:
        model = vflow.load(checkpoint, allow_hub=False)
        vflow.predict(model, read_frames(paths), num_frames=1, num_samples=1)
    except VflowError as error:
        return str(error)
    return ""


def from_command(checkpoint: str, paths: list[Path], output: Path) -> str:
    """The same by ``vflow predict``. AssertionError: a traceback, or an exit code that does not fit."""
    words = ["predict", "--checkpoint", checkpoint, "--output", str(output), "--format", "npz"]
    words += ["--num-frames", "1", "--num-samples", "1", *(["--input", *map(str, paths)] if paths else [])]
    return command_error(words)


def command_error(words: list[str]) -> str:
    """What ``vflow WORDS`` says after ``error:``; nothing if it succeeds."""
    command = [sys.executable, "-c", "import sys; from vflow.cli import main; sys.exit(main())", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr, f"{words}: {done.stderr[-300:]}"
    errors = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert bool(errors) == bool(done.returncode), (
        f"{words}: exit code {done.returncode}: {done.stderr[-300:]}"
    )
    assert len(errors) <= 1, f"{words}: more than one line: {errors}"
    return errors[0] if errors else ""


def from_app(client: Any, checkpoint: str, paths: list[Path]) -> str:
    """The same by the endpoint /predict_future."""
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    files = [handle_file(str(path)) for path in paths]
    try:
        client.predict(files, checkpoint, 1, 1, 1.0, 0, "", 5, api_name="/predict_future")
    except AppError as error:
        return str(error)
    return ""


def own_words(text: str, folder: Path) -> str:
    """A message without the folder of the file it names."""
    return text.replace(f"{folder}{os.sep}", "").strip()


@measure(
    "A",
    cases=Figure("bad and unusual files tried", "", at_least=len(CASES)),
    wrong=Figure("of them answered otherwise than decided", "", at_most=0),
    differing=Figure("of them answered differently by Python, command line and app", "", at_most=0),
    tracebacks=Figure("tracebacks in the app's output", "", at_most=0),
)
def bad_input() -> Result:
    """No file, text named .png, truncated mp4, 20,000×20,000 png, 1×1, 10,000 frames, NaN in an npz, too few
    frames: refused; 16-bit, CMYK, palette and animated files: accepted; by Python, command line and app."""
    from gradio_client import Client

    shipped_model("shapes")
    shipped_model("push")
    wrong, differing, notes = 0, 0, []
    with tempfile.TemporaryDirectory() as name, serving(ROOT, os.environ, limit=120) as page:
        folder = Path(name)
        make_files(folder)
        client = Client(page.url, verbose=False)
        for case in CASES:
            paths = [folder / case.name] if case.name else []
            answers = [
                from_python(case.checkpoint, paths),
                from_command(case.checkpoint, paths, folder / f"out-{case.name}"),
                from_app(client, case.checkpoint, paths),
            ]
            said = [own_words(answer, folder) for answer in answers]
            wrong += any(bool(text) == case.accepted for text in said)
            differing += bool(paths) and len(set(said)) > 1  # without a file each names its own remedy
            notes.append(f"{case.name or 'no file'}: {' | '.join(dict.fromkeys(said)) or 'accepted'}")
        log = page.log()
    values = {
        "cases": len(CASES),
        "wrong": wrong,
        "differing": differing,
        "tracebacks": log.count("Traceback"),
    }
    return Result(values, note="; ".join(notes))


def broken_checkpoints(folder: Path) -> list[Path]:
    """Copies of the shapes checkpoint, each broken in one way."""
    names = ("no-config", "no-weights", "unknown-key", "wrong-shapes", "absurd", "pickle")
    broken = {name: folder / name for name in names}
    for path in broken.values():
        shutil.copytree(checkpoint_folder("shapes"), path)
    (broken["no-config"] / "config.json").unlink()
    (broken["no-weights"] / "model.safetensors").unlink()
    (broken["pickle"] / "model.safetensors").rename(broken["pickle"] / "model.bin")
    for name in ("unknown-key", "wrong-shapes", "absurd"):
        file = broken[name] / "config.json"
        config = json.loads(file.read_text())
        glow = config["model"]["glow"]
        levels = len(glow["depth"])
        if name == "unknown-key":
            config["model"]["surprise"] = 1
        elif name == "wrong-shapes":
            glow["hidden"] = [8] * levels
        else:
            glow |= {"hidden": [2048] * levels, "depth": [64] * levels}
        file.write_text(json.dumps(config))
    return list(broken.values())


@measure(
    "A",
    cases=Figure("broken checkpoints and a taken port tried", "", at_least=7),
    wrong=Figure("of them not refused in one line that names the place", "", at_most=0),
)
def bad_checkpoints() -> Result:
    """A missing config, missing weights, an unknown key, wrong shapes, absurd sizes, a .bin pickle: by Python
    and `vflow predict`; and `vflow app` on a port in use."""
    shipped_model("shapes")
    wrong, notes = 0, []
    with tempfile.TemporaryDirectory() as name, socket.socket() as taken:
        folder = Path(name)
        make_files(folder)
        for path in broken_checkpoints(folder / "broken"):
            said = [
                from_python(str(path), [folder / "one.png"]),
                from_command(str(path), [folder / "one.png"], folder / "out"),
            ]
            wrong += len(set(said)) != 1 or path.name not in said[0]
            notes.append(own_words(said[0], folder / "broken"))
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said_of_port = command_error(["app", "--port", port])
        wrong += port not in said_of_port
        notes.append(said_of_port.replace(port, "PORT"))
    return Result({"cases": len(notes), "wrong": wrong}, note="; ".join(notes))
