"""Commands of the tasks in the registry, made from their settings."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast, get_origin

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
    """Flags of a task's command; ``command_class`` adds those of its settings."""

    family: ClassVar[registry.Family]
    kind: ClassVar[Any]

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
    fields: list[Any] = []
    if about.input:
        fields.append(("input", Annotated[Inputs, tyro.conf.arg(help=about.input)], field(default=())))
    for name, each in kind.model_fields.items():
        if (shown := Shown.of(each)).flag:
            fields.append((name, _flag(name, each, shown), field(default=None)))
    own = {
        "__doc__": about.help,
        "__module__": __name__,
        "family": family,
        "kind": kind,
        "unit": about.unit,
        "families": (family.name,),
        "usual": about.usual,
    }
    name = about.name.title()
    return make_dataclass(name, fields, bases=(*bases, TaskFlags), frozen=True, kw_only=True, namespace=own)


def _flag(name: str, each: FieldInfo, shown: Any) -> Any:
    """Type of a flag that may be left out, with its help."""
    kind, default = cast(Any, each.annotation), each.default
    text = f"{each.description} ({default})." if name != "temperature" else f"{each.description}."
    options: dict[str, Any] = {"help": text, "help_behavior_hint": ""}
    if name == "temperature":
        kind, options["metavar"] = str, "F"
    elif get_origin(kind) is not Literal:
        options["metavar"] = shown.metavar or {int: "N", float: "F"}.get(kind, "NAME")
    return Annotated[kind | None, tyro.conf.arg(constructor=kind, **options)]
