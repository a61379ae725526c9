"""Makes a trained checkpoint one that ships: at half the size if wished, with what it suggests to the app.

python scripts/ship.py runs/push/last/model checkpoints/push --half --temperature 0.4,0.4,0.4,0.4,1
python scripts/ship.py runs/colours/last/model checkpoints/colorizer --half --set mirror=true

Figures are to be measured on what it writes. Card and temperature stay those of the place it writes to,
unless it is new or the temperature is given. Directions and typical bits belong to the weights before:
they are removed (scripts/directions.py and scripts/clip_statistics.py make them).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vflow.catalog import CARD, CONFIG, WEIGHTS
from vflow.checkpoint import load, read_config, save_checkpoint
from vflow.commands.common import parse_temperature
from vflow.config import parse
from vflow.models import build_model
from vflow.training.args import parse_settings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="a checkpoint's directory")
    parser.add_argument("target", type=Path, help="where it goes; what is there is replaced")
    parser.add_argument("--half", action="store_true", help="round learned weights to float16")
    parser.add_argument("--temperature", help="the app's first choice: one, or one per level, fine to coarse")
    parser.add_argument("--set", action="append", default=[], help="entry of its configuration, as key=value")
    arguments = parser.parse_args()
    source, target = arguments.source, arguments.target
    config = read_config(source)
    if arguments.temperature:
        temperature = parse_temperature(arguments.temperature)
    else:
        temperature = read_config(target if (target / CONFIG).is_file() else source).temperature
    changed = {"temperature": temperature, **parse_settings(arguments.set)}
    config = parse(type(config), {**config.model_dump(), **changed}, str(target))
    statistics = json.loads((source / CONFIG).read_text(encoding="utf-8")).get("statistics")
    card = None if (target / CARD).is_file() else (source / CARD).read_text(encoding="utf-8")
    model = build_model(config)
    try:
        model.load_state_dict(load(source).state_dict())
    except RuntimeError as error:
        parser.error(
            f"--set {' '.join(arguments.set)}: the weights of {source} do not fit; change no sizes ({error})"
        )
    save_checkpoint(target, model, config=config, card=card, extra=statistics, half=arguments.half)
    print(f"{target} ({(target / WEIGHTS).stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
