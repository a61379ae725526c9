"""Evaluation of models that predict video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vflow.data.video_folder import VideoFolder
from vflow.metrics.frechet import FeatureNetwork
from vflow.pipelines.evaluate.data import USUAL_CLIPS, Clips, open_clips
from vflow.pipelines.evaluate.futures import (
    BASELINE_CLIPS,
    PSNR_LIMIT,
    baselines,
    draw,
    evaluate_futures,
    limited_psnr,
)
from vflow.pipelines.evaluate.likelihood import checks, clip_bits, codecs
from vflow.pipelines.evaluate.numerics import clips_round_trip
from vflow.pipelines.evaluate.settings import Evaluation, Progress, Settings
from vflow.pipelines.fitting import video_config
from vflow.pipelines.predict import PredictSettings

NUM_SAMPLES = 20
TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
TUNING_CLIPS = 16
Stage = Callable[[str], Progress]
"""Names what is being done; returns what is told of its progress."""


def evaluate_video(model: nn.Module, settings: Settings, stage: Stage) -> Evaluation:
    """All figures of a video model.

    Raises:
        ConfigError, InputError: no such data, or settings that do not fit it.
    """
    config = video_config(model)
    data = open_clips(settings, config)
    clips = data.chosen(settings.count(len(data.held), USUAL_CLIPS))
    network = FeatureNetwork(settings.features) if settings.features else None
    drawing = _drawing(settings, data)
    drawing.levels(len(model.latent_shapes))  # type: ignore[arg-type]
    figures = clip_bits(model, clips, data.context, settings.draws, settings.seed, stage("bits/dim"))
    futures = evaluate_futures(model, data, clips, drawing, network, stage("futures"))
    figures |= futures.figures
    stage("baselines and codecs")
    figures |= baselines(data, clips)
    figures |= codecs(clips, data.context, _sources(data))
    stage("checks")
    figures |= checks(model, clips, data.context, settings.seed)
    figures |= clips_round_trip(model, clips)
    protocol = _protocol(settings, data, clips, drawing) | {"noise": config.noise}
    if network:
        protocol["features"] = network.protocol() | {
            "real": len(clips) * data.num_frames, "drawn": len(clips) * data.num_frames * drawing.num_samples
        }  # fmt: skip
    return Evaluation(figures, protocol, futures.sheets)


def tune_video(model: nn.Module, settings: Settings, stage: Stage) -> dict[float, float]:
    """Temperature → best-of-N PSNR on validation clips; the highest is the best.

    Raises:
        ConfigError: no training data, of which validation is a part.
    """
    data = open_clips(settings, video_config(model), tuning=True)
    clips = data.chosen(settings.count(TUNING_CLIPS, TUNING_CLIPS), "validation")
    found, progress = {}, stage("temperature")
    for done, temperature in enumerate(TEMPERATURES, 1):
        drawing = PredictSettings(
            data.num_frames, settings.num_samples or NUM_SAMPLES, temperature, settings.seed
        )
        scores = []
        for clip in clips:
            target = clip[data.context : data.context + data.num_frames]
            drawn = draw(model, clip[: data.context], drawing)
            scores.append(limited_psnr(drawn.frames, target[None]).mean(1).max())
        found[temperature] = float(np.mean(scores))
        progress(done, len(TEMPERATURES))
    return found


def _drawing(settings: Settings, data: Clips) -> PredictSettings:
    samples = settings.num_samples or NUM_SAMPLES
    return PredictSettings(data.num_frames, samples, settings.temperature, settings.seed)


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
        "draws": [1, settings.draws] if settings.draws > 1 else [1],
        "best": "chosen once per clip, by the mean over its frames, for PSNR and for SSIM",
        "psnr_limit": PSNR_LIMIT,
        "baseline_clips": min(BASELINE_CLIPS, len(data.train)) if data.train is not None else 0,
        "codecs": "RGB, packets of all frames less those of the given ones; x264 veryslow, ffv1 level 3",
    }
