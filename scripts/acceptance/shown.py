"""Headline figures of the shipped checkpoints, with thresholds and aims."""

from __future__ import annotations

from scripts.acceptance.colours import colour_photos, photos_coloured, under_tints
from scripts.acceptance.colours import model as color_model
from scripts.acceptance.digits import digits_likelihood, digits_samples
from scripts.acceptance.models import GIVEN, push_clips, shipped_model
from scripts.acceptance.predictions import (
    PSNR_EVERY,
    PSNR_FRAMES,
    futures_psnr,
    one_by_one,
    push_bits,
    push_psnr,
    shapes_bits,
    shapes_futures,
)
from scripts.acceptance.registry import Figure, Result, measure
from scripts.acceptance.weights import push_samples, shapes_samples


@measure(
    "F",
    bits=Figure("shapes: bits/dim, 4 frames given 1", "", at_most=0.02, aim="0.005"),
    accepted=Figure(
        "shapes: share of futures accepted by the tracker, T = 1", "", at_least=0.95, aim="0.995"
    ),
    entropy=Figure("shapes: entropy of the direction", "bits", at_least=2.8, aim="2.96"),
)
def shapes() -> Result:
    """As A.shapes_bits and A.shapes_futures."""
    futures = shapes_futures().values
    return Result({"bits": shapes_bits().values["bits"]} | {k: futures[k] for k in ("accepted", "entropy")})


@measure(
    "F",
    bits=Figure("push: bits/dim given 3 frames (lossless x264: 0.605)", "", at_most=0.60, aim="0.40"),
    gain=Figure(
        "push: PSNR gain of the best of 20 over the best baseline, 5th frame, at the suggested temperatures",
        "dB",
        at_least=1,
        aim="3",
    ),
    at_one=Figure("push: the same at T = 1", "dB"),
    **one_by_one("push"),
)
def push() -> Result:
    """As A.push_bits and A.push_psnr, the latter also at the checkpoint's suggested temperatures, which were
    chosen on validation clips."""
    model, drawn = shipped_model("push"), push_psnr().values
    clips = push_clips("test")[::PSNR_EVERY, : GIVEN + PSNR_FRAMES]
    found = futures_psnr(model, clips, model.config.temperature)
    values = {"bits": push_bits().values["bits"], "at_one": drawn["gain"], "neighbours": drawn["neighbours"]}
    values["gain"] = found["best"] - (drawn["best_of_20"] - drawn["gain"])
    values |= {"single": found["mean"], "of_mean": found["of_mean"]}
    return Result(values, note=f"suggested: {model.config.temperature}")


@measure(
    "F",
    bits=Figure("digits: MNIST test bits/dim of p(x | y)", "", at_most=1.05, aim="0.97"),
    behind=Figure(
        "digits: agreement of the classifier at T = 1, percentage points below its accuracy on real digits",
        "",
        at_most=1.5,
        aim="0.3",
    ),
)
def digits() -> Result:
    """As B.digits_likelihood and B.digits_samples."""
    drawn = digits_samples().values
    bits = digits_likelihood().values["given_class"]
    return Result({"bits": bits, "behind": drawn["judge"] - drawn["agrees"]})


@measure(
    "F",
    under=Figure(
        "colorizer: reduction of ab RMSE relative to the best of eight k-means tints, best of 8 per photo, "
        "at the suggested temperatures",
        "%",
        at_least=10,
        aim="20",
    ),
    spread=Figure("spread of ab within these colourings relative to that of the photos", ""),
    at_one=Figure("colorizer: the same reduction at T = 1", "%"),
)
def colorizer() -> Result:
    """As B.colour_photos, also at the checkpoint's suggested temperatures, which were chosen on validation
    photos."""
    suggested = color_model().config.temperature
    found = photos_coloured(suggested)
    values = {
        "under": under_tints(found),
        "spread": found["spread_within_ratio"],
        "at_one": under_tints(photos_coloured(1.0)),
    }
    return Result(values, note=f"suggested: {suggested}")


@measure(
    "F",
    drawn=Figure("video frames drawn at T = 1", "", at_least=5000),
    nonfinite=Figure("non-finite values in all samples before any redraw", "", at_most=0),
)
def all_samples() -> Result:
    """Frames of A.shapes_samples and A.push_samples. Non-finite values are also counted in the 2,000 digits
    of B.digits_samples and the 864 colourings of B.colour_photos."""
    videos = [found.values for found in (shapes_samples(), push_samples())]
    pictures = [digits_samples().values, colour_photos().values]
    drawn = sum(found["frames"] for found in videos)
    return Result({"drawn": drawn, "nonfinite": sum(found["nonfinite"] for found in videos + pictures)})
