"""Knowledge types over a flow: exact densities, what stays as it was, and what training brings."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from examples import knowledge_types as knowledge
from examples.knowledge_types import Knowledge, Types, TypeWhitening, fit_types
from vflow.config import DensityConfig, DigitsConfig, GlowConfig, TrainingConfig
from vflow.models.digits import Digits
from vflow.models.image import ImageBatch

GLOW = GlowConfig(channels=1, height=4, width=4, depth=(1, 2), hidden=(8, 8))
BASE = DigitsConfig(glow=GLOW, classes=1, condition=(1, 1), noise="uniform", pixel_map="scaled")
OVER = DensityConfig.model_validate({
    "dim": 16,
    "features": 4,
    "layers": [
        {"kind": "actnorm"},
        {"kind": "coupling", "keep": "even", "hidden": [16]},
        {"kind": "coupling", "keep": "odd", "hidden": [16]},
    ],
})  # fmt: skip
SHAPE = 3, 1  # types, and numbers of their codes


def model(seed: int = 0) -> Knowledge:
    """Three types over a flow of 4×4 pixels; no layer is at its start."""
    torch.manual_seed(seed)
    made = Knowledge(Digits(BASE), *SHAPE, OVER)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    codes = torch.randn(300, *SHAPE)
    latents = torch.randn(300, 16) @ (torch.eye(16) + 0.2 * torch.randn(16, 16)) + codes[:, 0]
    made.whitening.fit(latents, Types((torch.rand(300, 3) < 0.7).float(), codes))
    return made


def images(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8)
    return x, torch.randn(x.shape)


def test_nothing_known_leaves_the_flow_as_it_was() -> None:
    tzk, (x, eps) = model(), images()
    nothing = Types.known(5, SHAPE, {})
    labels = torch.zeros(5, dtype=torch.int64)
    torch.testing.assert_close(tzk(x, eps, nothing), tzk.base(ImageBatch(x, labels, eps)))
    noise = torch.randn(5, 1, 4, 4)
    plain = tzk.base.decode(tzk.base.flow.separate(noise), labels, [1.0, 1.0])
    assert torch.equal(tzk.generate(noise, nothing).raw, plain.raw)


@pytest.mark.parametrize("known", [{0: (0.5,)}, {1: (-1.0,), 2: (0.3,)}])
def test_density_given_types_is_that_of_the_map_from_noise(known: dict[int, tuple[float, ...]]) -> None:
    tzk = model().double()
    types = Types(*(part.double() for part in Types.known(1, SHAPE, known)))
    features = tzk.features(types)
    noise = torch.randn(16, dtype=torch.float64)

    def latents(flat: torch.Tensor) -> torch.Tensor:
        return tzk.whitening.invert(tzk.flow.sample(flat[None], features), types)[0]

    jacobian = torch.autograd.functional.jacobian(latents, noise)
    z = latents(noise).detach()
    density = torch.distributions.Normal(0, 1).log_prob(noise).sum() - torch.linalg.slogdet(jacobian)[1]
    expected = density - torch.distributions.Normal(0, 1).log_prob(z).sum()
    torch.testing.assert_close(tzk.log_ratio(z.view(1, 1, 4, 4), types)[0], expected, atol=1e-6, rtol=1e-6)


def test_whitening_in_turn_leaves_normal_latents() -> None:
    """Type 1 moves by its code, type 2 is narrow; with both, what is left has mean 0 and deviation 1."""
    torch.manual_seed(0)
    types = Types(torch.ones(4000, 3), torch.randn(4000, *SHAPE))
    types.exists[:, 0] = 0
    z = 0.3 * torch.randn(4000, 16) + 2 * types.codes[:, 1] * torch.linspace(-1, 1, 16) + 5
    maps = TypeWhitening(*SHAPE, 16)
    maps.fit(z, types)
    w, _ = maps.transform(z, types)
    assert w.mean(0).abs().max() < 0.05 and (w.std(0) - 1).abs().max() < 0.1
    assert torch.corrcoef(torch.stack([w[:, 0], types.codes[:, 1, 0]]))[0, 1].abs() < 0.05
    torch.testing.assert_close(maps.invert(w, types), z, atol=1e-4, rtol=1e-4)
    assert torch.equal(maps.transform(z, Types(torch.zeros(4000, 3), types.codes))[0], z)


def test_codes_of_unknown_types_do_not_matter_and_others_do() -> None:
    tzk, z = model(), torch.randn(4, 1, 4, 4)
    one = Types.known(4, SHAPE, {0: (0.5,)})
    other = Types(one.exists, one.codes + torch.tensor([0.0, 3.0, -2.0])[:, None])
    torch.testing.assert_close(tzk.log_ratio(z, one), tzk.log_ratio(z, other))
    assert not torch.allclose(tzk.log_ratio(z, one), tzk.log_ratio(z, Types.known(4, SHAPE, {0: (0.9,)})))


@pytest.mark.parametrize("known", [{}, {0: (0.5,)}, {1: (-1.0,), 2: (0.3,)}])
def test_temperature_scales_the_noise_once(known: dict[int, tuple[float, ...]]) -> None:
    tzk, noise = model(), torch.randn(3, 1, 4, 4)
    types = Types.known(3, SHAPE, known)
    assert torch.equal(tzk.generate(noise, types, 0.5).raw, tzk.generate(0.5 * noise, types).raw)


def test_posterior_is_bayes_rule() -> None:
    tzk, (x, eps) = model(), images()
    z, _ = tzk.encode(x, eps)
    likelihoods = torch.stack([tzk(x, eps, Types.known(5, SHAPE, {k: (0.0,)})) for k in range(3)], 1)
    torch.testing.assert_close(
        tzk.log_posterior(z, range(3)), torch.log_softmax(likelihoods, 1), atol=1e-3, rtol=1e-4
    )


def test_running_averages_of_a_frozen_flow_stay() -> None:
    torch.manual_seed(0)
    base = Digits(BASE.model_copy(update={"steps": "realnvp"}))
    tzk, (x, _) = Knowledge(base, *SHAPE, OVER), images(64)
    types = Types(torch.randint(0, 2, (64, 3)).float(), torch.randn(64, *SHAPE))
    before = {name: value.clone() for name, value in base.state_dict().items()}
    for _ in fit_types(tzk, x, types, TrainingConfig(batch_size=8, max_steps=2)):
        pass
    assert [name for name, value in base.state_dict().items() if not torch.equal(value, before[name])] == []


@pytest.mark.parametrize("frozen", [True, False])
def test_types_are_learned_and_a_frozen_flow_stays(frozen: bool) -> None:
    """Type 0: dark; type 1: bright. Samples of a type, and Bayes' rule, tell them apart."""
    tzk, random = model(), np.random.default_rng(0)
    bright = random.integers(2, size=256)
    x = torch.from_numpy(
        (80 + 80 * bright[:, None, None, None] + random.integers(16, size=(256, 1, 4, 4))).astype(np.uint8)
    )
    types = Types(torch.zeros(256, 3), torch.zeros(256, 3, 1))
    types.exists[torch.arange(256), torch.from_numpy(bright)] = 1
    before = {name: value.clone() for name, value in tzk.base.state_dict().items()}
    config = TrainingConfig(
        batch_size=64, max_steps=40, learning_rate=0.02, warmup_steps=0, ema=0.9, actnorm_batch=256
    )
    for _ in fit_types(tzk, x, types, config, frozen=frozen, exclusive=2, weight=0.1):
        pass
    same = all(torch.equal(value, before[name]) for name, value in tzk.base.state_dict().items())
    assert same == frozen
    with torch.no_grad():
        z, _ = tzk.encode(x, torch.randn(x.shape))
        named = tzk.log_posterior(z, range(2)).argmax(1)
    assert (named.numpy() == bright).mean() > 0.97
    for kind, level in ((0, 88), (1, 168)):
        made = tzk.generate(torch.randn(64, 1, 4, 4), Types.known(64, SHAPE, {kind: (0.0,)})).frame.float()
        assert made.mean() == pytest.approx(level, abs=25)


def test_the_judge_of_digits_learns_none_that_it_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    def images(*, split: str) -> SimpleNamespace:
        return SimpleNamespace(images=f"{split} images", labels=f"{split} labels")

    monkeypatch.setattr(knowledge, "MnistImages", images)
    monkeypatch.setattr(knowledge, "train_classifier", lambda *data, epochs: (*data, epochs))
    assert knowledge.judge.__wrapped__() == ("train images", "train labels", 1)
