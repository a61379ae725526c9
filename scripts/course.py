"""Runs lessons of the course and makes their pictures anew: ``python scripts/course.py 03-glow``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1] / "docs" / "site" / "course"


def main() -> int:
    """Execute all blocks of Python of a lesson in the folder of its pictures; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lesson", nargs="+", choices=sorted(page.stem for page in COURSE.glob("*.md")))
    for lesson in parser.parse_args().lesson:
        text = (COURSE / f"{lesson}.md").read_text(encoding="utf-8")
        os.chdir(COURSE / "figures")
        names = {"__name__": lesson}
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            exec(compile(block, lesson, "exec"), names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
