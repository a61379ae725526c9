"""Base of all configurations: validation, one-line errors, YAML."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vflow.errors import ConfigError


class Config(BaseModel):
    """Base of all configurations: immutable, unknown keys and numbers that are not finite refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=Config)
TAGS = (
    "videoflow", "lattice_videoflow", "frame_conditioned_videoflow", "reference_videoflow", "digits",
    "colorizer", "super_resolution", "segmentation", "nowcast", "density", "photo_codec", "clip_codec",
    "integer_flow", "pixelcnn",
    "motion", "frame_predictor",
)  # fmt: skip
"""Kinds of models and of references, which pydantic adds to the path of an entry."""
Decay = Annotated[float, Field(ge=0, lt=1)]
ValidationBits = Annotated[
    tuple[float, float] | None,
    Field(description="1% and 99% quantile of validation bits/dim; far outside is unlike the data"),
]


def parse(kind: type[C], data: Any, source: str, known: str = "") -> C:
    """Validate ``data`` as a ``kind``; errors become one ConfigError line naming ``source`` and each key.

    ``known`` tells, after an unknown key, where to find the known ones.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{source}: {'; '.join(_explain(e, known) for e in error.errors())}") from error


def _explain(error: Any, known: str) -> str:
    *path, last = error["loc"] or ("",)
    own = error["type"] == "extra_forbidden"  # a key that someone wrote, whatever it is called
    key = ".".join(str(part) for part in (*path, last) if part not in TAGS or (own and part is last))
    if error["type"] == "union_tag_invalid":
        kinds = error["ctx"]["expected_tags"].replace("'", "")
        return f"{key}.kind: {error['ctx']['tag']!r} is unknown; use {kinds}"
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'" + (f" ({known})" if known else "")
    message: str = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def to_yaml(config: Config) -> str:
    """YAML text that ``load_preset`` reads back to an equal configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
