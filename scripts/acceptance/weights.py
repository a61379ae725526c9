"""Numerics of the shipped weights: round trips, and sampled values before any redraw or clamp."""

from __future__ import annotations

import numpy as np
import torch

from scripts.acceptance.models import GIVEN, push_clips, shape_clips, shipped_model
from scripts.acceptance.registry import Figure, Result, measure
from vflow.checkpoint import checkpoint_folder
from vflow.models import VideoFlow
from vflow.pipelines.predict import Counts, PredictSettings, iterate, prepare
from vflow.randomness import normal

ROUND_TRIP_CLIPS = 32
SAMPLED_CONTEXTS, SAMPLED_FUTURES = 16, 32
MEBIBYTE = 2**20

TRIP = {
    "data": Figure("round trip data → latent → data, largest error", "/256", at_most=0.1),
    "latent": Figure("Glow round trip latent → data → latent, largest error", "/256", at_most=0.1),
    "bytes": Figure("bytes that data → latent → data changes", "", at_most=0),
}
SAMPLES = {
    "frames": Figure("sampled frames at T = 1", "", at_least=2000),
    "nonfinite": Figure("non-finite values in them, before any redraw", "", at_most=0),
    "outside": Figure("values over 0.1 grey levels outside the range, before any clamp", "%", at_most=0.1),
}
SIZE = Figure("size of the checkpoint", "MiB", at_most=15)


@measure("A", **TRIP)
def shapes_round_trip() -> Result:
    """32 held-out shapes clips, float32: each target frame given its past is encoded and decoded; and latents
    drawn at T = 1 the other way. Errors in grey levels (1/256), the latent's by the pixel map's slope at the
    most frequent value."""
    return round_trip(shipped_model("shapes"), np.stack(shape_clips(ROUND_TRIP_CLIPS)))


@measure("A", **TRIP)
def push_round_trip() -> Result:
    """As shapes_round_trip, on 32 push test clips of 13 frames."""
    return round_trip(shipped_model("push"), push_clips("test")[:ROUND_TRIP_CLIPS, : GIVEN + 10])


@measure("A", **SAMPLES, size=SIZE)
def shapes_samples() -> Result:
    """16 held-out first frames, 32 futures × 4 frames each at T = 1, seed 1."""
    contexts = [clip[:1] for clip in shape_clips(SAMPLED_CONTEXTS)]
    return samples("shapes", contexts, num_frames=4)


@measure("A", **SAMPLES, size=SIZE)
def push_samples() -> Result:
    """16 test clips, given 3 frames, 32 futures × 10 frames each at T = 1, seed 1."""
    return samples("push", [clip[:GIVEN] for clip in push_clips("test")[:SAMPLED_CONTEXTS]], num_frames=10)


def samples(name: str, contexts: list[np.ndarray], num_frames: int) -> Result:
    """Count values while drawing futures of every context."""
    model = shipped_model(name)
    settings = PredictSettings(num_frames, SAMPLED_FUTURES, 1.0, seed=1)
    counts = Counts()
    for context in contexts:
        for step in iterate(model, prepare(model, context).context, settings):
            last = step.counts
        counts = counts.plus(last)
    weights = checkpoint_folder(name) / "model.safetensors"
    return Result(
        {
            "frames": counts.values / contexts[0][0].size,
            "nonfinite": counts.nonfinite,
            "outside": 100 * counts.out_of_range / counts.values,
            "size": weights.stat().st_size / MEBIBYTE,
        }
    )


@torch.no_grad()
def round_trip(model: VideoFlow, clips: np.ndarray) -> Result:
    """Largest errors over all target frames of ``clips``, uint8 (N, T, H, W, C)."""
    first = model.config.min_context
    frames = torch.from_numpy(clips.transpose(0, 1, 4, 2, 3).copy())
    worst = {"data": 0.0, "latent": 0.0, "bytes": 0.0}
    for t in range(first, frames.shape[1]):
        found = RoundTrip(model, frames[:, :t], frames[:, t]).errors()
        worst = {
            "data": max(worst["data"], found["data"]),
            "latent": max(worst["latent"], found["latent"]),
            "bytes": worst["bytes"] + found["bytes"],
        }
    return Result(worst, note=f"{len(clips)} clips, frames {first} to {frames.shape[1] - 1}")


class RoundTrip:
    """Both round trips of one frame (B, C, H, W) of each clip, given its past (B, t, C, H, W)."""

    def __init__(self, model: VideoFlow, past: torch.Tensor, frame: torch.Tensor) -> None:
        device = next(model.parameters()).device
        past, self.frame = past.to(device), frame.to(device)
        self.model = model
        self.rollout = model.start(past)
        self.features = model._features(self.rollout.history, self.rollout.present)
        self.before = past[:, -1].float() if model.frame_encoder is not None else None
        # One grey level in the Glow's own units: the histogram map has slope 1 at the most frequent value.
        self.level = 1 / 256 if model.config.values == "scaled" else 1.0

    def errors(self) -> dict[str, float]:
        """Largest errors in grey levels, and how many bytes the way there and back changes."""
        x = self.frame.float()
        eps = normal(x.shape, "round trip").to(x.device)
        y = self.model.noise(x, eps, self.model.pixels.mode(self.before, x))[0]
        h = self.model.pixels.transform(y, self.before)[0]
        back = self.model.glow.decode(self.model.glow.encode(h, self.features)[0], self.features)
        y_back = self.model.pixels.invert(back, self.before)[0]
        return {
            "data": float((y_back - y).abs().max()),
            "latent": self.latent_error(),
            "bytes": float((y_back.floor() != x).sum()),
        }

    def latent_error(self) -> float:
        """Largest |encode(decode(z)) − z| for z drawn from the prior at T = 1."""
        glow = self.model.glow
        latents: list[torch.Tensor] = []
        h: torch.Tensor | None = None
        for level in reversed(range(len(self.model.latent_shapes))):
            eps = normal((len(self.frame), *self.model.latent_shapes[level]), "round trip", level)
            prior = self.model.priors[level](self.rollout.history[level], h)
            z = prior.sample(eps.to(self.frame.device), 1.0)
            h = glow.decode_level(level, z, h, self.features[level])
            latents.insert(0, z)
        assert h is not None
        again = glow.encode(h, self.features)[0]
        worst = max(float((a - z).abs().max()) for a, z in zip(again, latents, strict=True))
        return worst / self.level
