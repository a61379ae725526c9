"""A checkpoint's seal: SHA-256 of the tensors and of the config, kept in the header of the weights file.

Names, shapes and types tell when files do not belong together; only a digest tells that a bit has turned.
Files without a seal, such as those converted by other tools, are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from vflow.errors import CheckpointError

TENSORS, CONFIGURATION = "tensors_sha256", "config_sha256"
_PREFIX = 8  # bytes that give the header's length


def sealed(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> bytes:
    """A safetensors file of ``state`` that also holds the digests of its tensors and of ``config``."""
    plain = save(dict(state))
    tensors = hashlib.sha256(memoryview(plain)[_data_start(plain) :]).hexdigest()
    return save(dict(state), metadata={"format": "pt", TENSORS: tensors, CONFIGURATION: _digest(config)})


def check_seal(weights: Path, config: Mapping[str, Any], config_name: str) -> None:
    """Compare a whole safetensors file, and the content of the config beside it, with their digests.

    Raises:
        CheckpointError: either differs from what was saved.
    """
    with safe_open(weights, framework="np") as opened:
        metadata = opened.metadata() or {}
    if TENSORS in metadata:
        with weights.open("rb") as file:
            file.seek(_data_start(file.read(_PREFIX)))
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != metadata[TENSORS]:
            raise CheckpointError(
                f"{weights}: its tensors do not match their SHA-256; copy or download it again"
            )
    if metadata.get(CONFIGURATION, _digest(config)) != _digest(config):
        raise CheckpointError(
            f"{weights.parent / config_name}: has changed since {weights.name} was saved with it; copy or "
            "download both again, or save the checkpoint anew"
        )


def _digest(config: Mapping[str, Any]) -> str:
    """Of the content, whatever its layout and line ends."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _data_start(head: bytes) -> int:
    return _PREFIX + int.from_bytes(head[:_PREFIX], "little")
