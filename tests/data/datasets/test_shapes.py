"""Shapes: pixels, held-out share and movement, each against the definition spelt out by brute force."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest

from vflow.config import DataConfig, GlowConfig, VideoFlowConfig
from vflow.data.datasets.registry import open_video_dataset
from vflow.data.datasets.shapes import COLORS, DIRECTIONS, Shape, Shapes, all_shapes, draw
from vflow.data.datasets.splits import Split
from vflow.errors import ConfigError

RED = (255, 0, 0)
TOTAL = 3 * 5 * 6 * 13 * 13
SIZES = {"train": 13678, "validation": 757, "test": 775}
FIRST_TEST = ("circle", 5, (0, 0, 255), 28, 38)
FIRST_VALIDATION = ("circle", 5, (0, 0, 255), 26, 38)


def inside(kind: str, r: int, u: int, v: int) -> bool:
    """The definition, for one pixel at (u, v) from the centre, y down."""
    if kind == "circle":
        return u * u + v * v <= r * r
    if kind == "square":
        return -r <= u <= r and -r <= v <= r
    return -r <= v <= r and abs(u) <= (v + r) / 2


@pytest.mark.parametrize("kind", ["circle", "square", "triangle"])
def test_pixels(kind: str) -> None:
    for r, (cx, cy) in ((5, (32, 32)), (6, (26, 38)), (7, (54, 10)), (8, (32, 32)), (9, (26, 38))):
        expected = np.full((64, 64, 3), 127, np.uint8)
        for y, x in itertools.product(range(64), repeat=2):
            if inside(kind, r, x - cx, y - cy):
                expected[y, x] = RED
        frame = draw(Shape(kind, r, RED, cx, cy))
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame, expected)


def test_the_triangle_points_up() -> None:
    rows = (draw(Shape("triangle", 5, RED, 32, 32)) == RED).all(-1).sum(1)
    assert rows[27:38].tolist() == [1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11]


def test_colours_are_six_saturated_ones() -> None:
    assert len(set(COLORS)) == 6 and not {(0, 0, 0), (255, 255, 255)} & set(COLORS)
    assert {value for colour in COLORS for value in colour} == {0, 255}


def test_directions_are_eight() -> None:
    assert set(DIRECTIONS) == set(itertools.product((-1, 0, 1), repeat=2)) - {(0, 0)} and len(DIRECTIONS) == 8


def test_splits_part_every_shape_a_tenth_held_out() -> None:
    splits = all_shapes()
    assert set(splits) == set(get_args(Split))
    everything = set(itertools.chain(*splits.values()))
    assert len(everything) == sum(map(len, splits.values())) == TOTAL
    open_validation = len(splits["validation"]) + len(splits["test"])
    assert abs(open_validation / TOTAL - 0.10) < 0.005
    for shape in everything:
        assert shape.kind in ("circle", "square", "triangle") and 5 <= shape.radius <= 9
        assert abs(shape.cx - 32) <= 6 and abs(shape.cy - 32) <= 6 and shape.color in COLORS


def test_the_split_is_pinned() -> None:
    """Trained weights have seen the training part: moving the border would spoil held-out figures."""
    assert {name: len(shapes) for name, shapes in all_shapes().items()} == SIZES
    assert all_shapes()["test"][0] == FIRST_TEST and all_shapes()["validation"][0] == FIRST_VALIDATION


@pytest.mark.parametrize("split", get_args(Split))
def test_indices_address_every_shape_and_direction(split: Split) -> None:
    data = Shapes(split=split)
    assert len(data) == 8 * len(all_shapes()[split])
    for index in (0, 7, 8, 1001, len(data) - 1):
        shape, (dx, dy) = all_shapes()[split][index // 8], DIRECTIONS[index % 8]
        clip = data.example(index, (0, 0))
        assert clip.shape == (5, 64, 64, 3) and clip.dtype == np.uint8
        for t, frame in enumerate(clip):
            expected = draw(shape._replace(cx=shape.cx + 4 * t * dx, cy=shape.cy + 4 * t * dy))
            np.testing.assert_array_equal(frame, expected)
    with pytest.raises(IndexError):
        data.example(len(data), (0,))


def test_shapes_stay_in_the_frame() -> None:
    """Every extreme: all pixels of the shape are there until the last frame."""
    for kind, cx, cy, (dx, dy) in itertools.product(
        ("circle", "square", "triangle"), (26, 38), (26, 38), DIRECTIONS
    ):
        first, last = (draw(Shape(kind, 9, RED, cx + t * dx, cy + t * dy)) for t in (0, 16))
        assert (first == RED).all(-1).sum() == (last == RED).all(-1).sum()


def test_shorter_clips_start_where_their_key_says() -> None:
    data, whole = Shapes(frames=2), Shapes()
    starts = set()
    for epoch in range(40):
        clip = data.example(5, (0, epoch))
        assert clip.shape == (2, 64, 64, 3)
        np.testing.assert_array_equal(clip, data.example(5, (0, epoch)))
        full = whole.example(5, ())
        (start,) = [t for t in range(4) if np.array_equal(full[t : t + 2], clip)]
        starts.add(start)
    assert starts == {0, 1, 2, 3}


@pytest.mark.parametrize("frames", [0, 6])
def test_clips_are_at_most_five_frames(frames: int) -> None:
    with pytest.raises(ConfigError) as caught:
        Shapes(frames=frames)
    assert str(caught.value) == "data shapes: clips have 5 frames; set data.frames to at most that"


def test_open_dataset_checks_the_size_of_the_model() -> None:
    data = open_video_dataset(DataConfig(frames=3), VideoFlowConfig(), "validation")
    assert isinstance(data, Shapes) and data.example(0, ()).shape == (3, 64, 64, 3)
    grey = VideoFlowConfig(glow=GlowConfig(channels=1))
    with pytest.raises(ConfigError) as caught:
        open_video_dataset(DataConfig(), grey, "train")
    assert str(caught.value) == (
        "data shapes: frames are 64×64×3; set model.glow height, width and channels to that"
    )


@pytest.mark.parametrize("name", ["video-folder", "bair"])
def test_data_that_needs_a_path(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_video_dataset(DataConfig(name=name), VideoFlowConfig(), "train")
    assert str(caught.value) == f"data {name}: no path given; add --data FOLDER"
