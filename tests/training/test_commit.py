from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from vflow.catalog import checkpoint_folder
from vflow.errors import CheckpointError, ConfigError
from vflow.training.args import TrainOptions
from vflow.training.commit import (
    choose_commit,
    commits,
    find_fault,
    make_room,
    newest_commit,
    write_commit,
)

FILES = ("model/config.json", "model/model.safetensors", "state/state.json", "COMMIT.json")


def fill(folder: Path) -> None:
    for name in FILES[:-1]:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"{name}: some bytes of {folder.name}".encode())


def names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


def test_a_commit_lists_every_file_and_last_points_to_it(tmp_path: Path) -> None:
    folder = write_commit(tmp_path, 5, fill, keep=0)
    listed = json.loads((folder / "COMMIT.json").read_text())
    assert listed["step"] == 5 and sorted(listed["files"]) == sorted(FILES[:-1])
    assert find_fault(folder) is None
    assert (tmp_path / "last").resolve() == folder.resolve() == newest_commit(tmp_path).resolve()  # type: ignore[union-attr]
    assert names(tmp_path) == ["last", "step_0000005"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EROFS])
def test_a_run_where_no_links_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(link: Path, target: str) -> None:
        raise OSError(number, os.strerror(number), str(link))

    run = tmp_path / "run"
    run.mkdir()
    shutil.copytree(write_commit(run, 2, fill, keep=0), tmp_path / "copy")
    (run / "last").unlink()
    (tmp_path / "copy").rename(run / "last")
    monkeypatch.setattr(Path, "symlink_to", refuse)
    write_commit(run, 4, fill, keep=0)
    newest = write_commit(run, 10, fill, keep=2)
    assert names(run) == ["step_0000004", "step_0000010"] and newest_commit(run) == newest
    assert checkpoint_folder(run) == newest / "model"


def test_a_link_that_cannot_be_replaced_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(link: Path, target: str) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(link))

    older = write_commit(tmp_path, 2, fill, keep=0)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    newest = write_commit(tmp_path, 4, fill, keep=0)
    assert names(tmp_path) == [older.name, newest.name]
    assert checkpoint_folder(tmp_path) == newest / "model"


def test_a_link_that_the_disk_refuses_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(link: Path, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(link))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_commit(tmp_path, 2, fill, keep=0)


def test_keep_prunes_the_oldest(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        write_commit(tmp_path, step, fill, keep=2)
    assert [folder.name for folder in commits(tmp_path)] == ["step_0000006", "step_0000008"]
    write_commit(tmp_path, 10, fill, keep=1)
    assert names(tmp_path) == ["last", "step_0000010"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_commit_is_passed_over_by_name(
    tmp_path: Path, name: str, damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    older = write_commit(tmp_path, 2, fill, keep=0)
    newer = write_commit(tmp_path, 4, fill, keep=0)
    damage(newer / name)  # type: ignore[operator]
    assert newest_commit(tmp_path) == older
    warning = capsys.readouterr().err
    assert str(newer / name) in warning and "passing over" in warning


def test_no_bit_of_the_list_itself_may_turn(tmp_path: Path) -> None:
    path = write_commit(tmp_path, 4, fill, keep=0) / "COMMIT.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        content = bytearray(whole)
        content[position] ^= 1
        path.write_bytes(content)
        assert (find_fault(path.parent) or "").startswith(f"{path} "), content
    path.write_text(json.dumps({key: value for key, value in json.loads(whole).items() if key != "sha256"}))
    assert find_fault(path.parent) is None, "commits of earlier versions have no digest of the list"


def test_a_damaged_commit_is_replaced_when_its_step_comes_again(tmp_path: Path) -> None:
    flip(write_commit(tmp_path, 4, fill, keep=0) / FILES[0])
    assert find_fault(write_commit(tmp_path, 4, fill, keep=0)) is None
    assert names(tmp_path) == ["last", "step_0000004"]


def test_no_intact_commit_is_an_error_and_no_commit_is_none(tmp_path: Path) -> None:
    assert newest_commit(tmp_path) is None
    flip(write_commit(tmp_path, 4, fill, keep=0) / FILES[1])
    with pytest.raises(CheckpointError, match="none of its 1 commits is intact"):
        newest_commit(tmp_path)


def test_a_failed_commit_leaves_the_earlier_one_alone(tmp_path: Path) -> None:
    older = write_commit(tmp_path, 2, fill, keep=1)

    def full_disk(folder: Path) -> None:
        fill(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_commit(tmp_path, 4, full_disk, keep=1)
    assert names(tmp_path) == ["last", "step_0000002"] and newest_commit(tmp_path) == older


@pytest.mark.parametrize("found", [newest_commit, lambda run: write_commit(run, 6, fill, keep=0)])
def test_a_kill_while_a_step_is_committed_again_leaves_its_first_commit(
    tmp_path: Path, found: Callable[[Path], object]
) -> None:
    first = write_commit(tmp_path, 5, fill, keep=0)
    shutil.copytree(first, tmp_path / ".tmp_step_0000005")
    first.rename(tmp_path / ".tmp_step_0000005_old")
    assert found(tmp_path) in (first, tmp_path / "step_0000006")
    assert find_fault(first) is None and not (tmp_path / ".tmp_step_0000005_old").exists()


def test_leftovers_of_a_kill_are_ignored_then_removed(tmp_path: Path) -> None:
    (tmp_path / ".tmp_step_0000006" / "model").mkdir(parents=True)
    (tmp_path / ".tmp_last").symlink_to("step_0000006")
    assert newest_commit(tmp_path) is None
    write_commit(tmp_path, 8, fill, keep=1)
    assert names(tmp_path) == ["last", "step_0000008"]


@pytest.mark.parametrize(
    "files",
    [
        {"a": {"bytes": float("inf"), "sha256": "0"}},
        {"a": {"bytes": "many", "sha256": "0"}},
        {"a" * 5_000: {"bytes": 1, "sha256": "0"}},
        {"a\0b": {"bytes": 1, "sha256": "0"}},
        {"a": []},
        [["a", 1]],
        "nested",
        "digits",
    ],
    ids=str,
)
def test_a_commit_file_of_nonsense_is_a_fault(tmp_path: Path, files: object) -> None:
    folder = write_commit(tmp_path, 5, fill, keep=0)
    text = {"nested": "[" * 100_000, "digits": "9" * 5_000}.get(str(files))
    (folder / "COMMIT.json").write_text(text or json.dumps({"schema": 1, "step": 5, "files": files}))
    assert find_fault(folder)
    with pytest.raises(CheckpointError, match="none of its 1 commits is intact"):
        newest_commit(tmp_path)


def test_a_commit_file_that_is_a_pipe_is_a_fault(tmp_path: Path) -> None:
    folder = write_commit(tmp_path, 5, fill, keep=0)
    (folder / "COMMIT.json").unlink()
    os.mkfifo(folder / "COMMIT.json")
    assert find_fault(folder) == f"{folder / 'COMMIT.json'} is damaged"


def test_a_copy_of_a_commit_in_the_place_of_the_link_is_taken_for_it(tmp_path: Path) -> None:
    """As ``cp -rL`` copies a run; the next commit puts the link back."""
    (tmp_path / "a").mkdir()
    write_commit(tmp_path / "a", 5, fill, keep=0)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b" / "last").is_symlink()
    options = TrainOptions(output=tmp_path / "b", resume=True)
    assert choose_commit(options, SimpleNamespace(is_main_process=True)) == tmp_path / "b" / "step_0000005"  # type: ignore[arg-type]
    write_commit(tmp_path / "b", 10, fill, keep=1)
    assert names(tmp_path / "b") == ["last", "step_0000010"]
    assert (tmp_path / "b" / "last").is_symlink()


def test_room_is_made_up_to_the_commit_that_a_run_goes_on_from(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        write_commit(tmp_path, step, fill, keep=0)
    (tmp_path / ".tmp_step_0000010").mkdir()
    make_room(tmp_path, tmp_path / "step_0000006", keep=0)
    assert names(tmp_path) == ["last", "step_0000002", "step_0000004", "step_0000006", "step_0000008"]
    make_room(tmp_path, tmp_path / "step_0000006", keep=1)
    assert names(tmp_path) == ["last", "step_0000006", "step_0000008"]


def test_a_folder_in_the_place_of_the_link_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    options = TrainOptions(output=tmp_path)
    with pytest.raises(ConfigError, match=f"^{tmp_path}/last: not the link that a run keeps there"):
        choose_commit(options, SimpleNamespace(is_main_process=True))  # type: ignore[arg-type]
