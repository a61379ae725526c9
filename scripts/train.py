"""Train a model: ``vflow train`` as a script for ``accelerate launch`` and ``torchrun``."""

from __future__ import annotations

import sys

from vflow.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
