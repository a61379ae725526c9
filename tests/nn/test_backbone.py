"""What is seen in a grey picture: sizes, padding, and what a colouriser makes of it at first."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vflow.config import ColorizerConfig, EncoderConfig, GlowConfig
from vflow.models import Colorizer
from vflow.nn.backbone import STRIDES, WIDTHS, Backbone, SameConv2d


def test_features_are_of_the_sizes_that_levels_have() -> None:
    torch.manual_seed(0)
    features = Backbone()(100 * torch.rand(2, 1, 32, 48))
    assert [tuple(f.shape) for f in features] == [
        (2, width, 8 >> level, 12 >> level) for level, width in enumerate(WIDTHS)
    ]
    assert [32 // f.shape[2] for f in features] == list(STRIDES)
    assert all(torch.isfinite(f).all() and f.std() > 0 for f in features)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_padding_is_that_of_tensorflow(kernel: int, stride: int) -> None:
    """Its "same": ceil(n / stride) outputs, what is missing padded evenly, the odd one after."""
    torch.manual_seed(0)
    conv, x = SameConv2d(3, 4, kernel, stride), torch.randn(1, 3, 8, 8)
    missing = (8 // stride - 1) * stride + kernel - 8
    pads = (missing // 2, missing - missing // 2)
    expected = F.conv2d(F.pad(x, (*pads, *pads)), conv.weight, conv.bias, stride=stride)
    torch.testing.assert_close(conv(x), expected)


def colorizer(*, backbone: bool) -> Colorizer:
    torch.manual_seed(0)
    glow = GlowConfig(channels=2, height=8, width=8, depth=(1, 1, 1), hidden=(4, 4, 4))
    condition = EncoderConfig(hidden=(4, 4, 6, 6), blocks=1)
    return Colorizer(ColorizerConfig(glow=glow, condition=condition, color_mean=(4, 4), backbone=backbone))


def test_a_colouriser_that_is_given_one_is_at_first_what_it_was() -> None:
    plain, given = colorizer(backbone=False), colorizer(backbone=True)
    fits = given.load_state_dict(plain.state_dict(), strict=False)
    assert {name.partition(".")[0] for name in fits.missing_keys} == {"backbone", "adapters"}
    assert fits.unexpected_keys == []
    seen = torch.cat([100 * torch.rand(2, 1, 16, 16), torch.zeros(2, 3, 16, 16)], 1)
    for a, b in zip(plain.features(seen), given.features(seen), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    with torch.no_grad():
        for adapter in given.adapters:
            adapter.weight.normal_()
    assert not torch.allclose(plain.features(seen)[0], given.features(seen)[0])


def test_sizes_that_it_cannot_halve_are_refused() -> None:
    glow = GlowConfig(channels=2, height=12, width=8, depth=(1, 1), hidden=(4, 4))
    with pytest.raises(ValueError, match=r"backbone needs glow\.height and glow\.width to be multiples of 8"):
        ColorizerConfig(glow=glow, condition=EncoderConfig(hidden=(4, 4, 6)), backbone=True)


def test_a_sharper_view_joins_that_of_the_enlarged_photo() -> None:
    """Features are means of both views, and a mirrored photo's are those that ``flip_tta`` adds."""
    model = colorizer(backbone=True)
    with torch.no_grad():
        for adapter in model.adapters:
            adapter.weight.normal_(std=0.1)
    model.config = model.config.model_copy(update={"scale_tta": True, "flip_tta": True})
    size = model.image_shape[1]
    sharp = 100 * torch.rand(2, 1, 4 * size, 4 * size)
    given = torch.cat([F.avg_pool2d(sharp, 2), torch.zeros(2, 3, 2 * size, 2 * size)], 1)
    both = torch.cat([given, F.pixel_unshuffle(sharp, 2)], 1)
    backbone = model.backbone
    assert backbone is not None
    own, shown = backbone(given[:, :1]), backbone(sharp, enlarge=False)
    expected = [(a + b) / 2 for a, b in zip(own, shown, strict=True)]
    for feature, wanted in zip(model.features(both), model._features(given, expected), strict=False):
        torch.testing.assert_close(feature, wanted)
    assert not torch.allclose(model.features(both)[0], model.features(given)[0], atol=1e-4)
    flipped = F.pixel_unshuffle(sharp.flip(-1), 2)
    mirrored = model.features(torch.cat([given.flip(-1), flipped], 1))
    half = len(mirrored) // 2
    for feature, wanted in zip(mirrored[:half], model.features(both)[half:], strict=True):
        torch.testing.assert_close(feature, wanted)
    with pytest.raises(ValueError, match="scale_tta needs backbone"):
        ColorizerConfig(scale_tta=True)
