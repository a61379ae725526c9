"""Share of a future's variance that each level of latents carries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from torch import Tensor

from vflow.metrics.latents import Decoder, Draws, latent_share

SHAPES = ((1, 4, 4), (2, 2, 2), (3,))  # two levels of a Glow, and a code that is none
MANY = Draws(bases=24, futures=12)


def weighted(*weights: float) -> Decoder:
    """Futures that are the weighted sum of the sources' noise: every variance is known."""

    def decode(eps: Sequence[Tensor]) -> np.ndarray:
        total = sum(w * e.flatten(2)[..., :1] for w, e in zip(weights, eps, strict=True))
        assert isinstance(total, Tensor)
        return total[..., None, None].numpy()

    return decode


def test_shares_of_independent_sources() -> None:
    share = latent_share(weighted(1.0, 2.0, 2.0), SHAPES, 2, 5, draws=MANY)
    assert share.levels == pytest.approx((1 / 9, 4 / 9), rel=0.2)
    assert share.latents == pytest.approx(5 / 9, rel=0.2)


def test_a_flow_beside_its_code_carries_nothing() -> None:
    share = latent_share(weighted(0.0, 0.0, 1.0), SHAPES, 2, 3)
    assert share.latents == 0 and share.levels == (0, 0)


def test_without_other_noise_the_latents_carry_all() -> None:
    assert latent_share(weighted(1.0, 0.5), SHAPES[:2], 2, 3).latents == 1


def test_same_key_same_shares_and_another_key_others() -> None:
    first, again, other = (latent_share(weighted(1.0, 1.0, 1.0), SHAPES, 2, 2, key=(k,)) for k in (0, 0, 1))
    assert first == again != other


def test_futures_that_do_not_vary_are_refused() -> None:
    with pytest.raises(ValueError, match="do not vary"):
        latent_share(weighted(0.0, 0.0, 0.0), SHAPES, 2, 2)
    with pytest.raises(ValueError, match="at least 2"):
        latent_share(weighted(1.0, 1.0, 1.0), SHAPES, 2, 2, draws=Draws(futures=1))
