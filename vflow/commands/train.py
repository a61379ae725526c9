"""``vflow train``: one run from a preset, or all stages of a recipe."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from vflow.errors import ConfigError, require
from vflow.training.args import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Train(TrainOptions):
    """Train a model from a preset or a recipe; the run goes to --output and can be resumed at any time."""

    def run(self) -> int:
        """Exit code of the loop."""
        if self.config is None and self.recipe is None:
            raise ConfigError("name what to train: --config PRESET, or --recipe NAME")
        if self.config is not None and self.recipe is not None:
            raise ConfigError("--config and --recipe: give one; a recipe names its own presets")
        require("accelerate", "training", "train")
        if os.environ.get("RANK", "0") == "0" and "torch" not in sys.modules:
            print("loading PyTorch", file=sys.stderr, flush=True)  # seconds, or on a busy machine a minute
        if self.recipe is not None:
            from vflow.training.recipe import train_recipe

            return train_recipe(self)
        from vflow.training.loop import train

        return train(self)
