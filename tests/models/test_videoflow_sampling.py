"""VideoFlow's sampling: the inverse of scoring, deterministic in its noise, independent of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain

import pytest
import torch
from torch import Tensor

from vflow.bijections.integer_haar import IntegerHaar
from vflow.config import VideoConfig
from vflow.models import Condition, Rollout, Sampled, VideoBatch, VideoModel
from vflow.models.dequantizer import MARGIN, WIDTH

from .conftest import few

Noise = Callable[[int], tuple[Tensor, ...]]


def ones(model: VideoModel, temperature: float = 1.0) -> tuple[float, ...]:
    return (temperature,) * len(model.latent_shapes)


def roll(
    model: VideoModel, context: Tensor, eps: list[tuple[Tensor, ...]], temperature: float = 1.0
) -> list[Sampled]:
    """One frame per entry of ``eps``."""
    rollout, frames = model.start(context), []
    for noise in eps:
        rollout, sampled = model.step(rollout, noise, ones(model, temperature))
        frames.append(sampled)
    return frames


def test_encoding_a_sampled_frame_returns_its_noise(
    form: VideoConfig, models: Callable, batches: Callable, noise: Noise
) -> None:
    """Three mild frames in float32: where a bounded map saturates, its values say nothing of z.

    Noise is mild, not the temperature, which in mixtures does more than scale it.
    """
    model, batch = models(form, 0.02), batches(form)
    rollout = model.start(64 + batch.frames[:, :3] // 2)
    for _ in range(3):
        eps = tuple(0.05 * level for level in noise(len(batch.frames)))
        after, sampled = model.step(rollout, eps, ones(model))
        back = encode(model, rollout, sampled, eps)
        for used, found in zip(eps, back, strict=False):
            torch.testing.assert_close(found.float(), used, rtol=0, atol=5e-3)
        rollout = after


@torch.no_grad()
def encode(model: VideoModel, rollout: Rollout, sampled: Sampled, eps: tuple[Tensor, ...]) -> list[Tensor]:
    """The noise that led to a sampled frame from ``rollout``."""
    condition = model.condition_next(rollout, eps, ones(model))
    code = model.flow.encode(model.to_flow(sampled.raw, condition)[0], condition.features)
    return list(model.whiten(code, condition))


@few
def test_a_rollout_is_what_its_frames_say(model: VideoModel, batch: VideoBatch, noise: Noise) -> None:
    """Sampling five frames leads to the state that starting from them gives."""
    rollout, frames = model.start(batch.frames[:, :2]), batch.frames[:, :2]
    for _ in range(5):
        rollout, sampled = model.step(rollout, noise(3), ones(model, 0.3))
        frames = torch.cat([frames, sampled.frame[:, None]], 1)
        fresh = model.start(frames)
        assert torch.equal(fresh.frames, rollout.frames) and torch.equal(fresh.mask, rollout.mask)
        for one, other in zip(fresh.history, rollout.history, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_sampling_and_scoring_are_one_density(form: VideoConfig, models: Callable, batches: Callable) -> None:
    """Change of variables, end to end: the density of a drawn frame is φ(ε) / |det ∂frame/∂ε|.

    With the dequantisation noise which the draw amounts to, and the probability of its displacement, that is
    what scoring the frame gives.
    """
    if form.kind == "lattice_videoflow":
        pytest.skip("its noise sees the past: see test_lattice_videoflow.py")
    small = form.glow.model_copy(update={"channels": 1, "height": 4, "width": 8})
    form = form.model_copy(update={"glow": small})
    model = models(form)
    context = 64 + batches(form, size=1).frames[:, :4] // 2  # far from both ends of the range
    sizes = [math.prod(shape) for shape in model.flow.latent_shapes]
    flat = 0.1 * torch.randn(sum(sizes))

    def draw(flat: Tensor, way: tuple[Tensor, ...]) -> Sampled:
        parts = zip(flat.split(sizes), model.flow.latent_shapes, strict=True)
        eps = (*(part.view(1, *shape) for part, shape in parts), *way)
        return VideoModel.step.__wrapped__(model, model.start(context), eps, ones(model))[1]

    def scored(way: tuple[Tensor, ...]) -> Condition:
        return model.condition_targets(continued(model, context, draw(flat, way).frame))

    def drawn(way: tuple[Tensor, ...]) -> Condition:
        return model.condition_next(model.start(context), way, (1.0,) * len(way))

    def settled(way: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Noise whose reference is that of the frame it leads to: what scoring finds, again and again."""
        for _ in range(8):
            way = model.encode_reference(model.start(context), draw(flat, way).frame, None)
        return way

    def explained(way: tuple[Tensor, ...]) -> bool:
        """Whether scoring finds the reference that this noise draws."""
        found, used = scored(way).reference, drawn(way).reference
        return used is None or torch.equal(found[-1:], used)

    starts: list[tuple[Tensor, ...]] = [()]
    if model.has_reference:
        starts = [
            (torch.full((1, *model.latent_shapes[-1]), at),) for at in torch.linspace(-2, 2, 17).tolist()
        ]
    way = next(way for way in chain(starts, map(settled, starts)) if explained(way))
    jacobian = torch.autograd.functional.jacobian(lambda e: draw(e, way).raw.flatten(), flat, vectorize=True)
    sampled = draw(flat, way)
    assert sampled.raw.min() >= 0 and sampled.raw.max() < 256
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(flat).sum() - torch.linalg.slogdet(jacobian)[1]
    log_p = log_p + sum(term[-1].sum() for term in scored(way).log_prob_terms)
    batch = continued(model, context, sampled.frame)
    batch.eps[:, -1], weight = dequantisation(model, sampled, drawn(way).reference)
    nats = model.log_likelihood(batch)[0, -1]
    torch.testing.assert_close(nats, log_p + weight, rtol=1e-4, atol=1e-2)


def dequantisation(model: VideoModel, sampled: Sampled, reference: Tensor | None) -> tuple[Tensor, Tensor]:
    """The noise that lifts ``sampled.frame`` to ``sampled.raw``, and its total log-weight."""
    u = (sampled.raw - sampled.frame).clamp(MARGIN, 1 - MARGIN).double()
    flat, narrow = torch.special.ndtri((u - MARGIN) / (1 - 2 * MARGIN)), (u - 0.5) / WIDTH
    mode = model.pixel_map.mode(None if reference is None else reference.float(), sampled.raw)
    eps = (flat if model.config.noise == "uniform" else narrow).float()
    if model.config.noise == "conditional":
        mode, one = reference, torch.ones_like(sampled.raw)
        lifted = [model.dequantizer(sampled.frame.float(), e, mode)[0] for e in (0 * one, one)]
        mean, above = (torch.special.ndtri((y - sampled.frame).double()) for y in lifted)
        eps = ((flat - mean) / (above - mean)).float()
    return eps, model.dequantizer(sampled.frame.float(), eps, mode)[1].sum()


def continued(model: VideoModel, context: Tensor, frame: Tensor) -> VideoBatch:
    """``context`` and one frame more, as a batch without noise whose last target is that frame."""
    first = model.config.min_context
    frames = torch.cat([context, frame[:, None]], 1)
    window = torch.arange(first, frames.shape[1]).clamp_max(model.config.context)[None]
    targets = frames.shape[1] - first
    augmented = torch.zeros(len(frames), targets, model.config.augmented) if model.config.augmented else None
    return VideoBatch(frames, torch.zeros(frames[:, first:].shape), window, augmented_eps=augmented)


@few
def test_a_frame_is_its_continuous_values_rounded_down(
    model: VideoModel, batch: VideoBatch, noise: Noise
) -> None:
    for sampled in roll(model, batch.frames[:, :3], [noise(3), noise(3)]):
        assert sampled.frame.dtype == torch.uint8 and sampled.raw.dtype == torch.float32
        assert sampled.frame.shape == sampled.raw.shape == batch.frames[:, 0].shape
        assert torch.equal(sampled.frame.float(), sampled.raw.floor().clamp(0, 255))
        outside = ((sampled.raw < -0.1) | (sampled.raw > 256.1)).flatten(1).sum(1)
        assert torch.equal(sampled.out_of_range, outside) and not sampled.nonfinite.any()
        if model.config.pixel_map != "scaled" and not isinstance(model.pixel_map, IntegerHaar):
            assert not outside.any()


@few
def test_the_same_noise_gives_the_same_frames(model: VideoModel, batch: VideoBatch, noise: Noise) -> None:
    eps = [noise(3) for _ in range(3)]
    once, twice = (roll(model, batch.frames[:, :3], eps) for _ in range(2))
    assert all(torch.equal(a.raw, b.raw) for a, b in zip(once, twice, strict=True))
    other = roll(model, batch.frames[:, :3], [noise(3) for _ in range(3)])
    assert not any(torch.equal(a.frame, b.frame) for a, b in zip(once, other, strict=True))


@few
def test_temperature_zero_ignores_the_noise(model: VideoModel, batch: VideoBatch, noise: Noise) -> None:
    one, other = (roll(model, batch.frames[:, :3], [noise(3) for _ in range(3)], 0.0) for _ in range(2))
    assert all(torch.equal(a.raw, b.raw) for a, b in zip(one, other, strict=True))


@few
def test_temperature_scales_the_noise_of_each_level(
    model: VideoModel, batch: VideoBatch, noise: Noise
) -> None:
    if not model.scales_noise:
        pytest.skip("its temperature acts on mixtures: see test_lattice_videoflow.py")
    eps, temperature = noise(3), (0.25, 0.5, 1.0)[: len(model.latent_shapes)]
    scaled = tuple(e * t for e, t in zip(eps, temperature, strict=True))
    rollout = model.start(batch.frames[:, :3])
    one = model.step(rollout, eps, temperature)[1]
    other = model.step(rollout, scaled, ones(model))[1]
    torch.testing.assert_close(one.raw, other.raw, rtol=0, atol=1e-3)


@few
def test_a_batch_of_futures_equals_single_futures(model: VideoModel, batch: VideoBatch, noise: Noise) -> None:
    eps = [noise(3) for _ in range(2)]
    together = roll(model, batch.frames[:, :3], eps)
    for i in range(3):
        alone = roll(
            model, batch.frames[i : i + 1, :3], [tuple(e[i : i + 1] for e in level) for level in eps]
        )
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a.raw, b.raw[i : i + 1], rtol=1e-4, atol=0.05)


@few
def test_only_the_last_frames_condition(model: VideoModel, batch: VideoBatch, noise: Noise) -> None:
    n, eps = model.config.context, [noise(3), noise(3)]
    long, short = roll(model, batch.frames, eps), roll(model, batch.frames[:, -n:], eps)
    assert all(torch.equal(a.raw, b.raw) for a, b in zip(long, short, strict=True))
    changed = batch.frames.clone()
    changed[:, -n] = 255 - changed[:, -n]
    assert not torch.equal(roll(model, changed, eps)[0].raw, long[0].raw)


@few
def test_a_short_context_leaves_the_rest_of_the_window_empty(
    model: VideoModel, batch: VideoBatch, noise: Noise
) -> None:
    n, shortest = model.config.context, model.config.min_context
    rollout = model.start(batch.frames[:, :shortest])
    assert rollout.mask.tolist() == [[0.0] * (n - shortest) + [1.0] * shortest] * 3
    assert all(level.shape[1] == n and not level[:, : n - shortest].any() for level in rollout.history)
    rollout, sampled = model.step(rollout, noise(3), ones(model))
    assert rollout.mask.sum(1).tolist() == [min(shortest + 1, n)] * 3
    assert torch.equal(rollout.frame, sampled.frame)


@few
def test_a_step_leaves_the_state_it_started_from(model: VideoModel, batch: VideoBatch, noise: Noise) -> None:
    """Continuing twice from one state gives two futures of it: nothing is kept on the module."""
    rollout, eps = model.start(batch.frames[:, :3]), noise(3)
    before = [level.clone() for level in rollout.history]
    first = model.step(rollout, eps, ones(model))[1]
    model.step(rollout, noise(3), ones(model))
    assert all(torch.equal(a, b) for a, b in zip(before, rollout.history, strict=True))
    assert torch.equal(model.step(rollout, eps, ones(model))[1].raw, first.raw)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["paper-scaled-uniform", "frames-marginal-gaussian"])
def test_nonfinite_values_are_counted_whatever_the_map(
    forms: dict[str, VideoConfig], models: Callable, batches: Callable, name: str, value: float
) -> None:
    model, batch = models(forms[name]), batches(forms[name])
    eps = tuple(torch.randn(3, *shape) for shape in model.latent_shapes)
    eps[0][1, 0, 0, 0] = value
    sampled = model.step(model.start(batch.frames[:, :2]), eps, ones(model))[1]
    assert sampled.nonfinite[1] > 0 and sampled.nonfinite[[0, 2]].tolist() == [0, 0]
    assert not torch.isfinite(sampled.raw[1]).all()


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_a_bounded_map_does_not_hide_infinities(
    forms: dict[str, VideoConfig], models: Callable, batches: Callable, value: float
) -> None:
    """The map of value counts turns any number into a grey level: what overflowed before it still counts."""
    form = forms["frames-marginal-gaussian"]
    model, batch = models(form), batches(form)
    with torch.no_grad():
        model.flow.levels[0].layers[0].actnorm.shift[0] = value
    eps = tuple(torch.randn(3, *shape) for shape in model.latent_shapes)
    sampled = model.step(model.start(batch.frames[:, :2]), eps, ones(model))[1]
    assert sampled.nonfinite.tolist() == [form.glow.height * form.glow.width // 4] * 3


@few
def test_sampling_in_bfloat16_is_close(model: VideoModel, batch: VideoBatch, noise: Noise) -> None:
    eps = [noise(3)]
    exact = roll(model, batch.frames[:, :3], eps, 0.5)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = roll(model, batch.frames[:, :3], eps, 0.5)[0]
    assert rough.raw.dtype == torch.float32
    assert (rough.raw - exact.raw).abs().median() < 2


@few
def test_latent_shapes_hold_every_dimension(form: VideoConfig, model: VideoModel) -> None:
    glow, shapes = form.glow, model.flow.latent_shapes
    assert sum(math.prod(shape) for shape in shapes) == glow.channels * glow.height * glow.width
    assert [shape[1:] for shape in shapes] == [(glow.height // k, glow.width // k) for k in (2, 4)]
    assert model.latent_shapes[: len(shapes)] == shapes
    assert len(model.latent_shapes) == len(shapes) + model.has_reference
    assert model.latent_shapes_at(16, 24)[: len(shapes)] == tuple(
        (c, 16 // k, 24 // k) for (c, *_), k in zip(shapes, (2, 4), strict=True)
    )


def test_gradients_reach_all_parameters(model: VideoModel, batch: VideoBatch) -> None:
    if model.actions is not None:
        batch = batch._replace(actions=torch.randn(*batch.frames.shape[:2], model.actions.config.size))
    model.train()(batch).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@few
def test_the_codec_round_trips_within_a_tenth_of_a_grey_level(model: VideoModel, batch: VideoBatch) -> None:
    x, back = model.reconstruct(batch)
    assert x.shape == back.shape == (batch.window.numel(), *batch.frames.shape[2:])
    assert torch.equal(x.floor(), batch.frames[:, model.config.min_context :].flatten(0, 1).float())
    assert (back - x).abs().max() < 0.1


@pytest.mark.parametrize("name", ["paper-scaled-uniform", "frames-conditional-gaussian-colour"])
def test_convolutional_models_take_other_sizes(
    forms: dict[str, VideoConfig], models: Callable, batches: Callable, name: str
) -> None:
    """Frames of twice the configured height are scored, sampled and reconstructed alike."""
    glow = forms[name].glow
    tall = forms[name].model_copy(update={"glow": glow.model_copy(update={"height": 2 * glow.height})})
    model, batch = models(forms[name]), batches(tall)
    shapes = model.latent_shapes_at(2 * glow.height, glow.width)
    assert torch.isfinite(model(batch)).all()
    eps = tuple(torch.randn(3, *shape) for shape in shapes)
    _, sampled = model.step(model.start(batch.frames[:, :3]), eps, ones(model))
    assert sampled.frame.shape == batch.frames[:, 0].shape
    before, after = model.reconstruct(batch)
    assert (after - before).abs().max() < 0.1
    with pytest.raises(ValueError, match=r"10×12 is not divisible by 2\^levels = 4"):
        model.latent_shapes_at(10, 12)
