"""Evaluate a checkpoint: the same as ``vflow evaluate``, as a file."""

from __future__ import annotations

import sys

from vflow.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
