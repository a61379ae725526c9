"""``vflow train``: train a model from a preset."""

from __future__ import annotations

from dataclasses import dataclass

from vflow.commands.common import require
from vflow.training.args import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Train(TrainOptions):
    """Train a model from a preset; the run goes to --output and can be resumed at any time."""

    def run(self) -> int:
        """Returns the loop's exit code."""
        require("accelerate", "training", "train")
        from vflow.training.loop import train

        return train(self)
