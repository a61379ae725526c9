"""A walk as one picture and as a film."""

from __future__ import annotations

import numpy as np
import pytest

from vflow.pipelines.walk.render import GAP, LARGEST, film, grid, tiles


def coloured(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape, dtype=np.uint8)


def test_tiles_lie_in_rows_with_white_between() -> None:
    pictures = coloured(5, 4, 6, 3)
    sheet = tiles(pictures, 3)
    assert sheet.shape == (2 * 4 + GAP, 3 * 6 + 2 * GAP, 3)
    assert np.array_equal(sheet[:4, 6 + GAP : 12 + GAP], pictures[1])
    assert np.array_equal(sheet[4 + GAP :, :6], pictures[3])
    assert (sheet[4 : 4 + GAP] == 255).all() and (sheet[4 + GAP :, 12 + 2 * GAP :] == 255).all()


def test_clips_have_a_row_each_and_small_ones_are_enlarged() -> None:
    clips = coloured(3, 5, 64, 64, 3)
    sheet = grid(clips)
    assert sheet.shape == (3 * 128 + 2 * GAP, 5 * 128 + 4 * GAP, 3)
    assert np.array_equal(sheet[130:258:2, 2 * 130 : 2 * 130 + 128 : 2], clips[1, 2])


@pytest.mark.parametrize(("steps", "rows", "columns"), [(9, 1, 9), (17, 2, 9), (33, 4, 9)])
def test_pictures_follow_each_other_in_rows(steps: int, rows: int, columns: int) -> None:
    side = 28 * 4
    assert grid(coloured(steps, 28, 28, 1)).shape == (
        rows * (side + GAP) - GAP,
        columns * (side + GAP) - GAP,
        1,
    )


def test_large_pictures_are_reduced() -> None:
    assert grid(coloured(2, 200, 800, 3)).shape == (80, 2 * LARGEST + GAP, 3)


def test_the_film_of_pictures_goes_there_and_back() -> None:
    pictures = coloured(4, 6, 8, 3)
    frames, rate = film(pictures, 25.0)
    assert np.array_equal(frames, pictures[[0, 1, 2, 3, 2, 1]]) and rate == 8
    assert len(film(pictures[:2], 25.0)[0]) == 2


def test_the_film_of_clips_plays_them_all_at_once() -> None:
    clips = coloured(5, 3, 6, 8, 3)
    frames, rate = film(clips, 25.0)
    assert frames.shape == (3, 2 * 6 + GAP, 3 * 8 + 2 * GAP, 3) and rate == 25
    assert np.array_equal(frames[2, 6 + GAP :, 8 + GAP : 16 + GAP], clips[4, 2])
