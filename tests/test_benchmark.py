"""The benchmark's own parts; the peers check their likelihoods against ours whenever they run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scripts.benchmarks import tables, timing
from scripts.benchmarks.floor import floor
from scripts.benchmarks.models import UnconditionalGlow, glow_config, images, started, without_tricks
from scripts.benchmarks.sample import targets
from scripts.benchmarks.train import Setting, difference, training_step
from tests.models.conftest import FORMS, make_model

TINY = Setting(1, 4, 2, 1, "cpu", torch.device("cpu"), torch.float32, threads=1)


@pytest.fixture
def model() -> UnconditionalGlow:
    config = glow_config(TINY.depth, TINY.hidden)
    return started(config, images(TINY.batch, config))


def test_sides_take_turns_and_medians_count(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    seconds = iter([9.0, 9.0, 9.0, 9.0, 1.0, 4.0, 7.0, 5.0, 2.0, 60.0])  # the first two turns do not count

    def timed(step: timing.Step, clock: timing.Clock) -> float:
        step()
        return next(seconds)

    monkeypatch.setattr(timing, "timed", timed)
    sides = {name: lambda name=name: order.append(name) for name in "ab"}
    assert timing.alternate(sides, 3) == {"a": 2.0, "b": 5.0}
    assert "".join(order) == "ab" * 5


def test_clocks_count_work() -> None:
    work = lambda: sum(range(300_000))  # noqa: E731
    assert timing.timed(work, "wall") > 0 and timing.timed(work, "cpu") > 0


def test_the_likelihood_is_that_of_a_standard_normal_prior(model: UnconditionalGlow) -> None:
    """With couplings, ActNorms and rotations made the identity, density of x itself."""
    x = images(2, model.glow.config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "net.conv_out" in name or "actnorm" in name:
                parameter.zero_()
            elif name.endswith("log_diagonal"):
                parameter.sub_(parameter.mean())  # a rotation's is 0 in sum, so nothing changes
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum((1, 2, 3))
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-2)


def test_without_tricks_is_the_same_model(model: UnconditionalGlow) -> None:
    x = images(2, model.glow.config)
    plain = without_tricks(model)
    assert difference(model, plain, x) < 1e-5
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in model.parameters())


def test_a_step_trains(model: UnconditionalGlow) -> None:
    x = images(TINY.batch, model.glow.config)
    step = training_step(model, model, x, autocast=True)
    before = model(x).mean().item()
    for _ in range(20):
        step()
    assert model(x).mean().item() > before


def test_the_floor_counts_the_convolutions() -> None:
    found = floor(TINY)
    macs = sum(
        side**2 * (half * 4 * 9 + 4 * 4 + 4 * 2 * half * 9) for half, side in ((6, 32), (12, 16), (24, 8))
    )
    assert math.isclose(found["gflop"], 6 * TINY.batch * macs / 1e9, abs_tol=0.01)
    assert 0 < found["convolutions_s"] < 60


@pytest.mark.parametrize("name", ["frames-marginal-gaussian", "augmented-conditional-gaussian"])
def test_sampled_frames_are_scored_with_all_the_past_there_is(name: str) -> None:
    form = FORMS[name]
    model = make_model(form)
    image = form.glow.channels, form.glow.height, form.glow.width
    context = torch.randint(256, (2, form.context, *image), dtype=torch.uint8)
    batch = targets(model, context, torch.randint(256, (2, 5, *image), dtype=torch.uint8))
    assert batch.window.tolist() == [[1, 2, 3, 3, 3]] * 2  # one frame is the least, three the most
    assert model(batch).isfinite().all()


def test_a_mixture_has_as_many_components_as_held_out_rows_ask_for() -> None:
    random = np.random.default_rng(0)
    rows = 10.0 * random.integers(0, 3, (900, 1)) + random.normal(size=(900, 2)) * (1, 0.1)
    held = np.arange(600) % 5 == 0
    entropy = np.log(3) + np.log(2 * np.pi * np.e) + np.log(0.1)
    assert tables.mixture_nats(rows[:600], rows[600:], held) == pytest.approx(entropy, abs=0.1)
