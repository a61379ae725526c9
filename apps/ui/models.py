"""Checkpoints on offer and the models in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vflow import checkpoint
from vflow.config import VideoFlowConfig
from vflow.errors import CheckpointError, VflowError

KEEP = 2  # models in memory at once
FIRST = "shapes"  # the quickest to try is selected at first


class ModelStore:
    """Shipped checkpoints and those in ``folders``, by name; models are loaded on first use.

    Raises:
        CheckpointError: one of ``folders`` holds no checkpoint.
    """

    def __init__(self, folders: Sequence[str | Path] = (), device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._folders = checkpoint.available([Path(folder).expanduser() for folder in folders])

    def names(self) -> list[str]:
        """Names to offer."""
        return sorted(self._folders, key=lambda name: (name != FIRST, name))

    def folders(self) -> list[Path]:
        """Where the checkpoints on offer lie."""
        return list(self._folders.values())

    def default(self) -> str | None:
        """The checkpoint selected at first: one that can be read, if any; None when there are none."""
        names = self.names()
        return next((name for name in names if self.config(name)), names[0] if names else None)

    def folder(self, name: str | None) -> Path:
        """Where the checkpoint lies.

        Raises:
            CheckpointError: no such name on offer (a hub id is never taken from a web form).
        """
        if not self._folders:
            raise CheckpointError("there is no checkpoint yet; train one: vflow train --config shapes-small")
        if name is None:
            raise CheckpointError(f"no checkpoint chosen; choose one of: {', '.join(self.names())}")
        if name not in self._folders:
            raise CheckpointError(
                f"{name}: no such checkpoint here; choose one of: {', '.join(self.names())}"
            )
        return self._folders[name]

    def config(self, name: str | None) -> VideoFlowConfig | None:
        """Its configuration, or None when it cannot be read (``load`` then says why)."""
        if name is None or name not in self._folders:
            return None
        try:
            return checkpoint.read_config(self._folders[name])
        except VflowError:
            return None

    def load(self, name: str | None) -> Any:
        """The model, in evaluation mode; the same object until others push it out.

        Raises:
            CheckpointError: missing, damaged, or not on offer.
        """
        folder = self.folder(name)
        key = str(folder)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = checkpoint.load(folder, device=self._device, allow_hub=False)
            self._loaded.move_to_end(key)
            while len(self._loaded) > KEEP:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def warm(self) -> None:
        """Load the default model in the background, so that the first prediction does not wait for it."""
        name = self.default()
        if self.config(name):
            threading.Thread(target=self._warm, args=(name,), daemon=True).start()

    def _warm(self, name: str) -> None:
        try:
            self.load(name)
        except VflowError:
            return  # the same error is shown to whoever asks for this checkpoint
