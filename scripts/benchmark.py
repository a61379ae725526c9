"""Speed and memory compared with other flow libraries.

python scripts/benchmark.py train --peer normflows --json   forward + backward + Adam, libraries taking turns
python scripts/benchmark.py memory                          peak of forward + backward, a process per library
python scripts/benchmark.py sample                          time per sampled frame, relative to a forward pass
python scripts/benchmark.py startup                         `vflow predict` relative to `import torch`
python scripts/benchmark.py floor                           lower bound by convolution and memory speed
python scripts/benchmark.py busy                            commands alongside two busy processes per core
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from scripts.benchmarks.busy import busy
from scripts.benchmarks.floor import floor
from scripts.benchmarks.memory import memory
from scripts.benchmarks.peers import PEERS
from scripts.benchmarks.sample import sample
from scripts.benchmarks.startup import startup
from scripts.benchmarks.train import Setting, train
from vflow.devices import choose_device
from vflow.pipelines.common import set_threads
from vflow.training.distributed import autocast_dtype

Found = dict[str, object]


def main() -> None:
    arguments = parse()
    setting = setting_of(arguments)
    runs: dict[str, Callable[[], Found]] = {
        "train": lambda: train(setting, arguments.peer, arguments.also, compiled=arguments.compile),
        "memory": lambda: memory(setting, arguments.peer),
        "sample": lambda: sample("shapes-guided", setting),
        "startup": lambda: startup(setting),
        "floor": lambda: floor(setting),
        "busy": busy,
    }
    found = runs[arguments.what]()
    if arguments.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{key}: {value}" for key, value in found.items()))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=["train", "memory", "sample", "startup", "floor", "busy"],
        default="train",
    )
    parser.add_argument(
        "--peer", choices=list(PEERS), default="normflows", help="library that ratios refer to"
    )
    parser.add_argument(
        "--also", nargs="*", choices=list(PEERS), default=[], help="further libraries in train"
    )
    parser.add_argument("--compile", action="store_true", help="also train under torch.compile")
    parser.add_argument("--depth", type=int, default=8, help="flow steps per level, three levels")
    parser.add_argument("--hidden", type=int, default=128, help="width of the conditioners")
    parser.add_argument("--batch", type=int, default=32, help="64×64 RGB frames per step")
    parser.add_argument(
        "--repeats", type=int, default=7, help="number of turns, of which the median is reported"
    )
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: processor time")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16"],
        default="auto",
        help="dtype of vflow's conditioners",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    return parser.parse_args()


def setting_of(arguments: argparse.Namespace) -> Setting:
    device = choose_device(arguments.device)
    return Setting(
        depth=arguments.depth,
        hidden=arguments.hidden,
        batch=arguments.batch,
        repeats=arguments.repeats,
        clock=arguments.clock,
        device=device,
        dtype=autocast_dtype(arguments.dtype, device) or torch.float32,
        threads=set_threads(arguments.threads),
    )


if __name__ == "__main__":
    main()
