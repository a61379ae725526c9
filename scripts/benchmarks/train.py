"""Training steps: forward, backward, Adam."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scripts.benchmarks.models import Log, UnconditionalGlow, glow_config, images, started, without_tricks
from scripts.benchmarks.peers import PEERS, Peer
from scripts.benchmarks.timing import Clock, Step, alternate, timed

TOLERANCE = 1e-3  # bits/dim by which the same weights may differ between libraries


class Setting(NamedTuple):
    """Sizes, device and clock of a benchmark."""

    depth: int
    hidden: int
    batch: int
    repeats: int
    clock: Clock
    device: torch.device
    dtype: torch.dtype
    threads: int


def training_step(model: nn.Module, log_likelihood: Log, x: Tensor, autocast: bool) -> Step:
    """One Adam step on the fixed batch ``x``; ``autocast``: in bfloat16 where the model's parts allow it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        forward_backward(model, log_likelihood, x, autocast)
        optimizer.step()

    return step


def forward_backward(model: nn.Module, log_likelihood: Log, x: Tensor, autocast: bool) -> None:
    """Gradients of the mean negative log-likelihood."""
    for parameter in model.parameters():
        parameter.grad = None
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        loss = -log_likelihood(x).mean()
    loss.backward()


def difference(first: Log, second: Log, x: Tensor) -> float:
    """Largest difference between two log-likelihoods of the images x, in bits/dim."""
    with torch.no_grad():
        return ((first(x) - second(x)).abs().max() / (math.log(2) * x[0].numel())).item()


def checked_peer(name: str, model: UnconditionalGlow, x: Tensor) -> tuple[Peer, float | None]:
    """The peer on x's device; and for normflows, which has vflow's weights, how far its likelihoods differ.

    Raises:
        RuntimeError: they are not the same model.
    """
    peer = PEERS[name](model)
    peer.model.to(x.device).train()
    with torch.no_grad():
        peer.log_likelihood(x)  # the other libraries set their ActNorms here
    if name != "normflows":
        return peer, None
    apart = difference(model, peer.log_likelihood, x)
    if not apart <= TOLERANCE:
        raise RuntimeError(f"{name} and vflow differ by {apart:.2g} bits/dim: not the same model")
    return peer, apart


def sides(setting: Setting, peers: list[str], *, compiled: bool) -> tuple[dict[str, Step], dict[str, float]]:
    """Steps by name, and figures found while making them: differences of likelihood, compile time."""
    config = glow_config(setting.depth, setting.hidden)
    x = images(setting.batch, config).to(setting.device)
    model = started(config, x.cpu()).to(setting.device)
    half = setting.dtype == torch.bfloat16
    steps, found = {}, {}
    steps["vflow"] = training_step(model, model, x, half)
    for name in peers:
        peer, apart = checked_peer(name, model, x.contiguous())
        if apart is not None:
            found["likelihoods_apart"] = apart
        steps[name] = training_step(peer.model, peer.log_likelihood, x.contiguous(), False)
        steps[f"{name} autocast"] = training_step(peer.model, peer.log_likelihood, x.contiguous(), True)
    if half:
        steps["vflow float32"] = training_step(model, model, x, False)
    plain = without_tricks(model)
    steps["vflow without tricks"] = training_step(plain, plain, x.contiguous(), False)
    frugal = started(glow_config(setting.depth, setting.hidden, "recompute"), x.cpu()).to(setting.device)
    steps["vflow recompute"] = training_step(frugal, frugal, x, half)
    if compiled:
        fast = started(config, x.cpu()).to(setting.device)
        steps["vflow compiled"] = training_step(fast, torch.compile(fast), x, half)
        start = time.perf_counter()
        timed(steps["vflow compiled"])
        found["compile_s"] = time.perf_counter() - start
    return steps, found


def train(setting: Setting, peer: str, others: list[str], *, compiled: bool) -> dict[str, object]:
    """Frames per second of each library; ``peer`` is the one that the ratio refers to."""
    torch.manual_seed(0)
    steps, found = sides(setting, [peer, *others], compiled=compiled)
    seconds = alternate(steps, setting.repeats, setting.clock)
    frames = {name: round(setting.batch / value, 2) for name, value in seconds.items()}
    return {
        "frames_per_s": frames["vflow"],
        "peer_frames_per_s": frames[peer],
        "ratio": round(seconds[peer] / seconds["vflow"], 3),
        "peer": peer,
        "dtype": str(setting.dtype).removeprefix("torch."),
        "threads": setting.threads,
        "sides": frames,
        **found,
    }
