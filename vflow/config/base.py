"""Base of all configurations: validation, one-line errors, YAML."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vflow.config.ranges import MAX_SEED
from vflow.errors import ConfigError


class Config(BaseModel):
    """Base of all configurations: immutable, unknown keys and numbers that are not finite refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=Config)
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Decay = Annotated[float, Field(ge=0, lt=1)]
ValidationBits = Annotated[
    tuple[float, float] | None,
    Field(description="1% and 99% quantile of validation bits/dim; far outside is unlike the data"),
]


def parse(
    kind: type[C], data: Any, source: str, known: str = "", settings: Mapping[str, str] | None = None
) -> C:
    """Validate ``data`` as a ``kind``; errors become one ConfigError line naming ``source`` and each key.

    Args:
        known: text for errors about an unknown key: where to find the known ones.
        settings: words that set entries of ``source`` anew, such as "--seed 3", by dotted key; those of wrong
            entries are named as well.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        faults = [(list(_keys(e["loc"], data, missing=e["type"] == "missing")), e) for e in error.errors()]
        unknown = [keys for keys, e in faults if e["type"] == "extra_forbidden"]
        siblings = _siblings(kind, data, unknown) if unknown else {}
        words = [
            text
            for key, text in (settings or {}).items()
            if any(_overlap(key.split("."), keys) for keys, _ in faults)
        ]
        where = f"{source} with {' '.join(dict.fromkeys(words))}" if words else source
        text = "; ".join(_explain(e, keys, known, siblings.get(tuple(keys), [])) for keys, e in faults)
        raise ConfigError(f"{where}: {text}") from error


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))


def _siblings(kind: type[Config], data: Any, unknown: list[list[str]]) -> dict[tuple[str, ...], list[str]]:
    """Known keys beside each unknown one; none where the rest is wrong as well."""
    rest = deepcopy(data)
    for keys in unknown:
        _inside(rest, keys[:-1]).pop(keys[-1], None)  # an alias in YAML may have gone before
    try:
        plain = kind.model_validate(rest).model_dump()
    except ValidationError:
        return {}
    return {tuple(keys): list(_inside(plain, keys[:-1])) for keys in unknown}


def _inside(data: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        data = data[key if isinstance(data, dict) else int(key)]
    return data


def _explain(error: Any, keys: list[str], known: str, siblings: list[str]) -> str:
    key = ".".join(keys)
    if error["type"] == "union_tag_invalid":
        kinds = error["ctx"]["expected_tags"].replace("'", "")
        return f"{key}.kind: {error['ctx']['tag']!r} is unknown; use {kinds}"
    if error["type"] == "extra_forbidden":
        if near := difflib.get_close_matches(keys[-1], siblings, 1):
            return f"unknown key '{key}'; did you mean '{'.'.join([*keys[:-1], near[0]])}'?"
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
        else:  # the type of a value
            continue
        entered = True
        yield str(part)


def to_yaml(config: Config) -> str:
    """YAML text that ``load_preset`` reads back to an equal configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
