"""Real video: rain radar compared with pysteps, and a humanoid robot's camera."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

import vflow
from scripts.acceptance.models import (
    GIVEN,
    data,
    evaluated,
    grasp_clips,
    grasp_windows,
    loaded,
    shipped_model,
    size,
)
from scripts.acceptance.registry import Result, measure
from vflow.data.lossless import bits_after
from vflow.metrics.video import Baselines, fidelity, limited_psnr
from vflow.pipelines.evaluate.latents import video_latent_share
from vflow.pipelines.evaluate.report import Settings, mean_rows

FRAMES, FUTURES, AT = 10, 20, 5
WINDOW_EVERY, SHARED_EVERY = 3, 3  # of the 72 windows, and of the windows chosen


@measure("I")
def rain() -> Result:
    """The test event, 256×256 km, 5 start times; vflow and pysteps see only this square. Both are measured in
    the same run, with the settings of `vflow evaluate` and the suggested temperatures."""
    model = loaded("rain")
    settings = Settings(data=str(data("rain", "test")), temperature=model.config.temperature)
    found = evaluated(model, settings)
    added = {"size": size("rain"), "power": found["power_over_observed"]["2-4"]}
    note = f"CRPS {found['crps']:.3f} mm/h, of STEPS {found['steps_crps']:.3f} mm/h"
    return Result(found | added, note=note)


@measure("I")
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


@measure("I")
def grasp_futures() -> Result:
    """Every third window, given 3 frames; 20 futures × 10 frames; the best of each window is chosen by mean
    PSNR; neighbours are sought in all windows of the training episodes. Blank: all values equal. Frozen:
    equal to the previous frame although the true frame changes. Share of variance: every third of these
    windows."""
    blank, frozen, frames, rows = 0, 0, 0, []
    length = GIVEN + FRAMES
    clips = grasp_clips("train")
    fitted = Baselines.fit((c[t : t + length] for c in clips for t in range(len(c) - length + 1)), GIVEN)
    for window, futures in _futures():
        truth = window[GIVEN:length]
        others = fitted.continuations(window[:GIVEN], FUTURES)
        found = fidelity(limited_psnr, futures, truth)
        found["neighbours"] = fidelity(limited_psnr, others, truth)["best"]
        found["copy"] = limited_psnr(window[GIVEN - 1], truth)
        rows.append({name: values[AT - 1] for name, values in found.items()})
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
    values = {name: float(value) for name, value in mean_rows(rows).items()}
    values |= {"blank": blank, "frozen": frozen, "frames": frames, "share": share, "size": size("grasp")}
    return Result(values)
