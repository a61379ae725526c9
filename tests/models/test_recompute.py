"""`memory: recompute` changes neither weights nor results of a model, only what is kept for the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from vflow.bijections import linear
from vflow.config import ColorizerConfig, EncoderConfig, GlowConfig, VideoConfig
from vflow.models import ImageBatch, Model, build_model

from .conftest import few


def recomputing(config: Any) -> Any:
    """The same configuration but for the switch."""
    return config.model_copy(update={"glow": config.glow.model_copy(update={"memory": "recompute"})})


def gradients(model: Model, batch: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(batch).sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def compare(plain: Model, batch: Any, tolerance: float) -> None:
    """Weights of one fit the other; likelihoods and gradients are equal up to rounding."""
    frugal = build_model(recomputing(plain.config))
    frugal.load_state_dict(plain.state_dict(), strict=True)
    frugal.to(next(plain.parameters()).dtype).train(plain.training)
    torch.testing.assert_close(frugal(batch), plain(batch), rtol=1e-6, atol=1e-6)
    expected, found = gradients(plain, batch), gradients(frugal, batch)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        apart = (found[name] - gradient).norm() / gradient.norm().clamp_min(1e-3)
        assert apart < tolerance, f"{name}: {apart:.2g}"


def test_paper_model_in_float64(forms: dict[str, VideoConfig], models: Callable, batches: Callable) -> None:
    """The temporal prior sees latents, which are kept; its gradient enters the chains from outside."""
    form = forms["paper-scaled-uniform"]
    model, batch = models(form).double(), batches(form)
    compare(model, batch._replace(eps=batch.eps.double()), 1e-7)


@pytest.mark.parametrize("name", ["frames-conditional-gaussian-colour", "frames-scaled-one-frame"])
def test_features_of_past_frames(
    name: str, forms: dict[str, VideoConfig], models: Callable, batches: Callable
) -> None:
    """Couplings see features, whose encoders get their gradients through the chains; float32 throughout."""
    torch.manual_seed(2)
    compare(models(forms[name]), batches(forms[name]), 1e-3)


def test_wavelet_flow() -> None:
    torch.manual_seed(2)
    glow = GlowConfig(channels=2, height=8, width=8, depth=(2, 1), hidden=(6, 6))
    model = build_model(ColorizerConfig(glow=glow, condition=EncoderConfig(hidden=(4, 4, 4), blocks=1)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    images = torch.randint(100, 156, (2, 2, 8, 8), dtype=torch.uint8)
    given = torch.cat([100 * torch.rand(2, 1, 16, 16), torch.zeros(2, 3, 16, 16)], 1).double()
    compare(model.double(), ImageBatch(images, given, torch.randn(2, 2, 8, 8).double()), 1e-7)


@few
def test_the_matrices_are_inverted_once_per_rollout(
    model: Any, batch: Any, noise: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, matrices = [], sum(isinstance(module, linear.PLU) for module in model.modules())
    inverted = linear.inverted
    monkeypatch.setattr(linear, "inverted", lambda matrix: calls.append(matrix) or inverted(matrix))
    rollout = model.start(batch.frames[:, :3])
    assert len(calls) == matrices and (matrices > 0 or not any(model.config.glow.depth))
    for _ in range(2):
        rollout, _ = model.step(rollout, noise(3), (0.5,) * len(model.latent_shapes))
    assert len(calls) == matrices
