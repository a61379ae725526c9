"""Files of actions: what is read, how it is laid against frames, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vflow.config import ActionsConfig
from vflow.data import media
from vflow.data.actions import Actions, actions_beside, actions_sha, read_actions, resampled
from vflow.data.datasets.folder import VideoFolder
from vflow.errors import InputError

from .sample_media import moving_square, write_lossless

VALUES = np.arange(24, dtype=np.float32).reshape(8, 3)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_csv_and_npz_hold_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", actions=VALUES)
    np.savez(tmp_path / "ticks.npz", action=np.stack([VALUES, VALUES + 100], 1), state=VALUES[:, :1])
    np.savetxt(tmp_path / "a.csv", VALUES, delimiter=",")
    named = write(tmp_path / "b.csv", "z,x,y\n" + "\n".join(f"{r[2]},{r[0]},{r[1]}" for r in VALUES))
    for path in (tmp_path / "a.npz", tmp_path / "ticks.npz", tmp_path / "a.csv"):
        assert np.array_equal(read_actions(path, 3).values, VALUES), path
    assert np.array_equal(read_actions(named, 3, ("x", "y", "z")).values, VALUES)


def test_rows_with_times_are_interpolated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "time,x\n0,0\n0.5,10\n1.5,30\n")
    actions = read_actions(path, 1, ("x",))
    found = actions.at(np.arange(5), 4.0)[:, 0]
    np.testing.assert_allclose(found, [0, 5, 10, 15, 20], atol=1e-5)
    assert np.isnan(actions.at(np.array([7.0]), 4.0)).all(), "nothing is known after the last row"
    with pytest.raises(InputError, match="rate"):
        actions.at(np.arange(5), None)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1,2\n3,4\n", "2 numbers"),
        ("1,2,3\n4,,6\n", "missing"),
        ("a,b,c\n1,2,nan\n", "missing"),
        ("time,a,b,c\n0,1,2,3\n0,1,2,3\n", "time"),
        ("", "no rows"),
        ("x,b,c\n1,2,3\n", "'a'"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path / "plan.csv", text)
    with pytest.raises(InputError, match=named) as found:
        read_actions(path, 3, ("a", "b", "c"))
    assert "plan.csv" in str(found.value)


def test_arrays_of_other_kinds_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", other=VALUES)
    np.savez(tmp_path / "b.npz", actions=np.array(["a", "b"]))
    np.savez(tmp_path / "c.npz", actions=np.full((4, 3), np.nan))
    for name, said in (("a", "actions"), ("b", "row"), ("c", "row 1")):
        with pytest.raises(InputError, match=said):
            read_actions(tmp_path / f"{name}.npz", 3)
    with pytest.raises(InputError, match="csv"):
        read_actions(tmp_path / "plan.txt", 3)


def test_rows_follow_frames_to_another_rate() -> None:
    frames = np.zeros((8, 16, 16, 3), np.uint8)
    clip, actions = media.Clip(frames=frames, fps=20, source="clip"), Actions.of(VALUES, 3)
    rows = resampled(actions, clip, 10, 0)
    assert np.array_equal(rows, VALUES[media.retime(8, 20, 10)])
    long = Actions.of(np.arange(60, dtype=np.float32).reshape(20, 3), 3)
    ahead = resampled(long, clip, 8, 4)[-4:, 0]
    np.testing.assert_allclose(ahead, 3 * (7 + 2.5 * np.arange(1, 5)))
    with pytest.raises(InputError, match="7 rows"):
        resampled(Actions.of(VALUES[:7], 3), clip, 10, 0)


def test_folder_gives_the_rows_of_each_cut(tmp_path: Path) -> None:
    for number in range(3):
        clip = moving_square(9)
        clip[:, -1, -1] = 9 * number + np.arange(9)[:, None]
        write_lossless(tmp_path / f"clip{number}.mp4", clip)
        np.savez(tmp_path / f"clip{number}.npz", actions=(9 * number + np.arange(9.0))[:, None])
    wanted = ActionsConfig(size=1)
    folder = VideoFolder(tmp_path, frames=4, size=(32, 48, 3), fps=None, split="test", actions=wanted)
    assert len(folder.names) == 3, "actions are no clips"
    for split in ("test", "train"):
        folder.split = split
        for index in range(3):
            clip, rows = folder.with_actions(index, (0, 5))
            assert rows is not None
            assert np.array_equal(clip[:, -1, -1, 0], rows[:, 0])


def test_clips_without_actions_are_skipped_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("with", "without"):
        write_lossless(tmp_path / f"{name}.mp4", moving_square(6))
    write(tmp_path / "with.csv", "\n".join("1" * 6))
    wanted = ActionsConfig(size=1)
    folder = VideoFolder(tmp_path, frames=4, size=(32, 48, 3), fps=None, split="test", actions=wanted)
    assert folder.names == ["with.mp4"]
    assert "without.mp4" in caplog.text
    with pytest.raises(InputError, match=r"without\.npz"):
        actions_beside(tmp_path / "without.mp4", 1)


def test_digest_is_of_all_files(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.csv", "1\n"), write(tmp_path / "b.csv", "2\n")
    assert len({actions_sha(one), actions_sha(two), actions_sha(tmp_path)}) == 3
    with pytest.raises(InputError):
        actions_sha(tmp_path / "c.csv")
