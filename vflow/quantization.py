"""8-bit weights: −127 … 127 times a scale per output channel (Jacob et al. 2018, arXiv 1712.05877).

On disk alone: a weight W is stored as int8 with its scales, float32 (outputs,), beside it, half the size of
float16; what is loaded is float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from vflow.errors import ConfigError

SUFFIX = ".int8_scale"
LARGEST = 127
State = dict[str, Tensor]


def is_inside(name: str, parts: Sequence[str]) -> bool:
    """True if the tensor ``name`` belongs to one of the ``parts``, modules by their dotted names."""
    return any(name.startswith(f"{part}.") for part in parts)


def _kernels(weights: Mapping[str, Tensor]) -> State:
    return {name: weight for name, weight in weights.items() if weight.dim() > 1}


def check_parts(weights: Mapping[str, Tensor], parts: Sequence[str]) -> None:
    """Refuse ``parts`` that ``quantize`` could not round.

    Raises:
        ConfigError: a part without weights of two axes or more.
    """
    kernels = _kernels(weights)
    for part in parts:
        if not any(is_inside(name, [part]) for name in kernels):
            modules = ", ".join(sorted({name.partition(".")[0] for name in kernels}))
            raise ConfigError(f"int8: the model has no part {part!r} with kernels; it has {modules}")


def quantize(weights: Mapping[str, Tensor], parts: Sequence[str]) -> State:
    """Weights of two axes or more inside ``parts``, as int8 (outputs, …) and scales (outputs,) by name.

    Raises:
        ConfigError: a part without such weights.
    """
    check_parts(weights, parts)
    kernels = _kernels(weights)
    found: State = {}
    for name, weight in kernels.items():
        if is_inside(name, parts):
            rows = weight.float().flatten(1)
            scale = rows.abs().amax(1) / LARGEST
            steps = (rows / scale.where(scale > 0, 1)[:, None]).round().clamp(-LARGEST, LARGEST)
            found[name] = steps.char().view(weight.shape)
            found[name + SUFFIX] = scale
    return found


def dequantize(state: Mapping[str, Tensor]) -> State:
    """``state`` with weights that have scales in float32, and without the scales."""
    restored = {name: value for name, value in state.items() if not name.endswith(SUFFIX)}
    for name in restored.keys() & {key.removesuffix(SUFFIX) for key in state.keys() - restored.keys()}:
        rows = restored[name].float().flatten(1)
        restored[name] = (rows * state[name + SUFFIX][:, None]).view(restored[name].shape)
    return restored
