"""The judge of shapes futures accepts every real future and none of the ways in which a model goes wrong."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from vflow.data.datasets.shapes import BACKGROUND, COLORS, DIRECTIONS, Shape, Shapes, all_shapes, draw, move
from vflow.metrics.shapes import Verdict, entropy, find, heading, judge

RED = (255, 0, 0)
START = Shape("square", 7, RED, 32, 30)


def clip(shape: Shape = START, direction: tuple[int, int] = (1, 0), frames: int = 5) -> np.ndarray:
    return np.stack([draw(move(shape, direction, t)) for t in range(frames)])


def verdict(future: np.ndarray, shape: Shape = START) -> Verdict:
    return judge(draw(shape)[None], future)


@pytest.mark.parametrize("direction", range(8))
@pytest.mark.parametrize("given", [1, 2])
def test_real_futures_are_accepted(direction: int, given: int) -> None:
    data = Shapes(split="test")
    for shape in range(direction, len(all_shapes()["test"]), 40):
        frames = data.example(8 * shape + direction, ())
        assert judge(frames[:given], frames[given:]) == Verdict(True, "", DIRECTIONS[direction])


@pytest.mark.parametrize("kind", ["circle", "square", "triangle"])
@pytest.mark.parametrize("radius", [5, 9])
def test_extreme_shapes_are_accepted_to_the_edge(kind: str, radius: int) -> None:
    for color, direction in itertools.product(COLORS, DIRECTIONS):
        shape = Shape(
            kind, radius, (color[0], color[1], color[2]), 32 + 6 * direction[0], 32 + 6 * direction[1]
        )
        assert verdict(clip(shape, direction)[1:], shape) == Verdict(True, "", direction)


def test_light_noise_is_forgiven() -> None:
    future = clip()[1:].astype(int) + np.random.default_rng(0).integers(-25, 26, (4, 64, 64, 3))
    future = future.clip(0, 255).astype(np.uint8)
    assert verdict(future).accepted


def test_another_colour() -> None:
    future = clip()[1:]
    future[2] = np.where(future[2] == 127, 127, future[2][..., ::-1])
    assert verdict(future) == Verdict(False, "colour", (1, 0))


@pytest.mark.parametrize("form", ["circle", "triangle"])
def test_another_form_of_about_the_same_area(form: str) -> None:
    others = [START._replace(kind=form, radius=r) for r in range(5, 16)]
    area = (draw(START) == RED).all(-1).sum()
    closest = min(others, key=lambda s: abs((draw(s) == RED).all(-1).sum() - area))
    future = clip()[1:]
    future[3] = draw(move(closest, (1, 0), 4))
    assert not verdict(future).accepted and verdict(future).reason in ("form", "area", "movement")


def test_a_deformed_shape_of_the_same_area() -> None:
    future = clip()[1:]
    bar = np.full((64, 64, 3), 127, np.uint8)
    bar[25:36, 38:59] = RED  # 11 × 21 in place of 15 × 15, around the right centre
    future[3] = bar
    assert verdict(future) == Verdict(False, "form", (1, 0))


@pytest.mark.parametrize("radius", [6, 8])
def test_another_size(radius: int) -> None:
    future = clip()[1:]
    future[1:] = clip(START._replace(radius=radius))[2:]
    assert verdict(future) == Verdict(False, "area", (1, 0))


def test_a_doubled_shape() -> None:
    future = clip()[1:]
    future[1] = np.where(future[1] == 127, draw(START._replace(cx=10, cy=55)), future[1])
    assert verdict(future) == Verdict(False, "not one shape", (1, 0))


def test_a_vanished_shape() -> None:
    future = clip()[1:]
    future[0] = 127
    assert verdict(future) == Verdict(False, "not one shape", None)


def test_scattered_pixels() -> None:
    future = clip()[1:]
    rows, columns = np.random.default_rng(0).integers(0, 64, (2, 60))
    future[0, rows, columns] = (0, 255, 0)
    assert verdict(future) == Verdict(False, "not one shape", None)


def test_a_piebald_shape() -> None:
    future = clip()[1:]
    shape = (future[0] == RED).all(-1)
    shape[::2] = False
    future[0][shape] = (0, 255, 0)
    assert verdict(future) == Verdict(False, "not one shape", None)


def test_a_changed_direction() -> None:
    turned = move(START, (1, 0), 2)
    future = np.concatenate([clip(frames=3)[1:], clip(turned, (0, 1), 3)[1:]])
    assert verdict(future) == Verdict(False, "movement", (1, 0))


@pytest.mark.parametrize("speed", [0, 2, 6])
def test_another_speed(speed: int) -> None:
    future = np.stack([draw(START._replace(cx=START.cx + speed * t)) for t in range(1, 5)])
    assert verdict(future) == Verdict(False, "movement", None)


@pytest.mark.parametrize("speed", [3, 4, 5])
def test_a_pixel_more_or_less_is_allowed(speed: int) -> None:
    future = np.stack(
        [draw(START._replace(cx=START.cx + speed * t, cy=START.cy - (t % 2))) for t in range(1, 5)]
    )
    assert verdict(future) == Verdict(True, "", (1, 0))


def test_a_context_without_one_shape() -> None:
    with pytest.raises(ValueError, match="does not show exactly one shape"):
        judge(np.full((1, 64, 64, 3), BACKGROUND, np.uint8), clip()[1:])


def test_find_measures_the_centre() -> None:
    blob = find(draw(START))
    assert blob is not None
    assert (blob.x, blob.y) == (32, 30) and blob.mask.sum() == 15 * 15 and COLORS[blob.color - 1] == RED


def test_headings() -> None:
    for dx, dy in DIRECTIONS:
        assert heading(4 * dx, 4 * dy) == (dx, dy) == heading(4 * dx + 0.9, 4 * dy - 0.9)
    assert all(heading(*step) is None for step in ((0, 0), (1, 1), (2, 0), (4, 2), (6, 6)))


@pytest.mark.parametrize(
    ("directions", "bits"),
    [
        (list(DIRECTIONS), 3.0),
        (list(DIRECTIONS) * 5, 3.0),
        ([(1, 0)] * 7, 0.0),
        ([(1, 0), (0, 1), None, None], 1.0),
        ([(1, 0), (1, 0), (1, 0), (0, 1)], 2 - 0.75 * math.log2(3)),
        ([None], 0.0),
        ([], 0.0),
    ],
)
def test_entropy(directions: list[tuple[int, int] | None], bits: float) -> None:
    assert entropy(directions) == pytest.approx(bits)
