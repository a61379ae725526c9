"""Checkpoints on offer, and the models in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from vflow import catalog, checkpoint, registry
from vflow.config import ModelConfig
from vflow.errors import CheckpointError, VflowError

TAUGHT = "taught.zip"
"""Name of the file that a taught model is downloaded as."""
MAX_LOADED = 4  # models in memory at once
FIRST = ("shapes", "digits", "colorizer", "enlarge")  # those that ship and are quick to try come first


def smallest_preset(family: str = "videoflow", *others: str) -> str:
    """The preset that trains the smallest model of a family."""
    return registry.families()[family].preset


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
        self._private: dict[str, Path] = {}

    def add_private(self, name: str, folder: Path) -> None:
        """Take a model that only those can use who know its ``name``, which nobody can guess."""
        self._private[name] = folder

    def names(self, *families: str) -> list[str]:
        """Names to offer: those of the ``families`` (videoflow, nowcast, digits, …), or all.

        One whose configuration cannot be read counts as a videoflow, so that a person can learn why.
        """
        fitting = [name for name in self._folders if not families or self.family(name) in families]
        rank = {name: place for place, name in enumerate(FIRST)}
        return sorted(fitting, key=lambda name: (rank.get(name, len(rank)), name))

    def folders(self) -> list[Path]:
        """Folders of the checkpoints on offer."""
        return list(self._folders.values())

    def default(self, *families: str) -> str | None:
        """The checkpoint selected at first: one that can be read, if any; None when there are none."""
        names = self.names(*families)
        return next((name for name in names if self.config(name)), names[0] if names else None)

    def folder(self, name: str | None, *families: str) -> Path:
        """Folder of a checkpoint.

        Raises:
            CheckpointError: not on offer (a hub id is never taken from a web form), or of another family.
        """
        if name in list(self._private) and (not families or self.family(name) in families):
            return self._private[str(name)]
        names = self.names(*families)
        if not names:
            raise CheckpointError(
                f"there is no checkpoint yet; train one: vflow train --config {smallest_preset(*families)}"
            )
        if name is None:
            raise CheckpointError(f"no checkpoint chosen; choose one of: {', '.join(names)}")
        if name not in names:
            if hint := catalog.superseded(str(name)):
                raise CheckpointError(hint)
            what = "a model of another kind" if name in list(self._folders) else "no such checkpoint here"
            raise CheckpointError(f"{name}: {what}; choose one of: {', '.join(names)}")
        return self._folders[name]

    def config(self, name: str | None) -> ModelConfig | None:
        """Its configuration, or None when it cannot be read (``load`` then says why)."""
        known = self._folders | self._private
        if name not in list(known):  # of a program it may be anything, hashable or not
            return None
        try:
            return checkpoint.read_config(known[str(name)])
        except VflowError:
            return None

    def load(self, name: str | None, *families: str) -> Any:
        """The model, in evaluation mode; the same object until others push it out.

        Raises:
            CheckpointError: missing, damaged, of another family, or not on offer.
        """
        folder = self.folder(name, *families)
        key = str(folder)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = checkpoint.load(folder, device=self.device, allow_hub=False)
            self._loaded.move_to_end(key)
            while len(self._loaded) > MAX_LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def family(self, name: str | None) -> str:
        """Family of the checkpoint's model; videoflow where its configuration cannot be read."""
        config = self.config(name)
        return "videoflow" if config is None else str(config.family)

    def suggested_temperature(self, name: str | None) -> float | tuple[float, ...]:
        """The temperature that the checkpoint suggests for samples: one, or one per level."""
        config = self.config(name)
        return 1.0 if config is None else config.temperature

    def ships(self, name: str) -> bool:
        """True for those that ship, and not for a model of one's own under such a name."""
        return name in self._folders and checkpoint.find_checkpoints().get(name) == self._folders[name]

    def record(self, name: str) -> dict[str, Any]:
        """The model as settings.json names it, so that the command line finds it again, and its device."""
        folder = self.folder(name)
        if name in self._private:  # where its owner keeps the download
            where = {"checkpoint": TAUGHT, "device": self.device.type}
            return where | {"checkpoint_hash": checkpoint.checkpoint_hash(folder)}
        return {
            "checkpoint": name if checkpoint.find_checkpoints().get(name) == folder else str(folder),
            "checkpoint_hash": checkpoint.checkpoint_hash(folder),
            "device": self.device.type,
        }

    def preload(self, then: Callable[[str], None]) -> None:
        """Load the first tab's model in the background, so that the first prediction does not wait for it.

        ``then`` is called with its name.
        """
        name = self.default("videoflow")
        if name is not None and self.config(name):
            threading.Thread(target=self._preload, args=(name, then), daemon=True).start()

    def _preload(self, name: str, then: Callable[[str], None]) -> None:
        try:
            self.load(name)
            then(name)
        except VflowError:
            return  # the same error is shown to whoever asks for this checkpoint
