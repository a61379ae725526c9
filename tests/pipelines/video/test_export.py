"""Maps as colours and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vflow
from vflow.data import media
from vflow.models import VideoModel
from vflow.pipelines.video import export as surprise_files
from vflow.pipelines.video.export import heat, overlay, overlay_on
from vflow.pipelines.video.surprisal import Surprisal

from ..conftest import make_model
from .test_surprisal import typical_of


@pytest.fixture(scope="module")
def found(one_model: VideoModel, clip: np.ndarray) -> Surprisal:
    return vflow.surprisal(one_model, clip, statistics=typical_of(one_model, -2, -1))


def test_a_veil_is_clear_where_nothing_surprises() -> None:
    values = np.array([np.nan, -3.0, 0.0, 1.0, 4.0, 9.0])
    colors = overlay(values, 4.0)
    assert colors[:3, 3].tolist() == [0, 0, 0] and colors[3, 3] > 0 and colors[4, 3] == 255
    assert np.array_equal(colors[3:, :3], heat(values[3:], 4.0))
    frames = np.full((1, 1, 6, 3), 100, np.uint8)
    under = overlay_on(frames, values[None, None], 4.0)
    assert under[0, 0, 0].tolist() == [60, 60, 60]
    assert np.array_equal(under[0, 0, 4:], heat(values[4:], 4.0))


def test_files(tmp_path: Path, found: Surprisal) -> None:
    paths = surprise_files.write(tmp_path, "inner/clip", found, 5)
    assert [path.name for path in paths] == ["clip.npz", "clip.png", "clip.mp4"]
    with np.load(paths[0]) as saved:
        assert np.array_equal(saved["maps"], found.maps, equal_nan=True)
        assert np.array_equal(saved["bits"], found.bits, equal_nan=True)
        assert np.array_equal(saved["frames"], found.frames)
        assert saved["flagged"].tolist() == [1, 2, 3]
        assert (saved["mean_map"] == 2).all()
    film = media.read_clip(paths[2])
    assert len(film.frames) == 4 and film.fps == 5
    shown = surprise_files.film(found)
    assert np.array_equal(shown[:, :, :16], found.frames)
    top = surprise_files.top_of(found)
    assert np.array_equal(shown[:, :, -16:], overlay_on(found.frames, found.excess, top))


def test_a_sheet_marks_flagged_frames(found: Surprisal) -> None:
    sheet = surprise_files.sheet(found)
    red = (sheet == surprise_files.FLAG).all(-1)
    tile = surprise_files.TILE + surprise_files.GAP
    assert [bool(red[:, t * tile : (t + 1) * tile].any()) for t in range(4)] == [False, True, True, True]
    frame = sheet[surprise_files.GAP // 2 :, surprise_files.GAP // 2 :][: surprise_files.TILE]
    assert np.array_equal(frame[4::8, 4 : surprise_files.TILE : 8], found.frames[0])


def test_grey_models_and_clips_without_figures() -> None:
    model = make_model(glow={"channels": 1, "height": 16, "width": 16, "depth": [1, 1], "hidden": [4, 4]})
    found = vflow.surprisal(model, np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), np.uint8))
    assert surprise_files.film(found).shape == (3, 16, 16 + surprise_files.GAP + 16, 3)
    assert not (surprise_files.sheet(found) == surprise_files.FLAG).all(-1).any()
