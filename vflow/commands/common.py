"""Flags of all commands, and their use."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vflow.errors import ConfigError, printable
from vflow.flags import Whole

if TYPE_CHECKING:
    import torch

    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.selection import Purpose


@dataclass(frozen=True, kw_only=True)
class Common:
    """Flags of all commands that run a model. ``auto`` and None mean: not given."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes the fastest available."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the conditioner networks; auto is float32."""
    threads: Whole = None
    """CPU threads; torch's choice when not given."""
    seed: Whole = None
    """Random seed (0)."""
    debug: bool = False
    """Show tracebacks."""

    def __post_init__(self) -> None:
        from vflow.config.ranges import check_seed, check_threads

        if self.seed is not None:
            check_seed(self.seed, "--seed")
        if self.threads is not None:
            check_threads(self.threads)


CommonFlags = Annotated[Common, tyro.conf.arg(name="")]
NONE_GIVEN = Common()


def note(text: str) -> None:
    """A remark for people, in a line on stderr."""
    print(f"note: {printable(text)}", file=sys.stderr)


def check_checkpoint(checkpoint: str | None, families: Sequence[str], does: str | None = None) -> str:
    """The named checkpoint, refused if it does something else; torch, whose import takes long, is not needed.

    Args:
        does: what models of ``families`` do, for the error; that of the first when not given.

    Raises:
        ConfigError: no checkpoint named. CheckpointError: no such one, or of another family.
    """
    from vflow import catalog

    if checkpoint is None:
        names = ", ".join(catalog.shipped(families)) or "none that suits"
        raise ConfigError(f"--checkpoint: give a folder, a hub id, or a name that ships ({names})")
    catalog.check_family(checkpoint, families, does)
    return checkpoint


def chosen_checkpoints(
    items: Sequence[Item], purpose: Purpose, families: Sequence[str]
) -> dict[str, list[Item]]:
    """Checkpoint that ships → the clips that it suits. What cannot be read goes with the first.

    Raises:
        InputError: no clip can be read. CheckpointError: no model knows such clips.
    """
    from vflow import catalog
    from vflow.data import media
    from vflow.errors import InputError
    from vflow.pipelines.selection import choose

    names = catalog.shipped(families)
    found: dict[str, list[Item]] = {}
    unreadable: list[tuple[Item, InputError]] = []
    for item in items:
        try:
            with item.fetched():
                frames = media.read_frames(item.paths).frames
            choice = choose(frames, purpose, names)
            found.setdefault(choice.name, []).append(item)
        except InputError as error:
            unreadable.append((item, error))
    if not found:
        raise unreadable[0][1]
    for name, own in found.items():
        note(f"{name} is chosen for {', '.join(item.name for item in own[:3])}{' …' if own[3:] else ''}")
    next(iter(found.values())).extend(item for item, _ in unreadable)
    return found


def open_model(checkpoint: str, device: str) -> tuple[Any, Path, torch.device]:
    """Model, its folder and its device, for a folder, a shipped name or a hub id.

    Raises:
        ConfigError: no such device. CheckpointError: it cannot be loaded.
    """
    from vflow import checkpoint as checkpoints
    from vflow.devices import choose_device

    where = choose_device(device)
    folder = checkpoints.checkpoint_folder(checkpoint, allow_hub=True)
    return checkpoints.load(folder, device=where), folder, where


def parse_temperature(text: str) -> float | tuple[float, ...]:
    """``"0.7"`` → 0.7; ``"0.7,0.8,1"`` → one per level, fine to coarse.

    Raises:
        ConfigError: not numbers.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(0 <= value <= 2 for value in values):
        raise ConfigError(f"--temperature {text}: give 0 to 2, or one number per level, e.g. 0.7,0.8,1")
    return values[0] if len(values) == 1 else values
