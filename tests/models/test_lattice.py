from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vflow.models.lattice import motion_compensated


def texture(height: int, width: int, batch: int = 2) -> Tensor:
    """Whole grey levels (B, 3, H, W)."""
    return torch.randint(
        0, 256, (batch, 3, height, width), generator=torch.Generator().manual_seed(1)
    ).float()


@pytest.mark.parametrize("size", [(24, 32), (25, 31)])
@pytest.mark.parametrize("displacement", [(0, 0), (3, -2), (-4, 4)])
def test_frames_are_displaced_to_the_next(size: tuple[int, int], displacement: tuple[int, int]) -> None:
    """Every pixel is found, those between the known ones, too, unless it enters from outside."""
    frame = texture(*size)
    following = torch.roll(frame, displacement, (2, 3))
    found = motion_compensated(frame, following[..., ::2, ::2], 4)
    assert torch.equal(found[..., 7:-7, 7:-7], following[..., 7:-7, 7:-7])


def test_parts_move_on_their_own() -> None:
    frame = texture(32, 32, 1)
    following = frame.clone()
    following[..., 8:24, 8:24] = frame[..., 5:21, 10:26]
    found = motion_compensated(frame, following[..., ::2, ::2], 4)
    for rows, columns in ((slice(10, 22), slice(10, 22)), (slice(0, 6), slice(0, 32))):
        assert torch.equal(found[..., rows, columns], following[..., rows, columns])


def test_noise_moves_nothing() -> None:
    """A still background with a noise of a grey level stays where it is."""
    noise = torch.randint(-1, 2, (1, 3, 20, 20), generator=torch.Generator().manual_seed(2))
    frame = torch.full((1, 3, 20, 20), 90.0)
    frame[..., 10:, :] = 120
    assert torch.equal(motion_compensated(frame, (frame + noise)[..., ::2, ::2], 8), frame)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (8, 8)])
def test_small_frames_and_bfloat16(size: tuple[int, int]) -> None:
    frame, known = texture(*size), texture(*size).flip(0)[..., ::2, ::2]
    found = motion_compensated(frame, known, 8)
    assert found.shape == frame.shape
    assert torch.equal(motion_compensated(frame.bfloat16(), known, 8).float(), found)
    assert motion_compensated(frame, known, 0) is frame
