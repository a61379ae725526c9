"""CRC-32C (Castagnoli) in NumPy: many lanes of the message at once, then joined.

A CRC is linear over GF(2): crc(a‖b) = shift(crc(a), len(b)) ⊕ crc(b), where shift feeds zero bytes. So the
message is cut into lanes of equal length that run through the byte table side by side, and neighbours are
joined pairwise.
"""

from __future__ import annotations

import struct

import numpy as np

_POLYNOMIAL = 0x82F63B78
_LANES = 1024


def _byte_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


_TABLE = _byte_table()


def crc32c(data: bytes) -> int:
    """CRC-32C of ``data``: 0xE3069283 for b"123456789" (RFC 3720)."""
    state = 0xFFFFFFFF
    length = len(data) // _LANES
    if length >= 16:
        lanes = np.frombuffer(data, np.uint8, length * _LANES).reshape(_LANES, length)
        state = _join(_run(lanes, state), length)
        data = data[length * _LANES :]
    table = _TABLE
    for byte in data:
        state = int(table[(state ^ byte) & 0xFF]) ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def _run(lanes: np.ndarray, first: int) -> np.ndarray:
    """Raw CRC states of each lane (N, length); the first starts from ``first``, the others from 0."""
    states = np.zeros(len(lanes), np.uint32)
    states[0] = first
    for column in np.ascontiguousarray(lanes.T):
        states = _TABLE[(states ^ column) & 0xFF] ^ (states >> 8)
    return states


def _join(states: np.ndarray, length: int) -> int:
    """One state from those of 2^k consecutive lanes of ``length`` bytes."""
    shift = _zeros(length)
    while len(states) > 1:
        states = _apply(shift, states[0::2]) ^ states[1::2]
        shift = _apply(shift, shift)
    return int(states[0])


def _zeros(length: int) -> np.ndarray:
    """Columns (32,) of the operator that feeds ``length`` zero bytes."""
    columns = np.uint32(1) << np.arange(32, dtype=np.uint32)
    power = _TABLE[columns & 0xFF] ^ (columns >> 8)
    while length:
        if length & 1:
            columns = _apply(power, columns)
        power = _apply(power, power)
        length >>= 1
    return columns


def _apply(operator: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Multiply each state (bits over GF(2)) by a 32×32 matrix given by its columns."""
    out = np.zeros_like(states)
    for bit in range(32):
        out ^= np.where((states >> np.uint32(bit)) & 1, operator[bit], np.uint32(0))
    return out


def masked(data: bytes) -> int:
    """The masked CRC that TFRecord files store: rotated right by 15 bits plus a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def stored(raw: bytes) -> int:
    """A stored CRC, little-endian."""
    return int(struct.unpack("<I", raw)[0])
