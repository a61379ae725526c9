"""One writer a folder, within a process and between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vflow.errors import ConfigError, InputError
from vflow.locks import FolderLock

COUNT = """
import sys
from pathlib import Path
from vflow.locks import FolderLock
folder = Path(sys.argv[1])
for _ in range(20):
    with FolderLock(folder, "counting"):
        number = int((folder / "count").read_text())
        (folder / "count").write_text(str(number + 1))
"""


def test_two_runs_cannot_share_a_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "training"):
        with pytest.raises(ConfigError, match="another process is training here"):
            FolderLock(tmp_path, "training", patience=0)
        with FolderLock(tmp_path, "writing", ".another", patience=0), FolderLock(None, "nothing"):
            pass
    with FolderLock(tmp_path, "training", patience=0):
        pass
    assert not list(tmp_path.iterdir())


def test_processes_take_turns(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path)]
    counters = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [counter.wait(60) for counter in counters] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "60"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: is a file, not a folder; choose another --output$"):
        FolderLock(tmp_path / "file", "training")


def test_a_folder_made_for_nothing_does_not_stay(tmp_path: Path) -> None:
    outer, folder = tmp_path / "outer", tmp_path / "outer" / "run"

    def refused(written: str | None = None) -> None:
        with pytest.raises(ConfigError, match="refused"), FolderLock(folder, "training"):
            if written:
                (folder / written).touch()
            raise ConfigError("refused")

    refused()
    assert not outer.exists()
    outer.mkdir()
    refused()
    assert outer.exists() and not folder.exists()
    with FolderLock(folder, "training"):
        pass
    assert folder.exists(), "the work did not fail"
    refused("log")
    assert [path.name for path in folder.iterdir()] == ["log"]
