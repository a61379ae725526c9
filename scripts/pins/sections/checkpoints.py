"""Of every shipped checkpoint: the digest of a seeded sample at its own settings, and its scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.pins.made import made, one_clip, one_photo
from scripts.pins.place import Place
from scripts.pins.shown import figures, files_sha, flat
from scripts.pins.vflow_command import vflow

VIDEO = "predict --num-samples 1 --num-frames 2 --format npz"
DRAWS = {
    "digits": "digits --label 3 --num-samples 2 --format npz",
    "colorizer": "colorize --num-samples 1",
    "super_resolution": "upscale --num-samples 1 --scale 2",
    "nowcast": VIDEO,
}
"""Kind of a model → words that draw; the kinds that are not here and no codecs are of videos."""
CODECS = ("photo_codec", "clip_codec")


def pins(place: Place) -> Iterator[tuple[str, Any]]:
    """``<checkpoint>/sample`` and, of videos and codecs, ``<checkpoint>/score``."""
    for name in place.checkpoints():
        kind = json.loads((place.tree / "checkpoints" / name / "config.json").read_text())["model"]["kind"]
        yield from coded(name, kind) if kind in CODECS else drawn(name, kind)


def drawn(name: str, kind: str) -> Iterator[tuple[str, Any]]:
    """Pins of a model that draws, and the settings it drew with."""
    inputs = {"digits": "", "nowcast": f"--input {made('radar/train/other.npz')}"}
    given = inputs.get(kind, f"--input {one_photo() if kind in DRAWS else one_clip()}")
    line = f"{DRAWS.get(kind, VIDEO)} {given} --checkpoint {name} --seed 1 --output {name}"
    yield f"{name}/exit", vflow(line).code
    yield f"{name}/sample", files_sha(Path(name), "**/*.npz" if "npz" in line else "**/*.png")
    run = Path(name, "run.json")
    yield from flat(f"{name}/settings", json.loads(run.read_text()) if run.is_file() else "none")
    if kind not in DRAWS:
        score = f"score --checkpoint {name} --input {one_clip()} --num-frames 5 --seed 1 --json"
        yield from figures(f"{name}/score", vflow(score))


def coded(name: str, kind: str) -> Iterator[tuple[str, Any]]:
    """Pins of a codec: bits of a file, its bytes, and the pixels that come back."""
    given = one_photo() if kind == "photo_codec" else one_clip()
    packed = vflow(f"compress {given} --checkpoint {name} --output {name}/packed --json")
    yield from figures(f"{name}/score", packed)
    yield f"{name}/sample", files_sha(Path(name, "packed"), "*.vflow")
    yield f"{name}/exit", vflow(f"decompress {name}/packed --output {name}/back").code
    yield f"{name}/back", files_sha(Path(name, "back"), "*.*")
