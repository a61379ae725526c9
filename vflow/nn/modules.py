"""A list of modules that type checkers understand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, cast, final

from torch import nn

M = TypeVar("M", bound=nn.Module)


@final
class Modules(nn.Module, Generic[M]):
    """``nn.ModuleList`` whose items keep their type."""

    def __init__(self, modules: Sequence[M]) -> None:
        super().__init__()
        for index, module in enumerate(modules):
            self.add_module(str(index), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[M]:
        return cast(Iterator[M], iter(self._modules.values()))

    def __reversed__(self) -> Iterator[M]:
        return cast(Iterator[M], reversed(list(self._modules.values())))

    def __getitem__(self, index: int) -> M:
        return cast(M, self._modules[str(index)])
