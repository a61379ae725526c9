"""Features of a frozen backbone, kept on disk while training: a picture is looked at once."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from vflow.errors import InputError

FOLDER = "VFLOW_CACHE"
SYNC_EVERY = 10.0
"""Seconds: rows are marked as known once they are on the disk, and waiting for that takes time."""


class FeatureCache:
    """Rows of float16 features of N pictures, in files of ``folder`` that grow as rows are put.

    Processes of one machine may share it: the first makes the files, and what one puts all see.

    Args:
        folder: made if absent.
        shapes: (C, h, w) of each of the features of a picture.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, length: int, shapes: Sequence[tuple[int, ...]]) -> None:
        self.folder = folder
        self._synced, self._pending = -math.inf, set[int]()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                self._known = _Rows(folder / "known.npy", np.uint8, (length,))
                self._levels = [
                    _Rows(folder / f"features_{level}.npy", np.float16, (length, *shape))
                    for level, shape in enumerate(shapes)
                ]
        except (OSError, ValueError) as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> InputError:
        return InputError(f"{self.folder}: features cannot be kept there ({error}); set {FOLDER}")

    @classmethod
    def of(
        cls,
        backbone: nn.Module,
        fingerprint: str,
        length: int,
        shapes: Sequence[tuple[int, ...]],
        root: Path | None = None,
    ) -> Self:
        """Cache named by the pictures' ``fingerprint`` and the backbone's weights.

        ``root`` holds it; without one, the folder that ``VFLOW_CACHE`` names.

        Raises:
            InputError: as above, or there is neither that variable nor a home folder.
        """
        digest = hashlib.sha256(fingerprint.encode())
        for value in backbone.state_dict().values():
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
        root = root or Path(os.environ.get(FOLDER) or _default_root())
        return cls(root / "features" / digest.hexdigest()[:24], length, shapes)

    def missing(self, rows: Tensor) -> Tensor:
        """Mask (B,) of ``rows`` that are not known yet."""
        known = self._known.array[rows.numpy()]
        here = [row in self._pending for row in rows.tolist()]
        return torch.from_numpy((known == 0) & ~np.array(here, bool))

    def get(self, rows: Tensor) -> list[Tensor]:
        """Features of known rows, float32 (B, C, h, w) each."""
        return [torch.from_numpy(level.array[rows.numpy()]).float() for level in self._levels]

    def put(self, rows: Tensor, features: Sequence[Tensor]) -> None:
        """Keep the features (B, C, h, w) of ``rows``; others see them ten seconds later, or after ``flush``.

        Raises:
            InputError: the disk is full.
        """
        try:
            for level, values in zip(self._levels, features, strict=True):
                level.write(rows.tolist(), values.detach().cpu().half().numpy())
        except OSError as error:
            raise self._fault(error) from error
        self._pending.update(rows.tolist())
        if time.monotonic() - self._synced >= SYNC_EVERY:
            self.flush()

    def flush(self) -> None:
        """Have all features on the disk, for other processes and later runs.

        Raises:
            InputError: the disk is full.
        """
        try:
            for level in self._levels:
                level.sync()
            self._known.write(list(self._pending), np.ones(len(self._pending), np.uint8))
        except OSError as error:
            raise self._fault(error) from error
        self._pending.clear()
        self._synced = time.monotonic()


def _default_root() -> Path:
    try:
        return Path.home() / ".cache" / "vflow"
    except RuntimeError as error:  # a user without a name, as containers may have
        raise InputError(f"features cannot be kept: this user has no home folder; set {FOLDER}") from error


class _Rows:
    """Rows of an array in a file, zeros at first: a sparse file takes room only for what is written.

    Rows are read through memory and written by system calls: on a full disk, writing through memory would end
    the process. The caller holds the folder's lock. The file gets its name when it is whole.
    """

    def __init__(self, path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        if not path.exists():
            draft = path.with_name(f".{path.name}")
            np.lib.format.open_memmap(draft, "w+", dtype, shape)
            os.replace(draft, path)
        self.array = np.lib.format.open_memmap(path, "r")
        if self.array.shape != shape or self.array.dtype != dtype:
            raise ValueError(f"{path.name} is of other data")
        self._file = path.open("r+b", buffering=0)

    def write(self, rows: Sequence[int], values: np.ndarray) -> None:
        """Put ``values`` (B, …) in the place of ``rows``."""
        for row, value in zip(rows, values, strict=True):
            data = value.tobytes()
            self._file.seek(self.array.offset + row * len(data))
            while data:  # the last that fits is written in part, and no error
                data = data[self._file.write(data) :]

    def sync(self) -> None:
        """Return when the disk has what was written."""
        os.fsync(self._file.fileno())
