"""Real NVP's steps of one level of a multi-scale flow (Dinh et al. 2017)."""

from __future__ import annotations

from vflow.bijections.base import Bijection, Chain, Inverse
from vflow.bijections.batchnorm import BatchNorm
from vflow.bijections.coupling import AffineCoupling
from vflow.bijections.permutation import MaskPartition
from vflow.bijections.reshape import CheckerboardPartition, Partition, Squeeze
from vflow.config import GlowConfig
from vflow.nn.residual import ResidualNet

DILATIONS = (1,)  # of the residual blocks of a coupling's network


def realnvp_chain(channels: int, hidden: int, depth: int, config: GlowConfig, features: int) -> Chain:
    """``depth`` couplings with checkerboard masks, then as many with masks of channels, masks in turn.

    Batch norm follows each coupling. On squeezed images (B, channels, H, W), as ``flow_chain`` is; the
    checkerboards lie on the images before the squeeze, (B, channels / 4, 2H, 2W). The paper's last level has
    checkerboards alone, and batch norm in the couplings' networks too.
    """
    pixels, half = channels // 4, channels // 2
    layers: list[Bijection] = [Inverse(Squeeze())]
    for index in range(depth):
        board = CheckerboardPartition(keep_odd=index % 2 == 1)
        layers += [_coupling(board, pixels, pixels, hidden, features), BatchNorm(pixels)]
    layers.append(Squeeze())
    for index in range(depth):
        mask = MaskPartition([(c < half) == (index % 2 == 0) for c in range(channels)])
        layers += [_coupling(mask, mask.kept, channels - mask.kept, hidden, features), BatchNorm(channels)]
    return Chain(layers)


def _coupling(partition: Partition, kept: int, changed: int, hidden: int, features: int) -> AffineCoupling:
    net = ResidualNet(kept, 2 * changed, hidden, DILATIONS, features=features, weight_norm=True)
    return AffineCoupling(net, partition)
