"""Files of a checkpoint, packed into a zip as the app gives it out, and unpacked with distrust."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from atexit import register
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from vflow.errors import CheckpointError

MOST_BYTES = 2 << 30
"""Of all tensors together, as their files have them."""
MOST_TEXT = 1 << 20
"""Bytes of any other file."""


def pack(folder: Path, names: Sequence[str], target: Path) -> None:
    """Write the files ``names`` of the checkpoint in ``folder`` to the zip ``target``."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for name in names:
            file.write(folder / name, name)


def unpacked(path: Path, required: tuple[str, ...], allowed: tuple[str, ...]) -> Path:
    """Folder with the checkpoint that the zip ``path`` holds, until the process ends.

    Args:
        required: names of files that it must hold. allowed: of those that it may.

    Raises:
        CheckpointError: no zip, or it holds anything but the files of a checkpoint, plain and of sane sizes.
    """
    status = path.stat()
    return _unpacked(path.resolve(), (status.st_mtime_ns, status.st_size), required, allowed)


@lru_cache(maxsize=8)
def _unpacked(
    path: Path, version: tuple[int, int], required: tuple[str, ...], allowed: tuple[str, ...]
) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="vflow-checkpoint-"))
    register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            _check(path, members, required, allowed)
            for member in members:
                with file.open(member) as source:
                    content = source.read(member.file_size + 1)
                if len(content) != member.file_size:
                    raise CheckpointError(
                        f"{path}: {member.filename} is not as long as it says; get it again"
                    )
                (folder / member.filename).write_bytes(content)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path}: not a whole zip ({error}); download it again") from error
    return folder


def _check(
    path: Path, members: list[zipfile.ZipInfo], required: Sequence[str], allowed: Sequence[str]
) -> None:
    """Refuse members before anything is unpacked.

    Raises:
        CheckpointError: naming the first that is wrong.
    """
    names = [member.filename for member in members]
    for member in members:
        name = member.filename
        kind = stat.S_IFMT(member.external_attr >> 16)
        if name not in allowed or names.count(name) > 1 or kind not in (0, stat.S_IFREG):
            raise CheckpointError(
                f"{path}: holds {name!r}, no plain file of a checkpoint ({', '.join(allowed)})"
            )
        most = MOST_BYTES if name.endswith(".safetensors") else MOST_TEXT
        if member.file_size > most:
            raise CheckpointError(f"{path}: {name} unpacks to {member.file_size:,} bytes; {most:,} at most")
    if missing := [name for name in required if name not in names]:
        raise CheckpointError(f"{path}: no {missing[0]} in it; zip a checkpoint's own files, in no folder")
