"""What walks a checkpoint can do: its kind of model, levels, and stored directions."""

from __future__ import annotations

from dataclasses import dataclass

from vflow.errors import VflowError

from . import walk_engine, walk_kinds
from .common import Shared, one_line


@dataclass(frozen=True)
class Offer:
    """What a checkpoint can do: its kind of model, walks, levels, and shares of variance by level."""

    model: str
    walks: tuple[walk_kinds.Kind, ...]
    levels: list[tuple[str, str]]
    shares: dict[str, tuple[float, ...]]
    note: str


def offer(shared: Shared, name: str | None) -> Offer:
    """Look at a checkpoint.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    model = shared.models.load(name)
    walks, note = walk_kinds.kinds(model.config.family), ""
    try:
        directions = walk_engine.stored(shared, name)
    except VflowError as error:
        directions, note = None, one_line(shared, error)
    shares = {key: found.explained for key, found in directions.levels.items()} if directions else {}
    if not shares:
        walks = walks[1:]
        note = note or (
            "No principal directions are stored with this model, so there is no walk along them. "
            f"To make them: python scripts/directions.py --config PRESET --checkpoint {name}"
        )
    return Offer(model.config.family, walks, walk_kinds.levels(model.latent_shapes), shares, note)


def model_kind(shared: Shared, name: str | None) -> str:
    """Kind of a checkpoint's model: videoflow, digits or colorizer; videoflow where it cannot be read."""
    config = shared.models.config(name)
    return "videoflow" if config is None else str(config.family)
