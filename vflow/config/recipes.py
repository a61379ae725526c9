"""Recipes: the stages that make a checkpoint from scratch, as a YAML file each."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from vflow.config.base import Config, parse
from vflow.config.presets import read_yaml

StageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]


class Stage(Config):
    """One training run of a recipe. It starts from the weights of the stage before, if there is one."""

    name: StageName
    """Folder of its run: NUMBER-NAME."""
    config: str
    """Preset."""
    set: dict[str, Any] = Field(default={})
    """Entries of the preset to change, by dotted key."""
    data: str | None = None
    """Folder below --data; none: --data itself."""
    backbone: str | None = None
    """File below --data of the backbone's weights (scripts/convert_backbone.py)."""
    init_from: str | None = None
    """Shipped checkpoint to start from; none: the stage before, the first from scratch."""


class Export(Config):
    """Last step of a recipe: the last stage's averaged weights as a checkpoint that can ship."""

    half: bool = False
    """True if learned weights are rounded to float16."""
    int8: tuple[str, ...] = ()
    """Parts of the model whose kernels are rounded to 8 bits, a scale per output channel."""
    set: dict[str, Any] = Field(default={})
    """Entries of the model's configuration to change."""


class Recipe(Config):
    """Stages in order, then the export."""

    note: str = ""
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=20)
    export: Export = Export()

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError("stages: names must differ")
        return self


def load_recipe(name_or_file: str) -> Recipe:
    """Recipe by name, or from a YAML file.

    Raises:
        ConfigError: unknown name or key, or values out of range; the message names key and fix.
    """
    return parse(Recipe, read_yaml(name_or_file, "recipes", "stages and export"), name_or_file)
