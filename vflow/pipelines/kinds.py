"""Which kind of model a pipeline takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from vflow.config import Config
from vflow.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn

C = TypeVar("C", bound=Config)


def config_of(model: nn.Module, kind: type[C], does: str) -> C:
    """The model's configuration, a ``kind``.

    Raises:
        CheckpointError: another kind of model, of which it says that it does not do what it ``does``.
    """
    config = getattr(model, "config", None)
    if not isinstance(config, kind):
        wanted = cast(str, kind.model_fields["kind"].default)
        raise CheckpointError(
            f"{type(model).__name__}: does not {does}; choose a checkpoint of kind {wanted}"
        )
    return config
