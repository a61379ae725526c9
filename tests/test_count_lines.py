"""Counts of code lines, and traces of the files that a use runs through."""

from __future__ import annotations

from scripts.count_lines import python_lines, script_lines
from scripts.trace_files import Trace
from vflow.randomness import generator


def test_lines_of_python_are_those_with_code() -> None:
    text = '''"""A module.

Two lines."""
import os  # said beside code

# said alone
TEXT = """several
lines"""
"""What TEXT is."""


def f(
    x,
):
    """What f does."""
    return x
'''
    assert python_lines(text) == 7


def test_lines_of_scripts_and_styles_are_those_with_code() -> None:
    assert script_lines("// said\nlet a = 1; // beside\n\n/* two\nlines */\nf('http://x')\n  // said\n") == 2
    assert script_lines("a { /* said */\n  color: red;\n}\n/* alone */\n") == 3


def test_a_trace_has_own_functions_that_were_called_and_no_imports() -> None:
    with Trace() as trace:
        import vflow.data.rain  # noqa: F401  # what an import runs is not counted

        generator("a", 1)
    assert trace.files == {"vflow/randomness.py"} and trace.deepest >= 1
    with Trace() as nothing:
        sorted([2, 1])
    assert nothing.files == set() and nothing.deepest == 0
