"""Flows that are put together in Python."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import vflow
from vflow.bijections import (
    ActNorm,
    Affine,
    AffineCoupling,
    BatchNorm,
    Bijection,
    ConditionalAffine,
    ElementCoupling,
    Elementwise,
    Fold,
    Inverse,
    MaskPartition,
    MonotoneNetwork,
    ParetoMarginals,
    Permutation,
    Planar,
    Radial,
    RadialBumps,
    SigmoidLayer,
    VectorBijection,
)
from vflow.config import DensityConfig, TrainingConfig, load_preset
from vflow.densities import Density, Normal, NormalMixture
from vflow.errors import InputError
from vflow.models import DensityModel, Flow, PointBatch
from vflow.nn import MLP, VectorConditioner
from vflow.training.density import fit, fit_energy
from vflow.training.setup import new_model


class Doubled(VectorBijection):
    """z = 2x."""

    def transform_vectors(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return 2 * x, torch.full_like(x[:, 0], 2.0).log() * x.shape[1]

    def invert_vectors(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z / 2, -torch.full_like(z[:, 0], 2.0).log() * z.shape[1]


class Wide(Density):
    """Normal of standard deviation 6."""

    dim = noise_dim = 3

    def _log_density(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(0.0, 6.0).log_prob(x).sum(1)

    def _draw(self, eps: Tensor) -> Tensor:
        return 6 * eps


def test_own_layers_and_bases_give_the_density_they_stand_for() -> None:
    flow = Flow([Doubled()], Wide())
    points = torch.randn(5, 3)
    wanted = torch.distributions.Normal(0.0, 3.0).log_prob(points).sum(1)
    assert torch.allclose(flow.log_prob(points), wanted, atol=1e-5)
    assert torch.allclose(flow.sample(points), 3 * points)
    assert vflow.sample(flow, num_samples=2000).std() == pytest.approx(3, rel=0.05)


def test_layers_of_the_library_give_the_same_as_a_configuration() -> None:
    layers = [{"kind": "planar"}, {"kind": "fold", "hidden": [4]}, {"kind": "elementwise"}]
    config = DensityConfig.model_validate({"dim": 2, "layers": layers})
    named, points = DensityModel(config), torch.randn(4, 2)
    flow = Flow([Planar(2), Fold(2, (4,)), Elementwise(Affine(), 2)], Normal(2))
    flow.load_state_dict(named.state_dict())
    assert torch.equal(flow.log_prob(points), named.log_prob(points))
    assert flow.noise_dim == named.noise_dim == 3


def test_flows_with_a_condition_learn_from_pairs() -> None:
    flow = Flow([Elementwise(Affine(), 1, 1)], Normal(1), features=1)
    condition = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    training = TrainingConfig(max_steps=150, batch_size=200, learning_rate=0.05, ema=0.5)
    for _ in fit(flow, 3 * condition + 1, training, conditions=condition):
        pass
    drawn = flow.sample(torch.zeros(1, 1), torch.ones(1, 1))
    assert float(drawn.detach()) == pytest.approx(4, abs=0.5)
    with pytest.raises(InputError, match="needs a condition"):
        flow.log_prob(condition)
    with pytest.raises(InputError, match="needs a condition of 1 numbers"):
        vflow.sample(flow)


def test_points_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"points must be a tensor \(B, 3\)"):
        Flow([Doubled()], Wide()).log_prob(torch.zeros(2, 2))


@pytest.mark.parametrize(
    "layer",
    [
        ActNorm(1),
        BatchNorm(1),
        Elementwise(Affine(), 1),
        Planar(1),
        Radial(1),
        RadialBumps(1, 2),
        Inverse(ActNorm(1)),
        Permutation.reverse(2),
        ParetoMarginals(1),
        MonotoneNetwork(1),
        SigmoidLayer(1),
        ConditionalAffine(1, 4),
        AffineCoupling(torch.nn.Identity(), MaskPartition([True, False])),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_of_another_width_are_refused_and_not_broadcast(layer: Bijection) -> None:
    flow, points = Flow([layer], Normal(3)), torch.zeros(2, 3)
    message = f"^layer {type(layer).__name__} is for [12] numbers or channels, the data have 3; build it"
    for run in (flow.log_prob, flow.sample, lambda x: flow.initialize(PointBatch(x))):
        with pytest.raises(InputError, match=message):
            run(points)


def test_layers_may_come_from_an_iterator() -> None:
    flow = Flow(iter([Doubled()]), Wide())  # type: ignore[arg-type]
    assert torch.equal(flow.sample(torch.ones(1, 3)), torch.full((1, 3), 3.0))


def test_parts_of_other_types_are_refused() -> None:
    with pytest.raises(InputError, match=r"^layers\[1\] is of type Linear; give bijections"):
        Flow([Doubled(), torch.nn.Linear(3, 3)], Wide())  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"^base is of type MultivariateNormal; give a density"):
        Flow([], torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)))  # type: ignore[arg-type]


def spread_points(rows: int = 2000) -> Tensor:
    """Three correlated columns of very different sizes."""
    mix = torch.tensor([[300.0, 0.0, 0.0], [10.0, 2.0, 0.0], [0.0, 0.01, 0.02]])
    random = torch.Generator().manual_seed(0)
    return torch.randn(rows, 3, generator=random) @ mix.T + torch.tensor([5000.0, -40.0, 1.0])


def small_flow(base: Density | None = None) -> Flow:
    torch.manual_seed(0)
    element = Affine()
    net = MLP(2, element.count, [16])
    coupling = ElementCoupling(element, VectorConditioner(net), MaskPartition([True, True, False]))
    return Flow([ActNorm(3), coupling, Permutation.reverse(3)], base or Normal(3))


def train_by_hand(flow: Flow, points: Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(flow.parameters(), 5e-3)
    for _ in range(steps):
        loss = -flow.log_prob(points).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def nats_of(flow: Flow, points: Tensor) -> float:
    flow.eval()
    with torch.no_grad():
        nats = -float(flow.log_prob(points).mean())
    flow.train()
    return nats


def test_a_loop_of_ones_own_needs_no_call_to_initialize() -> None:
    points, flow = spread_points(), small_flow()
    assert nats_of(flow, points) > 1e5  # as it is; evaluation leaves it so
    train_by_hand(flow, points, 1)
    gaussian = float(torch.distributions.Normal(points.mean(0), points.std(0)).log_prob(points).sum(1).mean())
    assert nats_of(flow, points) == pytest.approx(-gaussian, abs=0.1)


def test_a_compiled_loop_initialises_itself_too() -> None:
    points, flow = spread_points(), small_flow()
    torch.compile(flow, backend="eager")(PointBatch(points)).mean().backward()
    assert nats_of(flow, points) == pytest.approx(nats_of_started(points), abs=1e-4)


def nats_of_started(points: Tensor) -> float:
    flow = small_flow()
    flow.initialize(PointBatch(points))
    return nats_of(flow, points)


def test_fit_goes_on_from_where_a_loop_of_ones_own_ended() -> None:
    points, flow = spread_points(), small_flow(NormalMixture(3, 4))
    train_by_hand(flow, points, 150)
    before, base = nats_of(flow, points), flow.base.mean.clone()
    one = TrainingConfig(max_steps=1, learning_rate=1e-6, batch_size=64)
    for _ in fit(flow, points[:100], one):
        pass
    assert nats_of(flow, points) == pytest.approx(before, abs=1e-3)
    torch.testing.assert_close(flow.base.mean, base, rtol=0, atol=1e-4)


def test_a_run_that_is_resumed_is_not_initialised_again() -> None:
    """Running averages of batch norm have no mark in a commit; ``new_model`` is followed by loading one."""
    model = new_model(load_preset("maf-batchnorm", {"model.dim": 3}))
    model.train()(PointBatch(spread_points())).mean().backward()
    norm = next(part for part in model.modules() if isinstance(part, BatchNorm))
    torch.testing.assert_close(norm.mean, 0.1 * spread_points().mean(0), rtol=1e-3, atol=0)


def test_a_flow_that_learns_from_an_energy_starts_as_it_is_and_is_not_started_anew() -> None:
    flow = Flow([ActNorm(2)], Normal(2))
    few = TrainingConfig(max_steps=1, batch_size=8, learning_rate=1e-9)
    for _ in fit_energy(flow, lambda x: 0.5 * x.square().sum(1), few):
        pass
    flow.initialize(PointBatch(5 + torch.randn(50, 2)))
    assert float(flow.flows[0].layers[0].shift.detach().abs().max()) < 1e-6
