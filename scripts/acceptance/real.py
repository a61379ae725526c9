"""Real video: rain radar compared with pysteps, and a humanoid robot's camera."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

import vflow
from scripts.acceptance.models import GIVEN, data, grasp_clips, grasp_windows, loaded, shipped_model, silent
from scripts.acceptance.predictions import one_by_one
from scripts.acceptance.registry import Figure, Result, measure
from scripts.acceptance.weights import SIZE, size
from vflow.data.lossless import bits_after
from vflow.metrics.video import Baselines, fidelity, limited_psnr
from vflow.pipelines.evaluate.latents import video_latent_share
from vflow.pipelines.evaluate.rain import evaluate_rain
from vflow.pipelines.evaluate.report import Settings

FRAMES, FUTURES, AT = 10, 20, 5
WINDOW_EVERY, SHARED_EVERY = 3, 3  # of the 72 windows, and of the windows chosen


@measure(
    "I",
    crps=Figure(
        "rain: CRPS of 20 members relative to STEPS, mean of 5 to 30 minutes", "", at_most=1.0, aim="0.9"
    ),
    csi=Figure("rain: CSI of the ensemble mean at 1 mm/h, relative to STEPS", "", at_least=1.0, aim="1.05"),
    ranks=Figure("rain: share of the two outer ranks at 30 minutes", "", at_most=0.3, aim="0.15"),
    seconds=Figure("rain: time of 20 members × 6 frames relative to STEPS", "", at_most=1.0, aim="0.3"),
    share=Figure("rain: share of the variance of futures due to the flow's latents", at_least=0.8, aim="1"),
    size=SIZE,
)
def rain() -> Result:
    """The test event, 256×256 km, 5 start times; vflow and pysteps see only this square. Both are measured in
    the same run, with the settings of `vflow evaluate`."""
    settings = Settings(data=str(data("rain", "test")), temperature=1.0)
    model: Any = loaded("rain")
    found = evaluate_rain(model, settings, silent).figures
    values = {
        "crps": found["crps_over_steps"],
        "csi": found["csi_1_over_steps"],
        "ranks": found["outer_ranks"],
        "seconds": found["seconds_over_steps"],
        "share": found["latent_share"],
        "size": size("rain"),
    }
    return Result(values, note=f"CRPS {found['crps']:.3f} mm/h, of STEPS {found['steps_crps']:.3f} mm/h")


@measure(
    "I",
    bits=Figure("grasp: bits/dim of 17 frames given 3", "", at_most=2.75, aim="2.4"),
    x264=Figure("grasp: bits/dim of the same frames in lossless x264"),
)
def grasp_bits() -> Result:
    """Every third window of 20 frames of the test episodes; vflow.score, float32; the likelihood is exact."""
    windows = grasp_windows()[::WINDOW_EVERY]
    scores = [vflow.score(shipped_model("grasp"), window, context=GIVEN) for window in windows]
    others = [bits_after(window, GIVEN, "x264") for window in windows]
    return Result(
        {"bits": float(np.mean(scores)), "x264": float(np.mean(others))}, note=f"{len(windows)} windows"
    )


@cache
def _futures() -> list[tuple[np.ndarray, np.ndarray]]:
    """Windows, and 20 futures of each at the suggested temperature."""
    model = shipped_model("grasp")
    windows = grasp_windows()[::WINDOW_EVERY]
    draw = partial(
        vflow.predict, num_frames=FRAMES, num_samples=FUTURES, temperature=model.config.temperature, seed=0
    )
    return [(window, draw(model, window[:GIVEN])) for window in windows]


@measure(
    "I",
    best=Figure(
        "grasp: PSNR of the best of 20 at the suggested temperatures, 5th frame",
        "dB",
        at_least=26.5,
        aim="28",
    ),
    copy=Figure("grasp: PSNR of copying the last frame", "dB"),
    **one_by_one("grasp"),
    blank=Figure("grasp: blank frames among the sampled ones", "", at_most=0),
    frozen=Figure("grasp: frozen frames among them where the true clip moves", "", at_most=0),
    frames=Figure("grasp: sampled frames", "", at_least=1000),
    share=Figure(
        "grasp: share of the variance of futures due to the flow's latents", "", at_least=0.8, aim="1"
    ),
    size=SIZE,
)
def grasp_futures() -> Result:
    """Every third window, given 3 frames; 20 futures × 10 frames; the best of each window is chosen by mean
    PSNR; neighbours are sought in all windows of the training episodes. Blank: all values equal. Frozen:
    equal to the previous frame although the true frame changes. Share of variance: every third of these
    windows."""
    copied, blank, frozen, frames, rows = [], 0, 0, 0, []
    length = GIVEN + FRAMES
    clips = grasp_clips("train")
    fitted = Baselines.fit((c[t : t + length] for c in clips for t in range(len(c) - length + 1)), GIVEN)
    for window, futures in _futures():
        truth = window[GIVEN:length]
        others = fitted.continuations(window[:GIVEN], FUTURES)
        found = [
            *fidelity(limited_psnr, futures, truth).values(),
            fidelity(limited_psnr, others, truth)["best"],
        ]
        rows.append([values[AT - 1] for values in found])
        copied.append(float(limited_psnr(window[GIVEN - 1], truth[AT - 1])))
        before = np.concatenate(
            [np.broadcast_to(window[GIVEN - 1], futures[:, :1].shape), futures[:, :-1]], 1
        )
        moves = (truth != np.concatenate([window[GIVEN - 1 : GIVEN], truth[:-1]])).any((1, 2, 3))
        frozen += int(((futures == before).all((2, 3, 4)) & moves).sum())
        blank += int((futures.reshape(*futures.shape[:2], -1).std(2) == 0).sum())
        frames += futures.shape[0] * futures.shape[1]
    model = shipped_model("grasp")
    contexts = [window[:GIVEN] for window, _ in _futures()[::SHARED_EVERY]]
    temperature = model.config.temperature
    levels = (temperature,) * len(model.latent_shapes) if isinstance(temperature, float) else temperature
    share = video_latent_share(model, contexts, AT, levels)["latent_share"]
    names = ("best", "single", "of_mean", "neighbours")
    values = dict(zip(names, np.mean(rows, 0).tolist(), strict=True))
    values |= {"copy": float(np.mean(copied)), "blank": blank, "frozen": frozen}
    return Result({**values, "frames": frames, "share": share, "size": size("grasp")})
