"""Integer wavelets coded level by level given past frames."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vflow.bijections.integer_haar import MEAN, IntegerHaar, haar_blocks
from vflow.config import WaveletPriorConfig
from vflow.optical_flow import next_frames
from vflow.priors.wavelet import (
    LevelPast,
    WaveletPrior,
    displacements,
    mixture_over_copies,
    wavelet_order,
)

CONFIG = WaveletPriorConfig(hidden=(8, 8, 8), dilations=((1,), (1,), (1,)), radius=1, reach=1, parts=4)
FAR = CONFIG.model_copy(update={"far": (0, 3)})


def perturbed(channels: int = 3, frames: int = 2, config: WaveletPriorConfig = CONFIG) -> WaveletPrior:
    """A prior whose zero-initialised layers are not zero."""
    torch.manual_seed(0)
    prior = WaveletPrior(channels, frames, config).requires_grad_(False)
    for parameter in prior.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return prior


def clip(size: tuple[int, int] = (16, 16), frames: int = 3) -> Tensor:
    return torch.randint(256, (2, frames, 3, *size), generator=torch.Generator().manual_seed(1)).float()


def past_of(prior: WaveletPrior, frames: Tensor) -> list[LevelPast]:
    return prior.past(frames - 128, torch.ones(frames.shape[:2]))


def test_groups_go_from_means_to_the_finest_differences() -> None:
    order = wavelet_order(3, 64, 64, 5, 8)
    assert order.unique().tolist() == list(range(4 * 3 + 3 * 4 * 9 + 2 * 9))
    assert (order[:, ::32, ::32] < 12).all() and (order[0, 0, 0], order[2, 32, 32]) == (0, 5)
    for stride in (32, 16, 8, 4, 2):
        coarse = torch.zeros(64, 64, dtype=torch.bool)
        coarse[::stride, ::stride] = True
        assert order[:, coarse].max() < order[:, ~coarse].min(), "a finer level goes after a coarser one"
    rows, upper, lower = order[:, 1, 0], order[:, 0, 1], order[:, 1, 1]
    assert torch.cat([rows, upper, lower]).diff().tolist() == [1] * 8, "a block's, one after the other"


@pytest.mark.parametrize(("encoder", "far"), [(False, (0, 0)), (True, (0, 3))])
@pytest.mark.parametrize(
    ("size", "levels", "parts"),
    [((16, 16), 3, 4), ((8, 24), 3, 8), ((8, 8), 2, 8), ((4, 8), 1, 2), ((8, 8), 2, 2)],
)
def test_a_group_depends_on_groups_before_it_alone(
    size: tuple[int, int], levels: int, parts: int, encoder: bool, far: tuple[int, int]
) -> None:
    own = {"hidden": (8,) * levels, "dilations": ((1,),) * levels, "parts": parts}
    own |= {"encoder": (8,) * levels if encoder else None, "far": far}
    prior, frames = perturbed(config=CONFIG.model_copy(update=own)), clip(size)
    past, z = past_of(prior, frames[:, :2]), IntegerHaar(levels).centres(frames[:, 2])
    order, sweep = prior.order(*size), prior.sweep(past)
    for group in range(int(order.max()) + 1):
        at, density = sweep(z, group)
        assert (order[at[1:]] == group).all() and len(at[0]) == 2 * (order == group).sum()
        later = torch.where(order < group, z, torch.randint_like(z, -99, 99))
        again = prior.sweep(past)
        for before in range(group):
            again(later, before)
        _, other = again(later, group)
        assert all(torch.equal(a, b) for a, b in zip(density, other, strict=True)), group


def test_a_group_depends_on_groups_before_it() -> None:
    prior, frames = perturbed(), clip()
    past, z = past_of(prior, frames[:, :2]), IntegerHaar(3).centres(frames[:, 2])
    order = prior.order(16, 16)
    changed = torch.where(order == 0, z + 9, z)
    one, two = prior.sweep(past), prior.sweep(past)
    differ = [
        not torch.equal(one(z, g)[1].mean, two(changed, g)[1].mean) for g in range(int(order.max()) + 1)
    ]
    assert not differ[0] and sum(differ) > 0.8 * len(differ)


def test_four_picks_are_all_groups() -> None:
    prior, frames = perturbed(), clip()
    past, z = past_of(prior, frames[:, :2]), IntegerHaar(3).centres(frames[:, 2])
    one, all_at_once = (torch.full_like(z, torch.nan) for _ in range(2))
    sweep = prior.sweep(past)
    for group in range(int(prior.order(16, 16).max()) + 1):
        at, density = sweep(z, group)
        one[at] = density.log_mass(z[at] - 0.5, z[at] + 0.5)
    for pick in (0.1, 0.35, 0.6, 0.85):
        for at, density, share in prior.picked(z, torch.full((2,), pick), past):
            assert share == (0.25 if len(density.mean) == 2 * 16 * 9 else 1), "of the finest level a quarter"
            all_at_once[at] = density.log_mass(z[at] - 0.5, z[at] + 0.5)
    torch.testing.assert_close(one, all_at_once, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_copies_are_wavelets_of_the_displaced_frame(step: int) -> None:
    prior, frames = perturbed(config=CONFIG.model_copy(update={"step": step})), clip()
    past = past_of(prior, frames[:, :2])
    still, moved = frames[:, 1] - 128, frames[:, 1].roll((step, step), (2, 3)) - 128
    finest = haar_blocks(moved)[..., 2:, 2:]  # but for the edge, whose pixels are repeated
    assert torch.equal(past[0].copies[:, 0, ..., 2:, 2:] * CONFIG.unit, finest)
    for level in range(prior.top):
        blocks = haar_blocks(still)
        assert torch.equal(past[level].copies[:, 4] * CONFIG.unit, blocks)
        still = blocks[:, MEAN]
    assert torch.equal(past[prior.top].copies[:, 4, 0] * CONFIG.unit, still)


def test_far_copies_come_after_the_near_ones() -> None:
    frames = clip()
    near, past = (past_of(perturbed(config=config), frames[:, :2]) for config in (CONFIG, FAR))
    assert displacements(FAR)[9:] == [(0, -3), (0, -2), (0, 2), (0, 3)]
    right = haar_blocks(frames[:, 1].roll(3, 3) - 128)
    assert torch.equal(past[0].copies[:, 9, ..., 2:] * FAR.unit, right[..., 2:])
    for without, with_far in zip(near, past, strict=True):
        assert torch.equal(without.planes, with_far.planes)
        assert torch.equal(without.copies, with_far.copies[:, :9])


def test_far_displacements_foresee_what_moves_fast() -> None:
    """Before they have learned anything, so a trained prior can be given them."""
    frames = clip((32, 32))
    frames[:, 1] = frames[:, 0].roll(3, 3)
    frames[:, 2] = frames[:, 1].roll(3, 3)
    slow = WaveletPrior(3, 2, CONFIG).requires_grad_(False)
    fast = WaveletPrior(3, 2, FAR).requires_grad_(False)
    missing, unexpected = fast.load_state_dict(slow.state_dict(), strict=False)
    assert missing and not unexpected and all("far" in name for name in missing)
    z, found = IntegerHaar(3).centres(frames[:, 2]), []
    for prior in (slow, fast):
        sweep = prior.sweep(past_of(prior, frames[:, :2]))
        groups = (sweep(z, group) for group in range(int(prior.order(32, 32).max()) + 1))
        found.append(sum(float(density.log_mass(z[at] - 0.5, z[at] + 0.5).sum()) for at, density in groups))
    assert found[1] > 0.3 * found[0], found


def drifting(frames: int, seed: int = 1) -> Tensor:
    """Smooth texture that drifts by less than a pixel a frame, whole numbers (1, frames, 3, 32, 32)."""
    noise = np.random.default_rng(seed).normal(size=(96, 96, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    large = 128 + 60 * smooth / smooth.std()
    drift = [np.array([[1, 0, -0.6 * k - 30], [0, 1, 0.3 * k - 30]], np.float32) for k in range(frames)]
    made = [cv2.warpAffine(large, m, (32, 32), flags=cv2.INTER_LINEAR) for m in drift]
    return torch.from_numpy(np.stack(made)).clamp(0, 255).round().movedim(-1, 1)[None]


def test_extrapolated_copies_come_last_and_foresee_a_drift() -> None:
    frames, config = drifting(4), FAR.model_copy(update={"extrapolated": True})
    plain, prior = (WaveletPrior(3, 3, each).requires_grad_(False) for each in (FAR, config))
    without, found = (each.past(frames[:, :3] - 128, torch.ones(1, 3)) for each in (plain, prior))
    assert torch.equal(found[0].copies[:, :13], without[0].copies)
    images = frames[0].movedim(1, -1).numpy().astype(np.uint8)
    made = torch.from_numpy(next_frames(images[1], images[2])).movedim(-1, 1).float() - 128
    assert torch.equal(found[0].copies[0, 13:] * config.unit, haar_blocks(made))
    true = haar_blocks(frames[:, 3] - 128)[:, None] / config.unit
    errors = (found[0].copies - true).abs()[..., 3:-3, 3:-3].mean((0, 2, 3, 4, 5))
    assert errors[13:].max() < 0.7 * errors[:13].min()
    assert (found[0].cost[:, 13:] < found[0].cost[:, :13].amin(1, keepdim=True)).float().mean() > 0.5


def test_without_two_frames_extrapolated_copies_are_the_newest() -> None:
    prior = perturbed(frames=3, config=CONFIG.model_copy(update={"extrapolated": True}))
    frames = drifting(3) - 128
    copies = prior.past(frames, torch.tensor([[0.0, 0.0, 1.0]]))[0].copies
    assert torch.equal(copies[:, 9], copies[:, 4]) and torch.equal(copies[:, 10], copies[:, 4])


def test_absent_frames_are_not_seen() -> None:
    prior, frames = perturbed(), clip()
    other = frames[:, :2].clone()
    other[:, 0] = 7.0
    mask = torch.tensor([[0.0, 1.0]]).expand(2, -1)
    z = IntegerHaar(3).centres(frames[:, 2])
    seen, again = (prior.sweep(prior.past(f - 128, mask))(z, 0)[1].mean for f in (frames[:, :2], other))
    assert torch.equal(seen, again)
    assert not torch.equal(seen, prior.sweep(past_of(prior, frames[:, :2]))(z, 0)[1].mean)


@pytest.mark.parametrize("step", [1, 2])
def test_a_past_that_moves_is_told_from_one_that_stands(step: int) -> None:
    prior, frames = perturbed(config=CONFIG.model_copy(update={"step": step})), clip((32, 32))
    frames[:, 1] = frames[:, 0].roll(step, 3)  # to the right
    finest = past_of(prior, frames[:, :2])[0]
    assert (finest.votes.argmax(1)[:, 2:-2, 2:-2] == 3).all()


@pytest.mark.parametrize("encoder", [None, (8, 8, 8)])
def test_with_an_encoder_coarse_levels_see_details_of_past_frames(encoder: tuple[int, ...] | None) -> None:
    prior, frames = perturbed(frames=3, config=CONFIG.model_copy(update={"encoder": encoder})), clip(frames=4)
    z = IntegerHaar(3).centres(frames[:, 3])
    other = frames[:, :3].clone()
    other[:, 0, :, 4:6, 4:6] = other[:, 0, :, 4:6, 4:6].flip(-1)  # the mean of the block stays
    seen, again = (prior.sweep(past_of(prior, f))(z, 0)[1].mean for f in (frames[:, :3], other))
    assert torch.equal(seen, again) == (encoder is None)


def test_an_encoder_that_has_learned_nothing_changes_nothing() -> None:
    """So a trained prior can be given one."""
    without = perturbed()
    prior = WaveletPrior(3, 2, CONFIG.model_copy(update={"encoder": (8, 8, 8)})).requires_grad_(False)
    missing, unexpected = prior.load_state_dict(without.state_dict(), strict=False)
    assert missing and not unexpected and all("context" in name or "encoder" in name for name in missing)
    frames = clip()
    z = IntegerHaar(3).centres(frames[:, 2])
    one, two = (p.sweep(past_of(p, frames[:, :2])) for p in (without, prior))
    for group in range(int(prior.order(16, 16).max()) + 1):
        assert all(torch.equal(a, b) for a, b in zip(one(z, group)[1], two(z, group)[1], strict=True))


def test_mixtures_are_in_multiples_of_the_unit() -> None:
    """Means and scales alike, but for the broad component that is always there."""
    torch.manual_seed(0)
    inputs = [torch.randn(6, count) for count in (3, 3, 3, 3, 2)]  # copies, logits, offsets, scales, weights
    one, eight = (mixture_over_copies(*inputs, unit) for unit in (1.0, 8.0))
    torch.testing.assert_close(eight.mean, 8 * one.mean)
    torch.testing.assert_close(eight.log_scale[:, :-1], one.log_scale[:, :-1] + math.log(8))
    assert torch.equal(eight.log_scale[:, -1], one.log_scale[:, -1])
    assert torch.equal(eight.log_weight, one.log_weight)


def test_a_static_copy_is_exact() -> None:
    """Sharp modes lie on the newest frame's own wavelets, whatever their level."""
    prior, frames = WaveletPrior(3, 2, CONFIG).requires_grad_(False), clip()
    past, z = past_of(prior, frames[:, :2]), IntegerHaar(3).centres(frames[:, 1])
    sweep = prior.sweep(past)
    for group in range(int(prior.order(16, 16).max()) + 1):
        at, density = sweep(z, group)
        assert ((density.mean - z[at][:, None]).abs().amin(1) < 1e-3).all()
