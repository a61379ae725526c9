"""Types of command-line flags that may be left out; their help shows no default. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

Whole = Annotated[int | None, tyro.conf.arg(metavar="N", constructor=int, help_behavior_hint="")]
Number = Annotated[float | None, tyro.conf.arg(metavar="F", constructor=float, help_behavior_hint="")]
Text = Annotated[str | None, tyro.conf.arg(metavar="NAME", constructor=str, help_behavior_hint="")]
Inputs = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH…", help_behavior_hint="")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE", constructor=Path, help_behavior_hint="")]
