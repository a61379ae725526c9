"""Which folders an evaluation takes for held-out and for training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vflow.config import VideoFlowConfig
from vflow.data import media
from vflow.data.datasets.crops import PhotoCrops
from vflow.data.datasets.folder import VideoFolder
from vflow.data.datasets.photos import Photos
from vflow.errors import ConfigError, InputError
from vflow.pipelines.evaluate.data import locate, open_clips, readable_photos, spread_clips
from vflow.pipelines.evaluate.report import Settings

from .support import moving_clip, write_clips

CONFIG = VideoFlowConfig.model_validate({
    "glow": {"height": 16, "width": 16, "depth": [1, 1], "hidden": [4, 4]}, "context": 2, "min_context": 2,
})  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "clips")


def test_splits_inside_or_beside_the_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ("video-folder", str(root / "test"), str(root / "train"))
    assert locate(Settings(str(root)), "videoflow") == expected
    assert locate(Settings(str(root / "test")), "videoflow") == expected
    assert locate(Settings(str(root / "train")), "videoflow").train is None
    other = locate(Settings(str(root / "train"), train=str(root / "test")), "videoflow")
    assert other == ("video-folder", str(root / "train"), str(root / "test"))
    monkeypatch.setenv("VFLOW_DATA", str(root.parent))
    assert locate(Settings("clips"), "videoflow") == expected
    assert locate(Settings("shapes"), "videoflow") == ("shapes", None, None)


def test_data_that_is_not_there_or_not_for_the_model(root: Path) -> None:
    with pytest.raises(
        ConfigError, match="--data absent: no such folder, here or in VFLOW_DATA; give one, or shapes"
    ):
        locate(Settings("absent"), "videoflow")
    with pytest.raises(ConfigError, match="--data digits: not for a model of kind videoflow"):
        locate(Settings("digits"), "videoflow")
    with pytest.raises(ConfigError, match="--train absent: no such folder, here or in VFLOW_DATA"):
        locate(Settings(str(root), train="absent"), "videoflow")
    with pytest.raises(ConfigError, match="--train absent: shapes are always generated; leave it out"):
        locate(Settings("shapes", train="absent"), "videoflow")
    (root / "test").rename(root / "other")
    with pytest.raises(InputError, match="holds 'train' but no 'test'"):
        locate(Settings(str(root)), "videoflow")


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_clips_are_held_out_as_training_held_out(root: Path, count: int) -> None:
    data = open_clips(Settings(str(root), split="validation", held_out_files=count), CONFIG)
    assert isinstance(data.held, VideoFolder) and isinstance(data.train, VideoFolder)
    assert (len(data.held.names), len(data.train.names)) == (count, 8 - count)


def test_held_out_clips_are_never_training_clips(root: Path) -> None:
    data = open_clips(Settings(str(root)), CONFIG)
    again = open_clips(Settings(str(root), split="validation"), CONFIG)
    assert (data.frames, data.context, data.num_frames) == (6, 2, 4)
    assert data.train is not None
    held, train, validation = data.chosen(99), list(spread_clips(data.train, 99)), again.chosen(99)
    assert (len(held), len(train) + len(validation)) == (3, 8)
    assert np.array_equal(held, [moving_clip(number) for number in (8, 9, 10)])
    seen = {clip.tobytes() for clip in (*train, *validation)}
    assert len(seen) == 8
    assert not seen & {clip.tobytes() for clip in held}


def test_clips_are_read_as_they_are_taken() -> None:
    class Counted:
        frames = 6
        read = 0

        def __len__(self) -> int:
            return 100

        def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
            self.read += 1
            return moving_clip(index)

    data = Counted()
    next(spread_clips(data, 50))
    assert data.read == 1


def test_each_folder_is_searched_once_and_each_unreadable_clip_is_reported_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "test" / "broken.mp4").write_bytes(b"no film")
    probed: list[str] = []
    probe = media.probe

    def counted(path: Path, limits: media.Limits) -> tuple[int, float | None]:
        probed.append(path.name)
        return probe(path, limits)

    monkeypatch.setattr(media, "probe", counted)
    open_clips(Settings(str(root)), CONFIG)
    assert len(probed) == len(set(probed)) == 3 + 1 + 7
    assert caplog.text.count("broken.mp4") == 1


def test_each_unreadable_photo_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    media.write_png(tmp_path / "good.png", np.zeros((8, 9, 3), np.uint8))
    for photos in (Photos(tmp_path, size=1, split="test"), PhotoCrops(tmp_path, crop=1, split="test")):
        caplog.clear()
        for _ in range(2):
            assert [photo.shape for photo in readable_photos(photos, [0, 1])] == [(8, 9, 3)]
        assert caplog.messages == [f"skipped {bad}: damaged or cut short PNG; save or upload it again"]


def test_lengths(root: Path) -> None:
    media.write_npz(root / "test" / "short.npz", frames=moving_clip(20, frames=4))
    assert open_clips(Settings(str(root)), CONFIG).frames == 4
    longer = open_clips(Settings(str(root), num_frames=3, context=3), CONFIG)
    assert (longer.frames, len(longer.held)) == (6, 3)  # what is too short is left out
    with pytest.raises(ConfigError, match="--context 1: the model needs at least 2"):
        open_clips(Settings(str(root), context=1), CONFIG)
    with pytest.raises(
        InputError,
        match=r"every test clip is shorter than 9 frames \(longest: 6 at 10 fps\); lower --num-frames",
    ):
        open_clips(Settings(str(root), num_frames=7), CONFIG)


def test_training_clips_may_be_shorter_than_those_that_are_scored(tmp_path: Path) -> None:
    root = write_clips(tmp_path / "clips")
    for path in (root / "test").iterdir():
        media.write_npz(path, frames=np.tile(moving_clip(0), (3, 1, 1, 1)))
    for path in (root / "train").iterdir():
        media.write_npz(path, frames=np.tile(moving_clip(1), (2, 1, 1, 1))[:11])
    with pytest.raises(InputError, match="every training clip is shorter than 12 frames"):
        open_clips(Settings(str(root)), CONFIG)
    data = open_clips(Settings(str(root), num_frames=4), CONFIG)
    assert data.train is not None and (data.frames, len(data.train.example(0, ()))) == (6, 6)
    data = open_clips(Settings(str(root), context=1 + CONFIG.min_context, num_frames=8), CONFIG)
    assert data.train is not None and (data.frames, len(data.train.example(0, ()))) == (11, 11)
    data = open_clips(Settings(str(root), split="validation"), CONFIG)
    assert (data.frames, data.num_frames) == (11, 9)
    for path in (root / "train").iterdir():
        media.write_npz(path, frames=np.tile(moving_clip(1), (3, 1, 1, 1))[:16])
    data = open_clips(Settings(str(root)), CONFIG)
    assert data.train is not None and (data.frames, data.num_frames) == (18, 10)
    assert len(data.train.example(0, ())) == 12


def test_clips_that_training_takes_are_taken(root: Path) -> None:
    """The limits are training's: longer clips than the app accepts from strangers."""
    media.write_npz(root / "test" / "long.npz", frames=np.zeros((3001, 16, 16, 3), np.uint8))
    assert len(open_clips(Settings(str(root)), CONFIG).held) == 4


def test_without_training_data_there_is_no_validation(root: Path) -> None:
    data = open_clips(Settings(str(root / "train")), CONFIG)
    assert data.train is None
    with pytest.raises(ConfigError, match="name their folder with --train"):
        open_clips(Settings(str(root / "train"), split="validation"), CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"limit": -1},
        {"num_samples": 0},
        {"num_importance_samples": 0},
        {"context": 0},
        {"probe_clips": 1},
        {"probe_clips": 39},
    ],
)
def test_settings_out_of_range(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(change))} must"):
        Settings("shapes", **change)  # type: ignore[arg-type]
