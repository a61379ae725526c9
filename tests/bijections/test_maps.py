"""What is particular to single maps: values known by hand, data-dependent starts, bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vflow.bijections import (
    ActNorm,
    ActNormLinear,
    AffineCoupling,
    Chain,
    ChannelPartition,
    CheckerboardPartition,
    Haar,
    HistogramMap,
    Inverse,
    Invertible1x1,
    Squeeze,
)
from vflow.bijections.coupling import LIMIT, soft_clamp
from vflow.bijections.linear import inverted
from vflow.bijections.pixel_map import LEVELS, Scaled, count_values, smooth_transitions
from vflow.errors import CheckpointError


class Constant(nn.Module):
    """A conditioner that says the same, whatever it sees."""

    def __init__(self, value: float, channels: int) -> None:
        super().__init__()
        self.value, self.channels = value, channels

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return torch.full((len(x), self.channels, *x.shape[2:]), self.value, dtype=x.dtype)


@pytest.mark.parametrize("build", [ActNorm, ActNormLinear])
def test_actnorm_whitens_its_first_batch_and_no_other(build: type[ActNorm] | type[ActNormLinear]) -> None:
    bijection = build(3)
    actnorm = bijection if isinstance(bijection, ActNorm) else bijection.actnorm
    assert not actnorm.initialized
    x = 5 + torch.tensor([0.5, 2.0, 30.0])[:, None, None] * torch.randn(16, 3, 4, 4)
    bijection.initialize(x)
    assert actnorm.initialized
    z = actnorm(x)[0]
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(3), rtol=1e-3, atol=0)
    before = actnorm.shift.clone(), actnorm.log_scale.clone()
    bijection.initialize(10 * x)
    assert torch.equal(actnorm.shift, before[0]) and torch.equal(actnorm.log_scale, before[1])


@pytest.mark.parametrize("build", [ActNorm, ActNormLinear])
def test_actnorm_takes_the_batch_of_its_first_training_step(
    build: type[ActNorm] | type[ActNormLinear],
) -> None:
    bijection, x = build(2), 7 + 3 * torch.randn(64, 2, 2, 2)
    actnorm = bijection if isinstance(bijection, ActNorm) else bijection.actnorm
    with torch.no_grad():
        bijection(x)
    bijection.eval()(x)
    assert not actnorm.initialized and not actnorm.shift.any()
    z = bijection.train()(x)[0]
    assert actnorm.initialized
    torch.testing.assert_close(z.var((0, 2, 3)), torch.ones(2), rtol=0.1, atol=0)
    other = build(2)
    other.load_state_dict(bijection.state_dict())
    other(10 * x)
    own = other if isinstance(other, ActNorm) else other.actnorm
    assert torch.equal(own.shift, actnorm.shift)


def test_an_inverted_actnorm_takes_its_first_batch_too() -> None:
    inverted, x = Inverse(ActNorm(2)), 7 + 3 * torch.randn(64, 2, 1, 1)
    z = inverted.transform(x)[0]
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-4)


def test_actnorm_of_a_constant_channel_only_shifts_it() -> None:
    for x in (torch.full((4, 2, 3, 3), 7.0), torch.randn(1, 2, 1, 1)):
        actnorm = ActNorm(2)
        assert torch.equal(actnorm.initialize(x), torch.zeros_like(x))
        assert torch.equal(actnorm.log_scale, torch.zeros(2))


@pytest.mark.parametrize("split", [Squeeze(), Haar(1), CheckerboardPartition().split])
def test_odd_sides_are_refused(split: Callable[[Tensor], object]) -> None:
    with pytest.raises(ValueError, match=r"even .*4×5"):
        split(torch.zeros(1, 1, 4, 5))


def test_squeezes_are_undone_for_multiples_of_four_channels() -> None:
    with pytest.raises(ValueError, match="6"):
        Squeeze().inverse(torch.zeros(1, 6, 4, 4))


def test_chain_initialises_each_layer_on_what_the_layers_before_give() -> None:
    chain = Chain([ActNorm(1), Squeeze(), ActNormLinear(4)])
    z = chain.initialize(3 + 2 * torch.randn(32, 1, 4, 4))
    last = chain.layers[2].actnorm
    assert chain.layers[0].initialized and last.initialized
    normed = last(Chain(list(chain.layers)[:2])(chain.inverse(z)[0])[0])[0]
    torch.testing.assert_close(normed.std((0, 2, 3), correction=0), torch.ones(4), rtol=1e-3, atol=0)


def test_invertible_1x1_starts_as_a_rotation() -> None:
    bijection = Invertible1x1(6)
    matrix = bijection.plu.matrix()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(6), rtol=0, atol=1e-5)
    torch.testing.assert_close(bijection(torch.randn(1, 6, 3, 3))[1], torch.zeros(1), rtol=0, atol=1e-4)


def test_the_folded_pass_equals_its_two_parts() -> None:
    folded = ActNormLinear(4)
    linear = Invertible1x1(4)
    x = torch.randn(5, 4, 3, 3)
    folded.initialize(2 * x + 1)
    linear.plu.load_state_dict(folded.plu.state_dict())
    z, ladj = Chain([folded.actnorm, linear])(x)
    for one, other in zip(folded(x), (z, ladj), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_inverses_do_not_suffer_from_a_badly_conditioned_matrix() -> None:
    bijection = Invertible1x1(16)
    with torch.no_grad():
        bijection.plu.log_diagonal.copy_(torch.linspace(-3, 3, 16))
    x = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(bijection.inverse(bijection(x)[0])[0], x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("build", [ActNorm, Invertible1x1, ActNormLinear])
def test_flow_arithmetic_is_not_rounded_under_autocast(build: type[ActNorm]) -> None:
    bijection, x = build(4), torch.randn(2, 4, 4, 4)
    exact = bijection(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, ladj = bijection(x)
        back = bijection.inverse(z)[0]
    assert z.dtype == ladj.dtype == torch.float32
    assert torch.equal(z, exact[0]) and torch.equal(ladj, exact[1])
    torch.testing.assert_close(back, x, rtol=1e-4, atol=1e-5)


def test_squeeze_orders_row_column_then_channel() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    z = Squeeze()(x)[0]
    assert z[0].flatten(1).tolist() == [[0, 2, 8, 10], [1, 3, 9, 11], [4, 6, 12, 14], [5, 7, 13, 15]]
    colours = torch.stack([x[0, 0], x[0, 0] + 100])[None]
    assert Squeeze()(colours)[0][0, :4, 0, 0].tolist() == [0, 100, 1, 101]


def test_haar_is_orthonormal_and_leads_with_block_means() -> None:
    x = torch.randn(2, 3, 4, 6)
    z = Haar(3)(x)[0]
    torch.testing.assert_close(z.square().sum(), x.square().sum())
    torch.testing.assert_close(z[:, :3], 2 * nn.functional.avg_pool2d(x, 2))
    flat = Haar(1)(torch.ones(1, 1, 2, 2))[0].flatten()
    torch.testing.assert_close(flat, torch.tensor([2.0, 0, 0, 0]))


@pytest.mark.parametrize(
    "partition", [ChannelPartition(), CheckerboardPartition(), CheckerboardPartition(keep_odd=True)]
)
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 4, 3, 6)])
def test_partitions_part_and_join(
    partition: ChannelPartition | CheckerboardPartition, shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape)
    kept, changed = partition.split(x)
    assert kept.numel() + changed.numel() == x.numel()
    assert torch.equal(partition.merge(kept, changed), x)


def test_checkerboard_keeps_the_even_positions() -> None:
    row, column = torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")
    odd = (row + column)[None, None] % 2
    kept, changed = CheckerboardPartition().split(odd)
    assert not kept.any() and changed.all()
    kept, changed = CheckerboardPartition(keep_odd=True).split(odd)
    assert kept.all() and not changed.any()


@pytest.mark.parametrize("extreme", [-1e6, 1e6])
def test_coupling_scales_are_bounded_on_both_sides(extreme: float) -> None:
    coupling = AffineCoupling(Constant(extreme, 4), ChannelPartition())
    x = torch.randn(2, 4, 2, 2)
    log_scale = coupling(torch.zeros(2, 4, 2, 2))[1] / (2 * 2 * 2)
    assert (log_scale.abs() <= LIMIT).all()
    shifted = AffineCoupling(Constant(3.0, 4), ChannelPartition())
    torch.testing.assert_close(shifted.inverse(shifted(x)[0])[0], x)
    assert torch.isfinite(coupling.inverse(x)[0]).all()


def test_soft_clamp_is_steep_as_documented() -> None:
    h = torch.zeros(1, requires_grad=True)
    soft_clamp(h).backward()
    assert h.grad is not None and math.isclose(h.grad.item(), 2 / math.pi, rel_tol=1e-6)


class TestHistogramMap:
    """The elementwise map of value counts."""

    @staticmethod
    def fitted(exponent: float = 0.25) -> HistogramMap:
        counts = torch.zeros(1, 1, LEVELS)
        counts[..., 127], counts[..., 0], counts[..., 255] = 10_000, 100, 300
        bijection = HistogramMap(1)
        bijection.set_counts(counts, exponent)
        return bijection

    def test_probabilities_are_tempered_counts_with_a_floor(self) -> None:
        p = self.fitted().probability[0, 0]
        weight = torch.tensor([100.0, 10_000, 300]) ** 0.25
        expected = 0.99 * weight / weight.sum() + 0.01 / LEVELS
        torch.testing.assert_close(p[[0, 127, 255]], expected)
        torch.testing.assert_close(p[1:127], torch.full((126,), 0.01 / LEVELS))
        torch.testing.assert_close(p.sum(), torch.tensor(1.0))

    def test_the_usual_value_is_at_zero_with_slope_one(self) -> None:
        x = torch.full((1, 1, 1, 1), 127.5, dtype=torch.float64)
        z, ladj = self.fitted()(x)
        torch.testing.assert_close(z, torch.zeros_like(z), rtol=0, atol=1e-6)
        torch.testing.assert_close(ladj, torch.zeros_like(ladj), rtol=0, atol=1e-6)

    def test_quantised_values_lie_at_the_centres_of_their_bins(self) -> None:
        bijection, values = self.fitted(), torch.arange(LEVELS).view(1, 1, 16, 16)
        centres = bijection.centres(values)
        torch.testing.assert_close(centres, bijection(values + 0.5)[0])
        for offset in (0.001, 0.3, 0.999):
            assert torch.equal(bijection.quantize(bijection(values + offset)[0]), centres)

    def test_bounds_enclose_their_bins_without_gaps(self) -> None:
        bijection, values = self.fitted(), torch.arange(LEVELS).view(1, 1, 16, 16)
        low, high = (bound.flatten() for bound in bijection.bounds(values))
        centres = bijection.centres(values).flatten()
        assert (low < centres).all() and (centres < high).all()
        assert torch.equal(low[1:], high[:-1]) and low[0] < -1e3 and high[-1] > 1e3

    def test_it_rises(self) -> None:
        x = torch.arange(0.5, LEVELS, dtype=torch.float64).view(1, 1, 16, 16)
        assert (self.fitted()(x)[0].flatten().diff() > 0).all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_samples_cannot_leave_the_range(self, dtype: torch.dtype) -> None:
        z = torch.tensor([-1e6, -50.0, -1.0, 0.0, 1.0, 50.0, 1e6], dtype=dtype).view(1, 1, 1, -1)
        x = self.fitted().inverse(z)[0]
        assert x.min() >= 0 and x.max() < LEVELS
        assert (x.flatten().diff() >= 0).all()

    def test_every_grey_level_survives_float32(self) -> None:
        x = torch.arange(LEVELS).float().view(1, 1, 16, 16)
        for u in (2.0**-15, 0.5, 1 - 2.0**-15):
            back = self.fitted().inverse(self.fitted()(x + u)[0])[0]
            torch.testing.assert_close(back, x + u, rtol=0, atol=0.01)

    def test_rows_are_selected_by_the_context(self) -> None:
        counts = torch.eye(LEVELS)[None] * 50
        bijection = HistogramMap(1, LEVELS)
        bijection.set_counts(counts)
        values = torch.randint(LEVELS, (2, 1, 4, 4)).float()
        assert torch.equal(bijection.mode(values, values), values)
        z = bijection(values + 0.5, values)[0]
        torch.testing.assert_close(z, torch.zeros_like(z), rtol=0, atol=1e-5)

    def test_a_row_without_counts_is_uniform(self) -> None:
        bijection = HistogramMap(1, LEVELS)
        bijection.set_counts(torch.eye(LEVELS)[None] * (torch.arange(LEVELS) < 5))
        torch.testing.assert_close(bijection.probability[0, 9], torch.full((LEVELS,), 1 / LEVELS))

    def test_a_conditional_map_asks_for_its_context(self) -> None:
        with pytest.raises(ValueError, match="pass the values that select its rows as context"):
            HistogramMap(1, LEVELS)(torch.rand(1, 1, 2, 2))

    def test_it_makes_the_counted_distribution_normal(self) -> None:
        """p(z) = p(x) · |dx/dz| is the normal density that centre and slope say, at every z."""
        bijection = self.fitted()
        z = torch.linspace(-1.5, 1.5, 4001, dtype=torch.float64).view(1, 1, 1, -1)
        x, density = bijection.invert(z)
        p = bijection.probability[0, 0].double()
        mode = p.argmax()
        centre = torch.special.ndtri(p[:mode].sum() + p[mode] / 2)
        slope = bijection.invert(torch.zeros_like(z[..., :1]))[1].flatten().neg().exp()
        slope = p[mode] * math.sqrt(2 * math.pi) * (centre.square() / 2).exp() / slope
        expected = torch.distributions.Normal(-centre / slope, 1 / slope).log_prob(z.flatten())
        torch.testing.assert_close(
            p[x.long().flatten()].log() + density.flatten(), expected, rtol=1e-5, atol=1e-5
        )


def test_scaled_is_centred_with_bins_of_one_256th() -> None:
    z, ladj = Scaled()(torch.tensor([0.0, 128.0, 255.0, 256.0]).view(1, 1, 2, 2))
    assert z.flatten().tolist() == [-0.5, 0.0, 255 / 256 - 0.5, 0.5]
    assert math.isclose(ladj.item(), -4 * math.log(256), rel_tol=1e-6)


def test_counts_with_and_without_the_reference() -> None:
    frames = torch.tensor([7, 9, 9, 30], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 1, 2)
    marginal, conditional = count_values(frames[1:], None), count_values(frames[1:], frames[:-1])
    assert marginal.shape == (3, 1, 256) and conditional.shape == (3, 256, 256)
    assert marginal[1, 0].nonzero().flatten().tolist() == [9, 30] and marginal[1, 0, 9] == 4
    assert conditional[2].nonzero().tolist() == [[7, 9], [9, 9], [9, 30]]


def test_rows_are_smoothed_by_changes_seen_anywhere_and_by_values_seen_anywhere() -> None:
    """Pixels rise by one, from 10 … 19: a row never seen has 50 counts one above it, 5 of each value seen."""
    counts = torch.zeros(1, LEVELS, LEVELS)
    counts[0, torch.arange(10, 20), torch.arange(11, 21)] = 1000
    smoothed = smooth_transitions(counts)[0]
    assert float(smoothed[100, 101]) == pytest.approx(50) and float(smoothed[100, 15]) == pytest.approx(5)
    assert float(smoothed[100, 99]) == 0 and float(smoothed[15, 16]) == pytest.approx(1055)


def test_a_singular_matrix_is_an_error_in_one_line() -> None:
    with pytest.raises(CheckpointError, match="the model cannot be inverted; if training diverged"):
        inverted(torch.zeros(4, 4))
