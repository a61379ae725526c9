"""VideoFlow's likelihood: parallel = frame by frame, causality, windows, shares of pixels, precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Normal

from vflow.bijections import ActNorm
from vflow.config import VideoConfig, WaveletPriorConfig
from vflow.models import AugmentedVideoFlow, ReferenceVideoFlow, VideoBatch, VideoModel, build_model
from vflow.models.glow import Encoded
from vflow.models.reference import MotionReference, Past
from vflow.priors.gaussian import Gaussian
from vflow.priors.temporal import LatentMixture

from .conftest import cut, few

pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture
def inference() -> object:
    with torch.inference_mode():
        yield


def alone(batch: VideoBatch, target: int, first: int) -> VideoBatch:
    """The batch of one target: its own window of frames, nothing before and nothing after."""
    t = first + target
    window = int(batch.window[0, target])
    one = cut(batch, slice(None), slice(target, target + 1))
    return one._replace(frames=batch.frames[:, t - window : t + 1])


def same_windows(batch: VideoBatch) -> VideoBatch:
    """Every example with the first one's windows, so that a target's windows make one tensor."""
    return batch._replace(window=batch.window[:1].expand_as(batch.window).contiguous())


def test_parallel_equals_frame_by_frame(model: VideoModel, batch: VideoBatch) -> None:
    """Each target scored in a batch of its own."""
    batch = same_windows(batch)
    parallel = model.log_likelihood(batch)
    single = torch.cat(
        [model.log_likelihood(alone(batch, i, model.config.min_context)) for i in range(parallel.shape[1])],
        1,
    )
    torch.testing.assert_close(single, parallel, rtol=1e-5, atol=0)


def test_parallel_equals_a_loop_over_frames(model: VideoModel, batch: VideoBatch) -> None:
    """The definition, frame by frame and example by example: log q, pixel map, codec, prior of the window."""
    if model.config.kind == "lattice_videoflow":
        pytest.skip("no prior per level: see test_lattice_videoflow.py")
    expected = torch.tensor(
        [
            [reference(model, batch, example, target) for target in range(batch.window.shape[1])]
            for example in range(len(batch.frames))
        ]
    )
    torch.testing.assert_close(model.log_likelihood(batch), expected, rtol=1e-5, atol=0)


def reference(model: VideoModel, batch: VideoBatch, example: int, target: int) -> float:
    """log p(x_t | its window) of one target of one example."""
    form, first = model.config, model.config.min_context
    t, window = first + target, int(batch.window[example, target])
    past, absent = range(t - window, t), form.context - window
    frames = batch.frames[example]

    def encode(index: int, given: Tensor | None, features: Sequence[Tensor | None]) -> tuple[Encoded, Tensor]:
        x = frames[index][None].float()
        eps = batch.eps[example, target][None] if index == t else torch.zeros_like(x)
        before = frames[index - (index == t)][None].float()
        sees = form.noise == "conditional"
        y, weight = model.dequantizer(x, eps, before if sees else model.pixel_map.mode(given, x))
        z, ladj = model.pixel_map(y, given)
        code = model.flow.encode(z, features)
        return code, weight.sum() + ladj[0] + sum(d.sum() for d in code.log_prob_terms)

    if form.kind == "videoflow":
        features: Sequence[Tensor | None] = [None] * form.glow.levels
        windows = stack([encode(s, None, features)[0].latents for s in past], absent)
        code, nats = encode(t, None, features)
    else:
        pyramids = [model.frame_encoder(frames[s][None] / 127.5 - 1) for s in past]
        mask = [0.0] * absent + [1.0] * window
        given, extra = frames[t - 1][None].float(), torch.zeros(())
        if model.has_reference:
            noise = None if batch.augmented_eps is None else batch.augmented_eps[example, target][None]
            given, extra = coded_reference(model, frames, t, window, stack(pyramids, absent), noise)
            pyramids.append(model.frame_encoder(given / 127.5 - 1))
            mask.append(1.0)
        windows = stack(pyramids, absent)
        code, nats = encode(t, given, model.window_encoder(windows, torch.tensor([mask])))
        nats = nats + extra
    for prior, seen, half, z in zip(model.priors, windows, code.passed_up, code.latents, strict=True):
        nats = nats + as_distribution(prior(seen, half)).log_prob(z).sum()
    return nats.item()


def as_distribution(density: Gaussian | LatentMixture) -> Distribution:
    """The density of a latent, by PyTorch."""
    if isinstance(density, Gaussian):
        return Normal(density.mean, density.log_scale.exp())
    mean, log_scale, logits = density.elements
    return MixtureSameFamily(Categorical(logits=logits), Normal(mean, log_scale.exp()))


def coded_reference(
    model: ReferenceVideoFlow | AugmentedVideoFlow,
    frames: Tensor,
    t: int,
    window: int,
    features: Sequence[Tensor],
    eps: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The frame that frame t is coded against, float (1, C, H, W), and the log-density of its latent."""
    reference, absent = model.reference, model.config.context - window
    if isinstance(reference, MotionReference):
        summary = features[-1].mean((3, 4)).flatten(1)
        before = (
            displacement(reference, frames[t - 1], frames[t - 2])[0] if window > 1 else reference.no_history
        )
        index, warped = displacement(reference, frames[t], frames[t - 1])
        return warped, reference.log_prob(torch.tensor([before]), summary)[0, index]
    padded = torch.stack([torch.zeros_like(frames[0])] * absent + [frames[s] for s in range(t - window, t)])
    past = Past(padded[None], torch.tensor([[0.0] * absent + [1.0] * window]), torch.zeros(1, 1))
    log_prob, predicted = reference.encode(past, frames[t][None], eps)
    return predicted.float(), log_prob[0]


def stack(pyramids: Sequence[Sequence[Tensor]], absent: int) -> tuple[Tensor, ...]:
    """A window per level, oldest first, zeros for absent frames."""
    levels = zip(*pyramids, strict=True)
    return tuple(torch.stack([torch.zeros_like(level[0])] * absent + list(level), 1) for level in levels)


def displacement(motion: MotionReference, target: Tensor, last: Tensor) -> tuple[int, Tensor]:
    """The displacement that explains ``target`` best, by brute force: its index, and ``last`` so moved."""
    height, width = last.shape[1:]
    best: tuple[float, int, Tensor] | None = None
    for index, (dy, dx) in enumerate(motion.displacements.tolist()):
        rows = [min(max(y - dy, 0), height - 1) for y in range(height)]
        columns = [min(max(x - dx, 0), width - 1) for x in range(width)]
        moved = last[:, rows][:, :, columns].float()
        cost = (moved - target.float()).abs().sum().item()
        if best is None or cost < best[0]:
            best = cost, index, moved[None]
    assert best is not None
    return best[1:]


def test_later_frames_move_nothing(model: VideoModel, batch: VideoBatch) -> None:
    before = model.log_likelihood(batch)
    first = model.config.min_context
    for t in range(first, batch.frames.shape[1]):
        frames, eps = batch.frames.clone(), batch.eps.clone()
        frames[:, t + 1 :] = 255 - frames[:, t + 1 :]
        eps[:, t - first + 1 :] *= -1
        changed = batch._replace(frames=frames, eps=eps)
        if batch.augmented_eps is not None:
            changed = changed._replace(augmented_eps=batch.augmented_eps.clone())
            changed.augmented_eps[:, t - first + 1 :] *= -1
        after = model.log_likelihood(changed)
        torch.testing.assert_close(after[:, : t - first + 1], before[:, : t - first + 1], rtol=1e-6, atol=0)


@few
def test_frames_before_the_window_move_nothing(
    form: VideoConfig, model: VideoModel, batches: Callable
) -> None:
    batch = batches(form, full=True)
    before = model.log_likelihood(batch)
    n, first = form.context, form.min_context
    for t in range(n + 1, batch.frames.shape[1]):
        frames = batch.frames.clone()
        frames[:, : t - n] = 255 - frames[:, : t - n]
        after = model.log_likelihood(batch._replace(frames=frames))
        torch.testing.assert_close(after[:, t - first :], before[:, t - first :], rtol=1e-6, atol=0)


@few
def test_each_frame_of_the_window_counts(form: VideoConfig, model: VideoModel, batches: Callable) -> None:
    batch = batches(form, full=True)
    before = model.log_likelihood(batch)
    t = batch.frames.shape[1] - 1
    for past in range(t - form.context, t):
        frames = batch.frames.clone()
        frames[:, past] = 255 - frames[:, past]
        after = model.log_likelihood(batch._replace(frames=frames))
        assert (after[:, -1] != before[:, -1]).all(), past


@few
def test_a_short_window_is_a_short_past(model: VideoModel, batch: VideoBatch) -> None:
    """Frames masked by the window may hold anything, and may as well be missing."""
    batch = same_windows(batch)
    first, shortest = model.config.min_context, model.config.min_context
    target = batch.window.shape[1] - 1
    t = first + target
    batch = batch._replace(window=batch.window.clone())
    batch.window[:, target] = shortest
    whole = model.log_likelihood(batch)[:, target]
    frames = batch.frames.clone()
    frames[:, : t - shortest] = 255 - frames[:, : t - shortest]
    torch.testing.assert_close(
        model.log_likelihood(batch._replace(frames=frames))[:, target], whole, rtol=1e-6, atol=0
    )
    dropped = model.log_likelihood(alone(batch, target, first))[:, 0]
    torch.testing.assert_close(dropped, whole, rtol=1e-5, atol=0)


@few
def test_the_window_length_matters(form: VideoConfig, models: Callable, batches: Callable) -> None:
    if form.context == form.min_context:
        form = form.model_copy(update={"context": 2})
    model, batch = models(form), batches(form, full=True)
    short = batch._replace(window=batch.window.clamp_max(form.min_context))
    differs = model.log_likelihood(short) != model.log_likelihood(batch)
    assert torch.equal(differs, batch.window > form.min_context)


@few
def test_forward_is_the_sum_over_targets(model: VideoModel, batch: VideoBatch) -> None:
    frames = model.log_likelihood(batch)
    assert frames.shape == batch.window.shape and frames.dtype == torch.float32
    torch.testing.assert_close(model(batch), frames.sum(1))
    bits = model.bits_per_dim(model(batch), frames.shape[1])
    dims = batch.frames[0, 0].numel() * frames.shape[1]
    torch.testing.assert_close(bits, -frames.sum(1) / (math.log(2) * dims))


@few
def test_density_map_shares_out_each_frames_likelihood(model: VideoModel, batch: VideoBatch) -> None:
    density = model.density_map(batch)
    assert density.shape == (*batch.window.shape, *batch.frames.shape[-2:])
    torch.testing.assert_close(density.sum((2, 3)), model.log_likelihood(batch), rtol=1e-5, atol=1e-2)


@few
def test_examples_of_a_batch_do_not_mix(model: VideoModel, batch: VideoBatch) -> None:
    together = model.log_likelihood(batch)
    parts = [cut(batch, slice(i, i + 1)) for i in range(len(together))]
    singles = [model.log_likelihood(part) for part in parts]
    torch.testing.assert_close(torch.cat(singles), together, rtol=1e-5, atol=0)


@few
def test_likelihood_in_bfloat16_is_close(model: VideoModel, batch: VideoBatch) -> None:
    exact = model.log_likelihood(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model.log_likelihood(batch)
    assert rough.dtype == torch.float32
    bits, rough_bits = model.bits_per_dim(exact, 1), model.bits_per_dim(rough, 1)
    narrow = model.config.kind == "lattice_videoflow"  # random pixels lie far out in the tails of its masses
    torch.testing.assert_close(rough_bits, bits, rtol=0.1 if narrow else 0.02, atol=0.02)


@pytest.mark.parametrize("name", ["paper-scaled-uniform", "paper-marginal-gaussian"])
def test_float32_keeps_five_digits(
    forms: dict[str, VideoConfig], models: Callable, batches: Callable, name: str
) -> None:
    model, batch = models(forms[name]), batches(forms[name])
    exact = model.log_likelihood(batch)
    double = model.double().log_likelihood(batch._replace(eps=batch.eps.double()))
    torch.testing.assert_close(exact.double(), double.double(), rtol=1e-5, atol=0)


@few
def test_initialize_sets_every_actnorm_once(form: VideoConfig, batches: Callable) -> None:
    if not any(form.glow.depth):
        pytest.skip("has no ActNorm")
    model = build_model(form)
    norms = [module for module in model.modules() if isinstance(module, ActNorm)]
    assert len(norms) == sum(form.glow.depth) and not any(norm.initialized for norm in norms)
    before = model.state_dict()["flow.levels.0.layers.0.actnorm.shift"].clone()
    model.log_likelihood(batches(form))
    assert not any(norm.initialized for norm in norms)
    model.initialize(batches(form, size=8))
    assert all(norm.initialized for norm in norms)
    assert not torch.equal(norms[0].shift, before)
    after = {name: value.clone() for name, value in model.named_parameters()}
    model.initialize(batches(form, size=8))
    assert all(torch.equal(value, after[name]) for name, value in model.named_parameters())


@few
def test_initialized_latents_are_standard(form: VideoConfig, batches: Callable) -> None:
    """Right after the start random pixels cost about their 8 bits; more where copies are expected."""
    model = build_model(form)
    model.initialize(batches(form, size=16))
    bits = model.bits_per_dim(model.log_likelihood(batches(form, size=16)), 1)
    wavelets = isinstance(form.prior, WaveletPriorConfig)  # whose differences are larger than grey levels
    most = 24 if wavelets else 16 if model.exact else 12
    assert torch.isfinite(bits).all() and bits.min() > 0 and bits.max() < most


@few
def test_save_and_load(form: VideoConfig, model: VideoModel, batch: VideoBatch) -> None:
    data = save({name: value.clone().contiguous() for name, value in model.state_dict().items()})
    torch.manual_seed(123)
    fresh = build_model(form).eval()
    assert not torch.equal(fresh.log_likelihood(batch), model.log_likelihood(batch))
    fresh.load_state_dict(load(data), strict=True)
    torch.testing.assert_close(fresh.log_likelihood(batch), model.log_likelihood(batch), rtol=0, atol=0)
    assert all(module.initialized for module in fresh.modules() if isinstance(module, ActNorm))
