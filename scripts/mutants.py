"""Mutation tests: tests/mutants.json lists faults, each of which the tests that it names must notice.

python scripts/mutants.py
python scripts/mutants.py --only pareto lattice --workers 2

An entry has ``what``, ``file``, ``old``, ``new`` and ``tests``, arguments of pytest. ``old``, which must
occur once in the file, is replaced by ``new`` in a copy of the tree, where the tests then run. One that no
test could notice has ``equivalent``, the argument, and is not run. At the end, the tests that noticed a fault
run once without any: one that fails there as well has noticed nothing. Exit code 0: all mutants were killed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from vflow.errors import InputError, VflowError

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "mutants.json"
LEFT_BEHIND = {".git", ".venv", "runs", "outputs", "data", "dist", "build"}
"""What of a tree's root no test reads, and may be large."""
VERDICTS = {0: "survived", 1: "killed"}
"""By pytest's exit code; others mean that the tests could not run."""


@dataclass(frozen=True)
class Mutant:
    """One fault: in ``file``, ``old`` becomes ``new``; pytest runs with the arguments ``tests``."""

    what: str
    file: str
    old: str
    new: str
    tests: str = ""
    equivalent: str = ""

    def applied(self, root: Path) -> str:
        """Text of the file in the tree ``root`` with the fault.

        Raises:
            InputError: there is no such file, or ``old`` does not occur exactly once in it.
        """
        path = root / self.file
        count = path.read_text().count(self.old) if path.is_file() else 0
        if count != 1 or self.old == self.new:
            raise InputError(
                f"mutant {self.what!r}: its context occurs {count} times in {self.file}; change old so that "
                "it occurs once, and new so that it differs"
            )
        return path.read_text().replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """Fate of a mutant: killed, survived, timed out, error (of pytest), equivalent or unproven."""

    mutant: Mutant
    verdict: str
    seconds: float = 0.0
    noticed_by: Sequence[str] = ()
    output: str = ""


def main() -> int:
    """Exit code: 0 where every mutant was killed, 1 where one was not, or that of a user-facing error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], help="words, one of which is part of what or file")
    parser.add_argument("--workers", type=int, default=1, help="mutants at a time, a copy of the tree each")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for the tests of one mutant")
    parser.add_argument("--list", type=Path, default=LIST, help="another file of mutants")
    parser.add_argument("--root", type=Path, default=ROOT, help="another tree")
    arguments = parser.parse_args()
    try:
        mutants = read_mutants(arguments.list, arguments.root, arguments.only)
        outcomes = run_mutants(mutants, arguments.root, arguments.workers, arguments.limit)
    except VflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(table(outcomes))
    return int(any(outcome.verdict not in ("killed", "equivalent") for outcome in outcomes))


def read_mutants(path: Path, root: Path, only: Sequence[str] = ()) -> list[Mutant]:
    """Mutants of a list, those that ``only`` names if it does; each fits the tree ``root``.

    Raises:
        InputError: an entry that does not fit, or that has neither tests nor an argument; nothing is left.
    """
    mutants = [Mutant(**entry) for entry in json.loads(path.read_text())]
    chosen = [m for m in mutants if not only or any(word in f"{m.what} {m.file}" for word in only)]
    for mutant in chosen:
        mutant.applied(root)
        if bool(mutant.tests) == bool(mutant.equivalent):
            raise InputError(f"mutant {mutant.what!r}: needs either tests or equivalent, the argument")
    if not chosen:
        raise InputError(f"no mutant of {path} has {' or '.join(only)} in its name or file")
    return chosen


def run_mutants(mutants: Sequence[Mutant], root: Path, workers: int, limit: float) -> list[Outcome]:
    """Fates of mutants, in ``workers`` copies of the tree ``root``, ``limit`` seconds for each mutant."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(workers):
            tree = Path(folder) / str(number)
            shutil.copytree(root, tree, symlinks=True, ignore=partial(_left_behind, root))
            trees.put(tree)

        def run(mutant: Mutant) -> Outcome:
            tree = trees.get()
            try:
                outcome = run_mutant(mutant, tree, limit)
            finally:
                trees.put(tree)
            print(
                f"{outcome.verdict:10} {outcome.seconds:6.0f} s  {mutant.what}", file=sys.stderr, flush=True
            )
            if outcome.verdict == "error":
                print(outcome.output, file=sys.stderr, flush=True)
            return outcome

        with ThreadPoolExecutor(workers) as pool:
            outcomes = list(pool.map(run, mutants))
        return proven(outcomes, trees.get(), limit)


def _left_behind(root: Path, folder: str, names: list[str]) -> set[str]:
    return (LEFT_BEHIND if Path(folder) == root else {"__pycache__"}) & set(names)


def run_mutant(mutant: Mutant, tree: Path, limit: float) -> Outcome:
    """Fate of a mutant in a copy of the tree, which is as before afterwards."""
    if mutant.equivalent:
        return Outcome(mutant, "equivalent")
    path, start = tree / mutant.file, time.monotonic()
    before, after = path.read_text(), mutant.applied(tree)
    try:
        path.write_text(after)
        code, failed, output = run_pytest(["-x", *shlex.split(mutant.tests)], tree, limit)
    finally:
        path.write_text(before)
    verdict = "timed out" if code is None else VERDICTS.get(code, "error")
    return Outcome(mutant, verdict, time.monotonic() - start, failed, output)


def proven(outcomes: Sequence[Outcome], tree: Path, limit: float) -> list[Outcome]:
    """The same, with ``unproven`` for mutants whose test fails without them, too."""
    noticing = sorted({test for outcome in outcomes for test in outcome.noticed_by})
    failed = run_pytest(noticing, tree, limit * len(noticing))[1] if noticing else []
    return [
        replace(outcome, verdict="unproven") if set(outcome.noticed_by) & set(failed) else outcome
        for outcome in outcomes
    ]


def run_pytest(arguments: Sequence[str], tree: Path, limit: float) -> tuple[int | None, list[str], str]:
    """Exit code (None after ``limit`` seconds), tests that failed, and output."""
    with tempfile.TemporaryDirectory(prefix="mutants-cache-") as cache:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={cache}", *arguments],
            cwd=tree,
            # No bytecode: Python tells two versions of a file apart by its size and second alone.
            env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, [], ""
        found = Path(cache) / "v" / "cache" / "lastfailed"
        return process.returncode, list(json.loads(found.read_text())) if found.is_file() else [], output


def table(outcomes: Sequence[Outcome]) -> str:
    """A row for each mutant, and a last line of sums."""
    rows = [
        f"| {o.verdict} | {o.seconds:.0f} s | {o.mutant.what} | {o.mutant.file} | {' '.join(o.noticed_by)} |"
        for o in outcomes
    ]
    verdicts = [outcome.verdict for outcome in outcomes]
    sums = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    return "\n".join(
        ["| verdict | time | mutant | file | noticed by |", "|---|---|---|---|---|", *rows, sums]
    )


if __name__ == "__main__":
    sys.exit(main())
