"""Commands of the tasks in the registry, made from their settings."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

import tyro

from vflow import registry
from vflow.commands.common import note
from vflow.commands.draw import RunFlags, given_flags, resolve
from vflow.errors import ConfigError
from vflow.flags import Inputs

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.tasks import RunnerTask


@dataclass(frozen=True, kw_only=True)
class TaskFlags(RunFlags):
    """Flags of a task's command; ``command_class`` adds those of its settings.

    ``several`` of them take many values each, and may be repeated.
    """

    family: ClassVar[registry.Family]
    kind: ClassVar[Any]
    several: ClassVar[tuple[str, ...]]

    def check_settings(self) -> None:
        self.kind.of(**given_flags(self, self.kind))

    def find(self) -> list[Item]:
        """Items of the inputs.

        Raises:
            ConfigError: no inputs. InputError: none of them can be used.
        """
        from vflow.pipelines.batch.inputs import existing, pictures

        return existing(pictures(getattr(self, "input", ())))

    def open(self) -> tuple[list[Item], RunnerTask]:
        items = self.find() if self.family.command and self.family.command.input else []
        from vflow.pipelines.batch.records import record_class
        from vflow.pipelines.batch.tasks import RunnerTask
        from vflow.pipelines.common import family_config

        record, model = resolve(
            self, record_class(self.kind), lambda model: family_config(model, self.family.name)
        )
        task = RunnerTask(model, record, note, runner=registry.resolve(self.family.task))
        return items or task.items(), task


def command_class(family: registry.Family, *bases: type) -> type[TaskFlags]:
    """Class of the flags of a family's command; ``bases`` add further ones."""
    from vflow.config.settings import Shown

    about, kind = family.command, registry.resolve(family.settings)
    if about is None:
        raise ConfigError(f"{family.name}: has no command")
    fields, several = list[Any](), list[str]()
    if about.input:
        fields.append(("input", Annotated[Inputs, tyro.conf.arg(help=about.input)], field(default=())))
    for name, each in kind.model_fields.items():
        if (shown := Shown.of(each)).flag:
            many = isinstance(each.default, tuple)
            fields.append((name, _flag(name, each, shown), field(default=() if many else None)))
            several += [f"--{shown.flag}"] if many else []
    own = {
        "__doc__": about.help,
        "__module__": __name__,
        "family": family,
        "kind": kind,
        "several": tuple(several),
        "unit": about.unit,
        "families": (family.name,),
        "usual": about.usual,
    }
    name = about.name.title()
    return make_dataclass(name, fields, bases=(*bases, TaskFlags), frozen=True, kw_only=True, namespace=own)


def _flag(name: str, each: FieldInfo, shown: Any) -> Any:
    """Type of a flag that may be left out, with its help."""
    from vflow.config.settings import description

    kind: Any = each.annotation
    plain = name == "temperature" or each.default in (None, ())
    usual = "" if plain else f" ({str(each.default).removesuffix('.0')})"
    options: dict[str, Any] = {"help": f"{description(each)}{usual}.", "help_behavior_hint": ""}
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
