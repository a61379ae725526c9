"""Rounds a checkpoint's learned weights to float16, which halves the file.

python scripts/halve.py runs/push/last/model checkpoints/push

Figures are to be measured on what it writes. The card stays that of the place it writes to, if one is there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vflow.catalog import CARD, CONFIG, WEIGHTS
from vflow.checkpoint import load, read_config, save_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="a checkpoint's directory")
    parser.add_argument("target", type=Path, help="where the smaller one goes")
    arguments = parser.parse_args()
    source, target = arguments.source, arguments.target
    statistics = json.loads((source / CONFIG).read_text(encoding="utf-8")).get("statistics")
    card = None if (target / CARD).is_file() else (source / CARD).read_text(encoding="utf-8")
    save_checkpoint(target, load(source), config=read_config(source), card=card, extra=statistics, half=True)
    print(f"{target} ({(target / WEIGHTS).stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
