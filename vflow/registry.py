"""Registry of tasks: what each family of models does, and where its parts are; it imports none of them."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal, NamedTuple

from vflow.errors import ConfigError

GROUP = "vflow.tasks"
Home = Any
"""Where a part of a task is: ``module:name``, imported by its first use; or the part itself."""


class Kind(NamedTuple):
    """A kind of model: its configuration, its class, and its data sets where they are not its family's."""

    config: Home
    model: Home
    datasets: tuple[str, ...] = ()


class Card(NamedTuple):
    """Text of a family's model cards: hub tag, description, and a line of Python that uses the model."""

    tag: str
    description: str
    use: str


class Walk(NamedTuple):
    """Walks through a family's latents: adapter, and the input that they start from, in words."""

    adapter: Home
    start: str


class Command(NamedTuple):
    """A command, ``vflow NAME``, which ``vflow generate NAME``, a tab and an endpoint go with.

    ``vflow generate`` has one with a ``home`` only where that has a ``task``.

    Attributes:
        summary: a line of the list of commands. help: what it does, for its own help.
        unit: name of what its progress counts.
        input: the files that it takes, for help; empty: it takes none.
        usual: the checkpoint where none is named.
        endpoint: name of the endpoint, where it is another.
        item: an item of its files. flags: class of flags beside those of the settings.
        settings, task: class of the settings, and the task, where they are not its family's.
        home: class of the command line's, where it is not made from the settings.
        families: further ones whose models it takes.
    """

    name: str
    summary: str
    help: str
    unit: str
    input: str = ""
    usual: str | None = None
    endpoint: str = ""
    item: Literal["picture", "clip", "file", "coded"] = "picture"
    flags: Home = None
    settings: Home = None
    task: Home = None
    home: Home = None
    families: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Family:
    """Models that do the same for people; those of a family differ in their likelihood alone.

    Attributes:
        does: what they do, for errors.
        kinds: by the ``kind`` of their configurations.
        datasets: names of the data sets that they can be trained on.
        folder: the one of them that a folder is, where it is not the first.
        data: opens the training data of a configuration and a preset.
        grid: draws the sample grid of a run, of images.
        evaluate: figures of a model. tune: scores of temperatures.
        reads: settings of an evaluation that it reads, beside data, split and seed.
        preset: the preset that trains the smallest one.
        task: draws samples of an item: a ``Task`` of the runner, which goes with settings.
        settings: class of its settings, which needs no torch.
        command: name and face of its command. joins: the family whose command draws with its models, too.
        further: commands beside it, each with a ``home``.
        export: gives the ONNX graphs of a model (``vflow.pipelines.export.Parts``).
    """

    name: str
    does: str
    kinds: Mapping[str, Kind]
    card: Card
    datasets: tuple[str, ...] = ()
    folder: str = ""
    data: Home = None
    grid: Home = None
    evaluate: Home = None
    tune: Home = None
    reads: tuple[str, ...] = ()
    preset: str = ""
    walk: Walk | None = None
    task: Home = None
    settings: Home = None
    command: Command | None = None
    joins: str = ""
    further: tuple[Command, ...] = ()
    export: Home = None


def resolve(home: Home) -> Any:
    """The part that is at ``home``, imported if need be."""
    if not isinstance(home, str):
        return home
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


@dataclass
class _Registry:
    families: dict[str, Family] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)

    def add(self, family: Family) -> None:
        names, known = _names(family), set[str]().union(*map(_names, self.families.values()))
        if taken := sorted(names & known):
            raise ConfigError(f"task {taken[0]}: registered twice; uninstall one of the two")
        self.families[family.name] = family
        self.kinds |= family.kinds


def _names(family: Family) -> set[str]:
    """Names that a family takes: its own, those of its kinds, and those of its commands."""
    own = (family.command, *family.further)
    return {family.name, *family.kinds, *(command.name for command in own if command)}


@cache
def _registry() -> _Registry:
    """All that comes with vflow: the modules of ``vflow.tasks``, each of which has a ``FAMILY``."""
    found = _Registry()
    package = import_module("vflow.tasks")
    for module in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        found.add(import_module(f"vflow.tasks.{module}").FAMILY)
    return found


def register(family: Family) -> None:
    """Add a family.

    Raises:
        ConfigError: there is one of this name, with one of its kinds, or with its command.
    """
    _registry().add(family)


@cache
def load_plugins() -> None:
    """Add the families of other packages, which their entry points of the group ``vflow.tasks`` name.

    The command line and the app call it as they start. No checkpoint and no upload has a task imported.

    Raises:
        ConfigError: one cannot be imported, or is registered twice.
    """
    for point in entry_points(group=GROUP):
        try:
            family = point.load()
        except Exception as error:
            raise ConfigError(f"task {point.name} of {point.value}: cannot be imported ({error})") from error
        register(family)


def families() -> Mapping[str, Family]:
    """All families, by name."""
    return _registry().families


def kinds() -> Mapping[str, Kind]:
    """All kinds of models, by name."""
    return _registry().kinds


def config_class(kind: str) -> Any:
    """Class of the configurations of a ``kind``.

    Raises:
        KeyError: there is no such kind.
    """
    return resolve(kinds()[kind].config)


def suitable_datasets(name: str) -> tuple[str, ...]:
    """Names of the data sets for models of a family, or of a kind that has its own."""
    kind = kinds().get(name)
    return kind.datasets if kind and kind.datasets else families()[name].datasets


def folder_dataset(name: str) -> str:
    """Name of the data set that a folder is, for a family or a kind as above."""
    family = families().get(name)
    return (family.folder if family else "") or suitable_datasets(name)[0]


def family_of(kind: str) -> str:
    """Name of the family with a ``kind`` of models.

    Raises:
        KeyError: there is no such kind.
    """
    found = {kind: name for name, family in families().items() for kind in family.kinds}
    return found[kind]


def commands() -> dict[str, Family]:
    """Families that have a command made from their settings, by its name."""
    return {family.command.name: family for family in families().values() if family.command}


def further() -> dict[str, Command]:
    """Commands with a class of their own, by name."""
    return {command.name: command for family in families().values() for command in family.further}


def generated() -> dict[str, tuple[Family, Command]]:
    """Commands that ``vflow generate`` has, with their families, by name."""
    tasks = [(family, family.command) for family in commands().values()]
    tasks += [(family, own) for family in families().values() for own in family.further if own.task]
    return {own.name: (family, own) for family, own in tasks if own}


def parts(kind: str, command: str = "") -> tuple[Any, Any]:
    """The task and the class of settings of a family named ``kind``, or of a further command."""
    own: Command | Family = further()[command] if command in further() else families()[kind]
    return resolve(own.task), resolve(own.settings)


def served(family: Family, command: Command | None = None) -> tuple[str, ...]:
    """Names of the families whose models the command of ``family``, or a further one, works with."""
    joined = (name for name, other in families().items() if other.joins == family.name)
    return (family.name, *joined, *(command.families if command else ()))


def walks() -> dict[str, Walk]:
    """Walks through latents, by the families that have them."""
    return {name: family.walk for name, family in families().items() if family.walk}
