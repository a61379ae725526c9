"""Share of a future's variance that each level of latents carries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from torch import Tensor

from vflow.metrics.latents import Futures, latent_share

SHAPES = ((5, 1, 4, 4), (5, 2, 2, 2), (5, 3))  # two levels of a Glow, and a guide that is none, of 5 frames


def weighted(*weights: float) -> Futures:
    """Futures that are the weighted sum of the sources' noise: every variance is known."""

    def decode(eps: Sequence[Tensor]) -> np.ndarray:
        total = sum(w * e.flatten(2)[..., :1] for w, e in zip(weights, eps, strict=True))
        assert isinstance(total, Tensor)
        return total[..., None, None].numpy()

    return Futures(decode, SHAPES[: len(weights)])


def test_shares_of_independent_sources() -> None:
    share = latent_share([weighted(1.0, 2.0, 2.0)] * 24, 2, count=12)
    assert share.levels == pytest.approx((1 / 9, 4 / 9), rel=0.2)
    assert share.latents == pytest.approx(5 / 9, rel=0.2)
    assert share.others == pytest.approx(4 / 9, rel=0.2)


def test_a_flow_beside_its_guide_carries_nothing() -> None:
    assert latent_share([weighted(0.0, 0.0, 1.0)] * 4, 2) == (0, (0, 0), 1, None)


def test_without_other_noise_the_latents_carry_all() -> None:
    share = latent_share([weighted(1.0, 0.5)] * 4, 2)
    assert share.latents == 1 and share.others is None


def test_the_glow_is_told_apart_from_augmented_dimensions() -> None:
    share = latent_share([weighted(1.0, 2.0, 2.0)] * 24, 3, glow=2, count=12)
    assert share.latents == 1 and share.others is None
    assert share.glow == pytest.approx(5 / 9, rel=0.2)


def test_same_key_same_shares_and_another_key_others() -> None:
    first, again, other = (latent_share([weighted(1.0, 1.0, 1.0)] * 2, 2, key=(k,)) for k in (0, 0, 1))
    assert first == again != other


def test_futures_that_do_not_vary_have_no_shares() -> None:
    share = latent_share([weighted(0.0, 0.0, 0.0)], 2)
    assert math.isnan(share.latents) and math.isnan(share.levels[0])
    with pytest.raises(ValueError, match="at least 2"):
        latent_share([weighted(1.0, 1.0, 1.0)], 2, count=1)
