"""``vflow config``: a preset as YAML."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

import tyro

from vflow.config import load_preset, preset_names, to_yaml
from vflow.errors import ConfigError
from vflow.flags import Text

LAUNCHERS = "accelerate"


@dataclass(frozen=True, kw_only=True)
class PrintConfig:
    """Print a preset as YAML, to be changed and given to 'vflow train --config FILE'."""

    name: tyro.conf.Positional[Text] = None
    """Name of a preset; or accelerate/NAME, for 'accelerate launch --config_file'."""
    debug: bool = False
    """Show tracebacks."""

    unused: ClassVar[tuple[str, ...]] = ("--device", "--dtype", "--threads", "--seed")

    def run(self) -> int:
        """Returns 0."""
        if self.name is None:
            raise ConfigError(f"name a preset: {', '.join(preset_names())}")
        folder, _, launcher = self.name.partition("/")
        text = launcher_config(launcher) if folder == LAUNCHERS else to_yaml(load_preset(self.name))
        print(text, end="")
        return 0


def launcher_config(name: str) -> str:
    """A file for ``accelerate launch --config_file``, with the comments that say how to use it.

    Raises:
        ConfigError: there is none of that name.
    """
    folder = resources.files("vflow") / "presets" / LAUNCHERS
    files = {file.name.removesuffix(".yaml"): file for file in folder.iterdir()}
    if name not in files:
        known = ", ".join(f"{LAUNCHERS}/{each}" for each in sorted(files))
        raise ConfigError(f"{LAUNCHERS}/{name}: no such launcher config; there are {known}")
    return files[name].read_text(encoding="utf-8")
