"""Figures of video models that only ``shapes`` allows: its clips are known pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vflow.data.datasets.shapes import BACKGROUND
from vflow.models import VideoModel
from vflow.pipelines.common import evenly_spaced
from vflow.pipelines.video.score import density
from vflow.randomness import content_hash

REGION_CLIPS = 16


def region_bits(model: VideoModel, clips: Sequence[np.ndarray], context: int, seed: int) -> dict[str, float]:
    """Bits per value of the shapes' pixels and of the background apart, and the share of all bits in shapes.

    By the density map of ``vflow score`` (K = 1): what a coarse position costs is spread over its pixels.
    """
    bits, values = np.zeros(2), np.zeros(2)  # background, shape
    for index in evenly_spaced(len(clips), REGION_CLIPS):
        clip = clips[index]
        nats = density(model, clip, range(context, len(clip)), (seed, content_hash(clip), 0)).double().numpy()
        inside = (clip[context:] != BACKGROUND).any(-1)
        for region, mask in enumerate((~inside, inside)):
            bits[region] -= nats[mask].sum() / math.log(2)
            values[region] += mask.sum() * clip.shape[-1]
    background, shape = bits / values
    return {
        "bits_per_dim_shape": shape,
        "bits_per_dim_background": background,
        "share_of_bits_in_shapes": bits[1] / bits.sum(),
    }
