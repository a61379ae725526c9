"""One section's pins of one tree, as JSON: python collect.py SECTION TREE MADE BASE OUTPUT.

Run in an empty folder, with TREE in PYTHONPATH. The sections are those beside this file, whatever TREE has.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
sys.path[0] = str(HOME)  # for this package alone: vflow and apps come from TREE

from scripts.pins.place import Place  # noqa: E402

sys.path.remove(str(HOME))


def main(section: str, tree: str, made: str, base: str, output: str) -> int:
    """Write the pins; says on stderr what took long."""
    import vflow

    found = Path(str(vflow.__file__)).resolve().parents[1]
    if found != Path(tree).resolve():
        raise RuntimeError(f"vflow is imported from {found}, not from {tree}")
    place = Place(Path(tree), Path(made), Path(base))
    values, before = {}, time.process_time()
    for name, value in import_module(f"scripts.pins.sections.{section}").pins(place):
        if (pin := f"{section}/{name}") in values:
            raise ValueError(f"{pin}: pinned twice")
        values[pin] = value
        if (took := time.process_time() - before) > 1:
            print(f"{took:.1f} s: {section}/{name}", file=sys.stderr)
        before = time.process_time()
    if not values:
        raise ValueError(f"{section}: nothing is pinned")
    Path(output).write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
