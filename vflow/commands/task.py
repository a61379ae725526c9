"""Commands of the tasks in the registry, made from their settings."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import tyro

from vflow import registry
from vflow.commands.draw import TaskFlags
from vflow.errors import ConfigError
from vflow.flags import Inputs

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def command_class(
    family: registry.Family, *bases: type[TaskFlags], further: registry.Command | None = None
) -> type[TaskFlags]:
    """Class of the flags of a family's command, or of a further one; ``bases`` add further ones."""
    from vflow.config.settings import Shown

    about = further or family.command
    if about is None:
        raise ConfigError(f"{family.name}: has no command")
    kind = registry.resolve(about.settings or family.settings)
    fields, several = list[Any](), list[str]()
    bases = (*bases, *([registry.resolve(about.flags)] if about.flags else []), TaskFlags)
    if about.input:
        told = f"{about.input} {bases[0].more_inputs}".strip()
        fields.append(("input", Annotated[Inputs, tyro.conf.arg(help=told)], field(default=())))
    for name, each in kind.model_fields.items():
        if (shown := Shown.of(each)).flag:
            many = isinstance(each.default, tuple)
            fields.append((name, _flag(name, each, shown), field(default=() if many else None)))
            several += [f"--{shown.flag}"] if many else []
    own = {
        "__doc__": f"{about.summary[0].upper()}{about.summary[1:]}." if further else about.help,
        "__module__": __name__,
        "family": family,
        "about": about,
        "kind": kind,
        "several": tuple(several),
        "unused": tuple(flag for base in bases for flag in getattr(base, "unused", ())),
    }
    name = about.name.title()
    return make_dataclass(name, fields, bases=bases, frozen=True, kw_only=True, namespace=own)


def _flag(name: str, each: FieldInfo, shown: Any) -> Any:
    """Type of a flag that may be left out, with its help."""
    from vflow.config.settings import description

    kind: Any = each.annotation
    plain = name == "temperature" or each.default in (None, ())
    told = description(each)
    usual = "" if plain or told.endswith(")") else f" ({str(each.default).removesuffix('.0')})"
    options: dict[str, Any] = {"help": f"{told}{usual}.", "help_behavior_hint": ""}
    if isinstance(shown.flag, str):
        options["name"] = shown.flag
    if name == "temperature":
        kind, options["metavar"] = str, "F"
    elif get_origin(kind) is tuple:
        return Annotated[tuple[str, ...], tyro.conf.arg(metavar=shown.metavar, **options)]
    elif NoneType in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is not Literal:
        options.setdefault("metavar", shown.metavar or {int: "N", float: "F"}.get(kind, "NAME"))
    return Annotated[kind | None, tyro.conf.arg(constructor=kind, **options)]
