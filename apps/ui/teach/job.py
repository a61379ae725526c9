"""The run behind Teach: one at a time, a process of low priority and limited memory, and what it has made."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vflow.catalog import AUTO, CARD, CONFIG, WEIGHTS
from vflow.data import media
from vflow.disk import parse_json
from vflow.errors import InputError, VflowError
from vflow.packed import pack

from ..shared.checks import whole_number
from ..shared.context import AppContext
from ..shared.html import duration
from ..shared.models import TAUGHT
from ..shared.storage import free_name

MOST_MINUTES = 120
MEMORY_GIB = 6
PACKED = (CONFIG, WEIGHTS, CARD)
"""Files of a taught model that are given out."""
BUSY = "another run of Teach is under way, and one runs at a time; try again when it has ended"
NO_CLIPS = "give clips first: one long film, or several clips"


@dataclass
class Run:
    """A run and its folder, which others cannot guess; ``name`` is what the taught model is called.

    Attributes:
        kept: what ends with the process, such as the folder's protection.
    """

    folder: Path
    minutes: int
    process: subprocess.Popen[bytes]
    kept: ExitStack
    name: str = field(default_factory=lambda: f"taught-{secrets.token_hex(8)}")

    @property
    def output(self) -> Path:
        return self.folder / "run"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """Ask it to end after its step with the best weights so far."""
        if self.alive:
            self.process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)


@dataclass(frozen=True)
class View:
    """State of a run for the page.

    Attributes:
        done: seconds of training, of ``total``. bits: by step, of held-out film. last: of the newest step.
        picture: uint8 (H, W, C), truth above futures; None so far. text: newest line of the run.
    """

    done: float
    total: float
    bits: dict[int, float]
    last: float | None
    picture: np.ndarray | None
    text: str

    @property
    def left(self) -> str:
        return duration(max(0.0, self.total - self.done))


class Teacher:
    """Starts runs, one at a time in this app."""

    def __init__(self, app: AppContext) -> None:
        self._app, self._lock = app, threading.Lock()
        self._run: Run | None = None
        atexit.register(self.end)

    def end(self) -> None:
        """Kill what runs: the app ends, and its files go."""
        if self._run and self._run.alive:
            self._run.process.kill()
            self._run.process.wait()

    def start(self, files: Sequence[str], minutes: object, checkpoint: str | None = AUTO) -> Run:
        """Begin a run on uploaded ``files``, from a checkpoint on offer.

        Raises:
            InputError: no files, minutes out of range, or another run is under way. CheckpointError: no
                video model of that name.
        """
        first = AUTO if checkpoint == AUTO else str(self._app.models.folder(checkpoint, "videoflow"))
        wanted = whole_number("minutes", minutes, 1, MOST_MINUTES)
        if not files:
            raise InputError(NO_CLIPS)
        with self._lock:
            if self._run and self._run.alive:
                raise InputError(BUSY)
            kept = ExitStack()
            folder = kept.enter_context(self._app.runs.job_folder())
            clips, taken = folder / "clips", set[str]()
            clips.mkdir()
            for path in map(Path, files):  # uploads are swept within the hour, a run may take longer
                os.link(path, clips / free_name(path.name, taken))
            log = kept.enter_context((folder / "log.txt").open("wb"))
            process = subprocess.Popen(
                command(clips, folder / "run", wanted, first),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
            self._run = Run(folder, wanted, process, kept)
            return self._run

    def finish(self, run: Run) -> Path | None:
        """After its end: the zip of its model, now on offer under ``run.name``; None where there is none."""
        run.kept.close()
        model, packed = run.output / "model", run.folder / TAUGHT
        if packed.is_file():
            return packed
        if not all((model / name).is_file() for name in PACKED):
            return None
        pack(model, PACKED, packed)
        for path in (run.folder / "clips", *run.output.glob("step_*")):
            shutil.rmtree(path, ignore_errors=True)
        self._app.models.add_private(run.name, model)
        return packed


def command(clips: Path, output: Path, minutes: float, checkpoint: str) -> list[str]:
    """Command line of a run."""
    words = ["-m", "vflow", "teach", str(clips), "--output", str(output), "--minutes", f"{minutes:g}"]
    threads = str(max(1, (os.cpu_count() or 2) // 2))
    limits = ["--max-memory", str(MEMORY_GIB), "--threads", threads]
    return [sys.executable, *words, *limits, "--checkpoint", checkpoint]


def look(run: Run) -> View:
    """State of a run, from its files."""
    bits: dict[int, float] = {}
    done, last = 0.0, None
    with suppress(OSError, ValueError):
        for text in (run.output / "log.jsonl").read_text("utf-8").splitlines():
            line = parse_json(text)
            done = float(line.get("seconds") or done)
            last = line.get("bits_per_dim") or last
            if line.get("val_bits_per_dim") is not None:
                bits[int(line["step"])] = line["val_bits_per_dim"]
    pictures = sorted(run.output.glob("samples/step_*.png"))
    picture = None
    with suppress(VflowError, OSError):
        picture = media.read_image(pictures[-1]).frames[0] if pictures else None
    return View(done, 60.0 * run.minutes, bits, last, picture, _newest_line(run.folder / "log.txt"))


def _newest_line(path: Path) -> str:
    with suppress(OSError):
        text = path.read_bytes()[-4000:].decode("utf-8", "replace").replace("\r", "\n")
        lines = [line.strip() for line in text.splitlines() if line.strip() and "step/s" not in line]
        return lines[-1] if lines else ""
    return ""


def verdict(run: Run) -> list[str]:
    """Lines of words that the ended run printed: its verdict, or its error."""
    with suppress(OSError):
        lines = (run.folder / "log.txt").read_text("utf-8", errors="replace").replace("\r", "\n").splitlines()
        found = [
            line for line in lines if line.startswith(("Held-out film", "Five frames", "Verdict:", "error:"))
        ]
        return [line.removeprefix("error: ") for line in found]
    return []
