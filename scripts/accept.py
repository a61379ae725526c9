"""Measure the figures that the project promises, and write docs/RESULTS.md."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts import results
from scripts.acceptance.registry import Measure, NotHere, Result, select
from scripts.acceptance.report import DirtyTreeError, clean_commit, store
from vflow.devices import machine
from vflow.errors import VflowError


def main() -> int:
    """Exit code: 0 if every selected promise is kept, 1 if not, 2 for an unknown measure or a dirty tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="sections or single measures")
    parser.add_argument("--list", action="store_true", help="list the measures and exit")
    arguments = parser.parse_args()
    try:
        chosen = select(arguments.only)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if arguments.list:
        print("\n".join(f"{m.key}: {m.protocol}" for m in chosen))
        return 0
    try:
        commit = clean_commit()
    except DirtyTreeError as error:
        print(error, file=sys.stderr)
        return 2
    kept = [one(measure, commit) for measure in chosen]
    print(f"{sum(kept)} of {len(kept)} measures kept their promises; see {results.PAGE}")
    return 0 if all(kept) else 1


def one(measure: Measure, commit: str) -> bool:
    """Run one measure, store and print its rows; if it lacks data here, the stored rows stay as they are."""
    print(f"{measure.key} ...", flush=True)
    start = time.perf_counter()
    error = ""
    try:
        result = measure.run()
    except NotHere as reason:
        print(f"  not measured: {reason}")
        return False
    except (VflowError, AssertionError, OSError, RuntimeError, ValueError, LookupError) as reason:
        traceback.print_exc()
        result, error = Result({}), f"{type(reason).__name__}: {' '.join(str(reason).split())[:300]}"
    entry = {
        "values": dict(result.values),
        "note": result.note,
        "error": error,
        "date": datetime.date.today().isoformat(),
        "seconds": round(time.perf_counter() - start, 1),
        "commit": commit,
        "machine": machine(),
        "command": f"make accept ONLY={measure.key}",
    }
    store(measure.key, entry)
    results.write()
    kept = not error
    for key, figure in measure.figures.items():
        value = result.values.get(key, float("nan"))
        kept = kept and (figure.met(value) or not figure.threshold())
        print(f"  {figure.what}: {value:.4g} {figure.unit} {figure.threshold()}")
    return kept


if __name__ == "__main__":
    sys.exit(main())
