"""Finished runs on disk: what the page plays, what it offers for download, what can be continued."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.video.export import heat

from .maps import diversity, mean_frames

KEEP_RUNS = 40
KEEP_SECONDS = 3000.0
SWEEP_SECONDS = 300.0


@dataclass(frozen=True)
class Run:
    """One finished prediction. Small and copyable: arrays stay on disk."""

    folder: Path
    checkpoint: str
    given: int
    frames: int
    fps: float
    diversity_top: float

    @property
    def futures(self) -> list[Path]:
        return sorted((self.folder / "previews").glob("future_*.mp4"))

    @property
    def mean(self) -> Path:
        return self.folder / "mean.mp4"

    @property
    def spread(self) -> Path:
        return self.folder / "diversity.mp4"

    @property
    def native(self) -> Path:
        return self.folder / "futures.npz"

    @property
    def archive(self) -> Path:
        return self.folder / "previews.zip"

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"

    def future(self, index: int) -> np.ndarray:
        """Given and predicted frames of one future: uint8 (n + T, H, W, C).

        Raises:
            InputError: the run was removed, or there is no such future.
        """
        try:
            with np.load(self.native) as saved:
                context, futures = saved["context"], saved["frames"]
        except FileNotFoundError as error:
            raise InputError("these futures have been cleared from the server; run Predict again") from error
        if not 0 <= index < len(futures):
            raise InputError(f"future {index + 1}: there are {len(futures)} futures to continue from")
        return np.concatenate([context, futures[index]])


class RunStore:
    """Writes runs below ``root`` under unguessable names; old ones and those beyond a number are removed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._running: set[Path] = set()

    def save(
        self, checkpoint: str, context: np.ndarray, futures: np.ndarray, settings: str, fps: float
    ) -> Run:
        """Write native, preview and settings files of one prediction.

        Args:
            checkpoint: name of the model that made it.
            context: uint8 (n, H, W, C), as the model saw it.
            futures: uint8 (N, T, H, W, C).
            settings: text that ``vflow predict --settings`` makes the same pixels from.
            fps: frames per second of the previews.
        """
        folder = self.fresh()
        (folder / "previews").mkdir()
        spread = diversity(futures)
        run = Run(folder, checkpoint, len(context), futures.shape[1], fps, max(8.0, float(spread.max())))
        media.write_npz(run.native, frames=futures, context=context)
        run.settings.write_text(settings, encoding="utf-8")
        for index, future in enumerate(futures):
            name = folder / "previews" / f"future_{index + 1:02d}.mp4"
            media.write_video(name, np.concatenate([context, future]), fps)
        media.write_video(run.mean, np.concatenate([context, mean_frames(futures)]), fps)
        nothing = np.zeros((len(context), *spread.shape[1:]), np.float32)
        media.write_video(run.spread, heat(np.concatenate([nothing, spread]), run.diversity_top), fps)
        _archive(run, context)
        return run

    def fresh(self) -> Path:
        """A new folder, private and under an unguessable name; makes room by removing old ones."""
        self._clear_old()
        folder = self._root / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        return folder

    @contextmanager
    def job(self) -> Iterator[Path]:
        """A new folder for all results of one job: it counts as one run, and stays while the job runs."""
        folder = self.fresh()
        self._running.add(folder)
        try:
            yield folder
        finally:
            with self._lock, suppress(FileNotFoundError):
                self._running.discard(folder)
                if any(folder.iterdir()):
                    os.utime(folder)  # its time begins when the job ends
                else:
                    folder.rmdir()

    def sweep(self) -> None:
        """Keep removing expired runs from a thread of its own, also when nobody makes new ones."""
        threading.Thread(target=self._sweep_forever, daemon=True).start()

    def _sweep_forever(self) -> None:
        while self._root.is_dir():
            self._clear_old()
            time.sleep(SWEEP_SECONDS)

    def _clear_old(self) -> None:
        with self._lock:
            done = [f for f in self._root.iterdir() if f.is_dir() and f not in self._running]
            runs = sorted(done, key=lambda f: f.stat().st_mtime)
            expired = [f for f in runs if f.stat().st_mtime < time.time() - KEEP_SECONDS]
            for folder in {*runs[:-KEEP_RUNS], *expired}:
                shutil.rmtree(folder, ignore_errors=True)


def _archive(run: Run, context: np.ndarray) -> None:
    """Zip of the preview videos, and the given frames as stills, which reproduce the run elsewhere."""
    stills = run.folder / "given"
    stills.mkdir()
    for index, frame in enumerate(context):
        media.write_png(stills / f"{index:03d}.png", frame)
    with zipfile.ZipFile(run.archive, "w", zipfile.ZIP_STORED) as archive:
        for path in [*run.futures, run.mean, run.spread]:
            archive.write(path, path.name)
        for path in sorted(stills.iterdir()):
            archive.write(path, f"given/{path.name}")
