from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vflow.compression import entropy
from vflow.compression.entropy import CumulativeTable, Decoder, Encoder
from vflow.errors import InputError
from vflow.models.lattice import SCALES, QuantizedMixture

pytest.importorskip("constriction")


def mixtures(count: int, seed: int = 0) -> QuantizedMixture:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randint(-200, 4300, (1, 3, 1, count), generator=generator)
    scale = torch.randint(0, SCALES, (1, 3, 1, count), generator=generator)
    weight = torch.randint(-60, 60, (1, 3, 1, count), generator=generator)
    return QuantizedMixture(mean.float(), scale.float(), weight.float())


def masses(mixture: QuantizedMixture) -> torch.Tensor:
    """Share of each of the 256 grey levels, int64 (256, N)."""
    table = CumulativeTable(mixture)
    inner = [table.below(torch.full_like(table.total, t)) for t in range(1, 256)]
    edges = torch.stack([torch.zeros_like(table.total), *inner, table.total])
    return edges.diff(dim=0)


def test_tables_do_not_hang_on_the_last_bit_of_exp() -> None:
    """No entry is so near a half that another mathematical library could round it otherwise."""
    argument = np.arange(-entropy.REACH, entropy.REACH + 1) / entropy.STEPS
    scales = 2.0 ** (np.arange(SCALES) / 8 - 4)
    exact = [
        entropy.UNIT / (1 + np.exp(-argument)),
        entropy.STEPS / 16 * 2**entropy.SHIFT / scales,
        entropy.WEIGHT_UNIT * 2.0 ** (-np.arange(128) / 8),
    ]
    for values in exact:
        assert np.abs(values - np.floor(values) - 0.5)[values % 1 != 0.5].min() > 1e-7


def test_every_grey_level_is_possible_and_shares_add_up() -> None:
    found = masses(mixtures(500))
    assert int(found.min()) >= entropy.FLOOR
    assert torch.equal(found.sum(0), CumulativeTable(mixtures(500)).total)


def test_shares_are_the_model_s_probabilities() -> None:
    mixture = mixtures(300)
    table = masses(mixture).double()
    table = table / table.sum(0)
    model = torch.stack(
        [mixture.log_probability(torch.full((1, 1, 300), float(v)))[0, 0] for v in range(256)]
    )
    assert float(model.exp().sum(0).sub(1).abs().max()) < 1e-4
    cost = (model.exp() * (model - table.log())).sum(0) / math.log(2)
    assert float(cost.mean()) < 0.002
    assert float(cost.max()) < 0.05


@pytest.mark.parametrize("chunk", [1 << 23, 1000])
def test_what_was_added_is_read_again(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "CHUNK", chunk)
    values = [
        torch.randint(0, 256, (1, 1, 700), generator=torch.Generator().manual_seed(s)) for s in range(3)
    ]
    flags = np.random.default_rng(0).random(900) < 0.1
    encoder = Encoder()
    for seed, value in enumerate(values):
        encoder.levels(CumulativeTable(mixtures(700, seed)), value)
    encoder.bits(flags, 0.1)
    decoder = Decoder(encoder.finish())
    for seed, value in enumerate(values):
        assert torch.equal(decoder.levels(CumulativeTable(mixtures(700, seed))), value.flatten())
    assert np.array_equal(decoder.bits(900, 0.1), flags)


def test_bytes_are_the_information_and_little_more() -> None:
    mixture = mixtures(20_000)
    share = masses(mixture)
    likely = share.argmax(0).view(1, 1, -1)
    encoder = Encoder()
    encoder.levels(CumulativeTable(mixture), likely)
    bits = -(share.amax(0) / share.sum(0)).double().log2().sum()
    assert encoder.information == pytest.approx(float(bits), rel=1e-5)
    assert encoder.information / 8 < len(encoder.finish()) < 1.001 * encoder.information / 8 + 16


def test_missing_bytes_are_refused() -> None:
    encoder = Encoder()
    encoder.bits(np.ones(500, bool), 0.5)
    for cut in (0, 3, 20):
        with pytest.raises(InputError, match="end too early"):
            Decoder(encoder.finish()[:cut]).bits(500, 0.5)
