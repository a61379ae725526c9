"""Counts lines of code: Python, JavaScript and CSS, without blank lines, comments and docstrings."""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APART = ("tests", "examples")
"""Folders at the root that are counted by themselves."""
_COMMENT = re.compile(r"/\*.*?\*/|^[ \t]*//[^\n]*$", re.DOTALL | re.MULTILINE)
_NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip


def python_lines(text: str) -> int:
    """Lines with code; those of comments, docstrings and other strings that stand alone are none."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def script_lines(text: str) -> int:
    """Lines of JavaScript or CSS with code; comments that begin a line, and blocks, are none."""
    return sum(1 for line in _COMMENT.sub("", text).splitlines() if line.strip())


def sources(root: Path) -> Iterator[tuple[str, int]]:
    """(path, lines) of every source file that git knows, or would."""
    words = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"]
    words += ["*.py", "*.js", "*.css"]
    for name in sorted(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split("\n")):
        if name and (path := root / name).is_file():
            text = path.read_text(encoding="utf-8")
            yield name, python_lines(text) if path.suffix == ".py" else script_lines(text)


def main() -> int:
    """Print lines of each folder at the root, and their sum without tests and examples; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=0, metavar="N", help="list the N longest files, too")
    arguments = parser.parse_args()
    found = dict(sources(ROOT))
    folders: dict[str, int] = {}
    for name, lines in found.items():
        folder = name.partition("/")[0] if "/" in name else "."
        folders[folder] = folders.get(folder, 0) + lines
    for folder in sorted(folders, key=lambda each: (each in APART, -folders[each])):
        print(f"{folders[folder]:7,}  {folder}")
    print(
        f"{sum(n for folder, n in folders.items() if folder not in APART):7,}  without {' and '.join(APART)}"
    )
    own = {name: lines for name, lines in found.items() if not name.startswith(APART)}
    for name in sorted(own, key=lambda each: -own[each])[: arguments.files]:
        print(f"{own[name]:7,}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
