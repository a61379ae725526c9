"""Flows on spheres: log-dets per unit of area."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vflow.bijections import Chain, Inverse
from vflow.bijections.autoregressive import ElementCoupling
from vflow.bijections.circle import MobiusSum
from vflow.bijections.permutation import MaskPartition
from vflow.bijections.sphere import Rotation, SphereToCylinder
from vflow.bijections.spline import RationalQuadraticSpline
from vflow.nn.mlp import MLP, VectorConditioner


def points(dim: int, count: int = 4) -> Tensor:
    return F.normalize(torch.randn(count, dim + 1, dtype=torch.float64), dim=1)[:, :, None, None]


def tangent(x: Tensor) -> Tensor:
    """Orthonormal basis (D + 1, D) of the tangent space at a point (D + 1,)."""
    return torch.linalg.svd(x[None])[2][1:].T


def sphere_flow() -> Chain:
    """S² → S²: the angle given the height, then the height given the angle, then a rotation."""
    angle, height = MobiusSum(3), RationalQuadraticSpline(5, -1.0, 1.0, "free")
    flow = Chain(
        [
            SphereToCylinder(2),
            ElementCoupling(angle, VectorConditioner(MLP(1, angle.count, [8])), MaskPartition([False, True])),
            ElementCoupling(
                height,
                VectorConditioner(MLP(1, height.count, [8], periodic=True)),
                MaskPartition([True, False]),
            ),
            Inverse(SphereToCylinder(2)),
            Rotation(3),
        ]
    ).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return flow


def test_log_det_of_the_flow_on_the_manifold() -> None:
    flow, x = sphere_flow(), points(2)
    z, ladj = flow(x)
    torch.testing.assert_close(z.flatten(1).norm(dim=1), torch.ones(4, dtype=x.dtype))
    for index in range(4):
        one = x[index : index + 1]
        matrix = torch.autograd.functional.jacobian(lambda p: flow(p)[0].flatten(), one).flatten(1)
        restricted = tangent(z[index].flatten().detach()).T @ matrix @ tangent(one.flatten())
        torch.testing.assert_close(ladj[index], torch.linalg.slogdet(restricted)[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_cylinder_log_det_is_the_area_it_stretches(dim: int) -> None:
    layer, x = SphereToCylinder(dim), points(dim, 3)
    z, ladj = layer(x)
    for index in range(3):
        one = x[index : index + 1]
        matrix = torch.autograd.functional.jacobian(lambda p: layer(p)[0].flatten(), one).flatten(1)
        expected = torch.linalg.slogdet(matrix @ tangent(one.flatten()))[1]
        torch.testing.assert_close(ladj[index], expected, rtol=1e-8, atol=1e-8)
    back, inverse_ladj = layer.inverse(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse_ladj, -ladj)


def test_round_trip() -> None:
    flow, x = sphere_flow(), points(2, 50)
    z, ladj = flow(x)
    back, inverse_ladj = flow.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-7)
    torch.testing.assert_close(inverse_ladj, -ladj, rtol=0, atol=1e-6)


def test_the_density_integrates_to_one_over_the_sphere() -> None:
    flow = sphere_flow()
    cells = 400
    height = 2 * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells - 1
    angle = 2 * math.pi * torch.arange(cells, dtype=torch.float64) / cells
    height, angle = height.repeat_interleave(cells), angle.repeat(cells)
    radius = (1 - height**2).sqrt()
    x = torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)
    with torch.no_grad():
        density = flow(x[:, :, None, None])[1].exp() / (4 * math.pi)
    assert float(density.mean()) * 4 * math.pi == pytest.approx(1, abs=5e-3)
    assert float(density.max() / density.min()) > 2
