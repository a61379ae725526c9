"""Parts of the colouriser's pipeline: enlarging, gamut, noise, hints, preparing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vflow.data.color import lab_to_rgb, rgb_to_lab
from vflow.errors import ConfigError, InputError
from vflow.pipelines.color.hints import Likeness, enforce_hints, hint_shares, place
from vflow.pipelines.color.noise import ANGLE, DRAWS, ColorNoise, representatives
from vflow.pipelines.color.photo import (
    condition_of,
    displayable_share,
    fit_to_square,
    lab_planes,
    on_white,
    prepare_photo,
    to_bytes,
)
from vflow.pipelines.color.upsample import Enlarger
from vflow.randomness import normal
from vflow.tasks.colorize.settings import Hint, parse_hint

from ..colorizers import CONFIG, picture

SHAPES = ((6, 8, 8), (6, 2, 2), (6, 1, 1), (2, 1, 1))


def _enlarged(enlarger: Enlarger, planes: torch.Tensor) -> torch.Tensor:
    sharp = enlarger.sharpen(planes)
    return torch.cat([enlarger.enlarge(sharp, enlarger.corners(rows)) for rows in enlarger.strips()], -2)


def test_colours_end_where_lightness_does() -> None:
    """A step of lightness that lies inside the cells: linear enlargement bleeds across it, this does not."""
    lightness = torch.full((64, 96), 20.0)
    lightness[:, 45:] = 80
    color = torch.where(lightness < 50, -30.0, 40.0)
    cells = F.interpolate(color[None, None], size=(8, 12), mode="area")[0]
    ours = _enlarged(Enlarger(lightness, (8, 12)), cells)[0]
    linear = F.interpolate(cells[None], size=(64, 96), mode="bilinear")[0, 0]
    assert (ours - color).abs().max() < 20  # of a step of 70
    assert (linear - color).abs().max() > 30
    assert (ours - color).square().mean() < 0.2 * (linear - color).square().mean()


def test_a_condition_has_the_photo_sharper_where_the_model_looks_at_that() -> None:
    """Lightness of all views is of one photo: that of the small square is the sharp one's, averaged."""
    pixels = picture(128, 192)
    plain, seen = (prepare_photo(CONFIG.model_copy(update={"scale_tta": on}), pixels) for on in (False, True))
    assert plain.sharp is None and condition_of(plain).shape == (1, 4, 32, 32)
    condition = condition_of(seen)
    assert condition.shape == (1, 8, 32, 32) and not condition[:, 1:4].any()
    assert torch.equal(condition[:, :1], condition_of(plain)[:, :1]) and seen.content == plain.content
    averages = condition[:, 4:].mean(1, keepdim=True)
    assert (averages - condition[:, :1]).abs().mean() < 1.5, "L of means is nearly the mean of L"


def test_means_over_cells_are_kept_and_flat_planes_stay_flat() -> None:
    photo = prepare_photo(CONFIG, picture(64, 96))
    enlarger = photo.enlarger((16, 16))
    planes = lab_planes(fit_to_square(photo.pixels, 16))[0, 1:]
    back = F.interpolate(_enlarged(enlarger, planes)[None], size=(16, 16), mode="area")[0]
    linear = F.interpolate(planes[None], size=(64, 96), mode="bilinear")
    blurred = F.interpolate(linear, size=(16, 16), mode="area")[0]
    assert (back - planes).square().mean() < 0.25 * (blurred - planes).square().mean()
    flat = torch.full((2, 16, 16), 7.0)
    assert torch.allclose(_enlarged(enlarger, flat), torch.tensor(7.0), atol=1e-4)


def test_enlargers_of_large_photos_are_prepared_with_progress() -> None:
    shape, cells = (900, 1000), torch.rand(2, 16, 16)
    photo = prepare_photo(CONFIG, picture(*shape))
    shares = list(photo.prepare((16, 16)))
    assert len(shares) >= 8 and shares == sorted(set(shares)) and shares[-1] == 1
    assert list(photo.prepare((16, 16))) == [], "nothing is done twice"
    at_once = prepare_photo(CONFIG, picture(*shape)).enlarger((16, 16))
    assert torch.equal(photo.lightness, at_once.lightness)
    assert torch.equal(photo.enlarger((16, 16)).sharpen(cells), at_once.sharpen(cells))


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (16, 16), (33, 17)])
def test_small_pictures_get_smaller_planes(shape: tuple[int, int]) -> None:
    enlarger = prepare_photo(CONFIG, picture(*shape)).enlarger((16, 16))
    planes = enlarger.shrink(torch.rand(3, 2, 16, 16))
    assert planes.shape[-2:] == (min(16, shape[0]), min(16, shape[1])) == enlarger.size
    assert _enlarged(enlarger, planes).shape == (3, 2, *shape)
    assert torch.isfinite(_enlarged(enlarger, planes)).all()


def test_gamut_mapping_keeps_lightness_and_hue_and_what_can_be_shown() -> None:
    random = torch.Generator().manual_seed(0)
    lightness = 100 * torch.rand(40, 50, generator=random)
    ab = 260 * torch.rand(2, 2, 40, 50, generator=random) - 130
    pixels = to_bytes(lightness, ab)
    found = rgb_to_lab(torch.from_numpy(pixels).movedim(-1, 1).double() / 255)
    assert (found[:, 0] - lightness).abs().max() < 0.4
    angle = torch.atan2(found[:, 2], found[:, 1]) - torch.atan2(ab[:, 1], ab[:, 0])
    vivid = found[:, 1:].square().sum(1) > 20**2
    assert torch.sin(angle).abs()[vivid].max() < 0.08  # rounding to bytes turns it a little
    rgb = torch.rand(1, 3, 40, 50, generator=random)
    lab = rgb_to_lab(rgb)
    assert np.array_equal(to_bytes(lab[0, 0], lab[:, 1:])[0], (rgb[0] * 255).round().byte().movedim(0, -1))


def test_the_share_shown_is_the_largest() -> None:
    lightness, ab = torch.tensor([0.0, 30.0, 50.0, 97.0, 100.0]), torch.tensor([[90.0], [-70.0]]).expand(2, 5)
    share = displayable_share(lightness, ab)
    assert ((share >= 0) & (share < 1)).all()
    more = lab_to_rgb(torch.cat([lightness[None], ab * (share + 0.01)])[None, :, None])[0, :, 0]
    assert ((more < -0.5 / 255) | (more > 1 + 0.5 / 255)).any(0).all()
    less = lab_to_rgb(torch.cat([lightness[None], ab * share])[None, :, None])[0, :, 0]
    assert ((less > -0.51 / 255) & (less < 1 + 0.51 / 255)).all()
    assert displayable_share(torch.tensor([50.0]), torch.tensor([[5.0], [5.0]])) == 1


def _draws(group: int) -> torch.Tensor:
    """Draws of the coarsest level of SHAPES among which eight are chosen."""
    return normal((DRAWS, *SHAPES[-1]), "draws", 7, "photo", group, len(SHAPES) - 1)


def test_noise_is_normal_of_the_key_but_for_the_tint() -> None:
    eps = ColorNoise(SHAPES, 7, "photo").variant((3,))
    for level in range(len(SHAPES) - 1):
        assert torch.equal(eps[level], normal(SHAPES[level], 7, "photo", 3, 0, level))
    for group in (0, 1):
        tint = ColorNoise(SHAPES, 7, "photo").variant((8 * group + 3,))[-1]
        assert torch.equal(tint, _draws(group)[representatives(_draws(group).flatten(1))[3]])
    assert [level.shape for level in eps] == [torch.Size(shape) for shape in SHAPES]
    redrawn = ColorNoise(SHAPES, 7, "photo").variant((3,), 1)
    assert not any(bool((a == b).any()) for a, b in zip(eps, redrawn, strict=True))
    apart = ColorNoise(SHAPES, 7, "photo", representative=False).variant((3,))
    last = len(SHAPES) - 1
    assert torch.equal(apart[-1], normal(SHAPES[-1], 7, "photo", 3, 0, last))


def test_draws_are_compared_where_the_model_projects_them() -> None:
    """The colours count, not the noise: here those are the first value of the second coarsest level."""
    start = len(SHAPES) - 2
    seen: list[list[torch.Size]] = []

    def project(eps: Sequence[torch.Tensor]) -> torch.Tensor:
        seen.append([level.shape[1:] for level in eps])
        return eps[0].flatten(1)[:, :1]

    noise = ColorNoise(SHAPES, 7, "photo", project=project, coarse=start)
    values = torch.stack([noise.variant((k,))[start].flatten()[0] for k in range(8)])
    assert seen == [[torch.Size(shape) for shape in SHAPES[start:]]]  # once for all eight
    assert values[0].abs() < 0.5 < values.max() and values.min() < -0.5
    assert values.sort().values.diff().min() > 0.1
    fine = noise.variant((2,))[0]
    assert torch.equal(fine, normal(SHAPES[0], 7, "photo", 2, 0, 0))


def test_the_first_is_as_typical_as_the_mean_made_more_vivid() -> None:
    """Colours around (3, 0): the first leans away from grey, the others stay in their order."""

    def project(eps: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.tensor([3.0, 0.0]) + eps[-1].flatten(1)[:, :2]

    noise = ColorNoise(SHAPES, 7, "photo", project=project, vividness=1.4)
    made = project([torch.stack([noise.variant((k,))[-1] for k in range(8)])])
    points = project([_draws(0)])
    before = points[representatives(points)]
    first = int((before - 1.4 * points.mean(0)).norm(dim=1).argmin())
    assert first > 0 and before[first].norm() > before[0].norm()
    assert torch.equal(made, torch.cat([before[first : first + 1], before[:first], before[first + 1 :]]))


def test_eight_tints_are_draws_that_stand_for_the_normal_density() -> None:
    """What is drawn lies nearer to the nearest of them than to that of eight others; typical ones first."""
    random = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    draws = [normal((DRAWS, 2), f"photo {p}") for p in range(60)]
    tints = torch.stack([points[representatives(points)] for points in draws])
    assert tints.shape == (60, 8, 2) and all(len(t.unique(dim=0)) == 8 for t in tints)
    nearest = torch.cdist(random.expand(60, -1, -1), tints).square().amin(2).mean() / 2
    drawn = torch.cdist(random.expand(60, -1, -1), torch.randn_like(tints)).square().amin(2).mean() / 2
    assert nearest < 0.27 < 0.3 < drawn
    distances = torch.stack([(t - p.mean(0)).norm(dim=1) for t, p in zip(tints, draws, strict=True)])
    assert (distances.diff(dim=1) >= 0).all()
    broken = draws[0].clone()
    broken[5] = torch.nan
    assert len(representatives(broken).unique()) == 8


def test_near_noise_is_normal_too_and_correlates() -> None:
    noise = ColorNoise(((6, 32, 32),), 0, "photo")
    (start,), (near,), (other,) = noise.variant((1,)), noise.variant((1, 0)), noise.variant((1, 1))
    assert abs(float(near.std()) - 1) < 0.03
    assert abs(float((start * near).mean()) - np.cos(ANGLE)) < 0.03
    assert abs(float((near * other).mean()) - np.cos(ANGLE) ** 2) < 0.03


def test_hints_as_text() -> None:
    assert parse_hint("0.25,0.5,#c03020") == Hint(0.25, 0.5, (192, 48, 32))
    assert parse_hint(" 0 , 1e-1 , FFffFF ") == Hint(0.0, 0.1, (255, 255, 255))
    for text in ("0.25,0.5,#c03020", "0.25,0.5,#c03020,0.4"):
        assert str(parse_hint(text)) == text
    for text in (
        "",
        "0.5,0.5",
        "0.5,0.5,red",
        "0.5,0.5,#12345",
        "1.5,0.5,#ffffff",
        "-0.1,0,#ffffff",
        "e,0,#ffffff",
        "0,0,#ffffff,2.1",
        "0,0,#ffffff,-1",
    ):
        with pytest.raises(ConfigError, match="hint"):
            parse_hint(text)


def test_hints_have_as_much_of_their_colour_as_their_lightness_shows() -> None:
    hints = [Hint(0.5, 0.25, (150, 100, 100)), Hint(0.0, 1.0, (0, 0, 255))]
    red, blue = place(hints, torch.full((32, 32), 50.0))
    assert red.shown == red.ab
    assert red.ab == pytest.approx(
        rgb_to_lab(torch.tensor([150, 100, 100.0])[None, :, None, None] / 255)[0, 1:, 0, 0].tolist(), abs=1e-4
    )
    assert 0.3 < np.linalg.norm(blue.shown) / np.linalg.norm(blue.ab) < 0.99  # no blue is so light and vivid


def test_of_two_hints_in_one_place_the_later_counts() -> None:
    hints = [Hint(0.5, 0.5, (255, 0, 0)), Hint(0.51, 0.5, (0, 0, 255)), Hint(0.6, 0.5, (0, 255, 0))]
    assert [hint.x for hint in place(hints, torch.full((32, 32), 50.0))] == [0.51, 0.6]


def test_contradicting_hints_are_met_without_wild_colours() -> None:
    photo = prepare_photo(CONFIG, picture(80, 120))
    random = np.random.default_rng(0)
    hints = [
        Hint(*random.uniform(0, 1, 2).tolist(), tuple(random.integers(0, 256, 3).tolist())) for _ in range(60)
    ]
    placed = place(hints, lab_planes(photo.small)[0, 0])
    assert len(placed) > 40
    enlarger = photo.enlarger((16, 16))
    shares = hint_shares(placed, enlarger, (16, 16))
    assert shares.min() >= 0 and shares.sum(0).max() < 1 + 1e-4
    held = enforce_hints(torch.zeros(2, 2, 16, 16), placed, enlarger, shares)
    assert held.abs().max() < 250
    assert enforce_hints(held, (), enlarger, shares[:0]) is held


def test_a_hint_keeps_to_its_thing() -> None:
    """Two things side by side, shaded from top to bottom: one takes the colour, the other keeps its own."""
    shading = np.linspace(0, 40, 96)[:, None, None]
    pixels = np.repeat(60 + shading, 128, 1).repeat(3, 2)
    pixels[:, 70:] += 90
    photo = prepare_photo(CONFIG, pixels.astype(np.uint8))
    placed = place([Hint(0.2, 0.3, (160, 60, 60))], lab_planes(photo.small)[0, 0])
    enlarger, own = photo.enlarger((32, 32)), torch.tensor([-20.0, 15.0])[:, None, None].expand(1, 2, 32, 32)
    ab = enforce_hints(own, placed, enlarger, hint_shares(placed, enlarger, (32, 32)))
    wanted = torch.tensor(placed[0].shown)[:, None, None]
    assert (ab[0, :, :, :17] - wanted).abs().max() < 0.5 * (own[0, :, :1, :1] - wanted).abs().max()
    assert (ab - own)[..., 18:].abs().max() < 3


def test_features_part_things_of_one_lightness() -> None:
    photo = prepare_photo(CONFIG, np.full((64, 64, 3), 128, np.uint8))
    lightness, enlarger = lab_planes(photo.small)[0, 0], photo.enlarger((32, 32))
    features = torch.full((2, 8, 8), 3.0)
    features[0, :, 4:] = -3
    seen = Likeness(features, features)

    hints = [Hint(0.2, 0.5, (160, 60, 60)), Hint(0.8, 0.5, (60, 60, 160))]
    (alone,), (left, right) = (
        hint_shares(place(some, lightness), enlarger, (32, 32), seen) for some in (hints[:1], hints)
    )
    for one, there, elsewhere in (
        (alone, np.s_[:, :14], np.s_[:, 18:]),
        (left, np.s_[:, :14], np.s_[:, 18:]),
        (right, np.s_[:, 18:], np.s_[:, :14]),
    ):
        assert one[there].min() > 0.9 and one[elsewhere].max() < 0.05


def test_reach_makes_a_hint_take_less_or_more() -> None:
    shaded = np.linspace(60, 200, 64).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    photo = prepare_photo(CONFIG, shaded)
    lightness, enlarger = lab_planes(photo.small)[0, 0], photo.enlarger((32, 32))
    hints = [place([Hint(0.2, 0.5, (160, 60, 60), reach)], lightness) for reach in (0.0, 1.0, 2.0)]
    less, usual, more = (float(hint_shares(one, enlarger, (32, 32)).mean()) for one in hints)
    assert less < 0.7 * usual and usual + 0.05 < more


def test_all_of_a_photo_is_squeezed() -> None:
    wide = np.zeros((20, 200, 3), np.uint8)
    wide[:, :100] = 250
    small = fit_to_square(wide, 32)
    assert small.shape == (32, 32, 3)
    assert (small[:, :15] == 250).all()
    assert (small[:, 17:] == 0).all()
    checks = np.indices((128, 96)).sum(0)[..., None].repeat(3, -1) % 2 * np.uint8(255)
    assert abs(int(fit_to_square(checks.astype(np.uint8), 32).mean()) - 127) <= 1  # area means, no aliasing


def test_opacity() -> None:
    pixels = picture(10, 12)
    alpha = np.zeros((10, 12), np.uint8)
    alpha[:5] = 255
    photo = prepare_photo(CONFIG, pixels, alpha)
    assert np.array_equal(photo.pixels, pixels)
    assert photo.alpha is alpha
    assert (on_white(pixels, alpha)[5:] == 255).all()
    assert np.array_equal(on_white(pixels, alpha)[:5], pixels[:5])
    assert photo.content != prepare_photo(CONFIG, pixels).content
    opaque = prepare_photo(CONFIG, pixels, np.full_like(alpha, 255))
    assert opaque.alpha is None
    assert opaque.content == prepare_photo(CONFIG, pixels).content
    with pytest.raises(InputError, match="alpha: uint8 of shape"):
        prepare_photo(CONFIG, pixels, alpha[:5])
