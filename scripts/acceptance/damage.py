"""Files of commits and checkpoints cut short, with a bit turned, or gone: refused or passed over by name."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import vflow
from scripts.acceptance.registry import Figure, Result, measure
from scripts.acceptance.training import quiet, workplace
from tests.training.support import losses
from vflow.checkpoint import checkpoint_folder, find_checkpoints
from vflow.checksum import TENSORS, verify_tensors
from vflow.errors import CheckpointError

FLIPS = 16  # places in a checkpoint's file where a bit is turned
STEPS = 6


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.Random(path.name).randrange(len(content))])


def turn_a_bit(path: Path, seed: int = 0) -> None:
    chance, content = random.Random(f"{path.name} {seed}"), bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut short": truncate,
    "one bit turned": turn_a_bit,
    "removed": Path.unlink,
}


@measure(
    "C",
    tried=Figure("commits with one file damaged", "", at_least=18),
    unnamed=Figure("of them not passed over with the file named", "", at_most=0),
    astray=Figure("of them after which the run logs other losses than an undisturbed one", "", at_most=0),
    accepted=Figure("runs resumed although none of their commits is intact", "", at_most=0),
)
def damaged_commits() -> Result:
    """A run with two commits; each file of the newer one is cut short, has a bit turned, is removed, and the
    run resumed. Then each has a bit turned in both."""
    values = {"tried": 0, "unnamed": 0, "astray": 0, "accepted": 0}
    with workplace() as (preset, folder):
        run, copy = folder / "whole", folder / "damaged"
        options = {"set": ("training.checkpoint_every=4",), "max_steps": STEPS}
        quiet(preset, run, **options)
        newest = f"step_{STEPS:07d}"
        files = [path.relative_to(run) for path in (run / newest).rglob("*") if path.is_file()]
        for file in sorted(files):
            for damage in DAMAGES.values():
                shutil.copytree(run, copy, symlinks=True)
                damage(copy / file)
                said = quiet(preset, copy, resume=True, **options)
                values["tried"] += 1
                named = f"warning: {copy / file} " in said and "passing over this commit" in said
                values["unnamed"] += not (named and "resuming from" in said)
                values["astray"] += losses(copy) != losses(run)
                shutil.rmtree(copy)
        for file in sorted(files):
            shutil.copytree(run, copy, symlinks=True)
            for commit in copy.glob("step_*"):
                turn_a_bit(commit / file.relative_to(newest))
            values["accepted"] += not refused(lambda: quiet(preset, copy, resume=True, **options), copy)
            shutil.rmtree(copy)
    return Result(values, note=f"files: {', '.join(str(file) for file in sorted(files))}")


def refused(action: Callable[[], object], name: Path) -> bool:
    """Whether ``action`` ends with a CheckpointError of one line that names ``name``."""
    try:
        action()
    except CheckpointError as error:
        return str(name) in str(error) and "\n" not in str(error)
    return False


@measure(
    "C",
    tried=Figure("checkpoints with one file damaged", "", at_least=2 * (FLIPS + 2)),
    accepted=Figure("of them loaded, or refused without naming the file", "", at_most=0),
    unsealed=Figure(
        "files of shipped checkpoints without a seal, whose turned bits nobody notices", "", at_most=0
    ),
)
def damaged_checkpoints() -> Result:
    """`vflow.load` of a trained tiny model whose config.json or model.safetensors is cut short, has a bit
    turned (16 places each), or is removed. README.md is text for people and is not read."""
    tried = accepted = 0
    with workplace() as (preset, folder):
        quiet(preset, folder / "run", max_steps=1)
        whole, copy = folder / "run" / "last" / "model", folder / "damaged"
        vflow.load(whole)
        damages: list[Callable[[Path], None]] = [truncate, Path.unlink]
        damages += [partial(turn_a_bit, seed=seed) for seed in range(FLIPS)]
        for name in ("config.json", "model.safetensors"):
            for damage in damages:
                shutil.copytree(whole, copy)
                damage(copy / name)
                tried += 1
                named = copy if damage is Path.unlink else copy / name
                accepted += not refused(lambda: vflow.load(copy), named)
                shutil.rmtree(copy)
    files = [
        path for name in find_checkpoints() for path in sorted(checkpoint_folder(name).glob("*.safetensors"))
    ]
    unsealed = [f"{path.parent.name}/{path.name}" for path in files if TENSORS not in verify_tensors(path)]
    values = {"tried": tried, "accepted": accepted, "unsealed": len(unsealed)}
    return Result(values, note=f"without a seal: {', '.join(unsealed) or 'none'}")
