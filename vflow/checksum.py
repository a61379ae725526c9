"""Checksums of a checkpoint: SHA-256 of its tensors and config, in the header of the weights file.

Names, shapes and types show that files do not belong together; only a checksum shows that a bit has flipped.
Files without one, such as those that other tools convert, are accepted.
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


def serialize_checkpoint(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> bytes:
    """A safetensors file of ``state`` with the checksums of its tensors and of ``config`` in the header."""
    return serialize_tensors(state, {CONFIGURATION: content_digest(config)})


def serialize_tensors(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file of ``state`` with ``metadata`` and the checksum of its tensors in the header.

    The same state gives the same bytes: the header is written here, since the library's order of metadata
    changes from call to call.
    """
    plain = save(dict(state))
    start = _data_start(plain)
    tensors = memoryview(plain)[start:]
    about = {"format": "pt", **metadata, TENSORS: hashlib.sha256(tensors).hexdigest()}
    header = json.dumps({"__metadata__": about} | json.loads(plain[_PREFIX:start])).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return b"".join([len(header).to_bytes(_PREFIX, "little"), header, tensors])


def verify_checkpoint(weights: Path, config: Mapping[str, Any], config_name: str) -> None:
    """Compare a whole safetensors file, and the content of the config beside it, with their checksums.

    Raises:
        CheckpointError: either differs from what was saved.
    """
    metadata = verify_tensors(weights)
    if metadata.get(CONFIGURATION, content_digest(config)) != content_digest(config):
        raise CheckpointError(
            f"{weights.parent / config_name}: has changed since {weights.name} was saved with it; copy or "
            "download both again, or save the checkpoint anew"
        )


def verify_tensors(path: Path) -> dict[str, str]:
    """Compare the tensors of a whole safetensors file with their checksum, if any; returns its metadata.

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


def content_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a JSON file says, whatever its layout and line ends."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _data_start(head: bytes) -> int:
    return _PREFIX + int.from_bytes(head[:_PREFIX], "little")
