"""Discrete flows compared with their base alone: XOR, a Potts model, the addition of two numbers.

The tasks of Tran et al. 2019, in nats. Prints a comparison in the format of scripts/results.py. Run with one
thread::

    python -m scripts.benchmarks.discrete xor > docs/results/xor.json
    python -m scripts.benchmarks.discrete potts > docs/results/potts.json
    python -m scripts.benchmarks.discrete addition --digits 10 --seconds 120 > docs/results/addition.json

XOR and Potts are fitted to all vectors, weighted by their probabilities. Sums are written from left to right,
with as many digits as the numbers, and scored given both numbers; each batch draws new pairs. A column of two
digits is one symbol. The models without a flow are LSTMs that write the sum from left to right as they read
its columns, although carries come from the right; one of them reads all columns first. The networks of the
flows also see the columns, and their base has a probability for 0 and spreads the rest evenly over the other
digits.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.benchmarks.comparison import comparison
from vflow.config import TrainingConfig
from vflow.models.discrete_flow import (
    BipartiteLSTM,
    CausalLSTM,
    DiscreteFlow,
    LSTMBase,
    ModuloLayer,
    ParameterNet,
    ZeroInflatedBase,
    autoregressive_ranks,
    bipartite_ranks,
    masked_flow,
)
from vflow.randomness import generator
from vflow.training.density import optimize
from vflow.training.discrete import fit_discrete

XOR = torch.tensor([0.63, 0.07, 0.03, 0.27])  # of (x₁, x₂) = 00, 01, 10, 11
SITES, STATES, COUPLING = (2, 3), 3, 1.0  # of the Potts model
TABLE = TrainingConfig(max_steps=300, learning_rate=0.05, warmup_steps=0, ema=0.9)
ADDITION = TrainingConfig(batch_size=128, max_steps=1_000_000, learning_rate=1e-2, warmup_steps=50, ema=0.99)
BASE, WIDTH = 10, 64  # of the numbers; hidden units of each LSTM
ADDITION_MODELS = {
    "no flow: LSTM, left to right": 0,
    "no flow: the same, all columns read before": 0,
    "autoregressive, 1 layer": 1,
    "bipartite, 2 layers": 2,
    "bipartite, 4 layers": 4,
}
HELD, DRAWN = 5000, 500  # pairs that are scored, and sums that are drawn
Row = dict[str, Any]


def vectors(dim: int, classes: int) -> Tensor:
    """All of them, int64 (K^D, D)."""
    return torch.tensor(list(itertools.product(range(classes), repeat=dim)))


def potts() -> Tensor:
    """Probabilities (K^D,) of all vectors, exp(J · neighbours that are alike) over their sum."""
    sites = vectors(SITES[0] * SITES[1], STATES).unflatten(1, SITES)
    alike = (sites[:, 1:] == sites[:, :-1]).sum((1, 2)) + (sites[..., 1:] == sites[..., :-1]).sum((1, 2))
    return torch.softmax(COUPLING * alike.float(), 0)


def table_rows(weights: Tensor, classes: int, layers: dict[str, list[list[int]]], starts: int) -> list[Row]:
    """Rows of a distribution over all vectors: its entropy, and the best of some starts of each flow."""
    dim = round(math.log(len(weights), classes))
    every = vectors(dim, classes)
    rows: list[Row] = [{"model": "entropy of the data", "nats": -float((weights * weights.log()).sum())}]
    for name, ranks in layers.items():
        flow, nats = fit_discrete(
            lambda ranks=ranks: masked_flow(dim, classes, ranks),  # type: ignore[misc]
            every,
            weights,
            TABLE,
            range(starts if ranks else 1),
        )
        rows.append({"model": name, **size(flow), "steps": TABLE.max_steps, "nats": nats})
    return rows


def size(flow: DiscreteFlow) -> Row:
    """Number of parameters."""
    return {"parameters": sum(p.numel() for p in flow.parameters())}


def sums(count: int, digits: int, *key: int | str) -> tuple[Tensor, Tensor]:
    """Columns of two numbers as symbols a · 10 + b, and their sum's last digits, int64 (B, D) each."""
    pairs = torch.from_numpy(generator("addition", digits, *key).integers(BASE, size=(2, count, digits)))
    carry, total = torch.zeros(count, dtype=torch.int64), torch.zeros(count, digits, dtype=torch.int64)
    for place in reversed(range(digits)):
        column = pairs[0, :, place] + pairs[1, :, place] + carry
        total[:, place], carry = column % BASE, column // BASE
    return pairs[0] * BASE + pairs[1], total


def addition_model(name: str, digits: int) -> DiscreteFlow:
    """Model of ``ADDITION_MODELS``, which learns sums given their columns."""
    symbols = BASE**2
    if name.startswith("no flow"):
        return DiscreteFlow(LSTMBase(BASE, symbols, WIDTH, encode="before" in name))
    ranks = bipartite_ranks(digits, ADDITION_MODELS[name])
    nets: list[ParameterNet] = [BipartiteLSTM(r, BASE, symbols, WIDTH) for r in ranks]
    if name.startswith("autoregressive"):
        nets = [CausalLSTM(digits, BASE, symbols, WIDTH)]
    return DiscreteFlow(ZeroInflatedBase(digits, BASE), [ModuloLayer(net) for net in nets])


def addition_rows(names: Iterable[str], digits: int, seconds: float, seed: int) -> Iterator[Row]:
    """Rows of addition: models without a flow and flows, each trained as long."""
    columns, answers = sums(HELD, digits, "validation")
    for name in names:
        torch.manual_seed(seed)
        flow, numbers = addition_model(name, digits), itertools.count()

        def loss(share: float, flow: DiscreteFlow = flow, numbers: Iterator[int] = numbers) -> Tensor:
            given, total = sums(ADDITION.batch_size, digits, "train", seed, next(numbers))
            return -flow(total, given).mean()

        steps = sum(1 for _ in optimize(flow, loss, ADDITION, seconds))
        with torch.no_grad():
            nats = -float(flow(answers, columns).mean())
        noise = torch.from_numpy(generator("drawn sums").random((DRAWN, digits), dtype="float32"))
        right = (flow.sample(noise, columns[:DRAWN]) == answers[:DRAWN]).all(1)
        found = {"nats": nats, "nats_per_digit": nats / digits, "right": float(right.float().mean())}
        print(f"{name}: {nats:.3f} nats, {steps} steps", file=sys.stderr)
        yield {"model": name, **size(flow), "steps": steps, **found}


def xor_task(options: argparse.Namespace) -> tuple[str, list[Row], str]:
    layers = {"no flow": [], "autoregressive, 1 layer": [[0, 1]]}
    note = f"{TABLE.max_steps} steps from each of 6 starts, the likeliest kept"
    return "Discrete flow: XOR", table_rows(XOR, 2, layers, 6), note


def potts_task(options: argparse.Namespace) -> tuple[str, list[Row], str]:
    dim = SITES[0] * SITES[1]
    layers = {
        "no flow": [],
        "autoregressive, 1 layer": autoregressive_ranks(dim, 1),
        "bipartite, 4 layers": bipartite_ranks(dim, 4),
    }
    title = f"Discrete flow: Potts model, {SITES[0]}×{SITES[1]} sites of {STATES} states, J = {COUPLING:g}"
    note = f"{TABLE.max_steps} steps from each of 3 starts, the likeliest kept"
    return title, table_rows(potts(), STATES, layers, 3), note


def addition_task(options: argparse.Namespace) -> tuple[str, list[Row], str]:
    chosen = [name for name in ADDITION_MODELS if options.model in name]
    rows = list(addition_rows(chosen, options.digits, options.seconds, options.seed))
    note = (
        f"{options.seconds:g} s of processor time for each training, one thread, seed {options.seed}; "
        f"{HELD:,} other pairs scored, {DRAWN} of their sums drawn; all digits equally likely: "
        f"{options.digits * math.log(BASE):.1f} nats"
    )
    return f"Discrete flow: sums of {options.digits}-digit numbers, left to right", rows, note


TASKS: dict[str, Callable[[argparse.Namespace], tuple[str, list[Row], str]]] = {
    "xor": xor_task,
    "potts": potts_task,
    "addition": addition_task,
}


def kept_rows(path: Path, command: str) -> list[Row]:
    """Rows of a file that ``command`` made earlier; none where there is no file.

    Raises:
        SystemExit: other settings made them.
    """
    if not path.is_file():
        return []
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    made = str(found["protocol"]["command"])
    if made != command:
        raise SystemExit(f"{path}: its rows come from {made}; give these settings or another --output")
    rows: list[Row] = found["rows"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--digits", type=int, default=10, help="digits of each number")
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="processor time of each training (addition only)"
    )
    parser.add_argument("--model", default="", help="part of the model names (addition only; default: all)")
    parser.add_argument(
        "--output", type=Path, help="file to update, keeping rows of other models; default: print"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed (addition only)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    own = f" --digits {options.digits} --seconds {options.seconds:g}" if options.task == "addition" else ""
    own += f" --seed {options.seed}" if options.seed else ""
    command = f"discrete {options.task}{own}"
    before = kept_rows(options.output, f"python -m scripts.benchmarks.{command}") if options.output else []
    title, rows, note = TASKS[options.task](options)
    every = {row["model"]: row for row in [*before, *rows]}
    text = json.dumps(comparison(title, list(every.values()), note, command), ensure_ascii=False)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
