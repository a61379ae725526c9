"""The comparison of pins, on a repository of two commits that has one section."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PINS = Path(__file__).resolve().parents[1] / "scripts" / "pins"
SECTION = """
import vflow

def pins(place):
    (place.made / "settings").write_text(str(vflow.ANSWER))
    yield "answer", vflow.ANSWER
    yield "other", "the same"
    yield from ((name, 1) for name in vflow.COMMANDS)
    yield "replay", (place.base / "settings").read_text()
"""


class Repository:
    """A clone with ``vflow`` of one file, the real comparison, and a section of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder / "clone", folder / "cache"
        shutil.copytree(
            PINS, self.folder / "scripts" / "pins", ignore=shutil.ignore_patterns("sections", "__pycache__")
        )
        self.write("scripts/pins/sections/__init__.py", "")
        self.write("scripts/pins/sections/toy.py", SECTION)
        self.write("pins/changed.md", "# Changes\n\nProse.\n")
        self.write("vflow/__init__.py", "ANSWER, COMMANDS = 42, ['draw']\n")
        self.git("init", "--quiet")
        self.first = self.commit()
        self.write("pins/base", f"{self.first}\n")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(
            ["git", *who, *words], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self) -> str:
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "state")
        return self.git("rev-parse", "HEAD")

    def pins(self, *words: str) -> tuple[int, str]:
        """Exit code and output of the comparison."""
        ended = subprocess.run(
            [sys.executable, "-m", "scripts.pins", *words], cwd=self.folder, capture_output=True, text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(self.cache)}, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """One commit, which is the base."""
    return Repository(tmp_path)


def test_the_same_code_has_the_same_pins_and_leaves_no_worktree(repository: Repository) -> None:
    code, printed = repository.pins()
    assert code == 0, printed
    assert "0 unlisted" in printed and len(repository.git("worktree", "list").splitlines()) == 1


def test_a_changed_pin_fails_and_shows_both_values(repository: Repository) -> None:
    repository.write("vflow/__init__.py", "ANSWER, COMMANDS = 43, ['draw']\n")
    code, printed = repository.pins(repository.first[:10])
    assert code == 1 and "toy/answer\n  - 42\n  + 43" in printed
    assert "toy/other" not in printed and "toy/replay" not in printed, "the replay is of BASE's settings"


@pytest.mark.parametrize("commands", ["[]", "['draw', 'walk']"])
def test_pins_that_come_or_go_are_differences(repository: Repository, commands: str) -> None:
    repository.write("vflow/__init__.py", f"ANSWER, COMMANDS = 42, {commands}\n")
    code, printed = repository.pins()
    assert code == 1 and "1 unlisted" in printed and "(none)" in printed


@pytest.mark.parametrize("pattern", ["toy/answer", "toy/a*", "*"])
def test_a_listed_change_passes(repository: Repository, pattern: str) -> None:
    repository.write("vflow/__init__.py", "ANSWER, COMMANDS = 43, ['draw']\n")
    repository.write("pins/changed.md", f"# Changes\n\n- `{pattern}`: 43, since 42 was wrong\n")
    code, printed = repository.pins()
    assert code == 0 and "1 changed as" in printed


def test_a_line_that_excuses_nothing_fails(repository: Repository) -> None:
    repository.write("pins/changed.md", "- `toy/answer`: 43, since 42 was wrong\n")
    code, printed = repository.pins()
    assert code == 1 and "toy/answer" in printed and "1 lines that excuse nothing" in printed


@pytest.mark.parametrize("line", ["- toy/answer: no backquotes", "- `toy/answer`", "- `toy/answer`: "])
def test_a_line_must_say_what_and_why(repository: Repository, line: str) -> None:
    repository.write("pins/changed.md", f"# Changes\n{line}\n")
    code, printed = repository.pins()
    assert code == 2 and "changed.md:2" in printed


def test_an_unknown_base_and_a_collector_that_fails_are_errors(repository: Repository) -> None:
    code, printed = repository.pins("0123456789")
    assert code == 2 and "0123456789" in printed
    repository.write("vflow/__init__.py", "ANSWER = 42\n")
    code, printed = repository.pins()
    assert code == 2 and "COMMANDS" in printed


def test_pins_of_the_base_are_computed_once(repository: Repository) -> None:
    assert repository.pins()[0] == 0
    (kept,) = repository.cache.glob("vflow/pins/*/toy.json")
    kept.write_text(kept.read_text().replace("42", "41"))
    code, printed = repository.pins()
    assert code == 1 and "toy/answer\n  - 41\n  + 42" in printed


def test_advancing_makes_head_the_base_and_empties_the_list(repository: Repository) -> None:
    repository.write("vflow/__init__.py", "ANSWER, COMMANDS = 43, ['draw']\n")
    repository.write("pins/changed.md", "# Changes\n\nProse.\n- `toy/answer`: 43, since 42 was wrong\n")
    second = repository.commit()
    assert repository.pins()[0] == 0
    assert repository.pins("--advance")[0] == 0
    assert (repository.folder / "pins" / "base").read_text() == f"{second}\n"
    assert (repository.folder / "pins" / "changed.md").read_text() == "# Changes\n\nProse.\n"
    assert repository.pins()[0] == 0
