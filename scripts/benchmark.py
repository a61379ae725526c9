"""Speed beside other flow libraries: python scripts/benchmark.py train --peer normflows --json."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vflow.config import GlowConfig
from vflow.models.glow import Glow

Step = Callable[[], None]
WARM_UP = 2


class UnconditionalGlow(nn.Module):
    """vflow's Glow under a standard normal: the model that the peers can build too."""

    def __init__(self, config: GlowConfig) -> None:
        super().__init__()
        self.glow = Glow(config)

    def forward(self, x: Tensor) -> Tensor:
        """Mean negative log-likelihood in nats of x (B, C, H, W)."""
        latents, _, densities = self.glow.encode(x, [None] * self.glow.config.levels)
        nats = torch.full((len(x),), -0.5 * x[0].numel() * math.log(2 * math.pi))
        for z in latents:
            nats = nats - 0.5 * z.square().flatten(1).sum(1)
        for density in densities:
            nats = nats + density.flatten(1).sum(1)
        return -nats.mean()


def normflows_glow(config: GlowConfig) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """A Glow of the same depth and widths from normflows, and its loss."""
    import normflows as nf

    top, base, flows, merges = config.levels - 1, [], [], []
    for level in range(top, -1, -1):  # normflows lists levels coarse to fine
        channels = config.channels * 2 ** (level + 2)
        hidden, depth = config.hidden[level], config.depth[level]
        blocks = [nf.flows.GlowBlock(channels, hidden, split_mode="channel") for _ in range(depth)]
        flows.append([*blocks, nf.flows.Squeeze()])
        kept = channels if level == top else channels // 2
        scale = 2 ** (level + 1)
        base.append(nf.distributions.DiagGaussian((kept, config.height // scale, config.width // scale)))
        if level != top:
            merges.append(nf.flows.Merge())
    model = nf.MultiscaleFlow(base, flows, merges, class_cond=False)
    return model, model.forward_kld


def training_step(model: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """One Adam step on a fixed batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return step


def seconds(sides: list[Step], repeats: int) -> list[float]:
    """Median seconds of each side, the sides alternating so that both meet the same machine."""
    for step in sides * WARM_UP:
        step()
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(repeats):
        for side, step in enumerate(sides):
            start = time.perf_counter()
            step()
            times[side].append(time.perf_counter() - start)
    return [statistics.median(t) for t in times]


def train(arguments: argparse.Namespace) -> dict[str, object]:
    """Frames per second of training steps, float32, and the peer's on the same batch."""
    torch.manual_seed(0)
    config = GlowConfig(depth=(arguments.depth,) * 3, hidden=(arguments.hidden,) * 3)
    x = torch.rand(arguments.batch, config.channels, config.height, config.width) - 0.5
    mine = UnconditionalGlow(config)
    peer, peer_loss = normflows_glow(config)
    mine_s, peer_s = seconds(
        [training_step(mine, lambda: mine(x)), training_step(peer, lambda: peer_loss(x))],
        arguments.repeats,
    )
    return {
        "frames_per_s": arguments.batch / mine_s,
        "peer_frames_per_s": arguments.batch / peer_s,
        "ratio": peer_s / mine_s,
        "peer": arguments.peer,
        "dtype": "float32",
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["train"], default="train")
    parser.add_argument("--peer", choices=["normflows"], default="normflows")
    parser.add_argument("--depth", type=int, default=8, help="flow steps per level, three levels")
    parser.add_argument("--hidden", type=int, default=128, help="width of the conditioners")
    parser.add_argument("--batch", type=int, default=16, help="64×64 RGB frames per step")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    found = train(arguments)
    if arguments.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
