"""From pixels to nats and back: the likelihood of VideoFlow, one part at a time.

Run it: ``python docs/tutorial_flow.py`` (a few seconds on one core). Every step is done by hand with this
library's own parts, and then compared with the model's own call that does the same.

The model (Kumar et al. 2020) says how likely the next frame x_t of a clip is. An invertible network f, a
Glow, turns the frame into latents z_t = f(x_t). A prior says how likely those latents are, given the latents
of the frames before. The change of variables joins the two:

    log p(x_t | x_<t) = log p(z_t | z_<t) + log |det ∂z_t / ∂x_t|
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vflow.config import GlowConfig, LatentPriorConfig, VideoFlowConfig
from vflow.data.datasets.shapes import Shapes
from vflow.models import VideoBatch, VideoFlow
from vflow.nn.reshape import squeeze, unsqueeze

SIDE, FRAMES, CONTEXT = 16, 3, 2  # frames of 16 × 16 pixels; two frames are given, the third is scored

CONFIG = VideoFlowConfig(
    glow=GlowConfig(channels=3, height=SIDE, width=SIDE, depth=(2, 2), hidden=(16, 16)),  # two levels
    prior=LatentPriorConfig(blocks=1, hidden=8, dilations=(1,)),
    context=CONTEXT,
    min_context=CONTEXT,
    noise="uniform",
    pixel_map="marginal",
)


def clips(count: int, start: int = 0) -> VideoBatch:
    """Clips of a moving shape, uint8 (B, T, C, H, W), and noise for the frame that is scored."""
    data = Shapes(frames=FRAMES)
    indices = [(start + i) * 7919 % len(data) for i in range(count)]  # adjacent indices show the same shape
    frames = torch.stack([torch.from_numpy(data.example(index)) for index in indices])
    frames = frames[:, :, ::4, ::4].permute(0, 1, 4, 2, 3).contiguous()  # every fourth pixel of 64 × 64
    eps = torch.randn(count, FRAMES - CONTEXT, 3, SIDE, SIDE)
    return VideoBatch(frames, eps, window=torch.full((count, 1), CONTEXT))


def latents(model: VideoFlow, frame: Tensor, eps: Tensor) -> tuple[list[Tensor], list[Tensor | None], Tensor]:
    """Latents z of each level, the part each level passes upward, and the accumulated log-density, (B,)."""
    # 1. Dequantise. A density fitted to integers could become infinite, so noise u ~ q(u | x) spreads each
    #    grey level over its bin: x̃ = x + u. Then log P(x) ≥ E_q [log p(x̃) − log q(u | x)], and a single draw
    #    of u estimates that bound. ``weight`` is −log q, almost zero for uniform noise.
    continuous, weight = model.dequantizer(frame.float(), eps)

    # 2. Map pixels elementwise, by the CDF of the training pixels and then Φ⁻¹: each pixel on its own is then
    #    about standard normal. Every map returns its log |det| with its value, per position (B, H, W).
    x, log_det = model.pixel_map.transform(continuous)
    total = weight.flatten(1).sum(1) + log_det.flatten(1).sum(1)

    # 3. Glow. Each level trades space for channels (squeeze), runs a chain of [ActNorm → 1×1 convolution →
    #    coupling], and splits: half of the channels are final, the other half goes on to the next level.
    done: list[Tensor] = []
    above: list[Tensor | None] = []
    for level, chain in enumerate(model.flow.levels):
        h, log_det = chain.transform(squeeze(x))
        total = total + log_det.flatten(1).sum(1)
        last = level == len(model.flow.levels) - 1
        z, x = (h, h) if last else h.chunk(2, 1)
        done.append(z)
        above.append(None if last else x)
    return done, above, total


def nats_by_hand(model: VideoFlow, batch: VideoBatch) -> Tensor:
    """log p(last frame | frames before) in nats, (B,)."""
    past = [latents(model, batch.frames[:, t], torch.zeros_like(batch.eps[:, 0]))[0] for t in range(CONTEXT)]
    z, above, nats = latents(model, batch.frames[:, -1], batch.eps[:, 0])

    # 4. Prior. Level by level, a 3-D network sees the window of past latents and what was passed to the level
    #    above, and predicts a mean and a standard deviation for each element of z.
    for level, prior in enumerate(model.priors):
        window = torch.stack([frame[level] for frame in past], 1)  # (B, n, C, h, w)
        nats = nats + prior(window, above[level]).log_prob(z[level]).flatten(1).sum(1)
    return nats


def sample_by_hand(model: VideoFlow, batch: VideoBatch, temperature: float) -> Tensor:
    """A next frame for each clip, uint8 (B, C, H, W): the same steps in reverse, from the top level down."""
    past = [latents(model, batch.frames[:, t], torch.zeros_like(batch.eps[:, 0]))[0] for t in range(CONTEXT)]
    h: Tensor | None = None
    for level in reversed(range(len(model.priors))):
        window = torch.stack([frame[level] for frame in past], 1)
        density = model.priors[level](window, h)
        z = density.mean + temperature * density.log_scale.exp() * torch.randn_like(density.mean)
        joined = z if h is None else torch.cat([z, h], 1)
        h = unsqueeze(model.flow.levels[level].invert(joined)[0])
    assert h is not None
    return model.pixel_map.invert(h)[0].floor().clamp(0, 255).to(torch.uint8)


def main() -> None:
    torch.manual_seed(0)
    model = VideoFlow(CONFIG)
    model.fit([clips(256)])  # the pixel map's counts
    model.initialize(clips(64))  # ActNorm: mean 0 and variance 1 at the start

    # 5. Train: raise the log-likelihood of real clips. Bits per dimension are −nats / (ln 2 · C · H · W): the
    #    bits that an ideal code needs for each value of the frame. Uncompressed, each takes 8.
    held_out = clips(64, start=100_000)
    before = model.bits_per_dim(model(held_out)).mean().item()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(60):
        loss = model.bits_per_dim(model(clips(16, start=64 + 16 * step))).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()

    with torch.no_grad():
        after = model.bits_per_dim(model(held_out)).mean().item()
        print(f"bits/dim of frames never seen: {before:.3f} → {after:.3f}")
        assert after < before < 8

        # The same number by hand and by the model: forward returns the sum of all the terms above.
        by_hand, by_model = nats_by_hand(model, held_out), model(held_out)
        print(f"nats of the first clip: {by_hand[0]:.3f} by hand, {by_model[0]:.3f} by the model")
        torch.testing.assert_close(by_hand, by_model, rtol=1e-4, atol=1e-2)
        dims = 3 * SIDE * SIDE
        assert math.isclose(after, -by_hand.mean().item() / (math.log(2) * dims), rel_tol=1e-4)

        # There and back: the flow is a bijection, so nothing is lost except float32 rounding.
        original, again = model.reconstruct(held_out)
        print(f"largest error of encode, then decode: {(again - original).abs().max():.1e} grey levels")
        assert torch.equal(again.floor(), original.floor())

        # Samples: draw latents from the prior, invert. At temperature 0 each is the mode of its density.
        futures = sample_by_hand(model, held_out, temperature=0.7)
        eps = [torch.zeros(64, *shape) for shape in model.latent_shapes]
        _, mode = model.step(model.start(held_out.frames[:, :CONTEXT]), eps, [0.0] * len(eps))
        assert torch.equal(mode.frame, sample_by_hand(model, held_out, temperature=0.0))
        print(f"futures: uint8 {tuple(futures.shape)}; at temperature 0 by hand = by the model")


if __name__ == "__main__":
    main()
