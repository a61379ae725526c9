"""Runner of tasks: what the engine of batches, the app's tabs and endpoints, and evaluations call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from vflow.config.settings import Settings
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.common import Counts

ShouldStop = Callable[[], bool]


class Result(Protocol):
    """A step of a task: samples, how many, and counts of their faults."""

    @property
    def size(self) -> int: ...

    @property
    def counts(self) -> Counts: ...


class Step(NamedTuple):
    """A result of a task that counts no faults."""

    value: Any
    size: int = 1
    counts: Counts = Counts()


S = TypeVar("S", bound=Settings)
G = TypeVar("G")
R = TypeVar("R", bound=Result)


def never() -> bool:
    """False: nobody asks to stop."""
    return False


class Task(ABC, Generic[S, G, R]):
    """Work on an item: read it, go on result by result, write them. Has no state of its own.

    Attributes:
        unit: name of a sample, for counts of them.
    """

    unit: ClassVar[str]

    def items(self, model: Any, settings: S) -> list[Item]:
        """Items of a task that reads no files.

        Raises:
            ConfigError: a setting does not suit the model.
        """
        raise NotImplementedError

    def told_by_items(self, settings: S) -> Sequence[str]:
        """Settings that the names of items tell: they are no part of what an item's files depend on."""
        return ()

    @abstractmethod
    def read(self, model: Any, item: Item, settings: S) -> G:
        """Input of ``iterate``.

        Raises:
            InputError: this item cannot be used.
        """

    @abstractmethod
    def iterate(self, model: Any, given: G, settings: S, should_stop: ShouldStop = never) -> Iterator[R]:
        """Results, each as soon as it is there; ends early when told to stop.

        Raises:
            InputError: a sample cannot be drawn.
        """

    @abstractmethod
    def write(self, folder: Path, given: G, results: Iterable[R], settings: S) -> None:
        """Write files of the results into ``folder``, as they come."""

    def total(self, given: G, settings: S) -> int:
        """Sum of the sizes of all results, as far as it is known."""
        return int(getattr(settings, "num_samples", 1))

    def facts(self, given: G) -> dict[str, Any]:
        """Further fields of an item's entry in manifests."""
        return {}

    def notes(self, given: G) -> Sequence[str]:
        """Remarks for people on what was done to the input; those that come up later stand at the end."""
        return ()
