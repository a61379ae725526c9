"""Models as distributions of torch: shapes, densities, gradients, and where they are used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, distributions
from torch.utils.data import DataLoader, IterableDataset

import vflow
from vflow.bijections import ActNorm
from vflow.config import DensityConfig, load_preset, parse
from vflow.densities import Normal
from vflow.errors import CheckpointError, InputError
from vflow.models import DensityModel, Flow, VideoFlow

from ..pipelines.digit_models import make_digits

LAYERS = [{"kind": "actnorm"}, {"kind": "autoregressive", "hidden": [8]}, {"kind": "permutation"}]


def vectors(features: int = 0, **changes: Any) -> DensityModel:
    torch.manual_seed(0)
    settings = {"kind": "density", "dim": 2, "features": features, "layers": LAYERS} | changes
    model = DensityModel(parse(DensityConfig, settings, "test")).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def test_shapes_are_those_of_torch_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, given = (
        vflow.distribution(vectors()),
        vflow.distribution(vectors(3), torch.randn(5, 1, 3).double()),
    )
    assert isinstance(plain, distributions.Distribution)
    assert (plain.batch_shape, plain.event_shape, given.batch_shape) == ((), (2,), (5, 1))
    assert plain.sample().shape == (2,) and plain.sample((4, 3)).shape == (4, 3, 2)
    drawn = given.sample((4,))
    assert drawn.shape == (4, 5, 1, 2) and drawn.dtype == torch.float64
    assert given.log_prob(drawn).shape == (4, 5, 1) and plain.log_prob(plain.sample((7, 1))).shape == (7, 1)
    assert given.log_prob(torch.zeros(2).double()).shape == (5, 1)
    wide = given.expand((2, 5, 6))
    assert wide.sample((3,)).shape == (3, 2, 5, 6, 2)
    assert wide.log_prob(drawn[0]).shape == (2, 5, 6) and plain.expand((4,)).sample().shape == (4, 2)
    monkeypatch.setattr(distributions.Distribution, "_validate_args", True)
    for value in (torch.zeros(3).double(), torch.zeros(3, 1, 2).double()):
        with pytest.raises(ValueError):
            given.log_prob(value)
    monkeypatch.setattr(distributions.Distribution, "_validate_args", False)  # as zuko leaves it
    with pytest.raises(ValueError):
        given.log_prob(torch.zeros(3).double())


def test_log_prob_is_the_models_and_integrates_to_one() -> None:
    model, condition = vectors(3).requires_grad_(False), 0.2 * torch.randn(3, 3).double()
    points = torch.randn(3, 2).double()
    found = vflow.distribution(model, condition).log_prob(points)
    torch.testing.assert_close(found, model.log_prob(points, condition))
    grid = torch.linspace(-30, 30, 900).double()
    plane = torch.cartesian_prod(grid, grid)
    mass = vflow.distribution(model, condition[0]).log_prob(plane).exp().sum() * (60 / 899) ** 2
    assert float(mass) == pytest.approx(1, abs=1e-3)


def test_torchs_tools_take_it_and_gradients_pass() -> None:
    model = vectors()
    base = vflow.distribution(model)
    scaled = distributions.TransformedDistribution(base, [distributions.AffineTransform(1.0, 2.0, 1)])
    x = scaled.rsample((6,))
    torch.testing.assert_close(scaled.log_prob(x), base.log_prob((x - 1) / 2) - 2 * torch.tensor(2.0).log())
    assert distributions.Independent(base.expand((3,)), 1).log_prob(base.sample((3,))).shape == ()
    base.rsample((5,)).square().sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in model.parameters())
    assert not base.sample((5,)).requires_grad
    torch.manual_seed(3)
    first = base.sample((4,))
    torch.manual_seed(3)
    assert torch.equal(base.sample((4,)), first)


def test_a_loop_of_ones_own_trains_it() -> None:
    flow = Flow([ActNorm(2)], Normal(2))
    data = distributions.Normal(torch.tensor([100.0, -3.0]), torch.tensor([5.0, 0.1]))
    optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
    for _ in range(20):
        loss = -vflow.distribution(flow).log_prob(data.sample((256,))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    test = data.sample((5000,))
    gap = data.log_prob(test).sum(1).mean() - vflow.distribution(flow).log_prob(test).mean()
    assert abs(float(gap)) < 0.1


class Drawn(IterableDataset[Tensor]):
    """Samples with their log-densities, made in a worker."""

    def __init__(self, density: Any) -> None:
        self.density = density

    def __iter__(self) -> Any:
        for _ in range(3):
            x = self.density.sample()
            yield torch.cat([x, self.density.log_prob(x)[None]])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_a_data_loader_use_it(context: str) -> None:
    density = vflow.distribution(vectors().requires_grad_(False))
    loader = DataLoader(Drawn(density), batch_size=3, num_workers=2, multiprocessing_context=context)
    rows = torch.cat(list(loader))
    assert rows.shape == (6, 3)
    torch.testing.assert_close(density.log_prob(rows[:, :2]), rows[:, 2])


def test_compiled_it_is_the_same() -> None:
    density, points = vflow.distribution(vectors()), torch.randn(6, 2).double()
    compiled = torch.compile(density.log_prob, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(points), density.log_prob(points))


def test_models_with_a_bound_name_it_so() -> None:
    model = make_digits()
    density = vflow.distribution(model, torch.tensor([1, 2, 3]))
    images = density.sample((2,))
    assert images.shape == (2, 3, *model.image_shape) and images.dtype == torch.uint8
    bound = density.log_prob_bound(images)
    assert bound.shape == (2, 3) and bool((bound < 0).all())
    torch.manual_seed(0)
    first = density.log_prob_bound(images)
    torch.manual_seed(0)
    assert torch.equal(density.log_prob_bound(images), first)
    with pytest.raises(NotImplementedError):
        density.log_prob(images)


def test_what_does_not_suit_is_refused() -> None:
    for model, condition in ((vectors(), torch.zeros(3)), (vectors(3), None), (make_digits(), None)):
        with pytest.raises(InputError):
            vflow.distribution(model, condition)
    with pytest.raises(InputError):
        vflow.distribution(vectors(3), torch.zeros(()))
    with pytest.raises(CheckpointError, match="VideoFlow"):
        vflow.distribution(VideoFlow(load_preset("shapes-glow").model))  # type: ignore[arg-type]
