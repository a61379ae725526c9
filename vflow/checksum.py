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
_ALIGNMENT = 8  # bytes, of the tensors


def sealed(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> bytes:
    """A safetensors file of ``state`` that also holds the digests of its tensors and of ``config``."""
    return with_digest(state, {CONFIGURATION: _digest(config)})


def with_digest(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file of ``state`` with ``metadata`` and the digest of its tensors in the header.

    The header is put together here: the library writes metadata in an order that changes from call to call,
    and the same state should give the same bytes.
    """
    plain = save(dict(state))
    start = _data_start(plain)
    tensors = memoryview(plain)[start:]
    about = {"format": "pt", **metadata, TENSORS: hashlib.sha256(tensors).hexdigest()}
    header = json.dumps({"__metadata__": about} | json.loads(plain[_PREFIX:start])).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return b"".join([len(header).to_bytes(_PREFIX, "little"), header, tensors])


def check_seal(weights: Path, config: Mapping[str, Any], config_name: str) -> None:
    """Compare a whole safetensors file, and the content of the config beside it, with their digests.

    Raises:
        CheckpointError: either differs from what was saved.
    """
    metadata = check_digest(weights)
    if metadata.get(CONFIGURATION, _digest(config)) != _digest(config):
        raise CheckpointError(
            f"{weights.parent / config_name}: has changed since {weights.name} was saved with it; copy or "
            "download both again, or save the checkpoint anew"
        )


def check_digest(path: Path) -> dict[str, str]:
    """Compare the tensors of a whole safetensors file with their digest, if it has one; returns its metadata.

    Raises:
        CheckpointError: they differ from what was saved.
    """
    with safe_open(path, framework="np") as opened:
        metadata = dict(opened.metadata() or {})
    if TENSORS in metadata:
        with path.open("rb") as file:
            file.seek(_data_start(file.read(_PREFIX)))
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != metadata[TENSORS]:
            raise CheckpointError(f"{path}: its tensors do not match their SHA-256; copy or fetch it again")
    return metadata


def _digest(config: Mapping[str, Any]) -> str:
    """Of the content, whatever its layout and line ends."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _data_start(head: bytes) -> int:
    return _PREFIX + int.from_bytes(head[:_PREFIX], "little")
