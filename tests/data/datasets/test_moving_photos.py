"""Photographs set in motion: by key and index, with films beside them, and validation on films alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vflow.config import DataConfig, GlowConfig, VideoFlowConfig
from vflow.data.datasets.folder import VideoFolder
from vflow.data.datasets.moving_photos import MovingPhotos, camera_path, object_path, record
from vflow.data.datasets.registry import open_video_dataset
from vflow.data.media import write_npz, write_png
from vflow.errors import InputError
from vflow.randomness import generator

SIDE, FRAMES = 16, 5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten photographs of noise, and films of one grey level: 7 of training, 200 of validation."""
    for number in range(10):
        noise = generator("photo", number).integers(0, 256, (24, 40, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        write_png(tmp_path / "photos" / f"{number}.png", noise)
    for folder, level in (("clips/a", 7), ("clips/b", 7), ("validation", 200)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(2):
            frames = np.full((FRAMES, SIDE, SIDE, 3), level, np.uint8)
            write_npz(tmp_path / folder / f"{number}.npz", frames=frames, fps=10.0)
    return tmp_path


def photos(root: Path, channels: int = 3) -> MovingPhotos:
    return MovingPhotos(root / "photos", frames=FRAMES, size=(SIDE, SIDE), channels=channels, split="train")


@pytest.mark.parametrize("channels", [1, 3])
def test_clips_are_functions_of_key_and_index(root: Path, channels: int) -> None:
    first, second = photos(root, channels), photos(root, channels)
    second.example(0, (9,))
    clips = [first.example(index, (0, 1)) for index in range(8)]
    assert all(clip.shape == (FRAMES, SIDE, SIDE, channels) and clip.dtype == np.uint8 for clip in clips)
    assert all(np.array_equal(clip, second.example(index, (0, 1))) for index, clip in enumerate(clips))
    assert not np.array_equal(clips[0], first.example(0, (0, 2)))
    assert sum(not np.array_equal(clip[0], clip[-1]) for clip in clips) >= 6, "most of them move"


def test_films_take_their_share_and_validation_is_on_films(root: Path) -> None:
    model = VideoFlowConfig(
        glow=GlowConfig(height=SIDE, width=SIDE, depth=(1, 1), hidden=(4, 4)), context=2, min_context=2
    )
    data = DataConfig(name="moving-photos", path=str(root), frames=FRAMES)
    train = open_video_dataset(data, model, "train")
    assert isinstance(train, MovingPhotos) and len(train.films) == 2
    films = sum(bool((train.example(index % len(train), (index,)) == 7).all()) for index in range(60))
    assert 12 <= films <= 36, "four in ten"
    held = open_video_dataset(data, model, "validation")
    assert isinstance(held, VideoFolder) and len(held) == 2 and (held.example(0, ()) == 200).all()


def test_folders_of_photographs_alone_and_too_small_ones(root: Path) -> None:
    model = VideoFlowConfig(
        glow=GlowConfig(height=32, width=32, depth=(1, 1), hidden=(4, 4)), context=2, min_context=2
    )
    data = open_video_dataset(
        DataConfig(name="moving-photos", path=str(root / "photos"), frames=FRAMES), model, "train"
    )
    with pytest.raises(InputError, match="smaller than 32"):
        data.example(0, ())


def test_paths_begin_where_they_should_and_objects_stay_near() -> None:
    for number in range(40):
        camera = camera_path(15, 3, generator("camera", number))
        assert camera.shape == (15, 4) and not camera[0].any() and np.isfinite(camera).all()
        thing = object_path(15, 3, generator("object", number))
        assert thing.shape == (15, 4) and np.abs(thing[0, :2] - 0.5).max() <= 0.81


def test_recording_a_still_scene_keeps_it_near() -> None:
    scene = np.full((4, 16, 16, 3), 100, np.float32)
    means = [record(scene, generator("record", number)).mean() for number in range(60)]
    assert all(50 < mean < 180 for mean in means)
    assert np.median(np.abs(np.array(means) - 100)) < 2, "light changes in a third of the clips"
