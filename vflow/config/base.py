"""Base of all configurations: validation, one-line errors, YAML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vflow.errors import ConfigError


class Config(BaseModel):
    """Base of all configurations: immutable, unknown keys and numbers that are not finite refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=Config)
MAX_SEED = 2**63 - 1
"""Largest seed: those beyond do not fit the generators."""
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
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
        raise ConfigError(
            f"{source}: {'; '.join(_explain(e, data, known) for e in error.errors())}"
        ) from error


def _explain(error: Any, data: Any, known: str) -> str:
    key = ".".join(_keys(error["loc"], data, missing=error["type"] == "missing"))
    if error["type"] == "union_tag_invalid":
        kinds = error["ctx"]["expected_tags"].replace("'", "")
        return f"{key}.kind: {error['ctx']['tag']!r} is unknown; use {kinds}"
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'" + (f" ({known})" if known else "")
    message: str = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _keys(path: Sequence[str | int], data: Any, *, missing: bool) -> Iterator[str]:
    """Keys of ``data`` on the path of an error, without the kinds that pydantic puts between them.

    Args:
        missing: the last one is of an entry that ``data`` lacks.
    """
    entered = True  # a value whose kind may come next
    for number, part in enumerate(path, start=1):
        if isinstance(data, dict):
            absent = part not in data and not (missing and number == len(path))
            if absent or (entered and part == data.get("kind")):
                entered = False
                continue
            data = data.get(part)
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            data = None
        entered = True
        yield str(part)


def check_seed(seed: int, name: str = "seed") -> None:
    """Refuse a seed out of range; ``name`` is what the message calls it.

    Raises:
        ConfigError: says the range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"{name} must lie in 0..2^63 − 1, got {seed}")


def to_yaml(config: Config) -> str:
    """YAML text that ``load_preset`` reads back to an equal configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
