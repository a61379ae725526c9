"""Checkpoints on offer and the models in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vflow import checkpoint
from vflow.config import ModelConfig
from vflow.errors import CheckpointError, VflowError

KEEP = 4  # models in memory at once
FIRST = ("shapes", "digits", "colorizer")  # those that ship and are quick to try come first
RECIPES = {"videoflow": "shapes-small", "digits": "digits", "colorizer": "colorizer"}
"""Kind of model → the preset that trains the smallest one."""


class ModelStore:
    """Shipped checkpoints and those in ``folders``, by name; models are loaded on first use.

    Raises:
        CheckpointError: one of ``folders`` holds no checkpoint.
    """

    def __init__(self, folders: Sequence[str | Path] = (), device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._folders = checkpoint.find_checkpoints([Path(folder).expanduser() for folder in folders])

    def names(self, kind: str | None = None) -> list[str]:
        """Names to offer: all, or those of one kind (videoflow, digits, colorizer).

        One whose configuration cannot be read counts as a videoflow, so that a person can learn why.
        """
        fitting = [name for name in self._folders if kind in (None, self._kind(name))]
        rank = {name: place for place, name in enumerate(FIRST)}
        return sorted(fitting, key=lambda name: (rank.get(name, len(rank)), name))

    def folders(self) -> list[Path]:
        """Where the checkpoints on offer lie."""
        return list(self._folders.values())

    def default(self, kind: str | None = None) -> str | None:
        """The checkpoint selected at first: one that can be read, if any; None when there are none."""
        names = self.names(kind)
        return next((name for name in names if self.config(name)), names[0] if names else None)

    def folder(self, name: str | None, kind: str | None = None) -> Path:
        """Where the checkpoint lies.

        Raises:
            CheckpointError: not on offer (a hub id is never taken from a web form), or of another kind.
        """
        names = self.names(kind)
        if not names:
            recipe = RECIPES[kind or "videoflow"]
            raise CheckpointError(f"there is no checkpoint yet; train one: vflow train --config {recipe}")
        if name is None:
            raise CheckpointError(f"no checkpoint chosen; choose one of: {', '.join(names)}")
        if name not in names:
            what = "a model of another kind" if name in self._folders else "no such checkpoint here"
            raise CheckpointError(f"{name}: {what}; choose one of: {', '.join(names)}")
        return self._folders[name]

    def config(self, name: str | None) -> ModelConfig | None:
        """Its configuration, or None when it cannot be read (``load`` then says why)."""
        if name is None or name not in self._folders:
            return None
        try:
            return checkpoint.read_config(self._folders[name])
        except VflowError:
            return None

    def load(self, name: str | None, kind: str | None = None) -> Any:
        """The model, in evaluation mode; the same object until others push it out.

        Raises:
            CheckpointError: missing, damaged, of another kind, or not on offer.
        """
        folder = self.folder(name, kind)
        key = str(folder)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = checkpoint.load(folder, device=self.device, allow_hub=False)
            self._loaded.move_to_end(key)
            while len(self._loaded) > KEEP:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def _kind(self, name: str) -> str:
        config = self.config(name)
        return "videoflow" if config is None else config.family

    def warm(self) -> None:
        """Load the first tab's model in the background, so that the first prediction does not wait for it."""
        name = self.default("videoflow")
        if self.config(name):
            threading.Thread(target=self._warm, args=(name,), daemon=True).start()

    def _warm(self, name: str) -> None:
        try:
            self.load(name)
        except VflowError:
            return  # the same error is shown to whoever asks for this checkpoint
