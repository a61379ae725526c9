"""``vflow config``: a preset as YAML."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from vflow.commands.common import NONE_GIVEN, CommonFlags, Text
from vflow.config import load_preset, preset_names, to_yaml
from vflow.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PrintConfig:
    """Print a preset as YAML, to be changed and given to 'vflow train --config FILE'."""

    name: tyro.conf.Positional[Text] = None
    """Name of a preset."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0."""
        if self.name is None:
            raise ConfigError(f"name a preset: {', '.join(preset_names())}")
        print(to_yaml(load_preset(self.name)), end="")
        return 0
