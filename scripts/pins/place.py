"""Places that collectors work in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Folders of a collector, whose working directory is an empty one of its own.

    Attributes:
        tree: the tree under test.
        made: folder for what later trees shall read: runs, settings.
        base: ``made`` of BASE; of BASE itself, its own.
    """

    tree: Path
    made: Path
    base: Path

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints that ship."""
        return sorted(path.parent.name for path in (self.tree / "checkpoints").glob("*/config.json"))
