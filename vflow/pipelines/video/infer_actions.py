"""Posterior over several plans given a film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vflow.errors import InputError
from vflow.pipelines.video.actions import Plan, plan_rows
from vflow.pipelines.video.preprocess import Frames, as_clip, video_config
from vflow.pipelines.video.score import density, fit_scored, frame_nats, segments
from vflow.randomness import content_hash

if TYPE_CHECKING:
    from torch import nn


class Posterior(NamedTuple):
    """Posterior over plans given a film, all as likely before.

    probabilities: of each plan given the film, float64 (P,). bits: of the film given each plan, (P,).
    bits_per_dim: the same per value of the frames that are scored.
    """

    probabilities: np.ndarray
    bits: np.ndarray
    bits_per_dim: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """The object that ``vflow infer-actions --json`` prints."""
        return {name: [float(x) for x in values] for name, values in self._asdict().items()}


def infer_actions(model: nn.Module, frames: Frames, plans: Sequence[Plan], *, seed: int = 0) -> Posterior:
    """Probability of each plan given a film, by Bayes' rule: p(plan | film) ∝ p(film | plan).

    Args:
        model: from ``vflow.load``, one that takes actions.
        frames: the film, (T, H, W, C), numpy or torch, uint8 or floats in 0..1, or a ``media.Clip``.
        plans: candidates; each has a row for every frame of the film.
        seed: names the noise of models that have some.

    Raises:
        InputError: no candidates, too few frames, or a plan that does not cover the film.
        CheckpointError: no video model.

    Examples:
        >>> model = build_model(load_preset("grasp-actions").model)  # untrained, so it listens to no plan
        >>> film = read_clip("apps/examples/grasp-014.npz").frames[:5]
        >>> vflow.infer_actions(model, film, [np.zeros((5, 26)), np.ones((5, 26))]).probabilities
        array([0.5, 0.5])
    """
    config = video_config(model)
    if not plans:
        raise InputError("plans: none given; give two or more to choose from")
    fitted, _ = fit_scored(model, frames)
    key, first = (seed, content_hash(fitted), 0), config.min_context
    nats = []
    for plan in plans:
        rows, _ = plan_rows(config, as_clip(frames), plan)
        found = [
            frame_nats(density(model, fitted, targets, key, rows)).sum()
            for targets in segments(first, len(fitted))
        ]
        nats.append(float(sum(found)))
    relative = np.exp(np.array(nats) - max(nats))
    bits = -np.array(nats) / np.log(2)
    return Posterior(relative / relative.sum(), bits, bits / fitted[first:].size)
