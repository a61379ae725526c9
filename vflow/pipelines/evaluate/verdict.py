"""Verdict on a model that was taught on one's own film: held-out clips against what needs no model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch import nn

from vflow.data.lossless import bits_after
from vflow.metrics.video import FIFTH, Baselines, at_fifth
from vflow.pipelines.common import temperature_or_suggested
from vflow.pipelines.evaluate.report import mean_rows
from vflow.pipelines.evaluate.video import draw, simple_futures
from vflow.pipelines.video.preprocess import video_config
from vflow.pipelines.video.score import score
from vflow.tasks.video.settings import PredictSettings

FUTURES = 20
CLOSE = 0.05
"""dB that count as no difference."""
NAMES = {
    "copy_last": "copying the last frame",
    "optical_flow": "optical flow (DIS)",
    "regression": "per-pixel regression",
}


class Verdict(NamedTuple):
    """Figures of held-out clips.

    Attributes:
        bits: bits/dim of the frames after the given ones, by the taught model; ``before``: by the untaught;
            ``x264``: of lossless x264 (veryslow).
        clips, frames: clips that were scored, and frames of each.
        psnr: dB at the fifth frame: best, mean (of one future) and each of ``NAMES``; of ``drawn`` clips.
    """

    bits: float
    before: float
    x264: float
    clips: int
    frames: int
    psnr: dict[str, float]
    drawn: int

    def words(self, untaught: str) -> str:
        """Sentences for people; ``untaught`` names the model before."""
        change = 100 * (self.bits / self.before - 1)
        best, one = self.psnr["best"], self.psnr["mean"]
        others = {name: self.psnr[name] for name in NAMES if name in self.psnr}
        beside = ", ".join(f"{NAMES[name]} {value:.1f}" for name, value in others.items())
        return "\n".join([
            f"Held-out film ({self.clips} clips of {self.frames} frames): {self.bits:.3f} bits/dim, "
            f"{change:+.1f}% from {untaught} untaught ({self.before:.3f}), {self.bits / self.x264:.2f} "
            f"of lossless x264 ({self.x264:.3f}).",
            f"Five frames ahead ({self.drawn} clips): best of {FUTURES} futures {best:.1f} dB, one future "
            f"{one:.1f} dB; {beside}.",
            f"Verdict: {self._judgement(untaught, others)}",
        ])  # fmt: skip

    def _judgement(self, untaught: str, others: dict[str, float]) -> str:
        if self.bits >= self.before:
            return (
                f"nothing was learned that helps on film held out; stay with {untaught}, or give more film."
            )
        name, value = max(others.items(), key=lambda item: item[1])
        learned = f"it has learned from this film, {100 * (1 - self.bits / self.before):.0f}% of the bits"
        if self.psnr["best"] <= value + CLOSE:
            return f"{learned}, but {NAMES[name]} is as near as the best of its futures."
        if self.psnr["mean"] <= value + CLOSE:
            return f"{learned}; the best of its futures beats all that needs no model, a single one does not."
        return f"{learned}, and even a single future beats all that needs no model."


def judge(
    models: tuple[nn.Module, nn.Module],
    clips: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
    seconds: float,
    report: Callable[[str], None],
) -> Verdict:
    """Compare a taught and an untaught model on held-out clips.

    Args:
        models: taught and untaught.
        clips: uint8 (T, H, W, C) in the models' size, all as long; T ≥ context + 5. Futures are drawn of as
            many as ``seconds`` allow, of one at least.
        training: clips as long as that, which the regression is fitted to.
        report: told what is under way.
    """
    taught = models[0]
    config = video_config(taught)
    context, last = config.context, config.context + FIFTH
    fitted = Baselines.fit((clip[:last] for clip in training), context)
    settings = PredictSettings(
        num_frames=FIFTH, num_samples=FUTURES, temperature=temperature_or_suggested(None, config)
    )
    rows: list[dict[str, float]] = []
    began = time.monotonic()
    for number, clip in enumerate(clips, 1):
        given, target = clip[:context], clip[context:last]
        if rows and (time.monotonic() - began) * (1 + 1 / len(rows)) > seconds:
            break
        report(f"futures of held-out clip {number}")
        others = simple_futures(given, FIFTH) | {"regression": fitted.predict(given)["regression"]}
        rows.append(at_fifth(draw(taught, given, settings).images, target, others))
    report("bits of held-out clips")
    bits, before = (
        float(np.mean([score(model, clip, context=context).bits_per_dim for clip in clips]))
        for model in models
    )
    x264 = float(np.mean([bits_after(clip, context, "x264") for clip in clips]))
    psnr = {name: float(value) for name, value in mean_rows(rows).items()}
    return Verdict(bits, before, x264, len(clips), len(clips[0]), psnr, len(rows))
