"""Futures of held-out clips against what came: fidelity, diversity, faults, time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from vflow.metrics import shapes
from vflow.metrics.frechet import FeatureNetwork, frechet
from vflow.metrics.video import Baselines, best_of, diversity, psnr, ssim
from vflow.pipelines.drawing import Counts
from vflow.pipelines.evaluate.data import Clips
from vflow.pipelines.evaluate.settings import Progress, averaged, per_frame
from vflow.pipelines.fitting import video_config
from vflow.pipelines.predict import PredictSettings, groups
from vflow.pipelines.walks import views

PSNR_LIMIT = 60.0
"""dB that a frame counts as which is hit exactly, so that means stay finite."""
SHOWN = 8
"""Clips on a contact sheet."""
BASELINE_CLIPS = 1000
"""Training clips that baselines are fitted to."""
SHEETS = ("best", "worst", "random")


class Drawn(NamedTuple):
    """Futures uint8 (N, T, H, W, C) of a clip, faults before any redraw or clamp, and seconds taken."""

    frames: np.ndarray
    counts: Counts
    seconds: float


def draw(model: nn.Module, context: np.ndarray, settings: PredictSettings) -> Drawn:
    """What ``vflow predict`` draws of the given frames, which have the model's size."""
    window = np.ascontiguousarray(context[-video_config(model).context :])
    began, counts, parts = time.perf_counter(), Counts(), []
    for group in groups(model, window, settings):
        parts.append(group.frames)
        counts = counts.plus(group.counts)
    return Drawn(np.concatenate(parts), counts, time.perf_counter() - began)


def limited_psnr(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """PSNR per frame, at most 60 dB."""
    return np.minimum(psnr(prediction, target), PSNR_LIMIT)


def fidelity(futures: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """PSNR and SSIM per predicted frame of the best sample, of all samples on average, and of their mean.

    Each measure chooses its best sample once for the clip, by its mean over the frames.
    """
    mean = futures.mean(0)
    figures: dict[str, np.ndarray] = {}
    for name, measure in (("psnr", limited_psnr), ("ssim", ssim)):
        scores = measure(futures, target[None])
        figures[f"{name}_best"] = scores[scores.mean(1).argmax()]
        figures[f"{name}_mean"] = scores.mean(0)
        figures[f"{name}_of_mean"] = measure(mean, target)
    return figures


@dataclass(frozen=True)
class Futures:
    """Figures of futures of all clips, and contact sheets of some."""

    figures: dict[str, Any]
    sheets: dict[str, np.ndarray]


def evaluate_futures(
    model: nn.Module,
    data: Clips,
    clips: Sequence[np.ndarray],
    settings: PredictSettings,
    network: FeatureNetwork | None,
    progress: Progress,
) -> Futures:
    """Draw futures of every clip and compare them with what came."""
    tally = _Tally(data, network)
    for done, clip in enumerate(clips, 1):
        tally.add(clip, draw(model, clip[: data.context], settings))
        progress(done, len(clips))
    return Futures(tally.figures(), tally.sheets())


class _Tally:
    """What is kept of each clip, so that futures need not stay in memory."""

    def __init__(self, data: Clips, network: FeatureNetwork | None) -> None:
        self.data, self.network = data, network
        self.rows: list[dict[str, np.ndarray]] = []
        self.spread: list[float] = []
        self.verdicts: list[list[shapes.Verdict]] = []
        self.features: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self.shown: dict[str, list[np.ndarray]] = {name: [] for name in SHEETS}
        self.counts, self.seconds, self.frames = Counts(), 0.0, 0

    def add(self, clip: np.ndarray, drawn: Drawn) -> None:
        """Measure the futures of one clip."""
        first = self.data.context
        context, target = clip[:first], clip[first : first + self.data.num_frames]
        self.rows.append(fidelity(drawn.frames, target))
        self.spread.append(diversity(drawn.frames))
        self.counts, self.seconds = self.counts.plus(drawn.counts), self.seconds + drawn.seconds
        self.frames += drawn.frames.shape[0] * drawn.frames.shape[1]
        if self.data.places.name == "shapes":
            self.verdicts.append([shapes.judge(context, future) for future in drawn.frames])
        if self.network:
            self.features[0].append(self.network(target))
            self.features[1].append(self.network(drawn.frames.reshape(-1, *target.shape[1:])))
        if len(self.rows) <= SHOWN:
            self._show(context, target, drawn.frames)

    def _show(self, context: np.ndarray, target: np.ndarray, futures: np.ndarray) -> None:
        """Two rows for each sheet: what came, and one future, both after the last given frame."""
        scores = limited_psnr(futures, target[None]).mean(1)
        chosen = {"best": best_of(futures, target)[0], "worst": int(scores.argmin()), "random": 0}
        for name, sample in chosen.items():
            for frames in (target, futures[sample]):
                self.shown[name].append(np.concatenate([context[-1:], frames]))

    def figures(self) -> dict[str, Any]:
        """Means over clips."""
        values = max(1, self.counts.values)
        figures = per_frame(averaged(self.rows).items()) | {
            "diversity": np.mean(self.spread),
            "nonfinite": self.counts.nonfinite,
            "out_of_range": self.counts.out_of_range,
            "out_of_range_share": self.counts.out_of_range / values,
            "redrawn": self.counts.redrawn,
            "sampled_values": self.counts.values,
            "seconds_per_frame": self.seconds / max(1, self.frames),
        }
        return figures | self._directions() | self._frechet()

    def _directions(self) -> dict[str, float]:
        if not self.verdicts:
            return {}
        entropies = [shapes.entropy(verdict.direction for verdict in some) for some in self.verdicts]
        every = [verdict.accepted for some in self.verdicts for verdict in some]
        return {"direction_entropy": float(np.mean(entropies)), "accepted": float(np.mean(every))}

    def _frechet(self) -> dict[str, float]:
        if not self.network:
            return {}
        real, drawn = (np.concatenate(parts) for parts in self.features)
        return {"frechet_on_given_features": frechet(drawn, real)}

    def sheets(self) -> dict[str, np.ndarray]:
        return {name: views.grid(np.stack(rows)) for name, rows in self.shown.items() if rows}


def baselines(data: Clips, clips: Sequence[np.ndarray]) -> dict[str, Any]:
    """PSNR and SSIM of predictors that need no model; without training data, of copying the last frame."""
    last = data.context + data.num_frames
    if data.train is None:
        named = [
            {"copy last": np.broadcast_to(c[data.context - 1], c[data.context : last].shape)} for c in clips
        ]
    else:
        train = (clip[:last] for clip in data.chosen(BASELINE_CLIPS, "train"))
        fitted = Baselines.fit(train, data.context)
        named = [fitted.predict(clip[: data.context]) for clip in clips]
    rows = []
    for clip, predictions in zip(clips, named, strict=True):
        row = {}
        for name, frames in predictions.items():
            shown, target = np.clip(frames, 0, 255), clip[data.context : last]
            row[f"psnr_{_key(name)}"] = limited_psnr(shown, target)
            row[f"ssim_{_key(name)}"] = ssim(shown, target)
        rows.append(row)
    return per_frame(averaged(rows).items())


def _key(name: str) -> str:
    return name.replace("per-pixel ", "").replace(" ", "_")
