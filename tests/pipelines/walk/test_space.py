"""Moving about in noise: ends are exact, lengths are kept, draws stay normal."""

from __future__ import annotations

import math

import pytest
import torch

from vflow.pipelines.walk.space import between, flatten, move, scaled, unflatten

MANY = 400


def unit(size: int) -> torch.Tensor:
    d = torch.randn(size)
    return d / d.norm()


def test_levels_side_by_side_and_back() -> None:
    eps = (torch.randn(3, 2, 4, 4), torch.randn(3, 8, 2, 2), torch.randn(3, 1, 1, 1))
    flat = flatten(eps)
    assert flat.shape == (3, 65)
    assert all(torch.equal(a, b) for a, b in zip(unflatten(flat, eps), eps, strict=True))


@pytest.mark.parametrize("size", [2, MANY])
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_no_amount_leaves_noise_alone(size: int, scale: float) -> None:
    eps = scale * torch.randn(1, size)
    torch.testing.assert_close(move(eps, unit(size), [0.0]), eps, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_long_noise_turns_and_keeps_its_length(scale: float) -> None:
    eps, d = torch.randn(1, MANY), unit(MANY)
    eps = scale * eps * math.sqrt(MANY) / eps.norm()
    amounts = [-6.0, -2.0, 0.0, 2.0, 6.0]
    moved = move(eps, d, amounts)
    torch.testing.assert_close(moved.norm(dim=1), eps.norm().expand(5), rtol=1e-5, atol=0)
    expected = float(eps @ d) + torch.tensor(amounts)
    torch.testing.assert_close(moved @ d, expected, rtol=1e-4, atol=1e-4)
    plane = torch.stack([eps[0] - (eps @ d) * d, d])
    plane = plane / plane.norm(dim=1, keepdim=True)
    torch.testing.assert_close((moved @ plane.T) @ plane, moved, rtol=0, atol=1e-4)  # it only turns


def test_short_noise_moves_straight_up_to_a_typical_length() -> None:
    eps, d = 0.4 * torch.randn(1, MANY), unit(MANY)
    near = move(eps, d, [3.0])
    torch.testing.assert_close(near, eps + 3 * d, rtol=1e-5, atol=1e-5)
    far = move(eps, d, [19.5])
    assert float(far.norm()) == pytest.approx(math.sqrt(MANY), rel=1e-4)
    assert float((eps + 19.5 * d).norm()) > math.sqrt(MANY)


def test_noise_turns_no_further_than_to_the_direction_itself() -> None:
    eps, d = torch.randn(1, MANY), unit(MANY)
    moved = move(eps, d, [-1e6, 1e6])
    length = max(math.sqrt(MANY), float(eps.norm()))
    torch.testing.assert_close(moved, length * torch.stack([-d, d]), rtol=1e-4, atol=1e-3)


def test_few_numbers_move_straight() -> None:
    eps, d = torch.randn(1, 2), unit(2)
    torch.testing.assert_close(move(eps, d, [5.0]), eps + 5 * d)


def test_the_ends_are_the_two_noises_themselves() -> None:
    a = (torch.randn(1, 4, 8, 8), torch.randn(1, 2, 1, 1), torch.zeros(1, 1, 8, 8))
    b = (3 * torch.randn(1, 4, 8, 8), torch.randn(1, 2, 1, 1), torch.randn(1, 1, 8, 8))
    path = between(a, b, [0.0, 0.3, 1.0])
    for level, one, other in zip(path, a, b, strict=True):
        assert level.shape == (3, *one.shape[1:])
        torch.testing.assert_close(level[:1], one, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(level[2:], other, rtol=1e-6, atol=1e-6)


def test_lengths_go_evenly_along_the_great_circle() -> None:
    a, b = torch.randn(1, 4, 8, 8), 2 * torch.randn(1, 4, 8, 8)
    t = [0.0, 0.25, 0.5, 0.75, 1.0]
    (path,) = between((a,), (b,), t)
    expected = torch.lerp(a.norm(), b.norm(), torch.tensor(t))
    torch.testing.assert_close(path.flatten(1).norm(dim=1), expected, rtol=1e-5, atol=0)
    units = path.flatten(1) / path.flatten(1).norm(dim=1, keepdim=True)
    cosines = (units[1:] * units[:-1]).sum(1)
    torch.testing.assert_close(cosines, cosines[:1].expand(4), rtol=1e-4, atol=1e-5)


def test_between_independent_draws_noise_of_any_size_stays_normal() -> None:
    """Also where levels have few numbers: these take the angle of all levels together."""
    shapes = [(1, 1, 1), (2, 4, 8)]
    draws = [[torch.randn(1, *shape) for shape in shapes] for _ in range(4000)]
    pairs = zip(draws[::2], draws[1::2], strict=True)
    middles = [between(tuple(a), tuple(b), [0.3, 0.5]) for a, b in pairs]
    for level in range(2):
        values = torch.stack([m[level] for m in middles])
        for step in range(2):
            assert float(values[:, step].std()) == pytest.approx(1.0, abs=0.05)


def test_between_equal_noises_nothing_changes() -> None:
    a = (torch.randn(1, 4, 8, 8), torch.randn(1, 2, 1, 1))
    for level, one in zip(between(a, a, [0.0, 0.5, 1.0]), a, strict=True):
        torch.testing.assert_close(level, one.expand(3, -1, -1, -1), rtol=1e-5, atol=1e-5)


def test_opposite_noises_give_numbers() -> None:
    a = (torch.randn(1, 4, 8, 8),)
    assert torch.isfinite(between(a, (-a[0],), [0.0, 0.5, 1.0])[0]).all()


def test_scaled() -> None:
    eps = (torch.randn(1, 2, 3, 3),)
    assert torch.equal(scaled(eps, [0.0, 1.0, 1.5])[0], torch.cat([0 * eps[0], eps[0], 1.5 * eps[0]]))
