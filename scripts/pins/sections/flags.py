"""Flags of every command, as its help has them: value, choices, default, required; not the prose.

And bounds: which of some probing values a valid call takes for each numeric flag. A call counts as taken once
it begins to compute, which it is kept from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from scripts.pins.made import made, one_clip, one_photo
from scripts.pins.place import Place
from scripts.pins.vflow_command import vflow

NUMBERS = ("N", "F", "INT", "FLOAT")
"""Names of numeric values in helps."""
PROBES = {
    "N": ("-1", "0", "1", "1000", "1.5", str(2**31), str(2**63)),
    "F": ("-0.1", "0", "1", "1.5", "2", "2.1", "nan"),
}
LARGE = ("1000", str(2**31), str(2**63))
COSTLY = ("--batch-size", "--limit", "--probe-clips", "--num-importance-samples")
"""Flags of which a large value, if taken, is worked on before a model is called: not probed."""


class BeganError(BaseException):
    """A model is about to compute: the command took its flags."""


def pins(place: Place) -> Iterator[tuple[str, Any]]:
    """Of each command: ``<command>/<flag>``, and for numbers ``<command>/<flag>/takes``."""
    os.environ |= {"COLUMNS": "600", "NO_COLOR": "1", "TERM": "dumb"}
    calls = valid_calls()
    for name in command_names():
        for command in [f"{name} {part}" for part in subcommands(name)] or [name]:
            found = flags(vflow(f"{command} --help").output)
            for flag, what in found.items():
                yield f"{command}/{flag}", what
            for flag, what in found.items():
                kind = what.split(",")[0]
                if kind in NUMBERS and command in calls:
                    yield f"{command}/{flag}/takes", " ".join(taken(command, calls[command], flag, kind[0]))


def command_names() -> list[str]:
    """All commands that ``vflow --help`` lists."""
    return re.findall(r"^  ([a-z][a-z-]*) ", vflow("--help").output, re.MULTILINE)


def subcommands(command: str) -> list[str]:
    """Words that may follow ``command`` and choose its flags."""
    found = re.search(r"^usage: .*\{([a-z,-]+)\}$", vflow(f"{command} --help").output, re.MULTILINE)
    return found.group(1).split(",") if found else []


def flags(text: str) -> dict[str, str]:
    """Flag, or name of a positional argument → its value, default, and whether it is required."""
    rows: dict[str, str] = {}
    flag = ""
    for line in text.splitlines():
        inside = line.strip("│ ")
        if not line.startswith("│"):
            continue
        left = re.match(r"│ (\S.*?)(?:  +|$)", line.rstrip("│ "))
        if left and (words := left.group(1).split(" ")):
            flag = words[0].rstrip(",")
            rows[flag] = f"{' '.join(words[1:]) or 'flag'}; {inside.removeprefix(left.group(1))}"
        elif flag:
            rows[flag] += f" {inside}"
    return {flag: _essence(row) for flag, row in rows.items() if flag != "-h"}


def _essence(row: str) -> str:
    """Value, default and need of a flag's row in the help."""
    value = row.partition(";")[0]
    default = re.search(r"\(default: ([^()]*)\)\s*$", row)
    if re.search(r"\(required\)\s*$", row):
        return f"{value}, required"
    return f"{value}, default {default.group(1)}" if default else value


def valid_calls() -> dict[str, str]:
    """A quick valid call of each command that computes, without ``--output``."""
    video = f"--checkpoint shapes --input {one_clip()} --num-frames 1 --num-samples 1"
    photo = f"--input {one_photo()} --num-samples 1"
    walk = f"--checkpoint shapes --input {one_clip()} --steps 3 --num-frames 1"
    return {
        "train": "--config maf --max-steps 1",
        "predict": video,
        "walk": walk,
        "digits": "--label 3 --num-samples 1",
        "colorize": photo,
        "upscale": photo,
        "generate video": video,
        "generate colorize": photo,
        "generate digits": "--label 3 --num-samples 1",
        "score": f"--checkpoint shapes --input {one_clip()}",
        "evaluate": f"--checkpoint digits --data {made('mnist')} --limit 10 --num-samples 1",
    }


WITHOUT_OUTPUT = ("score", "evaluate")


def taken(command: str, call: str, flag: str, kind: str) -> Iterator[str]:
    """The probing values of a numeric flag that the command takes."""
    for number, value in enumerate(PROBES[kind if kind in PROBES else "N"]):
        if flag in COSTLY and value in LARGE:
            continue
        words = f"{command} {call} {_extra(command, flag)}".split()
        if command not in WITHOUT_OUTPUT:
            words += ["--output", f"flags/{command.replace(' ', '-')}{flag}-{number}"]
        if flag in words:
            words[words.index(flag) + 1] = value
        else:
            words.append(f"{flag}={value}")
        if took(words):
            yield value


def _extra(command: str, flag: str) -> str:
    return "--maps-dir flags/maps" if (command, flag) == ("score", "--quantile") else ""


def took(words: list[str]) -> bool:
    """True if the command computed, or would have."""
    import torch

    def began(*_: Any, **__: Any) -> None:
        raise BeganError

    try:
        with patch.object(torch.nn.Module, "__call__", began):
            return vflow("", *words).code == 0
    except BeganError:
        return True
