"""Futures of held-out clips against what came: fidelity, diversity, faults, time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vflow.config import ConvolutionalVideoConfig
from vflow.data.datasets.folder import VideoFolder
from vflow.data.lossless import CODECS, bits_after, stored_bits
from vflow.metrics import shapes
from vflow.metrics.video import (
    FIFTH,
    PSNR_LIMIT,
    STILL,
    Baselines,
    Measure,
    at_fifth,
    best_of,
    diversity,
    faulty,
    fidelity,
    gradient_energy,
    limited_psnr,
    moved,
    ssim,
)
from vflow.models import VideoBatch, VideoModel
from vflow.optical_flow import MIN_SIDE, extrapolate
from vflow.pipelines.common import Counts, augmented_noise, device_of
from vflow.pipelines.evaluate.actions import PROTOCOL as PLANS
from vflow.pipelines.evaluate.actions import listening_figures
from vflow.pipelines.evaluate.data import USUAL_CLIPS, Clips, open_clips, spread_clips
from vflow.pipelines.evaluate.latents import MOST_FRAMES, PROTOCOL, video_latent_share
from vflow.pipelines.evaluate.report import (
    Evaluation,
    Progress,
    Samples,
    Settings,
    Stage,
    fault_figures,
    mean_rows,
    per_frame,
    scan_temperatures,
)
from vflow.pipelines.evaluate.round_trip import round_trip
from vflow.pipelines.evaluate.shapes import blends_accepted, direction_probe, region_bits
from vflow.pipelines.video.predict import groups
from vflow.pipelines.video.preprocess import to_tensor, video_config
from vflow.pipelines.video.score import density, frame_nats, score, scores
from vflow.pipelines.walk import render as views
from vflow.randomness import content_hash, generator, normal
from vflow.tasks.video.settings import PredictSettings

MOSAICS = 4
"""Mosaics of four clips each that are scored."""
CHECKED = 8
"""Clips that are also scored shuffled, and clips of noise."""
ROUND_TRIP_CLIPS = 8
WINDOWS = 32
"""Windows that actions are judged on."""
SOURCES = 64
"""Source files whose own size is looked at."""
SHOWN = 8
"""Clips on a contact sheet."""
MEASURES: dict[str, Measure] = {"psnr": limited_psnr, "ssim": ssim}
BASELINE_CLIPS = 1000
"""Training clips that baselines are fitted to."""
SHEETS = ("best", "worst", "random")
SHARPNESS_AT = (5, 10)
"""Predicted frames whose gradients are compared with the true frames'."""


def draw(model: nn.Module, context: np.ndarray, settings: PredictSettings) -> Samples:
    """Futures (N, T, H, W, C) that ``vflow predict`` draws of given frames, which have the model's size."""
    window = np.ascontiguousarray(context[-video_config(model).context :])
    return Samples.draw((group.frames, group.counts) for group in groups(model, window, settings))


def compared(futures: np.ndarray, target: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    """PSNR and SSIM of futures as ``fidelity`` has them: ``psnr_PREFIXbest`` per frame, and so on."""
    return {
        f"{name}_{prefix}{key}": values
        for name, measure in MEASURES.items()
        for key, values in fidelity(measure, futures, target).items()
    }


class _Figures:
    """Running figures of all clips, so that futures need not stay in memory."""

    def __init__(self, data: Clips) -> None:
        self.data = data
        self.rows: list[dict[str, np.ndarray]] = []
        self.fifth: list[dict[str, float]] = []
        self.energies: list[np.ndarray] = []
        self.faulty: list[np.ndarray] = []
        self.spread: list[float] = []
        self.verdicts: list[list[shapes.Verdict]] = []
        self.shown: dict[str, list[np.ndarray]] = {name: [] for name in SHEETS}
        self.counts, self.seconds, self.frames = Counts(), 0.0, 0

    def add(self, clip: np.ndarray, drawn: Samples) -> None:
        """Measure the futures of one clip."""
        first = self.data.context
        context, target = clip[:first], clip[first : first + self.data.num_frames]
        self.rows.append(compared(drawn.images, target))
        self.spread.append(diversity(drawn.images))
        self._compare_film(context, target, drawn.images)
        self.counts, self.seconds = self.counts.plus(drawn.counts), self.seconds + drawn.seconds
        self.frames += drawn.images.shape[0] * drawn.images.shape[1]
        if self.data.places.name == "shapes":
            self.verdicts.append([shapes.judge(context, future) for future in drawn.images])
        if len(self.rows) <= SHOWN:
            self._show(context, target, drawn.images)

    def _compare_film(self, context: np.ndarray, target: np.ndarray, futures: np.ndarray) -> None:
        """Figures for film of any kind: the fifth frame, sharpness, and frames that are at fault."""
        if len(target) >= FIFTH:
            self.fifth.append(at_fifth(futures, target, simple_futures(context, len(target))))
        at = [frame - 1 for frame in SHARPNESS_AT if frame <= len(target)]
        if at:
            where = moved(context[-1], target[at])
            of_futures = gradient_energy(futures[:, at], where).mean(0)
            self.energies.append(np.stack([of_futures, gradient_energy(target[at], where)]))
        self.faulty.append(faulty(futures, context[-1], target).mean((1, 2)))

    def _show(self, context: np.ndarray, target: np.ndarray, futures: np.ndarray) -> None:
        """Two rows for each sheet: what came, and one future, both after the last given frame."""
        scores = limited_psnr(futures, target[None]).mean(1)
        chosen = {"best": best_of(futures, target)[0], "worst": int(scores.argmin()), "random": 0}
        for name, sample in chosen.items():
            for frames in (target, futures[sample]):
                self.shown[name].append(np.concatenate([context[-1:], frames]))

    def figures(self) -> dict[str, Any]:
        """Means over clips."""
        figures = per_frame(mean_rows(self.rows).items()) | {
            "diversity": np.mean(self.spread),
            "seconds_per_frame": self.seconds / max(1, self.frames),
        }
        return figures | self._film() | self._directions()

    def _film(self) -> dict[str, Any]:
        shares = np.mean(self.faulty, 0)
        found: dict[str, Any] = dict(zip(("blank_share", "frozen_share", "noise_share"), shares, strict=True))
        if self.energies:
            drawn, true = np.sum(self.energies, 0)
            for frame, ratio in zip(SHARPNESS_AT, drawn / np.maximum(true, 1), strict=False):
                found[f"gradient_energy_{frame}"] = float(ratio)
        if self.fifth:
            moving = [row for row in self.fifth if row["copy_last"] <= STILL]
            found["still_clips"] = len(self.fifth) - len(moving)
            for name in moving[0] if moving else ():
                found[f"psnr_fifth_{name}"] = float(np.mean([row[name] for row in moving]))
        return found

    def _directions(self) -> dict[str, float]:
        if not self.verdicts:
            return {}
        entropies = [shapes.entropy(verdict.direction for verdict in some) for some in self.verdicts]
        every = [verdict.accepted for some in self.verdicts for verdict in some]
        return {"direction_entropy": float(np.mean(entropies)), "accepted": float(np.mean(every))}

    def sheets(self) -> dict[str, np.ndarray]:
        return {name: views.grid(np.stack(rows)) for name, rows in self.shown.items() if rows}


def simple_futures(context: np.ndarray, num_frames: int) -> dict[str, np.ndarray]:
    """Futures (T, H, W, C) of predictors that need no training: a copy, and the last motion going on.

    The latter, by optical flow, takes two frames of 16 pixels a side.
    """
    found = {"copy_last": np.broadcast_to(context[-1], (num_frames, *context.shape[1:]))}
    if len(context) > 1 and min(context.shape[1:3]) >= MIN_SIDE:
        found["optical_flow"] = extrapolate(context, num_frames)
    return found


def baselines(data: Clips, clips: Sequence[np.ndarray], num_samples: int) -> dict[str, Any]:
    """PSNR and SSIM of predictors that need no model; without training data, of ``simple_futures`` alone.

    Those with many futures, of which ``num_samples`` are taken, are compared as the model's are.
    """
    last, fitted = data.context + data.num_frames, None
    if data.train is not None:
        train = (clip[:last] for clip in spread_clips(data.train, BASELINE_CLIPS))
        fitted = Baselines.fit(train, data.context)
    rows = []
    for clip in clips:
        context, target = clip[: data.context], clip[data.context : last]
        named, row = simple_futures(context, len(target)), {}
        if fitted is not None:
            named |= fitted.predict(context)
            row = compared(fitted.continuations(context, num_samples), target, "neighbours_")
        for name, frames in named.items():
            for key, measure in MEASURES.items():
                row[f"{key}_{name}"] = measure(np.clip(frames, 0, 255), target)
        rows.append(row)
    return per_frame(mean_rows(rows).items())


NUM_SAMPLES = 20
TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
TUNING_CLIPS = 16


def evaluate_video(model: VideoModel, settings: Settings, stage: Stage) -> Evaluation:
    """All figures of a video model.

    Raises:
        ConfigError, InputError: no such data, or settings that do not fit it.
    """
    config = video_config(model)
    if model.exact:
        settings = replace(settings, num_importance_samples=1)  # no noise to draw
    data = open_clips(settings, config)
    clips = data.chosen(settings.count(len(data.held), USUAL_CLIPS))
    drawing = _drawing(settings, data)
    temperature = drawing.levels(len(model.latent_shapes))
    figures = clip_bits(
        model, clips, data.context, settings.num_importance_samples, settings.seed, stage("bits/dim")
    )
    running, progress = _Figures(data), stage("futures")
    for done, clip in enumerate(clips, 1):
        running.add(clip, draw(model, clip[: data.context], drawing))
        progress(done, len(clips))
    figures |= running.figures() | fault_figures(model, running.counts)
    stage("latents")
    contexts = [clip[max(0, data.context - config.context) : data.context] for clip in clips]
    figures |= video_latent_share(model, contexts, data.num_frames, temperature)
    if data.places.name == "shapes":
        figures |= _shapes_figures(model, clips, data, settings, stage)
    if config.actions and isinstance(data.held, VideoFolder):
        count, progress = settings.count(WINDOWS, WINDOWS), stage("actions")
        figures |= listening_figures(model, data.held, count, drawing, progress)
    stage("baselines and codecs")
    figures |= baselines(data, clips, drawing.num_samples)
    figures |= codecs(clips, data.context, _sources(data))
    figures["bits_over_x264"] = figures["bits_per_dim"] / figures["bits_per_dim_x264"]
    stage("checks")
    if isinstance(config, ConvolutionalVideoConfig) and len(clips) >= 4:
        figures["mosaic_bits_ratio"] = mosaic_ratio(model, clips, data.context, settings.seed)
    figures |= checks(model, clips, data.context, settings.seed)
    figures |= round_trip(model, clip_batches(model, clips[:ROUND_TRIP_CLIPS]))
    protocol = _protocol(settings, data, clips, drawing) | {"noise": config.noise}
    if config.actions:
        protocol["actions"] = PLANS
    protocol["latent_share"] = f"{PROTOCOL}, up to {MOST_FRAMES} frames"
    if data.places.name == "shapes":
        protocol["probe_clips"] = settings.probes
    return Evaluation(figures, protocol, running.sheets())


def _shapes_figures(
    model: VideoModel, clips: Sequence[np.ndarray], data: Clips, settings: Settings, stage: Stage
) -> dict[str, Any]:
    """Figures that ``shapes`` alone allows."""
    figures: dict[str, Any] = region_bits(model, clips, data.context, settings.seed)
    if isinstance(settings.temperature, float):
        contexts, temperature = [clip[: data.context] for clip in clips], settings.temperature
        found = blends_accepted(model, contexts, data.num_frames, temperature, settings.seed)
        figures["accepted_between"] = found
    if settings.probes:
        progress = stage("direction probe")
        figures["direction_probe"] = direction_probe(model, settings.probes, settings.split, progress)
    return figures


def tune_video(model: nn.Module, settings: Settings, stage: Stage) -> dict[float, float]:
    """Temperature → best-of-N PSNR on validation clips; the highest is the best.

    Raises:
        ConfigError: no training data, of which validation is a part.
    """
    data = open_clips(replace(settings, split="validation"), video_config(model))
    clips = data.chosen(settings.count(TUNING_CLIPS, TUNING_CLIPS))

    def best_psnr(temperature: float) -> float:
        drawing, scores = _drawing(replace(settings, temperature=temperature), data), []
        for clip in clips:
            target = clip[data.context : data.context + data.num_frames]
            futures = draw(model, clip[: data.context], drawing).images
            scores.append(limited_psnr(futures, target[None]).mean(1).max())
        return float(np.mean(scores))

    return scan_temperatures(TEMPERATURES, best_psnr, stage)


def clip_batches(model: nn.Module, clips: Sequence[np.ndarray]) -> Iterator[VideoBatch]:
    """A batch per clip: each frame given its past, with noise of its own."""
    config, device = video_config(model), device_of(model)
    first = config.min_context
    for number, clip in enumerate(clips):
        frames = to_tensor(clip, device)[None]
        eps = normal((1, len(clip) - first, *frames.shape[2:]), "round trip", number).to(device)
        window = torch.arange(first, len(clip), device=device).clamp_max(config.context)[None]
        augmented = augmented_noise(config, len(clip) - first, "round trip", number)
        yield VideoBatch(
            frames, eps, window, augmented_eps=None if augmented is None else augmented[None].to(device)
        )


def clip_bits(
    model: nn.Module, clips: Sequence[np.ndarray], context: int, draws: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Mean bits/dim of the frames after the first ``context``, with K = 1 and K = ``draws``.

    The same as ``vflow score --context`` on each clip, averaged; ``bits_per_dim_ordered``, of the clips that
    ``checks`` looks at.
    """
    single, tight = [], []
    for done, clip in enumerate(clips, 1):
        found = scores(model, clip, sorted({1, draws}), context=context, seed=seed)
        single.append(found[0])
        tight += found[1:]
        progress(done, len(clips))
    frames = np.array([one.per_frame[context:] for one in single], float)
    figures: dict[str, Any] = {"bits_per_dim": np.mean(single), "bits_per_dim_per_frame": frames.mean(0)}
    if tight:
        figures[f"bits_per_dim_k{draws}"] = np.mean(tight)
    return figures | {"bits_per_dim_ordered": float(np.mean(single[:CHECKED]))}


def mosaic_ratio(model: VideoModel, clips: Sequence[np.ndarray], context: int, seed: int) -> float:
    """Bits/dim of frames twice as high and wide, made of four clips' frames, over the mean of the four."""
    whole, parts = 0.0, 0.0
    for first in range(0, 4 * min(MOSAICS, len(clips) // 4), 4):
        four = clips[first : first + 4]
        rows = [np.concatenate(four[row : row + 2], 2) for row in (0, 2)]
        whole += _nats(model, np.concatenate(rows, 1), context, seed)
        parts += sum(_nats(model, clip, context, seed) for clip in four)
    return whole / parts


def _nats(model: VideoModel, clip: np.ndarray, context: int, seed: int) -> float:
    key = (seed, content_hash(clip), 0)
    return float(frame_nats(density(model, clip, range(context, len(clip)), key)).sum())


def checks(model: nn.Module, clips: Sequence[np.ndarray], context: int, seed: int) -> dict[str, float]:
    """Bits/dim of a few clips shuffled, and of uniform noise, which takes 8 or more."""
    some = clips[:CHECKED]
    noise = [
        generator("noise frames", number).integers(0, 256, clip.shape, dtype=np.uint8)
        for number, clip in enumerate(some)
    ]
    mixed = [_shuffled(number, clip) for number, clip in enumerate(some)]
    named = {"shuffled": mixed, "noise_frames": noise}
    return {
        f"bits_per_dim_{name}": float(np.mean([score(model, x, context=context, seed=seed) for x in some]))
        for name, some in named.items()
    }


def _shuffled(number: int, clip: np.ndarray) -> np.ndarray:
    """Frames in another order, never their own."""
    order = generator("shuffled frames", number).permutation(len(clip))
    if len(clip) > 1 and np.array_equal(order, np.arange(len(clip))):
        order = np.roll(order, 1)
    return clip[order]


def codecs(clips: Sequence[np.ndarray], context: int, sources: Sequence[Path]) -> dict[str, float | None]:
    """Bits per value of the same frames in lossless codecs, and of lossy source files at their own size."""
    figures: dict[str, float | None] = {
        f"bits_per_dim_{codec}": float(np.mean([bits_after(clip, context, codec) for clip in clips]))
        for codec in CODECS
    }
    stored = [bits for path in sources[:SOURCES] if (bits := stored_bits(path)) is not None]
    return figures | {"bits_per_value_of_lossy_sources": float(np.mean(stored)) if stored else None}


def _drawing(settings: Settings, data: Clips) -> PredictSettings:
    return PredictSettings(num_frames=data.num_frames, **settings.sampling(NUM_SAMPLES))


def _sources(data: Clips) -> Sequence[Path]:
    """Files of a folder's clips."""
    if not isinstance(data.held, VideoFolder):
        return ()
    return [path for name in data.held.names if (path := data.held.path / name).is_file()]


def _protocol(
    settings: Settings, data: Clips, clips: Sequence[np.ndarray], drawing: PredictSettings
) -> dict[str, Any]:
    return {
        "data": data.places.name if data.places.test is None else settings.data,
        "split": settings.split,
        "clips": len(clips),
        "clips_available": len(data.held),
        "context": data.context,
        "scored_frames": data.frames - data.context,
        "num_frames": drawing.num_frames,
        "num_samples": drawing.num_samples,
        "temperature": drawing.temperature,
        "draws": sorted({1, settings.num_importance_samples}),
        "best": "chosen once per clip, by the mean over its frames, for PSNR and for SSIM",
        "psnr_limit": PSNR_LIMIT,
        "fifth": f"best by the squared error of frames 1 to 5; copies over {STILL:g} dB left out",
        "gradient_energy": "of futures over the truth's, where it has moved",
        "neighbours": "changes after the training frames nearest to the last given one, added to it",
        "baseline_clips": min(BASELINE_CLIPS, len(data.train)) if data.train is not None else 0,
        "codecs": "RGB, packets of all frames less those of the given ones; x264 veryslow, ffv1 level 3",
    }
