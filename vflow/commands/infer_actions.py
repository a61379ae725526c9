"""``vflow infer-actions``: which of several plans a film was made by."""

from __future__ import annotations

import json
from dataclasses import dataclass

from vflow.commands.common import NONE_GIVEN, CommonFlags, check_checkpoint, open_model
from vflow.errors import ConfigError
from vflow.flags import Inputs, Text


@dataclass(frozen=True, kw_only=True)
class InferActions:
    """Print the probability of each of several plans given a film, by Bayes' rule, all as likely before."""

    checkpoint: Text = None
    """A folder, a shipped name or a hub id, of a model that takes actions."""
    input: Inputs = ()
    """The film: a video, a folder of frames, an npz, or images in the order of time."""
    plans: Inputs = ()
    """Files of actions, CSV or npz, each with a row for every frame of the film."""
    json: bool = False
    """Print one JSON object: plans, probabilities, bits and bits_per_dim given each."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0."""
        if len(self.plans) < 2:
            raise ConfigError("--plans: give two or more files to choose from")
        if not self.input:
            raise ConfigError("--input: give the film")
        checkpoint = check_checkpoint(self.checkpoint, ("videoflow",))
        from vflow.data import media
        from vflow.pipelines.common import precision, set_threads
        from vflow.pipelines.video.actions import actions_of
        from vflow.pipelines.video.infer_actions import infer_actions

        set_threads(self.common.threads)
        model, _, device = open_model(checkpoint, self.common.device)
        plans = [actions_of(model, path, path.name) for path in self.plans]
        with precision(self.common.dtype, device):
            film = media.read_frames(self.input)
            found = infer_actions(model, film, plans, seed=self.common.seed or 0)
        if self.json:
            print(json.dumps({"plans": [str(path) for path in self.plans], **found.to_json()}))
            return 0
        for path, share, bits in zip(self.plans, found.probabilities, found.bits_per_dim, strict=True):
            print(f"{share:7.2%}  {bits:.4f} bits/dim  {path}")
        return 0
