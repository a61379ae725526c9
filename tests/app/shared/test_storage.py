"""The private folder of uploads and results, and what is left of it after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from apps.ui.shared.storage import MAX_AGE, MAX_RUNS, RunStore, private_folder

ROOT = Path(__file__).resolve().parents[3]
HOLD = (
    "import sys; from pathlib import Path; from apps.ui.shared.storage import private_folder;"
    "print(private_folder(Path(sys.argv[1])), flush=True); sys.stdin.read()"
)


def hold(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that keeps a private folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(parent)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_next_start_removes_folders_of_killed_apps_only(tmp_path: Path) -> None:
    (killed, left), (living, kept) = hold(tmp_path), hold(tmp_path)
    for folder in (left, kept):
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "upload.png").write_bytes(b"private")
    (tmp_path / "vflow-app-link").symlink_to(tmp_path.parent)
    killed.kill()
    killed.wait(30)
    assert left.is_dir()
    own = private_folder(tmp_path)
    assert not left.exists()
    assert (kept / "upload.png").read_bytes() == b"private"
    assert {path.name for path in tmp_path.iterdir()} == {own.name, kept.name, "vflow-app-link"}
    living.communicate("", 30)
    assert not kept.exists(), "removed at a usual end"


def test_old_runs_are_removed_and_those_at_work_stay(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with store.job_folder() as at_work:
        old, new = store.new_folder(), store.new_folder()
        for folder in (old, at_work):
            (folder / "result").write_bytes(b"")
            os.utime(folder, (0, time.time() - MAX_AGE - 10))
        store.remove_old()
        assert (old.exists(), new.exists(), at_work.exists()) == (False, True, True)
    for _ in range(MAX_RUNS + 3):
        store.new_folder()
    store.remove_old()
    assert len(list(tmp_path.iterdir())) == MAX_RUNS
