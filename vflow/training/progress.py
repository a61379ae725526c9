"""Where a run stands: everything but tensors that a resumed run needs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from vflow.errors import CheckpointError


@dataclass
class Progress:
    """Counters of one run; written to state.json.

    ``position`` counts examples consumed, ``seconds`` the training time over all resumes. The sums run
    since the last line of the log, so that a line comes out the same when a kill fell between two lines.
    """

    step: int = 0
    position: int = 0
    epoch: int = 0
    lr: float = 0.0
    seconds: float = 0.0
    accepted: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    rollbacks: int = 0
    rate_scale: float = 1.0
    log_norm: float = 0.0
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    summed: int = 0
    val_bits_per_dim: float | None = None
    typical_bits: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; floats survive JSON exactly."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any], source: str) -> Self:
        """Inverse of ``to_json``.

        Raises:
            CheckpointError: fields are missing or unknown.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(data) != names:
            wrong = ", ".join(sorted(set(data) ^ names))
            raise CheckpointError(f"{source}: fields do not match this version of vflow: {wrong}")
        bits = data["typical_bits"]
        return cls(**{**data, "typical_bits": tuple(bits) if bits else None})
