"""A backbone's weights from those of EfficientNet-Lite0's authors, batch norms folded."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from scripts.convert_backbone import EPSILON, converted, main
from vflow.nn.backbone import STAGES, STEM, Backbone

Weights = dict[str, Tensor]


def theirs() -> Weights:
    """Random weights by the authors' names, with batch norms."""
    torch.manual_seed(0)
    weights: Weights = {}

    def add(convolution: str, norm: str, *shape: int) -> None:
        weights[f"{convolution}.weight"] = torch.randn(shape) / math.prod(shape[1:]) ** 0.5
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 2.0)):
            weights[f"{norm}.{name}"] = (value + 0.3 * torch.randn(shape[0])).abs()

    add("_conv_stem", "_bn0", STEM, 3, 3, 3)
    number, inputs = 0, STEM
    for stage in STAGES:
        for _ in range(stage.blocks):
            inside = inputs * stage.expansion
            block = f"_blocks.{number}"
            if stage.expansion > 1:
                add(f"{block}._expand_conv", f"{block}._bn0", inside, inputs, 1, 1)
            add(f"{block}._depthwise_conv", f"{block}._bn1", inside, 1, stage.kernel, stage.kernel)
            add(f"{block}._project_conv", f"{block}._bn2", stage.width, inside, 1, 1)
            number, inputs = number + 1, stage.width
    return weights


def normed(x: Tensor, weights: Weights, convolution: str, norm: str, *, stride: int = 1) -> Tensor:
    """A convolution with "same" padding, then its batch norm as it is at test time."""
    kernels = weights[f"{convolution}.weight"]
    kernel = kernels.shape[-1]
    missing = (x.shape[-1] // stride - 1) * stride + kernel - x.shape[-1]
    pads = (missing // 2, missing - missing // 2)
    groups = x.shape[1] // kernels.shape[1]
    y = F.conv2d(F.pad(x, (*pads, *pads)), kernels, stride=stride, groups=groups)
    mean, variance, scale, shift = (
        weights[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(y, mean, variance, scale, shift, eps=EPSILON)


def test_a_grey_picture_is_seen_as_the_authors_network_sees_it() -> None:
    """Stem and first stages against convolutions of three equal colours with batch norms of their own."""
    weights = theirs()
    backbone = Backbone()
    backbone.load_state_dict(converted(weights))
    grey = torch.rand(2, 1, 32, 32) * 2 - 1
    expected = F.relu6(normed(grey.expand(-1, 3, -1, -1), weights, "_conv_stem", "_bn0", stride=2))
    seen = F.relu6(backbone.stem(grey))
    torch.testing.assert_close(seen, expected)
    expected = F.relu6(normed(expected, weights, "_blocks.0._depthwise_conv", "_blocks.0._bn1"))
    expected = normed(expected, weights, "_blocks.0._project_conv", "_blocks.0._bn2")
    torch.testing.assert_close(backbone.stages[0](seen), expected)
    inside = F.relu6(normed(expected, weights, "_blocks.1._expand_conv", "_blocks.1._bn0"))
    inside = F.relu6(normed(inside, weights, "_blocks.1._depthwise_conv", "_blocks.1._bn1", stride=2))
    expected = normed(inside, weights, "_blocks.1._project_conv", "_blocks.1._bn2")
    torch.testing.assert_close(backbone.stages[1][0](backbone.stages[0](seen)), expected)


def test_other_files_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "weights.pth", tmp_path / "backbone.safetensors"
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was decoded"))
    for given, code, message in (
        (["--input", str(source)], 1, f"error: {source}: No such file or directory"),
        (["--input", str(source)], 3, f"error: {source}: not efficientnet-lite0-57934424.pth (SHA-256 "),
    ):
        monkeypatch.setattr("sys.argv", ["convert_backbone.py", *given, "--output", str(output)])
        assert main() == code
        assert capsys.readouterr().err.startswith(message)
        torch.save(theirs(), source)
    assert not output.exists()
