"""TarFlow: causal blocks of alternating order, counted noise beyond the bin, denoising, guidance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import vflow
from tests.pipelines.digit_models import printed
from vflow.bijections import TransformerBlock, TransformerSize
from vflow.config import BlockConfig, PatchFlowConfig, TarFlowConfig
from vflow.models import ImageBatch, TarFlow
from vflow.models.tarflow import NoiseAugmentation, offsets_before
from vflow.pipelines.digits.digits import classify, restyle

BLOCK = BlockConfig(layers=1, hidden=8, heads=2, head=6)
GLOW = PatchFlowConfig(height=4, width=8, patch=2, blocks=(BLOCK, BLOCK))


def tarflow(**changes: object) -> TarFlow:
    torch.manual_seed(0)
    model = TarFlow(TarFlowConfig(glow=GLOW, classes=3, condition=2, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("reverse", [False, True])
def test_a_number_depends_on_those_before_it_in_its_token_and_on_the_tokens_before(reverse: bool) -> None:
    torch.manual_seed(0)
    block = TransformerBlock((2, 2, 3), TransformerSize(6, 2, 2, 5), offsets=(1, 3), reverse=reverse).double()
    for parameter in block.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))

    def tokens(flat: Tensor) -> Tensor:
        return block(flat.view(1, 6, 2).transpose(1, 2).reshape(1, 2, 2, 3))[0].flatten(2)[0].T.flatten()

    seen = torch.autograd.functional.jacobian(tokens, torch.randn(12).double()).abs() > 1e-12
    place = torch.arange(12)
    position = place // 2
    before = position[:, None] < position if reverse else position[:, None] > position
    within = (position[:, None] == position) & (place[:, None] >= place)
    assert torch.equal(seen, before | within)


def test_orders_alternate() -> None:
    assert [block.reverse for block in tarflow().flow.blocks.layers] == [False, True]


def test_a_window_holds_the_patches_around_one_that_come_before_it() -> None:
    assert offsets_before(0, 7) == (1,)
    assert offsets_before(1, 7) == (1, 6, 7, 8)
    assert offsets_before(1, 1) == (1, 2)


def test_sampling_reads_each_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys and values kept, the network sees one new token a call."""
    model = tarflow()
    net, seen = model.flow.blocks.layers[0].net, []
    forward = net.forward
    monkeypatch.setattr(
        net, "forward", lambda before, *rest: seen.append(before.shape[1]) or forward(before, *rest)
    )
    model.decode([torch.randn(2, *model.latent_shapes[0])], torch.tensor([0, 1]), [1.0])
    assert seen == [1] * 8


def test_noise_beyond_the_bin_is_counted() -> None:
    """Σ_x E[p(x̃) / Σ_v q(x̃ | v)] is the mass of p, here of a normal density well inside the levels."""
    dequantizer, draws = NoiseAugmentation(6.0), 4000
    x = torch.arange(256.0).double().repeat_interleave(draws).view(-1, 1, 1, 1)
    noisy, weight = dequantizer(x, torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double())
    bound = torch.distributions.Normal(100.0, 15.0).log_prob(noisy) + weight
    assert math.isclose(bound.exp().sum() / draws, 1, abs_tol=0.01)
    likely = bound.view(256, draws).mean(1).exp()  # the bound itself, which loses some of it
    assert 0.5 < likely.sum() < 1


def test_denoising_gives_the_mean_of_what_was_noisy() -> None:
    """A fresh flow is the identity: pixels N(128, 64²), whose mean given one with noise is known."""
    model = TarFlow(TarFlowConfig(glow=GLOW, augmentation=16.0, pixel_map="scaled")).eval()
    noisy = 256 * torch.rand(2, 1, 4, 8)
    denoised = model.denoise(noisy, torch.tensor([0, 1])).raw
    torch.testing.assert_close(denoised, noisy + (16 / 64) ** 2 * (128 - noisy))
    with pytest.raises(ValueError, match="augmentation"):
        tarflow().denoise(noisy, torch.tensor([0, 1]))


def test_guidance_leads_away_from_what_no_class_would_give() -> None:
    model, labels = tarflow(label_dropout=0.2), torch.tensor([0, 2])
    eps = [torch.randn(2, *model.latent_shapes[0])]
    plain = model.decode(eps, labels, [1.0]).raw
    torch.testing.assert_close(model.decode_guided(eps, labels, [1.0], 0.0).raw, plain, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(model.decode_guided(eps, labels, [1.0], 2.0).raw, plain, atol=0.1)
    with pytest.raises(ValueError, match="label_dropout"):
        tarflow().decode_guided(eps, labels, [1.0], 1.0)


def test_labels_are_dropped_in_training_alone() -> None:
    model, labels = tarflow(label_dropout=0.5), torch.zeros(200, dtype=torch.long)
    given, none = model.class_map[0], model.class_map[3]
    assert all(torch.equal(f, given) for f in model.features(labels)[0])
    shares = torch.stack([(f == none).all() for f in model.train().features(labels)[0]]).float().mean()
    assert 0.3 < shares < 0.7


def test_digits_are_drawn_restyled_and_told_apart() -> None:
    torch.manual_seed(0)
    glow = PatchFlowConfig(patch=7, blocks=(BLOCK, BLOCK))
    model = TarFlow(TarFlowConfig(glow=glow, condition=2, noise="uniform")).eval()
    pictures, labels = printed(20)
    images = torch.from_numpy(pictures)[:, None]
    model.fit([ImageBatch(images, torch.from_numpy(labels), torch.zeros(images.shape))])
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    assert vflow.digits(model, 3, num_samples=2).shape == (2, 28, 28)
    restyled = restyle(model, pictures[3], 3)
    assert np.array_equal(restyled[3], pictures[3]) and not np.array_equal(restyled[4], pictures[3])
    probability = classify(model, pictures[:2])
    np.testing.assert_allclose(probability.sum(1), 1)
    assert np.ptp(probability) > 0.01
