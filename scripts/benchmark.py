"""Speed and memory compared with other flow libraries.

python scripts/benchmark.py train --peer normflows --json   forward + backward + Adam, libraries taking turns
python scripts/benchmark.py memory                          peak of forward + backward, a process per library
python scripts/benchmark.py sample                          time per sampled frame, relative to a forward pass
python scripts/benchmark.py startup                         `vflow predict` relative to `import torch`
python scripts/benchmark.py floor                           lower bound by convolution and memory speed
python scripts/benchmark.py busy                            commands alongside two busy processes per core
python scripts/benchmark.py flood                           the wait for one digit beside 40 jobs of others
python scripts/benchmark.py held                            memory that the app holds after many jobs
python scripts/benchmark.py ending                          seconds from SIGTERM to the end, with 37 jobs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from scripts.benchmarks.busy import busy, ending, flood, held
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


RUNS: dict[str, Callable[[Setting, argparse.Namespace], Found]] = {
    "train": lambda setting, given: train(setting, given.peer, given.also, compiled=given.compile),
    "memory": lambda setting, given: memory(setting, given.peer),
    "sample": lambda setting, _: sample("shapes-guided", setting),
    "startup": lambda setting, _: startup(setting),
    "floor": lambda setting, _: floor(setting),
    "busy": lambda *_: busy(),
    "flood": lambda *_: flood(),
    "held": lambda *_: held(),
    "ending": lambda *_: ending(),
}


def main() -> None:
    arguments = parse()
    found = RUNS[arguments.what](setting_of(arguments), arguments)
    if arguments.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{key}: {value}" for key, value in found.items()))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("what", nargs="?", choices=list(RUNS), default="train")
    add("--peer", choices=list(PEERS), default="normflows", help="library that ratios refer to")
    add("--also", nargs="*", choices=list(PEERS), default=[], help="further libraries in train")
    add("--compile", action="store_true", help="also train under torch.compile")
    add("--depth", type=int, default=8, help="flow steps per level, three levels")
    add("--hidden", type=int, default=128, help="width of the conditioners")
    add("--batch", type=int, default=32, help="64×64 RGB frames per step")
    add("--repeats", type=int, default=7, help="number of turns, of which the median is reported")
    add("--clock", choices=["wall", "cpu"], default="wall", help="cpu: processor time")
    add("--threads", type=int, default=None)
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    dtypes = ["auto", "float32", "bfloat16"]
    add("--dtype", choices=dtypes, default="auto", help="dtype of vflow's conditioners")
    add("--json", action="store_true", help="one JSON object on the last line")
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
