"""Ordinary networks: conditioners and residual stacks. No log-dets here."""

from vflow.nn.actions import ActionEncoder
from vflow.nn.backbone import Backbone, InvertedResidual, SameConv2d
from vflow.nn.encoder import FrameEncoder, ResidualBlock, WindowEncoder
from vflow.nn.exact import ExactConv2d
from vflow.nn.layers import Activate, Conditioner, NormConv2d, ZeroConv2d
from vflow.nn.level import LevelNet, SelfAttention
from vflow.nn.lipschitz import LipschitzMLP
from vflow.nn.masked import MADE, AutoregressiveNet, MaskedLinear, Masking, TiedAutoregressiveNet
from vflow.nn.mlp import MLP, VectorConditioner
from vflow.nn.modules import ModuleList
from vflow.nn.residual import DilatedBlock, ResidualFeatures, ResidualNet
from vflow.nn.temporal import CausalConv3d, DilatedStack, TemporalNet

__all__ = [
    "MADE",
    "MLP",
    "ActionEncoder",
    "Activate",
    "AutoregressiveNet",
    "Backbone",
    "CausalConv3d",
    "Conditioner",
    "DilatedBlock",
    "DilatedStack",
    "ExactConv2d",
    "FrameEncoder",
    "InvertedResidual",
    "LevelNet",
    "LipschitzMLP",
    "MaskedLinear",
    "Masking",
    "ModuleList",
    "NormConv2d",
    "ResidualBlock",
    "ResidualFeatures",
    "ResidualNet",
    "SameConv2d",
    "SelfAttention",
    "TemporalNet",
    "TiedAutoregressiveNet",
    "VectorConditioner",
    "WindowEncoder",
    "ZeroConv2d",
]
