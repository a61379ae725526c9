"""TFRecord files and their tf.train.Example messages, read without TensorFlow, every checksum verified.

A record is its length (uint64), the masked CRC-32C of these 8 bytes, data, and the masked CRC-32C of that,
little-endian. An Example is a protobuf message; its features map names to lists of bytes, floats or integers:

    Example{1: Features{1: entry{1: key, 2: Feature{1: BytesList{1: bytes…}}}…}}
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from vflow.errors import ConfigError, InputError

_HEADER = 12


def index_records(path: Path) -> list[int]:
    """Offsets of all records of a file; lengths are checked, data is not read.

    Raises:
        InputError: damaged lengths or a cut file; the message names file and record.
    """
    offsets: list[int] = []
    position = 0
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            while position < size:
                file.seek(position)
                end = position + _HEADER + _length(path, len(offsets), file.read(_HEADER)) + 4
                if end > size:
                    raise InputError(f"{_where(path, len(offsets))} is cut short; download the file again")
                offsets.append(position)
                position = end
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    return offsets


def read_record(path: Path, number: int, offset: int) -> bytes:
    """Data of record ``number`` at ``offset``, its checksums verified.

    Raises:
        InputError: damaged; the message names file and record.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            length = _length(path, number, file.read(_HEADER))
            data, check = file.read(length), file.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if len(data) != length or len(check) != 4:
        raise InputError(f"{_where(path, number)} is cut short; download the file again")
    if masked_crc(data) != check:
        raise InputError(f"{_where(path, number)} is damaged (checksum); download the file again")
    return data


def masked_crc(data: bytes) -> bytes:
    """CRC-32C of ``data`` as TFRecord files store it: rotated right by 15 bits plus a constant, 4 bytes.

    Raises:
        ConfigError: google-crc32c is not installed.
    """
    try:
        import google_crc32c
    except ImportError as error:
        raise ConfigError("TFRecord files need google-crc32c; install vflow-torch's extra 'bair'") from error
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _length(path: Path, number: int, header: bytes) -> int:
    if len(header) < _HEADER:
        raise InputError(f"{_where(path, number)} is cut short; download the file again")
    if masked_crc(header[:8]) != header[8:]:
        what = "is not a TFRecord" if number == 0 else "is damaged (checksum of its length)"
        raise InputError(f"{_where(path, number)} {what}; download the file again")
    return int(struct.unpack("<Q", header[:8])[0])


def _where(path: Path, number: int) -> str:
    return f"{path}: record {number}"


def bytes_features(example: bytes) -> dict[str, bytes]:
    """Features of a tf.train.Example that hold one byte string, by name.

    Raises:
        ValueError: not a well-formed message.
    """
    features: dict[str, bytes] = {}
    for container in _fields(example, 1):
        for entry in _fields(container, 1):
            key = next(_fields(entry, 1), b"").decode()
            for feature in _fields(entry, 2):
                for values in _fields(feature, 1):
                    features[key] = next(_fields(values, 1), b"")
    return features


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """Length-delimited fields numbered ``wanted`` of a protobuf message, in order."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire = tag & 7
        if wire == 2:
            length, position = _varint(message, position)
            end = position + length
        elif wire == 0:
            end = _varint(message, position)[1]
        elif wire in (1, 5):
            end = position + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"wire type {wire} in a protobuf message")
        if end > len(message):
            raise ValueError("a protobuf field runs past its message")
        if wire == 2 and tag >> 3 == wanted:
            yield message[position:end]
        position = end


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A base-128 integer and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("an unfinished integer in a protobuf message")
