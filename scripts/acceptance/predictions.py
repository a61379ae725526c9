"""Likelihood and samples of the shipped video models on held-out clips."""

from __future__ import annotations

from collections import Counter

import numpy as np

import vflow
from scripts.acceptance.models import GIVEN, push_clips, shape_clips, shipped_model
from scripts.acceptance.registry import Result, measure
from vflow.metrics.shapes import entropy, judge
from vflow.metrics.video import Baselines, fidelity, limited_psnr
from vflow.models import VideoModel

SCORED_SHAPES = 256
CONTEXTS, FUTURES = 16, 64
PSNR_FRAMES, PSNR_SAMPLES, PSNR_AT = 10, 20, 5
PSNR_EVERY = 4  # test clips: 64 instead of 256 take a quarter of the time
FIT_STARTS = range(0, 8, 2)  # first frames of the windows of training clips that baselines are fitted to


@measure("A")
def shapes_bits() -> Result:
    """256 test clips, evenly distributed over shapes and directions; vflow.score, K = 1, seed 0, float32."""
    return bits_of_shapes("shapes")


@measure("A")
def shapes_guided_bits() -> Result:
    """As shapes_bits."""
    return bits_of_shapes("shapes-guided")


@measure("A")
def videoflow_bits() -> Result:
    """As shapes_bits."""
    return bits_of_shapes("videoflow")


def bits_of_shapes(name: str) -> Result:
    """bits/dim of a checkpoint over 4 frames given 1."""
    model = shipped_model(name)
    scores = [vflow.score(model, clip, context=1) for clip in shape_clips(SCORED_SHAPES)]
    noise = "exact" if model.exact else f"{model.config.noise} dequantisation noise"
    return Result({"bits": float(np.mean(scores))}, note=f"{noise}, {len(scores)} clips")


@measure("A")
def shapes_futures() -> Result:
    """16 first frames of test clips with different shapes, 64 futures × 4 frames each at T = 1, seed 0;
    tracked by vflow.metrics.shapes."""
    return futures_of_shapes("shapes")


@measure("A")
def shapes_guided_futures() -> Result:
    """As shapes_futures."""
    return futures_of_shapes("shapes-guided")


@measure("A")
def videoflow_futures() -> Result:
    """As shapes_futures, at the suggested temperature."""
    return futures_of_shapes("videoflow", temperature=None)


def futures_of_shapes(name: str, temperature: float | None = 1.0) -> Result:
    """Verdicts on a checkpoint's futures, and the entropy of their directions; None: T as suggested."""
    model = shipped_model(name)
    reasons: Counter[str] = Counter()
    entropies = []
    for clip in shape_clips(CONTEXTS):
        futures = vflow.predict(
            model, clip[:1], num_frames=4, num_samples=FUTURES, temperature=temperature, seed=0
        )
        verdicts = [judge(clip[:1], future) for future in futures]
        reasons.update(verdict.reason for verdict in verdicts)
        entropies.append(entropy(verdict.direction for verdict in verdicts))
    total = reasons.total()
    refused = ", ".join(f"{reason} {n / total:.1%}" for reason, n in reasons.most_common() if reason)
    return Result(
        {"accepted": reasons[""] / total, "entropy": float(np.mean(entropies)), "worst": min(entropies)},
        note=f"refused for: {refused or 'nothing'}",
    )


@measure("A")
def push_bits() -> Result:
    """All test clips, the 17 frames after the first 3; vflow.score, K = 1, seed 0, float32."""
    model = shipped_model("push")
    clips = push_clips("test")
    scores = [vflow.score(model, clip, context=GIVEN) for clip in clips]
    noise = model.config.noise
    return Result({"bits": float(np.mean(scores))}, note=f"{noise} dequantisation noise, {len(scores)} clips")


@measure("A")
def push_psnr() -> Result:
    """Every fourth test clip, given 3 frames; 20 futures × 10 frames at T = 1, seed 0; the best of each clip
    is chosen by mean PSNR over frames 1–10. Baselines are fitted to all training clips."""
    clips = push_clips("test")[::PSNR_EVERY, : GIVEN + PSNR_FRAMES]
    baselines, neighbours = baseline_psnr(clips)
    found = futures_psnr(shipped_model("push"), clips, 1.0)
    gain = found["best"] - max(baselines.values())
    return Result({**baselines, **found, "gain": gain, "neighbours": neighbours}, note=f"{len(clips)} clips")


def futures_psnr(
    model: VideoModel, clips: np.ndarray, temperature: float | tuple[float, ...]
) -> dict[str, float]:
    """Mean over clips of what ``psnr_by_clip`` finds."""
    return {key: float(values.mean()) for key, values in psnr_by_clip(model, clips, temperature).items()}


def psnr_by_clip(
    model: VideoModel, clips: np.ndarray, temperature: float | tuple[float, ...]
) -> dict[str, np.ndarray]:
    """PSNR at the 5th frame of 20 futures of each of N clips, (N,), as ``fidelity`` has it.

    Also ``nearest``: of the best at that frame alone.
    """
    rows = []
    for clip in clips:
        futures = vflow.predict(
            model,
            clip[:GIVEN],
            num_frames=len(clip) - GIVEN,
            num_samples=PSNR_SAMPLES,
            temperature=temperature,
            seed=0,
        )
        found = fidelity(limited_psnr, futures, clip[GIVEN:])
        nearest = limited_psnr(futures[:, PSNR_AT - 1], clip[GIVEN + PSNR_AT - 1]).max()
        rows.append([*(values[PSNR_AT - 1] for values in found.values()), nearest])
    return dict(zip((*found, "nearest"), np.transpose(rows), strict=True))


def baseline_psnr(clips: np.ndarray) -> tuple[dict[str, float], float]:
    """Mean PSNR at the 5th frame of baselines, which are fitted to all training clips.

    By name those of one future; beside them the best of 20 continuations of nearest training frames.
    """
    length = clips.shape[1]
    train = push_clips("train")
    fitted = Baselines.fit((clip[t : t + length] for clip in train for t in FIT_STARTS), GIVEN)
    rows, best = [], []
    for clip in clips:
        context, truth = clip[:GIVEN], clip[GIVEN:]
        named = fitted.predict(context)
        rows.append(
            [limited_psnr(np.clip(x[PSNR_AT - 1], 0, 255), truth[PSNR_AT - 1]) for x in named.values()]
        )
        best.append(fidelity(limited_psnr, fitted.continuations(context, PSNR_SAMPLES), truth)["best"])
    return dict(zip(named, np.mean(rows, 0).tolist(), strict=True)), float(np.mean(best, 0)[PSNR_AT - 1])
