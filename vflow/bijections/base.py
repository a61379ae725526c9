"""The contract of every invertible map, and the two ways to combine maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from vflow.errors import InputError
from vflow.nn.modules import ModuleList

Context = Tensor | None


class Recomputed(NamedTuple):
    """A map's input made from its output, and the map run on it with a graph.

    ``parts`` of the input are leaves of that graph; ``join`` puts them, or their gradients, together.
    """

    parts: tuple[Tensor, ...]
    join: Callable[..., Tensor]
    z: Tensor
    density: Tensor


class Bijection(nn.Module, ABC):
    """An invertible map x ↔ z of images (B, C, H, W).

    Subclasses implement ``transform`` and ``invert``, which return the log-density contribution of each
    position, (B, H, W) on the finer of both grids, in nats. ``forward`` and ``inverse`` return its sum,
    log |det J| of the map just applied, shape (B,), float32 or wider.

    Attributes:
        width: C that the map was built for and keeps; None: any, or it cannot run on another.
    """

    width: int | None = None

    @abstractmethod
    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """Data to latent, with the log-det of each position (B, H, W)."""

    @abstractmethod
    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """Latent to data, with the log-det of each position (B, H, W) of the inverse map."""

    def forward(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """Data to latent: z and ladj (B,)."""
        z, density = self.transform(x, context)
        return z, density.flatten(1).sum(1)

    @final
    def inverse(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """Latent to data: x and ladj (B,)."""
        x, density = self.invert(z, context)
        return x, density.flatten(1).sum(1)

    def initialize(self, x: Tensor, context: Context = None) -> Tensor:
        """Set data-dependent parameters from a batch ``x`` and return z; most maps have none."""
        return self.transform(x, context)[0]

    def initialize_inverse(self, z: Tensor, context: Context = None) -> Tensor:
        """The same for a map that is used backwards: set parameters from a batch ``z`` and return x."""
        return self.invert(z, context)[0]

    def recompute_from_output(self, z: Tensor, context: Context = None) -> Recomputed:
        """Invert ``z`` without a graph and transform what comes out with one (see recompute.py)."""
        fixed = self.with_cached_inverse()
        with torch.no_grad():
            x = fixed.invert(z, context)[0]
        x.requires_grad_()
        return Recomputed((x,), lambda part: part, *fixed.transform(x, context))

    def with_cached_inverse(self) -> Bijection:
        """The same map with what depends on weights alone computed once, for many runs or both ways."""
        return self


@final
class Chain(Bijection):
    """Composition: the maps in order for ``forward``, in reverse for ``inverse``. Log-dets add.

    Data that have another C than a layer was built for are an InputError.
    """

    def __init__(self, layers: Sequence[Bijection]) -> None:
        super().__init__()
        self.layers = ModuleList(layers)

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        densities = [zero_density(x)]
        for layer in self.layers:
            _check_width(layer, x)
            x, density = layer.transform(x, context)
            densities.append(density)
        return x, sum_densities(densities)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        densities = [zero_density(z)]
        for layer in reversed(self.layers):
            _check_width(layer, z)
            z, density = layer.invert(z, context)
            densities.append(density)
        return z, sum_densities(densities)

    def initialize(self, x: Tensor, context: Context = None) -> Tensor:
        for layer in self.layers:
            _check_width(layer, x)
            x = layer.initialize(x, context)
        return x

    def initialize_inverse(self, z: Tensor, context: Context = None) -> Tensor:
        for layer in reversed(self.layers):
            _check_width(layer, z)
            z = layer.initialize_inverse(z, context)
        return z

    def with_cached_inverse(self) -> Bijection:
        return Chain([layer.with_cached_inverse() for layer in self.layers])


def _check_width(layer: Bijection, x: Tensor) -> None:
    """Refuse data of another width than a layer's, whose one number torch would broadcast to all of them."""
    if layer.width not in (None, x.shape[1]):
        raise InputError(
            f"layer {type(layer).__name__} is for {layer.width} numbers or channels, the data have "
            f"{x.shape[1]}; build it for as many"
        )


@final
class Inverse(Bijection):
    """The same map with its two directions exchanged."""

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection
        self.width = bijection.width

    def transform(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return self.bijection.invert(x, context)

    def invert(self, z: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        return self.bijection.transform(z, context)

    def initialize(self, x: Tensor, context: Context = None) -> Tensor:
        return self.bijection.initialize_inverse(x, context)

    def initialize_inverse(self, z: Tensor, context: Context = None) -> Tensor:
        return self.bijection.initialize(z, context)


def initialized_by(module: nn.Module, name: str) -> None:
    """Set the buffer ``initialized``, which files do not hold, when a tensor ``name`` is loaded that differs
    from the module's own, as that of a state that has been initialised does.
    """
    module.register_load_state_dict_pre_hook(partial(_mark_initialized, name))


def _mark_initialized(name: str, module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    loaded, own = state.get(prefix + name), module.get_buffer(name)
    if loaded is not None and (loaded.shape != own.shape or not torch.equal(loaded.to(own), own)):
        module.get_buffer("initialized").fill_(True)


def upsample_density(density: Tensor, height: int, width: int) -> Tensor:
    """Share each coarse position's density (B, h, w) equally among the finer positions it covers.

    Returns (B, height, width) with the same sum.
    """
    rows, columns = height // density.shape[1], width // density.shape[2]
    if rows == columns == 1:
        return density
    return density.repeat_interleave(rows, 1).repeat_interleave(columns, 2) / (rows * columns)


def add_densities(first: Tensor, second: Tensor) -> Tensor:
    """Sum of two per-position densities (B, h, w), on the finer of their grids."""
    height, width = max(first.shape[1], second.shape[1]), max(first.shape[2], second.shape[2])
    return upsample_density(first, height, width) + upsample_density(second, height, width)


def sum_densities(densities: Sequence[Tensor]) -> Tensor:
    """Sum of per-position densities (B, h, w) of different grids, on the finest of them."""
    return reduce(add_densities, densities)


def zero_density(x: Tensor) -> Tensor:
    """Zeros (B, H, W): the log-det of a map that keeps volume."""
    return torch.zeros(x.shape[0], x.shape[2], x.shape[3], dtype=accumulation_dtype(x.dtype), device=x.device)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type of densities: float64 for float64 data, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
