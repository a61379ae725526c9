"""The private folder of uploads and results, and what is left of it after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from apps.ui.shared.storage import private_folder

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
