"""``vflow`` run in this process: its exit code and what it printed."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import NamedTuple


class Ended(NamedTuple):
    """End of a command: exit code, standard output and standard error."""

    code: int
    output: str
    errors: str


def vflow(line: str, *more: str) -> Ended:
    """Run ``vflow`` with the words of ``line`` and ``more``; a failure is shown on stderr, for the log."""
    from vflow.cli import main

    words = [*line.split(), *more]
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = main(words)
    printed, said = (stream.buffer.getvalue().decode() for stream in (output, errors))
    if code:
        print(f"vflow {' '.join(words)}: {code}: {said[-400:].strip()}", file=sys.stderr)
    return Ended(code, printed, said)
