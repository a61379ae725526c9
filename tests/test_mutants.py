"""Mutation tests: what becomes of faults in a small project, and how a list that does not fit is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.mutants import LIST, ROOT, read_mutants
from vflow.errors import InputError

TESTS = """
import pathlib
from code_under_test import double

def test_double():
    assert double(2) == 4

def test_that_fails_anyway():
    assert False
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one function, with tests of it."""
    (tmp_path / "code_under_test.py").write_text("def double(x):\n    y = x + x\n    return y\n")
    (tmp_path / "test_code.py").write_text(TESTS)
    (tmp_path / "data").mkdir()
    return tmp_path


def mutant(
    what: str, new: str = "x - x", tests: str = "test_code.py -k double", **other: str
) -> dict[str, str]:
    return {"what": what, "file": "code_under_test.py", "old": "x + x", "new": new, "tests": tests} | other


def run(project: Path, entries: list[dict[str, str]], *flags: str) -> subprocess.CompletedProcess[str]:
    path = project / "list.json"
    path.write_text(json.dumps(entries))
    command = [sys.executable, "scripts/mutants.py", "--list", str(path), "--root", str(project), *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def verdicts(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    return {row[2]: row[0].removeprefix("| ") for row in rows}


def test_every_mutant_of_the_list_fits_the_code_and_names_tests_that_are_there() -> None:
    mutants = read_mutants(LIST, ROOT)
    assert len({mutant.what for mutant in mutants}) == len(mutants)
    for mutant in mutants:
        paths = [word for word in mutant.tests.split() if word.startswith("tests/")]
        assert mutant.equivalent or paths, mutant.what
        assert all((ROOT / path).exists() for path in paths), mutant.what


def test_each_mutant_meets_its_fate(project: Path) -> None:
    before = (project / "code_under_test.py").read_text()
    entries = [
        mutant("sign"),
        mutant("order", "0 + x + x"),
        mutant("loop", "[0 for _ in iter(int, 1)]"),
        mutant("red test", tests="test_code.py -k anyway"),
        mutant("no test", tests="test_code.py -k nothing"),
        mutant("argued", "2 * x", "", equivalent="2x = x + x"),
    ]
    done = run(project, entries, "--workers", "2", "--limit", "20")
    assert verdicts(done) == {
        "sign": "killed",
        "order": "survived",
        "loop": "timed out",
        "red test": "unproven",
        "no test": "error",
        "argued": "equivalent",
    }
    assert done.returncode == 1
    assert (project / "code_under_test.py").read_text() == before
    assert run(project, entries, "--only", "sign", "argued").returncode == 0


@pytest.mark.parametrize(
    "change", [{"old": "x + z"}, {"old": "x"}, {"new": "x + x"}, {"file": "gone.py"}, {"tests": ""}]
)
def test_entries_that_do_not_fit_are_named(project: Path, change: dict[str, Any]) -> None:
    path = project / "list.json"
    path.write_text(json.dumps([mutant("fits"), mutant("moved") | change]))
    with pytest.raises(InputError, match="moved"):
        read_mutants(path, project)
    with pytest.raises(InputError, match="other"):
        read_mutants(path, project, ["other"])
    done = run(project, [mutant("moved") | change])
    assert done.returncode == InputError.exit_code and "Traceback" not in done.stderr
