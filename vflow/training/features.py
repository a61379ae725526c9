"""Features of a frozen backbone, kept on disk while training: a picture is looked at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from vflow.errors import InputError

FOLDER = "VFLOW_CACHE"


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
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                self._known = _open(folder / "known.npy", np.uint8, (length,))
                self._levels = [
                    _open(folder / f"features_{level}.npy", np.float16, (length, *shape))
                    for level, shape in enumerate(shapes)
                ]
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: features cannot be kept there ({error}); set {FOLDER}") from error

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
        return torch.from_numpy(self._known[rows.numpy()] == 0)

    def get(self, rows: Tensor) -> list[Tensor]:
        """Features of known rows, float32 (B, C, h, w) each."""
        return [torch.from_numpy(level[rows.numpy()]).float() for level in self._levels]

    def put(self, rows: Tensor, features: Sequence[Tensor]) -> None:
        """Keep the features (B, C, h, w) of ``rows``."""
        for level, values in zip(self._levels, features, strict=True):
            level[rows.numpy()] = values.detach().cpu().half().numpy()
        self._known[rows.numpy()] = 1


def _default_root() -> Path:
    try:
        return Path.home() / ".cache" / "vflow"
    except RuntimeError as error:  # a user without a name, as containers may have
        raise InputError(f"features cannot be kept: this user has no home folder; set {FOLDER}") from error


def _open(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap:
    """Array in a file, zeros at first: a sparse file takes room only for what is written.

    The caller holds the folder's lock. The file gets its name when it is whole.
    """
    if not path.exists():
        draft = path.with_name(f".{path.name}")
        np.lib.format.open_memmap(draft, "w+", dtype, shape)
        os.replace(draft, path)
    array = np.lib.format.open_memmap(path, "r+")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{path.name} is of other data")
    return array
