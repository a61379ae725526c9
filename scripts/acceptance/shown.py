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
    push_bits,
    push_psnr,
    shapes_bits,
    shapes_futures,
)  # fmt: skip
from scripts.acceptance.registry import Result, measure
from scripts.acceptance.weights import push_samples, shapes_samples


@measure("F")
def shapes() -> Result:
    """As A.shapes_bits and A.shapes_futures."""
    return Result({**shapes_futures().values, **shapes_bits().values})


@measure("F")
def push() -> Result:
    """As A.push_bits and A.push_psnr, the latter also at the checkpoint's suggested temperatures, which were
    chosen on validation clips."""
    model, drawn = shipped_model("push"), push_psnr().values
    clips = push_clips("test")[::PSNR_EVERY, : GIVEN + PSNR_FRAMES]
    found = futures_psnr(model, clips, model.config.temperature)
    values = {**push_bits().values, "at_one": drawn["gain"], "neighbours": drawn["neighbours"]}
    values["gain"] = found["best"] - (drawn["best_of_20"] - drawn["gain"])
    return Result({**found, **values}, note=f"suggested: {model.config.temperature}")


@measure("F")
def digits() -> Result:
    """As B.digits_likelihood and B.digits_samples."""
    drawn = digits_samples().values
    return Result({**digits_likelihood().values, "behind": drawn["judge"] - drawn["agrees"]})


@measure("F")
def colorizer() -> Result:
    """As B.colour_photos, also at the checkpoint's suggested temperatures, which were chosen on validation
    photos."""
    suggested = color_model().config.temperature
    found = photos_coloured(suggested)
    reductions = {"under": under_tints(found), "at_one": under_tints(photos_coloured(1.0))}
    return Result(found | reductions, note=f"suggested: {suggested}")


@measure("F")
def all_samples() -> Result:
    """Frames of A.shapes_samples and A.push_samples. Non-finite values are also counted in the 2,000 digits
    of B.digits_samples and the 864 colourings of B.colour_photos."""
    videos = [found.values for found in (shapes_samples(), push_samples())]
    pictures = [digits_samples().values, colour_photos().values]
    drawn = sum(found["frames"] for found in videos)
    return Result({"drawn": drawn, "nonfinite": sum(found["nonfinite"] for found in videos + pictures)})
