"""Files on disk: writes that survive a power cut, and reads of what strangers wrote."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import yaml


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of files, to the disk; elsewhere than on POSIX folders are left alone.

    Raises:
        OSError: the disk refuses, as when it is full.
    """
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def real_path(path: Path) -> Path:
    """Absolute path with all links followed; where they go round in circles, as far as they lead."""
    return Path(os.path.realpath(path))


def read_regular(path: Path) -> bytes:
    """Bytes of a file that is no pipe or device, from which reading might never end.

    Raises:
        OSError: it is one, or cannot be read.
    """
    _check_regular(path)
    return path.read_bytes()


def _check_regular(path: Path) -> None:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: as ``read_regular``.
    """
    _check_regular(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str | bytes) -> Any:
    """Content of a JSON text.

    Raises:
        ValueError: not JSON, or nested deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_yaml(text: str | bytes) -> Any:
    """Content of a YAML text.

    Raises:
        ValueError: not YAML in UTF-8 or marked UTF-16 (PowerShell's), or nested deeper or with longer numbers
            than Python reads.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
