"""Parts that move as wholes: found by search, moved on exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from vflow.models.frame_predictor import (
    advance,
    best_displacement,
    composite,
    find_parts,
    find_velocity_changes,
    warp,
)

SIDE, REACH = 20, 4


def scene(*turns: tuple[int, int]) -> list[Tensor]:
    """Three frames of two blocks, signs apart; ``turns`` change their velocities on the last step."""
    random = torch.Generator().manual_seed(0)
    frames = [torch.zeros(1, 3, SIDE, SIDE) for _ in range(3)]
    for at, (down, right), sign, turn in (
        ((3, 13), (2, -1), 1, turns[0]),
        ((13, 2), (-3, 2), -1, turns[1]),
    ):
        block = sign * (0.5 + torch.rand(3, 4, 4, generator=random))
        row, column = at
        for t, frame in enumerate(frames):
            if t:
                row, column = row + down + (t == 2) * turn[0], column + right + (t == 2) * turn[1]
            frame[0, :, row : row + 4, column : column + 4] = block
    return frames


def test_parts_are_told_apart_by_how_they_came() -> None:
    before, last, _ = scene((0, 0), (0, 0))
    parts = find_parts(last, before, 2, REACH)
    assert {tuple(step) for step in parts.velocities[0].tolist()} == {(-2, 1), (3, -2)}
    torch.testing.assert_close(composite(parts.layers.unbind(1)), last)
    assert all(layer.any() for layer in parts.layers[0])
    own = parts.layers[0].abs() > 0
    assert not (own[0] & own[1]).any() and not parts.residuals[0][own].any()


def test_they_go_on_as_they_came_but_for_their_turns() -> None:
    for turns in (((0, 0), (0, 0)), ((-1, 3), (2, 0))):
        before, last, following = scene(*turns)
        parts = find_parts(last, before, 2, REACH)
        found = find_velocity_changes(parts, following, REACH)
        torch.testing.assert_close(composite(advance(parts, found, REACH).layers.unbind(1)), following)
        assert found.any() == any(any(turn) for turn in turns)


def test_steps_stay_within_reach() -> None:
    before, last, _ = scene((0, 0), (0, 0))
    parts = advance(find_parts(last, before, 2, REACH), torch.full((1, 2, 2), 50), REACH)
    assert (parts.velocities == REACH).all()


def test_more_parts_than_there_are_are_empty() -> None:
    still = torch.zeros(2, 1, SIDE, SIDE)
    parts = find_parts(still, still, 3, REACH)
    assert not parts.layers.any() and not parts.residuals.any()


def test_a_moved_picture_goes_on_at_its_edges() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4).expand(2, 2, 3, 4)
    out = warp(x, torch.tensor([[1, 0], [-1, 2]]))
    assert out[0, 0].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11], [8, 9, 10, 11]]
    assert out[1, 1].tolist() == [[2, 3, 3, 3], [2, 3, 3, 3], [6, 7, 7, 7]]


def test_the_best_displacement_is_the_one_of_an_exhaustive_search() -> None:
    torch.manual_seed(0)
    frame, before = torch.randn(5, 2, 7, 9), torch.randn(5, 2, 7, 9)
    steps = [(i, j) for i in range(-3, 4) for j in range(-3, 4)]
    tried = (warp(before, torch.tensor([step]).expand(5, 2)) for step in steps)
    fits = torch.stack([(frame * led).sum((1, 2, 3)) for led in tried], 1)
    assert best_displacement(frame, before, 3).tolist() == [list(steps[i]) for i in fits.argmax(1).tolist()]
