"""``nn.ModuleList`` with typed items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar, final

from torch import nn

M = TypeVar("M", bound=nn.Module)


@final
class ModuleList(nn.ModuleList, Generic[M]):
    """``nn.ModuleList`` whose items keep their type for type checkers."""

    if TYPE_CHECKING:

        def __init__(self, modules: Iterable[M]) -> None: ...
        def __getitem__(self, index: int) -> M: ...  # type: ignore[override]
        def __iter__(self) -> Iterator[M]: ...
