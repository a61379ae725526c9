"""Files that lie beside a checkpoint's weights and belong to them: what was worked out once, from data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vflow.checkpoint import checkpoint_folder, checkpoint_hash
from vflow.data.io import atomic_write
from vflow.errors import CheckpointError
from vflow.seal import check_digest, with_digest


@dataclass(frozen=True)
class Beside:
    """A kind of such files: what they are called, and the script, with its arguments, that makes them."""

    file: str
    script: str

    def save(self, folder: str | Path, tensors: Mapping[str, Tensor], about: str) -> Path:
        """Write it into the checkpoint in ``folder``, sealed and bound to its weights; returns its path."""
        path = Path(folder) / self.file
        metadata = {"checkpoint": checkpoint_hash(folder), "about": about}
        with atomic_write(path) as temporary:
            temporary.write_bytes(with_digest(tensors, metadata))
        return path

    def find(self, name: str | Path, **where: Any) -> Path | None:
        """That of the checkpoint ``name``, or None if it has none.

        Args:
            where: as for ``vflow.checkpoint.checkpoint_folder``; hub ids are found unless it says otherwise.

        Raises:
            CheckpointError: no such checkpoint.
        """
        path = checkpoint_folder(name, **{"allow_hub": True, **where}) / self.file
        return path if path.is_file() else None

    def about(self, path: Path) -> str:
        """What it says of its making.

        Raises:
            CheckpointError: the file is damaged, or was made with other weights than lie beside it.
        """
        metadata = check_digest(path)
        if metadata.get("checkpoint") != checkpoint_hash(path.parent):
            raise CheckpointError(f"{path}: made with other weights; {self.again(path)}")
        return metadata.get("about", "")

    def again(self, path: Path) -> str:
        """The remedy for a file that does not fit."""
        return f"delete it, or run: python {self.script} --checkpoint {path.parent}"
