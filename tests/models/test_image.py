"""Digits and Colorizer: exact codes, honest sums, conditions that matter."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from vflow.bijections import linear
from vflow.config import (
    BlockConfig,
    ClassConditionalConfig,
    ColorizerConfig,
    DigitsConfig,
    EncoderConfig,
    GlowConfig,
    LevelNetConfig,
    PatchFlowConfig,
    TarFlowConfig,
)
from vflow.models import Colorizer, ConditionalFlow, Digits, ImageBatch, build_model
from vflow.models.wavelet import WaveletFlow
from vflow.nn.level import LevelNet

BATCH = 5


def digits_config(**changes: object) -> DigitsConfig:
    glow = GlowConfig(channels=1, height=8, width=12, depth=(2, 2), hidden=(8, 8), activation="gatu")
    return DigitsConfig(glow=glow, condition=(3, 4), **changes)


def tarflow_config(element: str = "affine", **changes: object) -> TarFlowConfig:
    block = BlockConfig(layers=1, hidden=8, heads=2, head=6, element=element)
    linear = block.model_copy(update={"layers": 2, "head": 0})
    glow = PatchFlowConfig(height=8, width=12, patch=2, blocks=(block, linear, block))
    return TarFlowConfig(glow=glow, condition=3, **changes)


def colorizer_config(**changes: object) -> ColorizerConfig:
    glow = GlowConfig(channels=2, height=8, width=8, depth=(2, 2, 2), hidden=(8, 8, 8))
    return ColorizerConfig(glow=glow, condition=EncoderConfig(hidden=(4, 4, 6, 6), blocks=1), **changes)


def some_given(model: ConditionalFlow) -> Tensor:
    if isinstance(model.config, ClassConditionalConfig):
        return torch.randint(0, 10, (BATCH,))
    _, height, width = model.image_shape
    mask = (torch.rand(BATCH, 1, 2 * height, 2 * width) < 0.1).float()
    hints = 20 * torch.randn(BATCH, 2, 2 * height, 2 * width) * mask
    return torch.cat([100 * torch.rand_like(mask), mask, hints], 1)


def trained(config: ClassConditionalConfig | ColorizerConfig) -> tuple[ConditionalFlow, ImageBatch]:
    """A model away from its starting point, and a batch of smooth pictures."""
    torch.manual_seed(0)
    model = build_model(config)
    assert isinstance(model, ConditionalFlow)
    coarse = 128 + 60 * torch.randn(BATCH, config.glow.channels, 2, 2)
    size = (config.glow.height, config.glow.width)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    images = smooth.round().clamp(0, 255).to(torch.uint8)
    batch = ImageBatch(images, some_given(model), torch.randn(images.shape))
    model.fit([batch])
    model.initialize(batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return model.eval(), batch


FORMS = {
    "digits": digits_config(),
    "digits-uniform-scaled": digits_config(noise="uniform", pixel_map="scaled"),
    "digits-gaussian": digits_config(noise="gaussian"),
    "digits-realnvp": digits_config(steps="realnvp"),
    "digits-mixture": digits_config(noise="uniform").model_copy(
        update={"glow": digits_config().glow.model_copy(update={"coupling": "mixture", "mixtures": 3})}
    ),
    "tarflow": tarflow_config(),
    "tarflow-spline": tarflow_config("spline", noise="uniform"),
    "colorizer": colorizer_config(),
    "colorizer-color-mean": colorizer_config(color_mean=(5, 6)),
    "colorizer-level-net": colorizer_config(level_net=LevelNetConfig(hidden=(4, 8, 8, 8), attention=2)),
    "colorizer-flip-tta": colorizer_config(color_mean=(5, 6), flip_tta=True),
}


@pytest.fixture(params=FORMS.values(), ids=FORMS.keys())
def case(request: pytest.FixtureRequest) -> tuple[ConditionalFlow, ImageBatch]:
    return trained(request.param)


Case = tuple[ConditionalFlow, ImageBatch]


def test_the_map_of_densities_sums_to_the_log_likelihood(case: Case) -> None:
    model, batch = case
    nats = model(batch)
    density = model.density_map(batch)
    assert nats.shape == (BATCH,) and density.shape == (BATCH, 1, *model.image_shape[1:])
    torch.testing.assert_close(density.sum((1, 2, 3)), nats, rtol=1e-4, atol=1e-2)
    bits = model.bits_per_dim(nats)
    torch.testing.assert_close(bits, -nats / math.log(2) / math.prod(model.image_shape))


def test_codes_come_back_as_the_same_bytes(case: Case) -> None:
    model, batch = case
    eps = model.encode(batch.images, batch.condition)
    assert [e.shape[1:] for e in eps] == list(model.latent_shapes)
    assert sum(math.prod(shape) for shape in model.latent_shapes) == math.prod(model.image_shape)
    again = model.decode(eps, batch.condition, [1.0] * len(eps))
    torch.testing.assert_close(again.frame, batch.images, rtol=0, atol=0)
    assert not again.nonfinite.any() and not again.out_of_range.any()


def test_reconstruction_is_close(case: Case) -> None:
    before, after = case[0].reconstruct(case[1])
    torch.testing.assert_close(after, before, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "config",
    [
        digits_config(noise="uniform", pixel_map="scaled"),
        tarflow_config(noise="uniform", pixel_map="scaled"),
        colorizer_config(),
        colorizer_config(color_mean=(5, 6), flip_tta=True),
    ],
    ids=["digits", "tarflow", "colorizer", "colorizer-color-mean"],
)
def test_standardised_codes_explain_the_likelihood(config: DigitsConfig | ColorizerConfig) -> None:
    """log p(x) = Σ log N(ε) + log |dε/dx|: the Jacobian of the code in float64 says the same number."""
    model, batch = trained(config)
    model = model.double()
    condition = batch.condition[:1] if batch.condition.dim() == 1 else batch.condition[:1].double()
    middle = ImageBatch(batch.images[:1], condition, torch.zeros(1, *model.image_shape).double())
    images = batch.images[:1].double()

    def code(flat: Tensor) -> Tensor:
        condition = model.condition_targets(middle)
        x, _ = model.to_flow(flat.view_as(images), condition)
        eps = model.whiten(model.flow.encode(x, condition.features), condition)
        return torch.cat([level.flatten() for level in eps])

    flat = (images + 0.5).flatten()
    matrix = torch.autograd.functional.jacobian(code, flat, vectorize=True)
    eps = code(flat)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(eps).sum() + torch.linalg.slogdet(matrix)[1]
    torch.testing.assert_close(model(middle)[0].double(), expected, rtol=0, atol=0.05)


def test_temperature_zero_is_one_picture_and_noise_makes_many(case: Case) -> None:
    model, batch = case
    eps = [torch.randn(2, *shape) for shape in model.latent_shapes]
    given = batch.condition[:1].expand(2, *batch.condition.shape[1:])
    still = model.decode(eps, given, [0.0] * len(eps)).raw
    torch.testing.assert_close(still[0], still[1], rtol=0, atol=1e-3)  # grey levels
    loose = model.decode(eps, given, [1.0] * len(eps)).raw
    assert not torch.allclose(loose[0], loose[1])


def test_one_given_is_given_to_all_and_looked_at_once(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = case
    looked: list[int] = []
    features = model.features
    monkeypatch.setattr(model, "features", lambda given: looked.append(len(given)) or features(given))
    eps = [torch.randn(3, *shape) for shape in model.latent_shapes]
    one = batch.condition[:1]
    alone, repeated = (
        model.decode(eps, given, [1.0] * len(eps)).raw for given in (one, one.repeat_interleave(3, 0))
    )
    torch.testing.assert_close(alone, repeated)
    assert looked == [1, 3]


def test_the_condition_matters(case: Case) -> None:
    model, batch = case
    other = batch._replace(condition=batch.condition.roll(1, 0))
    different = (
        batch.condition.flatten(1).ne(other.condition.flatten(1)).any(1)
        if batch.condition.dim() > 1
        else (batch.condition != other.condition)
    )
    assert (model(batch) != model(other))[different].all()


def test_gradients_reach_all_parameters(case: Case) -> None:
    model, batch = case
    labels = torch.arange(BATCH)  # labels that do not occur have no gradient, and need none
    given = labels if batch.condition.dim() == 1 else batch.condition
    model(batch._replace(condition=given)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_saved_weights_score_the_same(case: Case) -> None:
    model, batch = case
    fresh = build_model(model.config)  # type: ignore[arg-type]
    fresh.load_state_dict(load(save({k: v.contiguous() for k, v in model.state_dict().items()})))
    assert torch.equal(fresh.eval()(batch), model(batch))


def test_hints_matter_and_dropout_only_in_training() -> None:
    model, batch = trained(colorizer_config(dropout=0.5))
    assert isinstance(model, Colorizer)
    bare = batch.condition.clone()
    bare[:, 1:] = 0
    assert not torch.allclose(model(batch), model(batch._replace(condition=bare)))
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))


def test_the_top_of_the_wavelet_pyramid_is_the_mean_colour() -> None:
    flow = WaveletFlow(colorizer_config().glow, (4, 4, 4, 4))
    x = torch.randn(3, 2, 8, 8)
    features = [torch.randn(3, 4, 4 // 2**level, 4 // 2**level) for level in range(3)]
    passed_up = flow.encode(x, [*features, features[-1]]).passed_up
    top = passed_up[-2]
    assert top is not None and passed_up[-1] is None
    torch.testing.assert_close(top[..., 0, 0], x.mean((2, 3)))


def test_positions_count_each_pixel_on_its_own() -> None:
    model = build_model(digits_config())
    images = torch.zeros(40, 1, 8, 12, dtype=torch.uint8)
    images[:, 0, 3, 4] = 200
    model.fit([ImageBatch(images, torch.zeros(40, dtype=torch.long), torch.zeros(images.shape))])
    assert isinstance(model, Digits)
    mode = model.pixel_map.mode(None, images[:1].float())
    assert mode is not None and mode[0, 0, 3, 4] == 200 and mode.sum() == 200


@pytest.mark.parametrize("config", [digits_config(), colorizer_config()], ids=["digits", "colorizer"])
def test_cached_inverses_serve_many_calls(
    config: DigitsConfig | ColorizerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = trained(config)
    calls, inverted = [], linear.inverted
    monkeypatch.setattr(linear, "inverted", lambda matrix: calls.append(matrix) or inverted(matrix))
    chains = model.flow.with_cached_inverse()
    assert len(calls) == sum(isinstance(module, linear.ActNormLinear) for module in model.modules()) > 0
    eps = [torch.randn(BATCH, *shape) for shape in model.latent_shapes]
    ones, once = [1.0] * len(eps), len(calls)
    cached = [model.decode(eps, batch.condition, ones, chains).raw for _ in range(2)]
    assert len(calls) == once
    assert torch.equal(cached[0], cached[1])
    assert torch.equal(cached[0], model.decode(eps, batch.condition, ones).raw)


def test_codes_of_noisy_pixels_are_longer_than_those_of_their_centres(case: Case) -> None:
    """With dequantisation noise ε has the prior's length; both decode to the same bytes."""
    model, batch = case
    centred = model.encode(batch.images, batch.condition)
    noisy = model.encode(batch.images, batch.condition, batch.eps)
    again = model.decode(noisy, batch.condition, [1.0] * len(noisy))
    torch.testing.assert_close(again.frame, batch.images, rtol=0, atol=0)
    assert not torch.allclose(noisy[0], centred[0])


def test_a_level_is_predicted_given_coarser_colours_everywhere() -> None:
    """Attention carries a block's colour to all others, which no convolution of this depth does."""
    torch.manual_seed(0)
    net = LevelNet(3, 2, 8, LevelNetConfig(hidden=(8,), attention=16), side=16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    features, means = torch.randn(1, 3, 16, 16), torch.zeros(1, 2, 16, 16)
    changed = means.clone()
    changed[..., 0, 0] = 1
    difference = (net(features, changed) - net(features, means)).abs().amax((0, 1))
    assert difference[15, 15] > 0
    local = LevelNet(3, 2, 8, LevelNetConfig(hidden=(8,), attention=8), side=16)
    difference = (local(features, changed) - local(features, means)).abs().amax((0, 1))
    assert difference[0, 0] > 0 == difference[15, 15]


def test_level_net_needs_an_entry_per_level() -> None:
    with pytest.raises(ValueError, match="an entry per level"):
        colorizer_config(level_net=LevelNetConfig(hidden=(8, 8)))
    with pytest.raises(ValueError, match="multiples of 4"):
        LevelNetConfig(hidden=(6,))


def test_backbone_features_computed_before_give_the_same() -> None:
    glow = GlowConfig(channels=2, height=16, width=16, depth=(1, 1, 1, 1), hidden=(4, 4, 4, 4))
    encoder = EncoderConfig(hidden=(4, 4, 4, 4, 4), blocks=1)
    model, batch = trained(ColorizerConfig(glow=glow, condition=encoder, backbone=True))
    assert isinstance(model, Colorizer) and model.backbone is not None
    with torch.no_grad():
        seen = model.backbone(batch.condition[:, :1])
        assert torch.equal(model(batch._replace(backbone_features=seen)), model(batch))
        assert not torch.equal(model(batch._replace(backbone_features=[0 * f for f in seen])), model(batch))
