"""``python -m vflow``: the command line."""

from __future__ import annotations

import sys

from vflow.cli import main

if __name__ == "__main__":
    sys.exit(main())
