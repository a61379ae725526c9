"""What people see of a run: log.jsonl, a progress bar, TensorBoard if wished."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

Line = dict[str, Any]


class RunLog:
    """Writes log.jsonl, one JSON object a line, and shows a progress bar on stderr.

    Args:
        path: of log.jsonl; None on processes that do not report.
        total, initial: steps of the run, and steps done before.
        tensorboard: folder for events, None for none.
    """

    def __init__(self, path: Path | None, total: int, initial: int, tensorboard: Path | None) -> None:
        self._path = path or Path()
        self._file = path.open("a", encoding="utf-8") if path else None
        interactive = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=initial,
            unit="step",
            disable=path is None,
            mininterval=0.2 if interactive else 30.0,
            dynamic_ncols=interactive,
        )
        self._events = _event_writer(tensorboard) if path and tensorboard else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._file:
            self._file.close()
        if self._events:
            self._events.close()

    def tick(self, loss: str, frames_per_s: float, skipped: int) -> None:
        """One step done; show the loss in words, frames/s and, if any, skipped steps."""
        text = f"{loss}, {frames_per_s:.0f} frames/s"
        self._bar.set_postfix_str(text + (f", {skipped} skipped" if skipped else ""), refresh=False)
        self._bar.update()

    def write(self, line: Line) -> None:
        """Append ``line`` and flush it, NaN and infinities as null; numbers also go to TensorBoard."""
        if self._file is None:
            return
        known = {key: None if _no_number(value) else value for key, value in line.items()}
        self._file.write(json.dumps(known, allow_nan=False) + "\n")
        self._file.flush()
        if self._events:
            for key, value in line.items():
                if isinstance(value, int | float) and key != "step":
                    self._events.add_scalar(key, value, line.get("step"))

    def rewind(self, step: int) -> None:
        """Forget what was logged after ``step``, before the steps from there are taken again."""
        if self._file is None:
            return
        self._file.close()
        rewind_log(self._path, step)
        self._file = self._path.open("a", encoding="utf-8")
        self._bar.reset(self._bar.total)
        self._bar.update(step)

    def say(self, text: str) -> None:
        """A remark on stderr that does not tear the bar."""
        if self._file is not None:
            tqdm.write(text, file=sys.stderr)


def _event_writer(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def read_log(path: Path) -> list[Line]:
    """Lines of a log; a last line that a kill cut short is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def rewind_log(path: Path, step: int) -> None:
    """Drop what was logged after ``step``, so that a resumed run logs each step once; atomic."""
    kept = [line for line in read_log(path) if line["step"] <= step and "status" not in line]
    draft = path.with_name(f".tmp_{path.name}")
    with draft.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in kept)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _no_number(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
