"""Entropy coding of grey levels as eight binary decisions each, their bits from the highest on.

The decisions go through an asymmetric numeral system (Duda 2014, by ``constriction``), which is a stack: what
an encoder has collected is coded from the end. Probabilities come from a ``Distribution``:

- ``CumulativeTable``, a mixture of discretised logistics in integer arithmetic. Each probability is a
  quotient of two whole numbers from a table of the logistic function, divided in float64 as IEEE 754
  prescribes, so both sides get equal ones on any machine.
- ``BinMasses``, normal mixtures in floating point: equal where torch and the processor are.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, final

import numpy as np
import torch
from torch import Tensor

from vflow.errors import ConfigError, InputError
from vflow.models.lattice import (
    MEAN_STEPS,
    SCALE_STEPS,
    SCALES,
    SMALLEST_SCALE,
    WEIGHT_STEPS,
    QuantizedMixture,
)
from vflow.priors.gaussian_mixture import GaussianMixture

BITS = 8
LEVELS = 1 << BITS
STEPS = 4096  # table entries per unit of the logistic's argument
REACH = 12 * STEPS  # beyond ±12 it counts as 0 or 1
UNIT = 1 << 15  # the table's 1
WEIGHT_UNIT = 4095  # the largest component's weight
FLOOR = 128  # added to each grey level's share: none is impossible
SHIFT = 16  # fractional bits of reciprocal scales
LEAST = 2.0**-23  # probability of a decision in floating point; the coder's own unit is 2⁻²⁴
CHUNK = 1 << 23  # decisions that are coded as one stack, at least
Decide = Callable[[np.ndarray], np.ndarray]


@cache
def _logistic() -> Tensor:
    """σ(i / 4096) in units of 2⁻¹⁵ for i = −REACH … REACH, int64. No entry is near a half (tests)."""
    argument = np.arange(-REACH, REACH + 1) / STEPS
    return torch.from_numpy(np.floor(UNIT / (1 + np.exp(-argument)) + 0.5).astype(np.int64))


@cache
def _reciprocals() -> Tensor:
    """Table entries per 1/16 grey level for each scale, times 2¹⁶, int64."""
    scales = 2.0 ** (np.arange(SCALES) / SCALE_STEPS + SMALLEST_SCALE)
    return torch.from_numpy(np.floor(STEPS / MEAN_STEPS * 2**SHIFT / scales + 0.5).astype(np.int64))


@cache
def _weights() -> Tensor:
    """Weights 4095 · 2^(−j/8) for j = 0, 1, …, int64."""
    steps = np.arange(WEIGHT_STEPS * 16)
    return torch.from_numpy(np.floor(WEIGHT_UNIT * 2.0 ** (-steps / WEIGHT_STEPS) + 0.5).astype(np.int64))


class Distribution(Protocol):
    """Distribution of N whole numbers of ``bits`` bits, such as grey levels."""

    bits: int

    def walk(self, decide: Decide) -> Tensor:
        """Go through the bits from the highest on: ``decide`` gets P(1), float64 (N,), and returns the bits.

        Returns:
            The numbers, int64 (N,).
        """
        ...


@final
class CumulativeTable:
    """Cumulative distribution of each pixel of a mixture (1, K, h, w) at whole thresholds, unnormalised."""

    bits: int = BITS

    def __init__(self, mixture: QuantizedMixture) -> None:
        mean, scale, weight = (part[0].flatten(1).to(torch.int64) for part in mixture)
        self.offset = mean + MEAN_STEPS // 2
        self.reciprocal = _reciprocals()[scale]
        behind = (weight.amax(0) - weight).clamp_max(len(_weights()) - 1)
        self.weight = _weights()[behind]
        self.total = self.weight.sum(0) * UNIT + LEVELS * FLOOR

    def below(self, threshold: Tensor) -> Tensor:
        """Share of grey levels under ``threshold`` (N,) in 1 … 255, int64 (N,)."""
        argument = ((threshold * MEAN_STEPS - self.offset) * self.reciprocal) >> SHIFT
        share = _logistic()[argument.clamp_(-REACH, REACH) + REACH]
        return (share * self.weight).sum(0) + threshold * FLOOR

    def walk(self, decide: Decide) -> Tensor:
        """As ``Distribution`` says."""
        low = torch.zeros_like(self.total)
        low_share, high_share = torch.zeros_like(self.total), self.total.clone()
        for bit in reversed(range(BITS)):
            middle = low + (1 << bit)
            share = self.below(middle)
            probability = (high_share - share).double() / (high_share - low_share).double()
            chosen = torch.from_numpy(decide(probability.numpy())).bool()
            low = torch.where(chosen, middle, low)
            low_share = torch.where(chosen, share, low_share)
            high_share = torch.where(chosen, high_share, share)
        return low


@final
class BinMasses:
    """Masses that a density (N,) gives to 2^b bins with ``edges`` (N, 2^b + 1)."""

    def __init__(self, density: GaussianMixture, edges: Tensor) -> None:
        self.density, self.edges = density, edges
        self.bits = (edges.shape[1] - 1).bit_length() - 1

    def walk(self, decide: Decide) -> Tensor:
        """As ``Distribution`` says."""
        low = torch.zeros(len(self.edges), dtype=torch.int64)
        for bit in reversed(range(self.bits)):
            middle = low + (1 << bit)
            bounds = [self.edges.gather(1, at[:, None])[:, 0] for at in (low, middle, middle + (1 << bit))]
            below, above = (self.density.log_mass(*pair).double() for pair in itertools.pairwise(bounds))
            probability = torch.sigmoid(above - below).clamp(LEAST, 1 - LEAST)
            chosen = torch.from_numpy(decide(probability.numpy())).bool()
            low = torch.where(chosen, middle, low)
        return low


@cache
def _constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        remedy = "install vflow-torch's extra 'compress' (in its checkout: pip install -e '.[compress]')"
        builds = "it has no builds for Linux or Windows on ARM"
        raise ConfigError(
            f"compression needs constriction, which is not installed; {remedy}; {builds}"
        ) from error
    return constriction.stream


def require_coder() -> None:
    """Error where the entropy coder is not installed.

    Raises:
        ConfigError: with the extra that brings it.
    """
    _constriction()


@cache
def _bernoulli() -> Any:
    return _constriction().model.Bernoulli(perfect=False)


@final
class Encoder:
    """Collector of binary decisions and their probabilities; ``finish`` gives the bytes."""

    def __init__(self) -> None:
        self.information = 0.0
        self._chunks: list[bytes] = []
        self._bits: list[np.ndarray] = []
        self._probabilities: list[np.ndarray] = []
        self._count = 0

    def levels(self, distribution: Distribution, values: Tensor) -> np.ndarray:
        """Add whole numbers (\\*S), N of them, under their distribution.

        Returns:
            −log₂ p of each, float64 (N,).
        """
        known = values.flatten().to(torch.int64)
        remaining = iter(reversed(range(distribution.bits)))
        costs = np.zeros(len(known))

        def decide(probability: np.ndarray) -> np.ndarray:
            bits = ((known >> next(remaining)) & 1).to(torch.int32).numpy()
            np.add(costs, self._add(bits, probability), out=costs)
            return bits

        distribution.walk(decide)
        self._end_of_block()
        return costs

    def bits(self, bits: np.ndarray, probability: float | np.ndarray) -> None:
        """Add binary values that are 1 with ``probability``, one for all or one each."""
        self._add(bits.astype(np.int32), np.full(bits.size, probability))
        self._end_of_block()

    def finish(self) -> bytes:
        """All that was added."""
        if self._count:
            self._flush()
        return b"".join(self._chunks)

    def _add(self, bits: np.ndarray, probability: np.ndarray) -> np.ndarray:
        self._bits.append(bits)
        self._probabilities.append(probability)
        self._count += bits.size
        costs: np.ndarray = -np.log2(np.where(bits == 1, probability, 1 - probability))
        self.information += float(costs.sum())
        return costs

    def _end_of_block(self) -> None:
        if self._count >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        coder = _constriction().stack.AnsCoder()
        coder.encode_reverse(np.concatenate(self._bits), _bernoulli(), np.concatenate(self._probabilities))
        words = coder.get_compressed().astype("<u4").tobytes()
        self._chunks.append(struct.pack("<I", len(words)) + words)
        self._bits, self._probabilities, self._count = [], [], 0


@final
class Decoder:
    """Reader of what an ``Encoder`` wrote, by the same calls in the same order."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._count = CHUNK
        self._words: Any = None

    def levels(self, distribution: Distribution) -> Tensor:
        """The next N numbers, int64 (N,), under their distribution."""
        self._start_of_block()
        return distribution.walk(self._read)

    def bits(self, count: int, probability: float | np.ndarray) -> np.ndarray:
        """The next ``count`` binary values, int32."""
        self._start_of_block()
        return self._read(np.full(count, probability))

    def _read(self, probability: np.ndarray) -> np.ndarray:
        self._count += probability.size
        bits: np.ndarray = self._words.decode(_bernoulli(), probability)
        return bits

    def _start_of_block(self) -> None:
        if self._count < CHUNK:
            return
        size = int.from_bytes(self._data[:4], "little")
        if len(self._data) < 4 or size % 4 or size > len(self._data) - 4:
            raise InputError("the coded pixels end too early")
        words = np.frombuffer(self._data[4 : 4 + size], "<u4").astype(np.uint32)
        self._words = _constriction().stack.AnsCoder(words)
        self._data, self._count = self._data[4 + size :], 0
