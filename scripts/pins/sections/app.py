"""The app's endpoints: their schema, what each returns, and replays of the settings that BASE's app saved."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from scripts.pins.made import one_clip, one_photo
from scripts.pins.place import Place
from scripts.pins.shown import file_sha, files_sha, flat
from scripts.pins.vflow_command import vflow

REPLAYED = {
    "predict_future": "predict --format npz",
    "generate_digits": "digits --format npz",
    "colorize": "colorize",
    "upscale": "upscale",
}
"""Endpoint whose settings a command repeats → that command."""


def pins(place: Place) -> Iterator[tuple[str, Any]]:
    """``schema/…``, ``<endpoint>/…`` and ``replay/<endpoint>``."""
    from gradio_client import Client

    with served() as address:
        client = Client(address, verbose=False, download_files=str(Path("replies").resolve()))
        for name, endpoint in sorted(
            client.view_api(print_info=False, return_format="dict")["named_endpoints"].items()
        ):
            yield from schema(f"schema{name}", endpoint)
        for name, arguments in calls().items():
            yield from answered(name, reply(client, name, arguments), place.made)
    for name, command in REPLAYED.items():
        yield from replayed(name, command, place.base / name / "settings.json")


@contextmanager
def served() -> Iterator[str]:
    """Address of ``vflow app``, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    code = "import sys; from vflow.cli import main; sys.exit(main())"
    words = ["app", "--port", address.rpartition(":")[2], "--threads", "1"]
    process = subprocess.Popen([sys.executable, "-c", code, *words])
    try:
        end = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < end:
            with suppress(OSError), urlopen(address, timeout=5):
                break
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def schema(prefix: str, endpoint: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Parameters and replies of an endpoint: names, types, defaults, components."""
    for part in ("parameters", "returns"):
        for number, each in enumerate(endpoint[part]):
            name = each.get("parameter_name") or f"{number} {each['label']}"
            typed = {"type": each["python_type"]["type"], "component": each["component"]}
            if each.get("parameter_has_default"):
                typed["default"] = each["parameter_default"]
            yield f"{prefix}/{part}/{name}", json.dumps(typed, sort_keys=True)


def calls() -> dict[str, dict[str, Any]]:
    """A small call of every endpoint that computes."""
    from gradio_client import handle_file

    clip, photo = [handle_file(one_clip())], [handle_file(one_photo())]
    return {
        "predict_future": {
            "files": clip,
            "checkpoint": "shapes",
            "num_samples": 2,
            "num_frames": 2,
            "seed": 5,
        },
        "score": {"files": clip, "checkpoint": "shapes"},
        "generate_digits": {"label": "7", "num_samples": 2},
        "colorize": {"files": photo, "num_samples": 1, "hints": "0.5,0.5,#ff0000"},
        "upscale": {"files": photo, "num_samples": 1},
        "walk": {"files": clip, "checkpoint": "shapes", "kind": "temperature", "steps": 3, "num_frames": 1},
        "compress": {"file": handle_file(one_photo())},
        "learn_density": {"steps": 10},
        "model_info": {"checkpoint": "digits"},
    }


def reply(client: Any, name: str, arguments: dict[str, Any]) -> Any:
    """Reply of an endpoint; of a failure its kind."""
    from gradio_client.exceptions import AppError

    try:
        return client.predict(**arguments, api_name=f"/{name}")
    except (AppError, ValueError, TypeError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return {"failed": type(error).__name__}


def answered(name: str, found: Any, kept: Path) -> Iterator[tuple[str, Any]]:
    """Pins of a reply; its settings.json is kept in a folder named like the endpoint."""
    for number, each in enumerate(found if isinstance(found, tuple) else (found,)):
        if isinstance(each, dict):
            yield from flat(f"{name}/report", {k: v for k, v in each.items() if not _is_file(v)})
            paths = [Path(_path(v)) for v in each.values() if _is_file(v)]
        else:
            paths = [Path(each)]
        for path in paths:
            if path.suffix == ".json":
                yield from flat(f"{name}/{path.name}", json.loads(path.read_text()))
                (kept / name).mkdir(exist_ok=True)
                shutil.copy(path, kept / name / path.name)
            elif path.suffix != ".zip":  # which hold times
                yield f"{name}/{number} {path.suffix}", file_sha(path)


def _is_file(value: Any) -> bool:
    return (
        "path" in value if isinstance(value, dict) else isinstance(value, str) and Path(value).is_absolute()
    )


def _path(value: Any) -> str:
    return str(value["path"] if isinstance(value, dict) else value)


def replayed(name: str, command: str, settings: Path) -> Iterator[tuple[str, Any]]:
    """Pins of a command that repeats settings."""
    inputs = {"generate_digits": "", "predict_future": f"--input {one_clip()}"}
    given = inputs.get(name, f"--input {one_photo()}")
    line = f"{command} {given} --output replay/{name} --settings"
    yield f"replay/{name}/exit", vflow(line, str(settings)).code
    yield f"replay/{name}", files_sha(Path("replay", name), "**/*.npz" if "npz" in line else "**/*.png")
