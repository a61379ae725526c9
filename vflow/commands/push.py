"""``vflow push``: publish a checkpoint on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vflow.errors import ConfigError
from vflow.flags import Text


@dataclass(frozen=True, kw_only=True)
class Push:
    """Upload config, weights and model card of a checkpoint; 'vflow.load("user/name")' gets them back."""

    checkpoint: Text = None
    """A folder, a training run (its last commit), or a shipped name."""
    repo: Text = None
    """user/name on the hub; made when it is not there."""
    private: bool = False
    """Only those with access see it."""
    debug: bool = False
    """Show tracebacks."""

    unused: ClassVar[tuple[str, ...]] = ("--device", "--dtype", "--threads", "--seed")

    def run(self) -> int:
        """Returns 0."""
        if self.checkpoint is None or self.repo is None:
            missing = "--checkpoint" if self.checkpoint is None else "--repo"
            raise ConfigError(f"{missing} must be given, e.g. --checkpoint runs/mine --repo ada/mine")
        from vflow.hub import push_to_hub

        print(push_to_hub(self.checkpoint, self.repo, private=self.private))
        return 0
