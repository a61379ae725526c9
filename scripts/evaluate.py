"""Evaluate a checkpoint: ``vflow evaluate`` as a script."""

from __future__ import annotations

import sys

from vflow.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
