"""Latents coded on ever finer lattices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vflow.config import LatticePriorConfig
from vflow.priors.lattice import GAIN_START, LatticePrior, lattice_order, matching_cost


def perturbed(config: LatticePriorConfig | None = None, channels: int = 3, frames: int = 2) -> LatticePrior:
    """A prior whose zero-initialised layers are not zero."""
    torch.manual_seed(0)
    prior = LatticePrior(channels, frames, config or LatticePriorConfig(hidden=8, dilations=(1, 2)))
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return prior


def window(size: int = 32, frames: int = 2) -> tuple[Tensor, Tensor]:
    past = torch.randn(1, frames, 3, size, size, generator=torch.Generator().manual_seed(1))
    return past, torch.ones(1, frames)


def test_groups_are_lattices_from_coarse_to_fine() -> None:
    order = lattice_order(3, 64, 64, 32, 8)
    assert order.unique().tolist() == list(range(30))
    assert (order[0] == 0).nonzero().tolist() == [[0, 0], [0, 32], [32, 0], [32, 32]]
    assert (order[1:, 0, 0] == 1).all(), "other channels follow the first"
    for stride in (32, 16, 8, 4, 2):
        coarse = torch.zeros(64, 64, dtype=torch.bool)
        coarse[::stride, ::stride] = True
        assert order[:, coarse].max() < order[:, ~coarse].min(), "a finer lattice goes after a coarser one"


def test_no_two_latents_of_a_coarse_group_are_close() -> None:
    """The first channel of a lattice goes in four parts: twice its stride apart, or the coarsest."""
    order = lattice_order(3, 64, 64, 32, 4)[0]
    for stride in (16, 8):
        lattice = order[stride // 2 :: stride, stride // 2 :: stride]
        assert len(lattice.unique()) == 4 and (lattice[0, 0] == lattice[::2, ::2]).all()


def test_one_channel_needs_no_second_group() -> None:
    assert lattice_order(1, 32, 32, 8, 2).unique().tolist() == list(range(14))


@pytest.mark.parametrize("group", [0, 5, 20])
def test_a_group_depends_on_no_latent_of_its_own_or_later_groups(group: int) -> None:
    prior, (past, mask) = perturbed(), window()
    motion = prior.past(past, mask)
    z = torch.randn(1, 3, 32, 32)
    order = prior.order(32, 32)
    other = torch.where(order < group, z, torch.randn_like(z))
    index = torch.tensor([group])
    first, second = prior(z, index, motion), prior(other, index, motion)
    assert torch.equal(first.mean, second.mean) and torch.equal(first.log_scale, second.log_scale)
    if group:
        earlier = torch.where(order < group, torch.randn_like(z), z)
        assert not torch.equal(first.mean, prior(earlier, index, motion).mean)


def test_absent_frames_are_not_seen() -> None:
    prior, (past, _) = perturbed(), window()
    mask = torch.tensor([[0.0, 1.0]])
    other = past.clone()
    other[:, 0] = 7.0
    z, index = torch.zeros(1, 3, 32, 32), torch.tensor([3])
    seen, again = (prior(z, index, prior.past(p, mask)) for p in (past, other))
    assert torch.equal(seen.mean, again.mean)
    assert not torch.equal(seen.mean, prior(z, index, prior.past(past, torch.ones(1, 2))).mean)


def test_a_latent_has_a_mode_for_each_displacement() -> None:
    """A prior with no residual, its weights set by the last layer's biases: ¾ stays, ¼ moves a cell right."""
    config = LatticePriorConfig(hidden=4, dilations=(1,), cell=2, step=2)
    prior = LatticePrior(1, 1, config)
    with torch.no_grad():
        logits = torch.full((9,), -60.0)
        logits[4], logits[3] = torch.tensor([0.75, 0.25]).log()
        prior.net.conv_out.bias[8:17] = logits
        prior.net.conv_out.bias[4:8] = -60.0  # σ of the network: as small as it gets
        prior.net.conv_out.bias[17:] = -GAIN_START
    past = torch.randn(1, 1, 1, 8, 8)
    group = prior.order(8, 8).max()[None]
    places = prior.places(past[:, 0], group)
    moved = past[0].roll(2, 3)
    moved[..., :2] = 0
    density = prior(torch.zeros(1, 1, 8, 8), group, prior.past(past, torch.ones(1, 1)))
    stays, moves = past[:, 0][places], moved[places]
    for copy, share in ((stays, 0.75), (moves, 0.25)):
        mass = density.log_mass(copy - 0.02, copy + 0.02).exp()
        apart = (stays - moves).abs() > 0.1
        torch.testing.assert_close(mass[apart], torch.full_like(mass[apart], share), atol=1e-4, rtol=0)


def test_costs_and_votes_single_out_the_displacement_of_the_surroundings() -> None:
    prior, (past, mask) = perturbed(), window()
    motion = prior.past(past, mask)
    cells = motion.copies[:, :, :, 5].permute(0, 3, 1, 2)  # displaced by one cell
    cost = matching_cost(cells, motion.copies, torch.ones_like(cells))
    others = [0, 1, 2, 3, 4, 6, 7, 8]
    assert (cost[:, 5] == 0).all() and (cost[:, others].mean((0, 2, 3)) > 0.5).all()
    assert (matching_cost(cells, motion.copies, torch.zeros_like(cells)) == 0).all(), "nothing is known"


def test_votes_follow_the_past_movement() -> None:
    prior, (past, mask) = perturbed(), window()
    past[:, 1] = past[:, 0].roll(4, 3)  # one cell to the right
    votes = prior.past(past, mask).votes[:, :, 1:-1, 1:-1].exp()
    assert (votes[:, 3] > 0.99).all() and votes[:, [0, 1, 2, 4, 5, 6, 7, 8]].max() < 0.1


def test_any_size() -> None:
    prior = perturbed()
    past, mask = torch.randn(2, 2, 3, 16, 48), torch.ones(2, 2)
    density = prior(torch.zeros(2, 3, 16, 48), torch.tensor([0, 20]), prior.past(past, mask))
    places = prior.places(torch.zeros(2, 3, 16, 48), torch.tensor([0, 20]))
    assert len(density.mean) == places.sum() and density.log_scale.isfinite().all()


def test_shares_are_a_distribution_over_groups() -> None:
    shares = perturbed().shares(64, 64)
    assert len(shares) == 30 and shares.min() > 0.01
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0))
