"""Compares what this tree computes with what an earlier commit does: python -m scripts.pins [BASE]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scripts.pins.compare import Verdict, compare, read_excuses
from scripts.pins.trees import (
    HOME,
    SECTIONS,
    PinsError,
    cache_folder,
    checked_out,
    collect,
    collect_once,
    git,
    resolve,
)

BASE, CHANGED = HOME / "pins" / "base", HOME / "pins" / "changed.md"


def main() -> int:
    """Exit code: 0 if all differences are listed, 1 if one is not or a line is stale, 2 for an error."""
    parser = argparse.ArgumentParser(prog="python -m scripts.pins", description=__doc__)
    parser.add_argument("base", nargs="?", metavar="BASE", help="a commit; that of pins/base when not given")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections to compare")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at once")
    parser.add_argument("--advance", action="store_true", help="make HEAD the base, and empty changed.md")
    arguments = parser.parse_args()
    try:
        if arguments.advance:
            return advance()
        base = resolve(arguments.base or BASE.read_text(encoding="utf-8").strip())
        excuses = read_excuses(CHANGED)
        before, after = both(base, arguments.only, arguments.jobs)
    except (PinsError, OSError, ValueError) as error:
        print(f"pins: {error}", file=sys.stderr)
        return 2
    verdict = compare(before, after, excuses, arguments.only)
    report(verdict, len(after), base)
    return 1 if verdict.unlisted or verdict.stale else 0


def both(base: str, sections: Sequence[str], jobs: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pins of ``base`` and of this tree."""
    cache = cache_folder(base)
    cache.mkdir(parents=True, exist_ok=True)
    with checked_out(base) as tree, ThreadPoolExecutor(jobs) as pool:

        def one(section: str) -> tuple[dict[str, Any], dict[str, Any]]:
            before = collect_once(section, tree, cache)
            return before, collect(section, HOME, tree.parent / section, cache / section)

        found = list(pool.map(one, sections))
    return {k: v for pins, _ in found for k, v in pins.items()}, {
        k: v for _, pins in found for k, v in pins.items()
    }


def report(verdict: Verdict, count: int, base: str) -> None:
    """Print what differs."""
    for difference in verdict.unlisted:
        print(difference)
    for excuse in verdict.stale:
        print(f"{_shown(CHANGED)}: excuses nothing, remove it: - `{excuse.pattern}`: {excuse.text}")
    print(
        f"{count} pins against {base[:12]}: {len(verdict.excused)} changed as {_shown(CHANGED)} says, "
        f"{len(verdict.unlisted)} unlisted, {len(verdict.stale)} lines that excuse nothing"
    )


def _shown(path: Path) -> str:
    return str(path.relative_to(HOME))


def advance() -> int:
    """Make the newest commit the base, with nothing excused; for the beginning of a submission, on main."""
    commit = git("rev-parse", "HEAD")
    BASE.write_text(f"{commit}\n", encoding="utf-8")
    prose = [line for line in CHANGED.read_text(encoding="utf-8").splitlines() if not line.startswith("-")]
    CHANGED.write_text("\n".join(prose).rstrip() + "\n", encoding="utf-8")
    print(f"the base is {commit[:12]} now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
