"""Folders of clips: what is found, how it is divided, and what happens to bad files."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.sample_media import damage, moving_square, write_lossless, write_stills
from vflow.config import DataConfig, GlowConfig, VideoFlowConfig
from vflow.data import media
from vflow.data.datasets import folder as folder_module
from vflow.data.datasets.cache import ClipCache
from vflow.data.datasets.folder import VideoFolder
from vflow.data.datasets.registry import open_validation, open_video_dataset
from vflow.data.datasets.splits import choose_split, hash_fraction
from vflow.errors import InputError


def opened(path: Path, **changes: object) -> VideoFolder:
    settings: dict = {"frames": 4, "size": (32, 48, 3), "fps": None, "split": "test"}
    return VideoFolder(path, **{**settings, **changes})


def many(folder: Path, count: int, frames: int = 6) -> Path:
    """``count`` clips that differ in one corner."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        clip = moving_square(frames)
        clip[:, -1, -1] = number
        write_lossless(folder / f"clip{number}.mp4", clip)
    return folder


def corner(example: np.ndarray) -> int:
    return int(example[0, -1, -1, 0])


def test_all_kinds_of_clips_are_found(tmp_path: Path) -> None:
    frames = moving_square(6)
    frames[1::2, 0, 0] = 3  # neighbours differ
    for suffix in (".mp4", ".avi", ".mkv"):
        write_lossless(tmp_path / f"clip{suffix}", frames)
    media.write_video(tmp_path / "clip.webm", frames, 10, enlarge=False)
    media.write_video(tmp_path / "clip.gif", frames, 10, enlarge=False)
    write_stills(tmp_path / "class" / "stills", frames)
    (tmp_path / "notes.txt").write_text("not a clip")
    folder = opened(tmp_path)
    names = ["class/stills", "clip.avi", "clip.gif", "clip.mkv", "clip.mp4", "clip.webm"]
    assert folder.names == names
    for index, name in enumerate(names):
        example = folder.example(index, (0,))
        assert example.shape == (4, 32, 48, 3) and example.dtype == np.uint8
        if name != "clip.webm":
            assert np.array_equal(example, frames[:4])


def test_examples_of_another_length_without_reading_the_folder_again(tmp_path: Path) -> None:
    many(tmp_path, 2)
    write_lossless(tmp_path / "long.mp4", moving_square(9))
    folder = opened(tmp_path)
    shutil.move(tmp_path / "clip0.mp4", tmp_path.parent / "elsewhere.mp4")
    longer = folder.with_frames(8)
    assert (longer.names, len(longer.example(0, ())), len(folder.names)) == (["long.mp4"], 8, 3)
    assert longer.skipped.keys() == {"clip0.mp4", "clip1.mp4"} and not folder.skipped
    assert "clip0.mp4: 6 frames, fewer than the 8 an example needs" in longer.skipped["clip0.mp4"]
    with pytest.raises(InputError, match=r"every test clip is shorter than 10 frames \(longest: 9\)"):
        folder.with_frames(10)
    with pytest.raises(ValueError, match="open the folder anew for fewer than 4"):
        folder.with_frames(3)
    slower = opened(tmp_path, frames=2, fps=5).with_frames(4)
    assert "6 frames at 10 fps, 3 at the model's 5 fps" in slower.skipped["clip1.mp4"]


def test_starts_are_a_function_of_key_and_index(tmp_path: Path) -> None:
    frames = moving_square(20)
    folder = many(tmp_path / "clips", 1, 20)
    first, second = (opened(folder, split="train") for _ in range(2))
    assert len(first) == 5  # as many examples as clips of 4 frames fit into 20
    examples = {(e, i): first.example(i, (0, e)) for e in range(4) for i in range(5)}
    for (epoch, index), example in reversed(examples.items()):
        assert np.array_equal(second.example(index, (0, epoch)), example)
    first_frames = [example[0, 8:16] for example in examples.values()]
    starts = {int(np.flatnonzero((frames[:, 8:16] == f).all((1, 2, 3)))[0]) for f in first_frames}
    assert len(starts) > 5 and min(starts) >= 0 and max(starts) <= 16


def test_examples_may_be_changed_by_the_caller(tmp_path: Path) -> None:
    folder = opened(many(tmp_path / "clips", 1))
    example = folder.example(0, (0,))
    expected = example.copy()
    example[:] = 0
    assert np.array_equal(folder.example(0, (0,)), expected)


def test_size_rate_and_channels_are_fitted(tmp_path: Path) -> None:
    write_lossless(tmp_path / "clip.mp4", moving_square(20, 64, 64), fps=30)
    folder = opened(tmp_path, size=(16, 16, 1), fps=10, frames=7)
    assert folder.example(0, (0,)).shape == (7, 16, 16, 1)
    with pytest.raises(InputError) as error:
        opened(tmp_path, fps=10, frames=8)
    assert str(error.value) == (
        f"{tmp_path}: every test clip is shorter than 8 frames (longest: 7 at 10 fps); "
        "raise model.fps, or add longer clips"
    )


def test_split_by_hash_of_names(tmp_path: Path) -> None:
    names = [f"{i:05d}.mp4" for i in range(4000)]
    train, validation = choose_split(names, "train", "x"), choose_split(names, "validation", "x")
    assert sorted(train + validation) == names
    assert 0.04 < len(validation) / len(names) < 0.06
    assert choose_split(names, "test", "x") == names
    half = set(choose_split(names[:2000], "validation", "x"))
    assert half == set(validation) & set(names[:2000])  # a name's side depends on itself alone
    assert [len(choose_split(names[:2], s, "x")) for s in ("train", "validation")] == [1, 1]


def test_a_number_of_files_may_be_held_out() -> None:
    names = [f"episode_{number}" for number in range(67)]
    held = choose_split(names, "validation", "x", 8)
    assert len(held) == 8 and sorted(held + choose_split(names, "train", "x", 8)) == sorted(names)
    assert set(choose_split(names, "validation", "x")) <= set(held)


def test_fractions_never_change() -> None:
    """Held-out files stay held out from one version to the next."""
    assert hash_fraction("00001.mp4") == 0.3154004507813975
    assert hash_fraction("ü/日本.png") == 0.652999936741311


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = many(tmp_path / "clips", 2)
    try:
        (folder / "clip0.mp4").rename(folder / os.fsdecode(b"caf\xe9.mp4"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    train, validation = opened(folder, split="train"), opened(folder, split="validation")
    assert {*train.names, *validation.names} == {"clip1.mp4", os.fsdecode(b"caf\xe9.mp4")}
    assert sorted(corner(data.example(0, (0,))) for data in (train, validation)) == [0, 1]


def test_splits_share_no_clip_and_the_folder_may_move(tmp_path: Path) -> None:
    folder = many(tmp_path / "clips", 8)
    train, validation = opened(folder, split="train"), opened(folder, split="validation")
    assert not set(train.names) & set(validation.names)
    assert len(train.names) + len(validation.names) == 8
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert opened(moved, split="validation").names == validation.names


def test_a_single_clip_serves_both_sides_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = many(tmp_path / "clips", 1)
    assert opened(folder, split="train").names == opened(folder, split="validation").names
    assert caplog.messages == [f"{folder}: only one clip, so validation uses it too"]


def test_pictures_in_the_folder_itself_are_no_clip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_stills(tmp_path / "clips", moving_square(6))
    unused = "pictures directly in it (6) are not used; put the frames of each clip into a folder in it"
    with pytest.raises(InputError) as error:
        opened(folder)
    assert str(error.value) == f"{folder}: no clips found; {unused}"
    write_stills(folder / "a", moving_square(6))
    write_stills(folder / "b", moving_square(6))
    opened(folder, split="train"), opened(folder, split="validation")
    assert caplog.messages == [f"{folder}: {unused}"]


def test_bad_files_are_reported_once_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = many(tmp_path / "clips", 3)
    (folder / "broken.mp4").write_bytes((folder / "clip0.mp4").read_bytes()[:500])
    (folder / "text.avi").write_text("not a video")
    write_lossless(folder / "short.mp4", moving_square(3))
    with caplog.at_level(logging.WARNING):
        data = opened(folder)
        for index in range(len(data)):
            data.example(index, (0,))
    assert data.names == ["clip0.mp4", "clip1.mp4", "clip2.mp4"]
    assert [corner(data.example(i, (0,))) for i in range(3)] == [0, 1, 2]
    assert caplog.messages == [
        f"skipped {folder}/broken.mp4: the file is truncated (ends early); copy or upload it again",
        f"skipped {folder}/short.mp4: 3 frames, fewer than the 4 an example needs",
        f"skipped {folder}/text.avi: not an image or video (its content does not match); "
        f"give {media.ACCEPTED}",
    ]
    assert list(data.skipped) == ["broken.mp4", "short.mp4", "text.avi"]


def test_clips_too_short_at_the_rate_of_the_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = many(tmp_path / "clips", 5, 30)
    train = opened(folder, split="train", fps=1, frames=3).names
    assert len(train) == 4 and not caplog.messages
    for name in train[1:]:
        write_lossless(folder / name, moving_square(20), fps=10)
    assert opened(folder, split="train", fps=1, frames=3).names == train[:1]
    assert caplog.messages[2:] == [
        f"skipped {folder}/{train[3]}: 20 frames at 10 fps, 2 at the model's 1 fps, fewer than the 3 an "
        "example needs",
        f"{folder}: 1 of 4 training clips used; for the short ones, raise model.fps, or add longer clips",
    ]
    for name in train[1:]:
        (folder / name).write_text("no video")
    caplog.clear()
    opened(folder, split="train", fps=1, frames=3)
    assert caplog.messages[-1] == f"{folder}: 1 of 4 training clips used"


def test_damage_found_while_decoding(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = many(tmp_path / "clips", 3)
    damage(folder / "clip1.mp4")
    clips = opened(folder)
    assert len(clips) == 3
    for _ in range(2):
        assert [corner(clips.example(i, (0,))) for i in range(3)] == [0, 2, 2]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"skipped {folder}/clip1.mp4: damaged video (")


def test_errors_that_say_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    expected = {
        tmp_path / "nowhere": "no such file or folder; check the path",
        empty: "no clips found; put videos there (mp4, avi, mkv, webm, gif) or folders of frames",
    }
    for path, message in expected.items():
        with pytest.raises(InputError) as error:
            opened(path)
        assert str(error.value) == f"{path}: {message}"
    with pytest.raises(InputError) as error:
        opened(many(tmp_path / "short", 2, 3))
    assert str(error.value) == (
        f"{tmp_path}/short: every test clip is shorter than 4 frames (longest: 3); "
        "raise model.fps, or add longer clips"
    )
    (empty / "a.mp4").write_text("no video")
    with pytest.raises(InputError) as error:
        opened(empty)
    expected = f"{empty}: no test clip can be used; the first of 1: a.mp4: not an image"
    assert str(error.value).startswith(expected)


def test_a_folder_with_splits_of_its_own_is_not_mixed(tmp_path: Path) -> None:
    many(tmp_path / "train", 2)
    many(tmp_path / "test", 2)
    with pytest.raises(InputError) as error:
        opened(tmp_path, split="train")
    expected = f"holds splits of its own (train, test); give one, such as {tmp_path}/train"
    assert str(error.value) == f"{tmp_path}: {expected}"


def test_index_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        opened(many(tmp_path / "clips", 2)).example(2, (0,))


def test_decoded_clips_are_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = many(tmp_path / "clips", 3)
    decoded: list[str] = []
    read = media.read_clip

    def counted(path: Path, *args: object, **settings: object) -> media.Clip:
        decoded.append(Path(path).name)
        return read(path, *args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(media, "read_clip", counted)
    roomy = opened(folder)
    monkeypatch.setattr(folder_module, "CACHE_BYTES", 2 * 6 * 32 * 48 * 3)
    tight = opened(folder)
    for data, times in ((roomy, 3), (tight, 6)):
        decoded.clear()
        for _ in range(2):
            for index in range(3):
                assert corner(data.example(index, (0,))) == index
        assert len(decoded) == times
        assert data._cache.bytes <= data._cache.max_bytes


def test_cache_drops_the_least_recently_used() -> None:
    cache = ClipCache(200)
    for name in "ab":
        cache.put(name, np.zeros(100, np.uint8))
    cache.get("a")
    cache.put("c", np.zeros(100, np.uint8))
    cache.put("d", np.zeros(201, np.uint8))
    assert [cache.get(name) is not None for name in "abcd"] == [True, False, True, False]
    assert cache.bytes == 200
    assert copy.copy(cache).bytes == 0  # copied as it is sent to a data-loading process: empty


def test_training_sees_clips_at_the_rate_of_the_model(tmp_path: Path) -> None:
    clip = moving_square(12)
    clip[:, 0, 0, 0] = range(12)
    for number in range(2):
        write_lossless(tmp_path / f"{number}.mp4", clip, fps=30)
    glow = GlowConfig(channels=3, height=32, width=48)
    model = VideoFlowConfig(glow=glow, fps=10)
    data = open_video_dataset(DataConfig(name="video-folder", path=str(tmp_path), frames=4), model, "test")
    assert data.example(0, (0,))[:, 0, 0, 0].tolist() == [2, 5, 8, 11]


def test_recordings_without_a_length_are_counted(tmp_path: Path) -> None:
    frames = moving_square(7)
    write_lossless(tmp_path / "recorded.mkv", frames, live=True)
    assert media.probe(tmp_path / "recorded.mkv").frames == 7
    assert np.array_equal(opened(tmp_path, frames=7).example(0, (0,)), frames)
    few = dataclasses.replace(media.DEFAULT_LIMITS, frames=4)
    with pytest.raises(InputError, match=r"recorded.mkv: more than 4 frames, the limit; trim it$"):
        media.probe(tmp_path / "recorded.mkv", few)


def test_a_held_out_clip_that_is_damaged_leaves_the_others(tmp_path: Path) -> None:
    many(tmp_path, 4)
    settings = DataConfig(name="video-folder", path=str(tmp_path), frames=4)
    model = VideoFlowConfig(glow=GlowConfig(channels=3, height=32, width=48))
    held = open_validation(lambda: open_video_dataset(settings, model, "validation"))
    assert isinstance(held, VideoFolder) and len(held.names) == 1
    damage(tmp_path / held.names[0])
    assert open_validation(lambda: open_video_dataset(settings, model, "validation")) is None
    assert len(open_video_dataset(settings, model, "train")) == 3


@pytest.mark.parametrize(("frames", "fewer"), [(5, "lower data.frames (at least 4), "), (4, "")])
def test_fewer_frames_are_advised_only_as_far_as_the_model_allows(
    tmp_path: Path, frames: int, fewer: str
) -> None:
    many(tmp_path, 2, 3)
    glow = GlowConfig(channels=3, height=32, width=48, depth=(1,), hidden=(4,))
    model = VideoFlowConfig(glow=glow, context=3, min_context=3)
    data = DataConfig(name="video-folder", path=str(tmp_path), frames=frames)
    with pytest.raises(InputError) as error:
        open_video_dataset(data, model, "train")
    assert str(error.value).endswith(f"(longest: 3 at 10 fps); {fewer}raise model.fps, or add longer clips")
