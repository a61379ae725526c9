"""Contribution of the latents of video flows: variance of futures, directions, other sizes."""

from __future__ import annotations

import numpy as np

import vflow
from scripts.acceptance.digits import mnist
from scripts.acceptance.models import GIVEN, push_clips, shape_clips, shipped_model, silent
from scripts.acceptance.predictions import PSNR_AT, PSNR_EVERY, baseline_psnr, futures_psnr
from scripts.acceptance.registry import Result, measure
from vflow.data.datasets.digits import MovingDigits, draw_digits, next_corners
from vflow.metrics.video import ssim
from vflow.models import VideoModel
from vflow.pipelines.evaluate.latents import video_latent_share
from vflow.pipelines.evaluate.shapes import direction_probe
from vflow.pipelines.evaluate.video import mosaic_ratio
from vflow.randomness import generator

SHARED_FRAMES, PROBE_CLIPS, MOSAIC_CLIPS = 4, 4000, 16
SHARED_EVERY = 8  # of the clips of push
DIGIT_CLIPS, DIGIT_GIVEN, DIGIT_FUTURES, DIGIT_AT = 200, 5, 20, 10


def shares(model: VideoModel, contexts: list[np.ndarray]) -> tuple[dict[str, float], str]:
    """Shares of the variance at T = 1: of the latents and of the flow's top two levels; note on all levels.

    Of a flow with augmented dimensions also ``glow``, that of the Glow's levels together.

    Where levels are lattices or wavelets, the top two of the Glow hold strides of 2^(levels − 1) and above.
    """
    temperature = (1.0,) * len(model.latent_shapes)
    found = video_latent_share(model, contexts, SHARED_FRAMES, temperature)
    levels = found["latent_share_by_level"]
    note = ", ".join(f"{name} {value:.3f}" for name, value in levels.items())
    least = 2 ** (model.config.glow.levels - 1)
    strided = {name: value for name, value in levels.items() if name.startswith("stride ")}
    top = [value for name, value in strided.items() if int(name.split()[-1]) >= least]
    values = {"share": found["latent_share"], "top": sum(top or list(levels.values())[-2:])}
    return values | ({"glow": found["glow_share"]} if "glow_share" in found else {}), note


@measure("H")
def shapes_latents() -> Result:
    """Test clips; variance of 8 futures of 4 contexts when parts of the noise are redrawn, T = 1; four tiled
    clips."""
    model, clips = shipped_model("shapes"), shape_clips(MOSAIC_CLIPS)
    values, note = shares(model, [clip[:1] for clip in clips])
    return Result(values | {"mosaic": mosaic_ratio(model, clips, 1, 0)}, note=note)


@measure("H")
def videoflow_latents() -> Result:
    """As shapes_latents."""
    return Result(*shares(shipped_model("videoflow"), [clip[:1] for clip in shape_clips(MOSAIC_CLIPS)]))


@measure("H")
def shapes_probe() -> Result:
    """A probe with one hidden layer, trained on the first target frame's ε of 4,000 training clips; evaluated
    on 800 test clips."""
    return Result({"probe": direction_probe(shipped_model("shapes"), PROBE_CLIPS, "test", silent("probe"))})


@measure("H")
def push_latents() -> Result:
    """Every fourth test clip; 20 futures × 5 frames at the suggested temperatures; the best is chosen by mean
    PSNR over the five frames; baselines are fitted to all training clips. Shares of variance: every eighth of
    these clips."""
    model, clips = shipped_model("push"), push_clips("test")[::PSNR_EVERY]
    bits = float(np.mean([vflow.score(model, clip, context=GIVEN) for clip in clips]))
    chosen = clips[:, : GIVEN + PSNR_AT]
    values, note = shares(model, [clip[:GIVEN] for clip in chosen[::SHARED_EVERY]])
    found = futures_psnr(model, chosen, model.config.temperature)
    baselines, neighbours = baseline_psnr(chosen)
    best, baseline = found["best"], max(baselines.values())
    values |= {"bits": bits, "gain": best - baseline, "alone": found["nearest"] - baseline}
    return Result(
        {**found, **values, "neighbours": neighbours},
        note=f"{note}; best of 20 {best:.2f} dB, best baseline {baseline:.2f}, {len(chosen)} clips",
    )


@measure("H")
def moving_digits_bound() -> Result:
    """Futures as the data are made, of 200 test clips: given 5 frames, digits, corners and the law of motion
    are known, and what is still open (the velocity after each wall) is drawn 20 times. The best is chosen by
    mean SSIM over ten frames. No model of this data ships."""
    mnist(train=False)
    data = MovingDigits(frames=DIGIT_GIVEN + DIGIT_AT, channels=1, split="test")
    best, alone, black = [], [], []
    for index in range(DIGIT_CLIPS):
        digits, corners = data.parts(index, (0,))
        truth = draw_digits(digits, corners[:, DIGIT_GIVEN:])
        random = generator("moving-digits-bound", index)
        futures = [
            draw_digits(
                digits, np.stack([next_corners(c, DIGIT_AT, random) for c in corners[:, :DIGIT_GIVEN]])
            )
            for _ in range(DIGIT_FUTURES)
        ]
        scores = ssim(np.stack(futures), truth)
        best.append(scores[scores.mean(1).argmax(), -1])
        alone.append(scores[:, -1].max())
        black.append(ssim(np.zeros_like(truth[-1]), truth[-1]))
    values = {"best": best, "alone": alone, "black": black}
    return Result({name: float(np.mean(found)) for name, found in values.items()})
