"""``vflow score``: bits per dimension of clips."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from vflow.commands.common import NONE_GIVEN, CommonFlags, Inputs, Text, Whole, open_model
from vflow.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ScoreClips:
    """Print how many bits per dimension a model needs for the frames of a clip."""

    checkpoint: Text = None
    """A directory, a shipped name or a hub id."""
    input: Inputs = ()
    """A video, a folder of frames, an npz, or pictures in the order of time."""
    context: Whole = None
    """Start the mean at this frame; at the first that can be scored when not given."""
    draws: int = 1
    """K of the importance-weighted bound over the dequantisation noise."""
    json: bool = False
    """Print one JSON object per clip: bits_per_dim, per_frame, draws, seed."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0, or 1 when some items failed."""
        from vflow.pipelines import items
        from vflow.pipelines.compute import precision, set_threads

        found = items.clips(self.input)
        set_threads(self.common.threads)
        model, _, device = open_model(self.checkpoint, self.common.device)
        failed = 0
        with precision(self.common.dtype, device):
            for item in found:
                try:
                    result = self._score(model, item)
                except InputError as error:
                    failed += 1
                    print(f"error: {error}", file=sys.stderr)
                else:
                    self._print(item.name, result, alone=len(found) == 1)
        return 1 if failed else 0

    def _score(self, model: Any, item: Any) -> Any:
        from vflow.data import io
        from vflow.pipelines.score import score

        clip = io.read_frames(item.paths)
        return score(model, clip, context=self.context, draws=self.draws, seed=self.common.seed or 0)

    def _print(self, name: str, result: Any, *, alone: bool) -> None:
        if self.json:
            print(json.dumps(result.to_json() if alone else {"item": name, **result.to_json()}), flush=True)
        else:
            print(f"{name}: {result.bits_per_dim:.4f} bits/dim (K = {self.draws})", flush=True)
