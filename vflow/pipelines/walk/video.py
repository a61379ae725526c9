"""Walks of VideoFlow: through the noise of the newest frame that is given, and through the future's."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vflow.errors import InputError
from vflow.pipelines.common import augmented_noise, device_of, sample_noise, to_array
from vflow.pipelines.video.predict import fit_context
from vflow.pipelines.video.preprocess import as_clip, to_tensor, video_config
from vflow.pipelines.walk.space import (
    Decoding,
    Kinds,
    Levels,
    Path,
    Point,
    Progress,
    WalkAdapter,
    WalkSettings,
    between,
    exactly,
    refuse_label,
    refuse_nonfinite,
    typical_code,
)
from vflow.randomness import content_hash, normal


@dataclass(frozen=True)
class VideoCondition:
    """Start of a clip: its frames, uint8 (n, C, H, W), the noise of its future, and that noise's scale.

    ``observed``: the walked frame is one of the input's, with the noise that encodes it.
    """

    frames: Tensor
    noise: tuple[Levels, ...]
    temperature: tuple[float, ...]
    observed: bool = False


class VideoAdapter(WalkAdapter):
    """ε of a frame given those before it; a step is shown as a clip: frames given, walked and predicted.

    A walk of the context moves the ε of its last frame, given no more frames than the model needs: the more
    it knew, the less would be open. Where nothing is before it, the first predicted frame takes its place.
    The future is predicted anew from the changed frame, with the noise that ``vflow.predict`` has for
    sample 0 of the unchanged clip.

    Where a latent of its own leads to a frame's reference (``model.has_reference``), a walk of that level
    scales the noise of the frame's pixels by the temperatures, in full from one standard deviation on: that
    noise belongs to the frame's own reference and would make specks on another.
    """

    name = "video"

    def __init__(self, model: Any, settings: WalkSettings) -> None:
        super().__init__(model, settings)
        self.config = video_config(model)
        refuse_label(settings, self.name)

    def extra_kinds(self) -> Kinds:
        return {"temperature": self.temperatures, "blend": self._futures}

    def start(self, inputs: Sequence[Any]) -> Point:
        if not inputs:
            exactly(inputs, 1, "a walk of videos starts from a clip: give one")
        clip = self._clip(inputs[0])
        if len(clip) > self.config.min_context:
            return self._encode(clip, len(clip) - 1)
        condition = self._condition(clip, frames=self.settings.num_frames + 1)
        later = replace(condition, noise=condition.noise[1:])
        if any(t != 1 for t in condition.temperature) and not self.model.scales_noise:
            predicted = np.concatenate([clip, self._predict_first(condition)])
            return Point(self._encode(predicted, len(clip)).eps, later)
        return Point(self.drawn(condition.noise[0]), later)

    def pair(self, inputs: Sequence[Any]) -> tuple[Point, Point]:
        exactly(inputs, 2, "an interpolation goes between two clips: give both")
        clips = [self._clip(item) for item in inputs]
        length, least = min(map(len, clips)), self.config.min_context
        if length <= least:
            raise InputError(
                f"{as_clip(inputs[0]).source}: an interpolation needs clips of {least + 1} frames or more"
            )
        a, b = (self._encode(clip[-length:], least) for clip in clips)
        return a, b

    def mix_conditions(self, a: VideoCondition, b: VideoCondition, t: float) -> VideoCondition:
        """A fade between the given frames; the noise of the future stays."""
        frames = torch.lerp(a.frames.float(), b.frames.float(), t).round().to(torch.uint8)
        return replace(a, frames=frames)

    def decode(self, path: Path) -> Decoding:
        path = self._with_temperature(path)
        temperatures = [condition.temperature for condition in path.conditions]
        groups = [list(rows) for _, rows in groupby(range(len(temperatures)), temperatures.__getitem__)]
        clips = []
        for group, rows in enumerate(groups):
            clips.append((yield from self._clips(path.part(rows[0], rows[-1] + 1), group, len(groups))))
        return torch.cat(clips).permute(0, 1, 3, 4, 2).cpu().numpy()

    def _with_temperature(self, path: Path) -> Path:
        """The same path, its pixel noise scaled by the temperature in walks of the reference latent."""
        settings, last = self.settings, len(path.eps) - 1
        guided = settings.kind in ("direction", "semantic") and self.model.has_reference
        if not guided or settings.level not in (-1, last) or not path.conditions[0].observed:
            return path
        positions = torch.tensor(path.positions, device=path.eps[0].device).abs().clamp_max(1)
        calmer = [
            level * (1 - positions * (1 - min(1.0, temperature))).view(-1, 1, 1, 1)
            for level, temperature in zip(path.eps[:last], self.temperature[:last], strict=True)
        ]
        return path._replace(eps=(*calmer, path.eps[last]))

    def _clips(self, path: Path, group: int, groups: int) -> Generator[Progress, None, Tensor]:
        """Clips of steps that share a temperature, one of ``groups``: uint8 (steps, T, C, H, W)."""
        count = len(self.model.latent_shapes)
        clip = torch.stack([condition.frames for condition in path.conditions])
        frames: list[tuple[Levels, tuple[float, ...]]] = [
            (path.eps[first : first + count], (1.0,) * count) for first in range(0, len(path.eps), count)
        ]
        walked = len(frames)
        for levels in zip(*(condition.noise for condition in path.conditions), strict=True):
            noise = tuple(torch.cat(rows) for rows in zip(*levels, strict=True))
            frames.append((noise, path.conditions[0].temperature))
        for t, (eps, temperature) in enumerate(frames):
            if t == 0:
                rollout = self.model.start(clip[:, -self.config.min_context :])
            if t == walked:  # as predict starts from these frames
                rollout = self.model.start(clip[:, -self.config.context :])
            rollout, sampled = self.model.step(rollout, eps, temperature)
            refuse_nonfinite(sampled.nonfinite, path.positions)
            clip = torch.cat([clip, sampled.frame[:, None]], 1)
            yield Progress(group * len(frames) + t + 1, groups * len(frames))
        return clip

    def temperatures(self, inputs: Sequence[Any]) -> Path:
        """The same future at rising temperatures."""
        exactly(inputs, 1, "a temperature sweep of videos starts from one clip")
        condition, positions = self._condition(self._clip(inputs[0])), self.settings.one_way(1.5)
        count = len(self.model.latent_shapes)
        return Path(positions, [replace(condition, temperature=(t,) * count) for t in positions], ())

    def _futures(self, inputs: Sequence[Any]) -> Path:
        """Path from one future of a clip to another, along the arc of their noise."""
        exactly(inputs, 1, "two futures of one clip are blended")
        clip, positions = self._clip(inputs[0]), self.settings.one_way()
        a, b = (self._condition(clip, sample=sample) for sample in self.settings.samples)
        arcs = [between(one, other, positions) for one, other in zip(a.noise, b.noise, strict=True)]
        rows = [
            tuple(tuple(level[row : row + 1] for level in levels) for levels in arcs)
            for row in range(len(positions))
        ]
        return Path(positions, [replace(a, noise=noise) for noise in rows], ())

    def _clip(self, item: Any) -> np.ndarray:
        """The last frames that can matter, uint8 (T, H, W, C): a full window and the frame after it."""
        clip = as_clip(item)
        fitted, notes = fit_context(self.config, clip)
        self.remark(clip.source, notes)
        return fitted[-self.config.context - 1 :]

    @torch.no_grad()
    def _encode(self, clip: np.ndarray, given: int) -> Point:
        """Noise of the frames after the first ``given``, as ``_clips`` decodes them."""
        condition, content = self._condition(clip), content_hash(clip)
        frames, eps = condition.frames[None], list[Tensor]()
        rollout = self.model.start(frames[:, given - self.config.min_context : given])
        for t in range(given, len(clip)):
            frame = frames[:, t]
            key = "dequantise", self.settings.seed, content, t
            augmented = augmented_noise(self.config, 1, *key)
            encode = partial(
                self.model.encode_frame,
                rollout,
                frame,
                augmented_eps=None if augmented is None else augmented.to(frame.device),
            )
            noise = normal(frame.shape, *key).to(frame.device)
            levels = typical_code(encode, partial(self._decode_frame, rollout), frame, noise)
            rollout, _ = self.model.step(rollout, levels, (1.0,) * len(levels))
            eps += levels
        return Point(tuple(eps), replace(condition, frames=condition.frames[:given], observed=True))

    @torch.no_grad()
    def _predict_first(self, condition: VideoCondition) -> np.ndarray:
        """First frame that ``vflow.predict`` has for sample 0, uint8 (1, H, W, C)."""
        rollout, eps = self.model.start(condition.frames[None]), condition.noise[0]
        sampled = self.model.step(rollout, eps, condition.temperature)[1]
        refuse_nonfinite(sampled.nonfinite, [0.0])
        return to_array(sampled.frame)

    def _decode_frame(self, rollout: Any, eps: Levels) -> Tensor:
        raw: Tensor = self.model.step(rollout, eps, (1.0,) * len(eps))[1].raw
        return raw

    def _condition(self, clip: np.ndarray, *, frames: int | None = None, sample: int = 0) -> VideoCondition:
        """``clip`` and the noise of one of its futures, named as ``vflow.predict`` names it."""
        key = self.settings.seed, content_hash(clip[-self.config.context :])
        times = range(frames or self.settings.num_frames)
        noise = tuple(sample_noise(self.model, key, [sample], t) for t in times)
        return VideoCondition(to_tensor(clip, device_of(self.model)), noise, self.temperature)
