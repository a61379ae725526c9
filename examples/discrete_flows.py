"""Discrete flows: vectors of K classes to latents of K classes, modulo K (Tran et al. 2019).

y_d = (μ_d + σ_d · x_d) mod K, with μ_d and σ_d (coprime to K) functions of the elements of lower rank, and
of a condition. Every layer is a permutation of the K^D vectors, so log P(x) = log P(latents) under a base.
All elements of different ranks: autoregressive; two ranks: bipartite. Vectors are one-hot. μ and σ are
one-hot by argmax, with the gradient of softmax(logits / τ): straight through. That gradient is biased, and
a start may stay in a wrong permutation for good; so the likeliest of several starts is kept. Conditions
are sequences of symbols, one an element.

The paper's tasks, in nats. XOR is learned exactly (0.936, its entropy; 1.252 without a flow); a Potts
model has 5.763 (entropy 5.502, without a flow 6.592). Both are fitted to all vectors, weighted by their
probabilities. Sums of 10-digit numbers are written from left to right and scored given both numbers, a
column of two digits being one symbol; each batch draws new pairs. After 35 s an autoregressive flow has
2.39 nats a sum, an LSTM that writes as it reads 5.78, although carries come from the right, one that reads
all columns first 0.01. The base of the flows has a probability for 0 and spreads the rest evenly over the
other digits. Run with one thread::

    python -m examples.discrete_flows xor > docs/results/xor.json
    python -m examples.discrete_flows potts > docs/results/potts.json
    python -m examples.discrete_flows addition --digits 10 --seconds 35 > docs/results/addition.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.benchmarks.comparison import comparison
from vflow.config import TrainingConfig
from vflow.nn.masked import MaskedLinear
from vflow.nn.modules import ModuleList
from vflow.randomness import generator
from vflow.training.density import optimize

Context = Tensor | None

TEMPERATURE = 0.1  # τ of the paper
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


def straight_through_one_hot(logits: Tensor) -> Tensor:
    """One-hots of the largest of ``logits`` along the last axis, with the gradient of softmax(logits / τ)."""
    soft = torch.softmax(logits / TEMPERATURE, -1)
    hard = functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(soft.dtype)
    return hard + soft - soft.detach()


def add_modulo(a: Tensor, b: Tensor) -> Tensor:
    """One-hots of (a + b) mod K of one-hots (..., K): a circular convolution."""
    classes = a.shape[-1]
    index = torch.arange(classes, device=a.device)
    return torch.einsum("...m,...km->...k", b, a[..., (index[:, None] - index) % classes])


def coprime(classes: int) -> list[int]:
    """Scales that have an inverse modulo ``classes``, from 1 on."""
    return [scale for scale in range(1, classes) if math.gcd(scale, classes) == 1] or [1]


class ParameterNet(nn.Module, ABC):
    """Network that gives logits of an element's μ and σ from elements of lower rank.

    Args:
        ranks: of the D elements, from 0 on.
        classes: K.
    """

    def __init__(self, ranks: Sequence[int], classes: int) -> None:
        super().__init__()
        self.ranks, self.classes = tuple(ranks), classes
        self.outputs = classes + len(coprime(classes))

    @abstractmethod
    def forward(self, x: Tensor, context: Context) -> Tensor:
        """One-hots (B, D, K) and symbols, int64 (B, D), → logits (B, D, outputs)."""


@final
class MaskedNet(ParameterNet):
    """Masked network with one hidden layer and no condition; elements of rank 0 are given a constant."""

    def __init__(self, ranks: Sequence[int], classes: int, hidden: int) -> None:
        super().__init__(ranks, classes)
        rank = torch.tensor(ranks)
        degree = torch.arange(hidden) % max(1, int(rank.max()))
        first = degree[:, None] >= rank.repeat_interleave(classes)[None]
        last = rank.repeat_interleave(self.outputs)[:, None] > degree[None]
        self.first, self.last = MaskedLinear(first[None]), MaskedLinear(last[None])

    def forward(self, x: Tensor, context: Context) -> Tensor:
        h: Tensor = self.last(torch.relu(self.first(x.flatten(1))))
        return h.unflatten(1, (len(self.ranks), -1))


@final
class CausalLSTM(ParameterNet):
    """LSTM from right to left: an element sees those to its right, and the symbols from its own on.

    Args:
        dim: D.
        symbols: number of them in a condition's alphabet.
    """

    def __init__(self, dim: int, classes: int, symbols: int, hidden: int) -> None:
        super().__init__(range(dim)[::-1], classes)
        self.symbol = nn.Embedding(symbols, hidden)
        self.lstm = nn.LSTM(classes + hidden, hidden, batch_first=True)
        self.last = nn.Linear(hidden, self.outputs)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        right = functional.pad(x, (0, 0, 0, 1))[:, 1:]
        h, _ = self.lstm(torch.cat([right, self.symbol(context)], -1).flip(1))
        logits: Tensor = self.last(h.flip(1))
        return logits


@final
class BipartiteLSTM(ParameterNet):
    """LSTMs both ways over symbols and the elements of rank 0, which stay; μ and σ are those of rank 1."""

    def __init__(self, ranks: Sequence[int], classes: int, symbols: int, hidden: int) -> None:
        super().__init__(ranks, classes)
        self.symbol = nn.Embedding(symbols, hidden)
        self.lstm = nn.LSTM(classes + hidden, hidden // 2, batch_first=True, bidirectional=True)
        self.last = nn.Linear(2 * (hidden // 2), self.outputs)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        changed = x.new_tensor(self.ranks)[:, None]
        h, _ = self.lstm(torch.cat([x * (1 - changed), self.symbol(context)], -1))
        logits: Tensor = self.last(h)
        return logits * changed  # all logits alike where nothing changes


@final
class ModuloLayer(nn.Module):
    """y = (μ + σx) mod K, where μ and σ of an element are ``net``'s, of elements of lower rank."""

    def __init__(self, net: ParameterNet) -> None:
        super().__init__()
        self.net, self.classes, self.scales = net, net.classes, coprime(net.classes)

    def parameters_of(self, x: Tensor, context: Context = None) -> tuple[Tensor, Tensor]:
        """One-hots of μ (B, D, K) and of σ (B, D, S) given one-hots (B, D, K)."""
        location, scale = self.net(x, context).split([self.classes, len(self.scales)], -1)
        return straight_through_one_hot(location), straight_through_one_hot(scale)

    def forward(self, x: Tensor, context: Context = None) -> Tensor:
        """One-hots (B, D, K) → latents (B, D, K)."""
        location, scale = self.parameters_of(x, context)
        return add_modulo(self._multiply(x, scale, self.scales), location)

    @torch.no_grad()
    def inverse(self, y: Tensor, context: Context = None) -> Tensor:
        """Latents (B, D, K) → one-hots (B, D, K), in one pass per rank."""
        x = torch.zeros_like(y)
        inverses = [pow(scale, -1, self.classes) for scale in self.scales]
        for rank in sorted(set(self.net.ranks)):
            location, scale = self.parameters_of(x, context)
            minus = location[..., (-torch.arange(self.classes, device=y.device)) % self.classes]
            found = self._multiply(add_modulo(y, minus), scale, inverses)
            now = torch.tensor([r == rank for r in self.net.ranks], device=y.device)
            x = torch.where(now[:, None], found, x)
        return x

    def _multiply(self, x: Tensor, scale: Tensor, factors: Sequence[int]) -> Tensor:
        """One-hots of σ·x mod K, σ the one of ``factors`` that ``scale`` picks."""
        index = torch.arange(self.classes, device=x.device)
        products = [x[..., index * pow(factor, -1, self.classes) % self.classes] for factor in factors]
        return torch.einsum("...s,...sk->...k", scale, torch.stack(products, -2))


class DiscreteBase(nn.Module, ABC):
    """Distribution of latents, given the condition."""

    classes: int

    @abstractmethod
    def forward(self, z: Tensor, context: Context) -> Tensor:
        """log P of each class at each element given the elements before it, (B, D, K), of one-hots z."""

    def log_probability(self, z: Tensor, context: Context) -> Tensor:
        """log P (B,), nats, of one-hots (B, D, K)."""
        nats: Tensor = (z * self(z, context)).sum((1, 2))
        return nats

    @torch.no_grad()
    def sample(self, uniform: Tensor, context: Context) -> Tensor:
        """Latents, int64 (B, D), of noise (B, D) in (0, 1), in D passes."""
        z = torch.zeros(uniform.shape, dtype=torch.int64, device=uniform.device)
        for element in range(uniform.shape[1]):
            below = self(functional.one_hot(z, self.classes).float(), context)[:, element].exp().cumsum(-1)
            z[:, element] = (below < uniform[:, element, None]).sum(-1).clamp_max(self.classes - 1)
        return z


@final
class CategoricalBase(DiscreteBase):
    """Product of categorical distributions; conditions are ignored."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.logits = nn.Parameter(torch.zeros(dim, classes))

    def forward(self, z: Tensor, context: Context) -> Tensor:
        return torch.log_softmax(self.logits, -1).expand(len(z), -1, -1)


@final
class ZeroInflatedBase(DiscreteBase):
    """Product of distributions with a mass at 0 and all other classes alike; conditions are ignored.

    For vectors that their condition decides: a base that could learn two classes to be likely would leave the
    layers between them nothing to gain.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.logit = nn.Parameter(torch.zeros(dim))

    def forward(self, z: Tensor, context: Context) -> Tensor:
        zero = functional.logsigmoid(self.logit)[:, None]
        others = functional.logsigmoid(-self.logit)[:, None] - math.log(self.classes - 1)
        return torch.cat([zero, others.expand(-1, self.classes - 1)], 1).expand(len(z), -1, -1)


@final
class LSTMBase(DiscreteBase):
    """LSTM from left to right over latents and symbols: an element sees those up to its own.

    ``encode``: it starts in the last state of another LSTM, which has read all symbols.
    """

    def __init__(self, classes: int, symbols: int, hidden: int, *, encode: bool) -> None:
        super().__init__()
        self.classes = classes
        self.symbol = nn.Embedding(symbols, hidden)
        self.encoder = nn.LSTM(hidden, hidden, batch_first=True) if encode else None
        self.decoder = nn.LSTM(classes + hidden, hidden, batch_first=True)
        self.last = nn.Linear(hidden, classes)

    def forward(self, z: Tensor, context: Context) -> Tensor:
        symbols = self.symbol(context)
        state = self.encoder(symbols)[1] if self.encoder else None
        left = functional.pad(z, (0, 0, 1, 0))[:, :-1]
        h, _ = self.decoder(torch.cat([left, symbols], -1), state)
        return torch.log_softmax(self.last(h), -1)


@final
class DiscreteFlow(nn.Module):
    """Modulo layers, then a base; without layers the base alone."""

    def __init__(self, base: DiscreteBase, layers: Sequence[ModuloLayer] = ()) -> None:
        super().__init__()
        self.base, self.layers = base, ModuleList(layers)

    def forward(self, x: Tensor, context: Context = None) -> Tensor:
        """log P (B,), nats, of vectors x, int64 (B, D) in 0 … K − 1, given symbols, int64 (B, D)."""
        return self.base.log_probability(self._latents(x, context), context)

    @torch.no_grad()
    def encode(self, x: Tensor, context: Context = None) -> Tensor:
        """Latents, int64 (B, D)."""
        return self._latents(x, context).argmax(-1)

    @torch.no_grad()
    def decode(self, z: Tensor, context: Context = None) -> Tensor:
        """Inverse of ``encode``, int64 (B, D)."""
        x = functional.one_hot(z, self.base.classes).float()
        for layer in reversed(self.layers):
            x = layer.inverse(x, context)
        return x.argmax(-1)

    @torch.no_grad()
    def sample(self, uniform: Tensor, context: Context = None) -> Tensor:
        """Vectors, int64 (B, D), of noise (B, D) in (0, 1)."""
        return self.decode(self.base.sample(uniform, context), context)

    def _latents(self, x: Tensor, context: Context) -> Tensor:
        """One-hots of the latents, (B, D, K)."""
        z = functional.one_hot(x, self.base.classes).float()
        for layer in self.layers:
            z = layer(z, context)
        return z


def masked_flow(dim: int, classes: int, layers: Sequence[Sequence[int]], hidden: int = 32) -> DiscreteFlow:
    """Flow of vectors without a condition: masked networks, and a product as the base.

    Args:
        layers: ranks of the elements in each layer; none: the product alone.
    """
    nets = [MaskedNet(ranks, classes, hidden) for ranks in layers]
    return DiscreteFlow(CategoricalBase(dim, classes), [ModuloLayer(net) for net in nets])


def autoregressive_ranks(dim: int, layers: int) -> list[list[int]]:
    """Ranks of autoregressive layers, in turn from the first and from the last element on."""
    forward = list(range(dim))
    return [forward if layer % 2 == 0 else forward[::-1] for layer in range(layers)]


def bipartite_ranks(dim: int, layers: int) -> list[list[int]]:
    """Ranks of bipartite layers: even elements given odd ones and the reverse, in turn."""
    return [[(element + layer) % 2 for element in range(dim)] for layer in range(layers)]


def fit_discrete(
    make: Callable[[], DiscreteFlow],
    patterns: Tensor,
    weights: Tensor,
    config: TrainingConfig,
    seeds: Iterable[int],
) -> tuple[DiscreteFlow, float]:
    """The flow of all ``seeds`` with the highest mean log-likelihood, and minus that, in nats.

    Args:
        make: builds a flow with random weights.
        patterns: int64 (N, D). weights: their probabilities (N,).
    """
    best: tuple[DiscreteFlow, float] | None = None
    for seed in seeds:
        torch.manual_seed(seed)
        flow = make()
        for _ in optimize(flow, lambda share, flow=flow: -(weights * flow(patterns)).sum(), config):  # type: ignore[misc]
            pass
        with torch.no_grad():
            nats = -float((weights * flow(patterns)).sum())
        if best is None or nats < best[1]:
            best = flow, nats
    if best is None:
        raise ValueError("seeds: give one or more")
    return best


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
    command = f"examples.discrete_flows {options.task}{own}"
    before = kept_rows(options.output, f"python -m {command}") if options.output else []
    title, rows, note = TASKS[options.task](options)
    every = {row["model"]: row for row in [*before, *rows]}
    text = json.dumps(comparison(title, list(every.values()), note, command), ensure_ascii=False)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
