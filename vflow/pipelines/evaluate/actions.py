"""Figures of how much a video model listens to actions: bits, plans told apart, variance they decide."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vflow.data.datasets.folder import VideoFolder
from vflow.metrics.video import FIFTH, at_fifth
from vflow.models import VideoModel
from vflow.pipelines.common import evenly_spaced
from vflow.pipelines.evaluate.report import Progress
from vflow.pipelines.video.predict import groups
from vflow.pipelines.video.score import density, frame_nats, segments
from vflow.randomness import content_hash, generator
from vflow.tasks.video.settings import PredictSettings

SCORED = 17
"""Frames that are scored after those given."""
STRIDE = 20
"""Frames from the start of one window to that of the next."""
OTHERS = 9
"""Plans of other clips beside the true one."""
SHARED_PLANS, SHARED_SAMPLES = 6, 8
"""Plans, and futures of each, that the share of variance comes from."""
PROTOCOL = (
    f"windows of {SCORED} frames after those given, {STRIDE} frames apart; other plans: of other held-out "
    "clips at the same phase, moved so that their last given row is the true one; shuffled: in time, after it"
)


class Window(NamedTuple):
    """Part of a held-out clip, with plans for its frames.

    frames: uint8 (T, H, W, C). true: float32 (T, A). others: the same of other clips, after the given frames.
    """

    frames: np.ndarray
    true: np.ndarray
    others: list[np.ndarray]


def windows(data: VideoFolder, given: int, count: int) -> list[Window]:
    """``count`` windows of a folder's clips, evenly spread."""
    length = given + SCORED
    clips = {name: clip for name in data.names if (clip := data.whole(name)) is not None}
    places = [
        (name, start)
        for name, (frames, _) in clips.items()
        for start in range(0, len(frames) - length + 1, STRIDE)
    ]
    found = []
    for index in evenly_spaced(len(places), count) if places else ():
        name, start = places[index]
        frames, rows = clips[name]
        phase, true = start / max(1, len(frames) - length), rows[start : start + length]
        others: list[np.ndarray] = []
        for other, (_, plan) in clips.items():
            if other != name and len(plan) >= length and len(others) < OTHERS:
                first = round(phase * (len(plan) - length))
                moved = plan[first : first + length] - plan[first + given - 1] + true[given - 1]
                others.append(np.concatenate([true[:given], moved[given:]]))
        found.append(Window(frames[start : start + length], true, others))
    return found


def listening_figures(
    model: VideoModel, data: VideoFolder, count: int, settings: PredictSettings, progress: Progress
) -> dict[str, Any]:
    """Figures of how much the model listens, over ``count`` windows; see ``PROTOCOL``.

    Futures are drawn as ``settings`` say, with the true plan and without one, from the same noise.
    """
    given = model.config.context
    bits, right, gains, shares = [], [], [], []
    chosen = windows(data, given, count)
    if not chosen:
        return {"actions_windows": 0}  # no clip is as long
    for number, window in enumerate(chosen):
        shuffled = window.true.copy()
        generator("shuffled actions", number).shuffle(shuffled[given:])
        plans = [None, shuffled, window.true, *window.others]
        found = [window_bits(model, window.frames, plan, given, settings.seed) for plan in plans]
        bits.append([*found[:3], float(np.mean(found[3:])) if window.others else np.nan])
        right.append(float(np.argmin(found[2:]) == 0))
        gains.append(_gains(model, window, given, settings))
        if number < SHARED_PLANS:
            shares.append(_plan_share(model, window, given, settings))
        progress(number + 1, len(chosen))
    without, shuffled_bits, true, other = np.mean(bits, 0)
    best, mean = np.mean(gains, 0)
    return {
        "actions_windows": len(chosen),
        "bits_per_dim_true_plan": true,
        "bits_per_dim_no_plan": without,
        "bits_per_dim_other_plan": other,
        "bits_per_dim_shuffled_plan": shuffled_bits,
        "true_over_no_plan": true / without - 1,
        "true_over_other_plan": true / other - 1,
        "true_over_shuffled_plan": true / shuffled_bits - 1,
        "plans_to_choose_from": 1 + len(chosen[0].others),
        "plans_told_apart": np.mean(right),
        "db_gained_best": best,
        "db_gained_mean": mean,
        "plan_share": np.mean(shares, 0),
    }


def window_bits(
    model: VideoModel, frames: np.ndarray, plan: np.ndarray | None, given: int, seed: int
) -> float:
    """Bits/dim of the frames after the first ``given``, given a plan or none."""
    key = (seed, content_hash(frames), 0)
    nats = [
        frame_nats(density(model, frames, targets, key, plan)).sum()
        for targets in segments(given, len(frames))
    ]
    return -float(sum(nats)) / (np.log(2) * frames[given:].size)


def _drawn(
    model: VideoModel, window: Window, plan: np.ndarray | None, settings: PredictSettings
) -> np.ndarray:
    context = np.ascontiguousarray(window.frames[: len(window.frames) - SCORED])
    return np.concatenate([group.frames for group in groups(model, context, settings, actions=plan)])


def _gains(model: VideoModel, window: Window, given: int, settings: PredictSettings) -> tuple[float, float]:
    """Decibels at the fifth frame that the true plan gains: best of all futures, and one on average."""
    target, ahead = window.frames[given:], settings.model_copy(update={"num_frames": FIFTH})
    found = [at_fifth(_drawn(model, window, plan, ahead), target, {}) for plan in (window.true, None)]
    return found[0]["best"] - found[1]["best"], found[0]["mean"] - found[1]["mean"]


def _plan_share(model: VideoModel, window: Window, given: int, settings: PredictSettings) -> np.ndarray:
    """Share of the variance of futures' frames 1 to 5 that the plan decides, float64 (5,).

    The variance between plans' means, less what the noise within plans adds to it, over the variance of all.
    """
    ahead = settings.model_copy(update={"num_frames": FIFTH, "num_samples": SHARED_SAMPLES})
    plans = [window.true, *window.others][:SHARED_PLANS]
    futures = np.stack([_drawn(model, window, plan, ahead) for plan in plans]).astype(np.float32)
    within = futures.var(1, ddof=1).mean(0)  # over samples, then plans: (T, H, W, C)
    between = np.maximum(futures.mean(1).var(0, ddof=1) - within / SHARED_SAMPLES, 0)
    axes = (1, 2, 3)
    share: np.ndarray = between.sum(axes) / np.maximum(between.sum(axes) + within.sum(axes), 1e-9)
    return share
