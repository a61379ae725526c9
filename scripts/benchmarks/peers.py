"""vflow's Glow rebuilt in other libraries; each returns log-likelihoods (B,) in nats.

normflows gets vflow's weights. In nflows the diagonal of the 1×1 convolution is positive, and in FrEIA the
1×1 convolution is fixed: these two get the same layers and widths, but weights of their own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scripts.benchmarks.models import Log, UnconditionalGlow
from vflow.bijections import ActNormLinear, AffineCoupling
from vflow.config import GlowConfig
from vflow.nn.layers import SPEED

ATAN_SLOPE = (
    2 / math.pi
)  # of vflow's soft clamp at 0; beyond it the clamp differs from normflows' exp by h³/30


class Peer(NamedTuple):
    """Model to optimise and the function that returns its log-likelihood."""

    model: nn.Module
    log_likelihood: Log


def conditioner(inputs: int, outputs: int, hidden: int) -> nn.Module:
    """3×3 → ReLU → 1×1 → ReLU → 3×3."""
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1), nn.ReLU(),
        nn.Conv2d(hidden, hidden, 1), nn.ReLU(),
        nn.Conv2d(hidden, outputs, 3, padding=1),
    )  # fmt: skip


def normflows(model: UnconditionalGlow) -> Peer:
    """normflows' own GlowBlock with its coupling inverted (x · s + t, as in vflow), and vflow's weights."""
    import normflows as nf

    warnings.filterwarnings("ignore", "torch.lu is deprecated")  # 24 times, where it makes its rotations
    config, glow = model.glow.config, model.glow
    base, flows, merges = [], [], []
    for level in reversed(range(config.levels)):  # normflows lists levels coarse to fine
        channels = config.channels * 2 ** (level + 2)
        layers = list(glow.levels[level].layers)
        blocks = []
        for step in reversed(range(config.depth[level])):  # and steps from latent to data
            block = nf.flows.GlowBlock(channels, config.hidden[level], scale_map="exp")
            block.flows[0] = nf.flows.Reverse(block.flows[0])
            order = _squeeze_order(channels) if step == 0 else torch.arange(channels)
            _copy_linear(layers[2 * step], block.flows[2], block.flows[1], order)
            _copy_coupling(layers[2 * step + 1], block.flows[0].flow.flows[1].param_map.net)
            blocks.append(block)
        flows.append([*blocks, nf.flows.Squeeze()])
        base.append(nf.distributions.DiagGaussian(glow.latent_shapes[level], trainable=False))
        if level:
            merges.append(nf.flows.Merge("channel_inv"))
    peer = nf.MultiscaleFlow(base, flows, merges, class_cond=False)
    return Peer(peer, lambda x: peer.log_prob(x, None))


def _squeeze_order(channels: int) -> Tensor:
    """Index of our squeezed channel (row, column, C) among normflows' (C, row, column)."""
    return torch.arange(channels).view(4, channels // 4).T.flatten()


@torch.no_grad()
def _copy_linear(ours: Any, norm: Any, linear: Any, order: Tensor) -> None:
    """ActNorm and 1×1, inputs put in ``order``; factorised anew, since P L U of permuted columns differ."""
    assert isinstance(ours, ActNormLinear)
    shift, _, log_scale = ours.actnorm.affine_parameters()
    norm.t.copy_(-shift[order, None, None])
    norm.s.copy_(-log_scale[order, None, None])
    norm.data_dep_init_done = torch.tensor(1.0)
    permutation, lower, upper = torch.linalg.lu(ours.plu.matrix().double()[:, order])
    linear.P.copy_(permutation)
    linear.L.copy_(lower)
    linear.U.copy_(upper.triu(1))
    linear.sign_S.copy_(upper.diagonal().sign())
    linear.log_S.copy_(upper.diagonal().abs().log())


@torch.no_grad()
def _copy_coupling(ours: Any, net: Any) -> None:
    """Conditioner with its scales folded in; its outputs (log s | t) interleaved as (t, log s)."""
    assert isinstance(ours, AffineCoupling)
    source: Any = ours.net
    for ours_conv, conv in ((source.conv_in, net[0]), (source.conv_mid.conv, net[2])):
        conv.weight.copy_(ours_conv.weight * (SPEED * ours_conv.log_scale).exp()[:, None, None, None])
        conv.bias.copy_(ours_conv.shift)
    scale = (SPEED * source.conv_out.log_scale).exp()
    weight, bias = source.conv_out.weight * scale[:, None, None, None], source.conv_out.bias * scale
    half = len(weight) // 2
    for target, value in ((net[4].weight, weight), (net[4].bias, bias)):
        target[1::2] = ATAN_SLOPE * value[:half]
        target[0::2] = value[half:]


def nflows(model: UnconditionalGlow) -> Peer:
    """nflows' ActNorm, LU 1×1, affine coupling and multi-scale composite."""
    from nflows import transforms as tf

    config: GlowConfig = model.glow.config
    whole = tf.MultiscaleCompositeTransform(config.levels)
    shape: Any = (config.channels, config.height, config.width)
    for depth, hidden in zip(config.depth, config.hidden, strict=True):
        channels = 4 * shape[0]
        steps = []
        for _ in range(depth):
            mask = [0] * (channels - channels // 2) + [1] * (channels // 2)
            net = _Subnet(hidden)
            steps += [tf.ActNorm(channels), tf.OneByOneConvolution(channels)]
            steps += [tf.AffineCouplingTransform(mask, net)]
        level = tf.CompositeTransform([tf.SqueezeTransform(), *steps])
        shape = whole.add_transform(level, (channels, shape[1] // 2, shape[2] // 2))

    def log_likelihood(x: Tensor) -> Tensor:
        z, ladj = whole(x)
        return ladj - 0.5 * z.square().sum(1) - 0.5 * model.dims * math.log(2 * math.pi)

    return Peer(whole, log_likelihood)


class _Subnet:
    """Conditioner without a context, although nflows passes one."""

    def __init__(self, hidden: int) -> None:
        self.hidden = hidden

    def __call__(self, inputs: int, outputs: int) -> nn.Module:
        net: Any = conditioner(inputs, outputs, self.hidden)
        net.forward = lambda x, context=None, run=net.forward: run(x)
        made: nn.Module = net
        return made


def freia(model: UnconditionalGlow) -> Peer:
    """FrEIA's ActNorm, fixed 1×1 and one-sided coupling, which has vflow's soft clamp."""
    from FrEIA import framework as ff
    from FrEIA import modules as fm

    config = model.glow.config
    nodes: list[Any] = [ff.InputNode(config.channels, config.height, config.width)]
    outputs = []
    here: Any = nodes[0]
    for level, (depth, hidden) in enumerate(zip(config.depth, config.hidden, strict=True)):
        here = _add(nodes, here, fm.IRevNetDownsampling, {})
        channels = config.channels * 2 ** (level + 2)
        for _ in range(depth):
            rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
            net = {"subnet_constructor": lambda a, b, hidden=hidden: conditioner(a, b, hidden)}
            here = _add(nodes, here, fm.ActNorm, {})
            here = _add(nodes, here, fm.Fixed1x1Conv, {"M": rotation})
            here = _add(nodes, here, fm.AffineCouplingOneSided, net)
        if level < config.levels - 1:
            halves = _add(nodes, here, fm.Split, {"section_sizes": [channels // 2] * 2, "dim": 0})
            outputs.append(ff.OutputNode(halves.out0))
            here = halves.out1
    outputs.append(ff.OutputNode(here))
    whole = ff.GraphINN([*nodes, *outputs])

    def log_likelihood(x: Tensor) -> Tensor:
        latents, ladj = whole(x)
        squares = torch.stack([z.square().sum((1, 2, 3)) for z in latents]).sum(0)
        return ladj - 0.5 * squares - 0.5 * model.dims * math.log(2 * math.pi)

    return Peer(whole, log_likelihood)


def _add(nodes: list[Any], here: Any, module: Any, arguments: dict[str, Any]) -> Any:
    from FrEIA import framework as ff

    nodes.append(ff.Node(here, module, arguments))
    return nodes[-1]


PEERS: dict[str, Callable[[UnconditionalGlow], Peer]] = {
    "normflows": normflows,
    "nflows": nflows,
    "FrEIA": freia,
}
