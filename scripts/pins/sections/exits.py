"""Exit codes of good and bad calls; the words of an error are no pins."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.pins.made import made, one_clip, one_photo
from scripts.pins.place import Place
from scripts.pins.vflow_command import vflow


def pins(place: Place) -> Iterator[tuple[str, Any]]:
    """Of each call: its exit code, under its words."""
    os.environ["PYTHONWARNINGS"] = "ignore"
    yield "(nothing)", vflow("").code
    made: Counter[str] = Counter()
    for call in calls():
        made[call] += 1
        yield call + " (again)" * (made[call] - 1), vflow(call).code


def calls() -> list[str]:
    """Calls of ``calls.txt``, with the files that they name."""
    Path("text.png").write_text("no picture")
    Path("empty.npz").write_bytes(b"")
    Path("empty").mkdir()
    Path("file").write_text("")
    Path("broken.yaml").write_text("model: [")
    Path("unknown.yaml").write_text("model: {kind: videoflow, colour: 3}")
    Path("settings.json").write_text('{"checkpoint": "digits", "seed": -1}')
    inputs = {
        "clip": one_clip(),
        "clips": made("clips/test"),
        "photo": one_photo(),
        "points": made("points.csv"),
    }
    lines = Path(__file__).parents[1].joinpath("calls.txt").read_text(encoding="utf-8").splitlines()
    return [line.format(**inputs) for line in lines if not line.startswith("#")]
