"""Prior over the integer wavelets of a frame, coded coarse to fine given past frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vflow.bijections.integer_haar import GREY, MEAN, SLOTS, blocks_at, haar_blocks, join_blocks, slot_offset
from vflow.bijections.pixel_map import LEVELS
from vflow.config import ActionsConfig, WaveletPriorConfig
from vflow.nn.modules import ModuleList
from vflow.nn.relu import relu
from vflow.nn.residual import DilatedBlock, ResidualFeatures
from vflow.priors.gaussian_mixture import GaussianMixture
from vflow.priors.lattice import COST_LIMIT, GAIN_START, GAINS, Places, bounded_log_scale, votes_of

PARITIES = ((0, 0), (1, 1), (0, 1), (1, 0))  # of rows and columns of blocks: four parts of a level
EVERY = len(PARITIES)  # number of parts that are known where all are
MODES = 8  # displaced copies that are modes of a density: the likeliest
HEAD = 32  # hidden units of a wavelet's head
GAIN_LIMIT = 5.0  # of the log of an evidence's weight
FAR_START = -2.0  # logit of a far displacement at the start
SPREAD = 1.5  # of the log scales of a mixture's components at the start
EXTRAPOLATIONS = 2  # ways in which ``next_frames`` moves the newest frame on
LARGE = 4.0  # known wavelets beyond it look alike to heads


class LevelPast(NamedTuple):
    """Past frames seen on one level's grid of h × w blocks; S slots, 1 at the top and else 4."""

    planes: Tensor  # (B, F, h, w): wavelets of past frames, 0 where one is absent; a mask; near ``cost``
    copies: Tensor  # (B, K, S, C, h, w): the newest frame's wavelets, displaced by each of K vectors
    cost: Tensor  # (B, K, h, w): of each displacement from the frame before to the newest
    votes: Tensor  # the same, added up around each block
    context: Tensor | None = None  # (B, E, h, w): features of all levels of past frames, and of actions


class Features(NamedTuple):
    """Output of a level's network, given what is known."""

    planes: Tensor  # (B, F, h, w)
    evidence: Tensor  # (B, GAINS, K, h, w): for each displacement, the more the likelier


class Blocks(NamedTuple):
    """N blocks of a level whose D wavelets are coded one after the other."""

    features: Tensor  # (N, F)
    copies: Tensor  # (N, K, D)
    logits: Tensor  # (N, K): of displacements, before a wavelet of the block is known
    gain: Tensor  # (N, 1): of the cost of known wavelets in them
    expected: Tensor  # (N, D): mean of the copies by ``logits``
    places: tuple[Tensor, ...]  # example, row and column


@final
class PastEncoder(nn.Module):
    """Features of past frames on the grid of each level's blocks, up from the finest and down again.

    So coarse levels, which code means of many pixels, know what moves in them and how.

    Args:
        inputs: channels of the finest grid.
        widths: channels of the features per grid, fine to coarse.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        sources = [inputs, *widths]
        self.up = ModuleList(
            [
                nn.Conv2d(a, b, 2 if i else 3, 2 if i else 1, 0 if i else 1)
                for i, (a, b) in enumerate(pairwise(sources))
            ]
        )
        self.blocks = ModuleList([DilatedBlock(width, 1) for width in widths])
        self.down = ModuleList([nn.Conv2d(b, a, 1) for a, b in pairwise(widths)])
        self.merged = ModuleList([DilatedBlock(width, 1) for width in widths[:-1]])
        for conv in self.up:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, inputs, h, w) → per grid (B, E_l, h/2^l, w/2^l)."""
        features: list[Tensor] = []
        for conv, block in zip(self.up, self.blocks, strict=True):
            x = block(conv(relu(x) if features else x))
            features.append(x)
        for level in reversed(range(len(self.down))):
            coarse = self.down[level](relu(features[level + 1]))
            joined = features[level] + F.interpolate(coarse, features[level].shape[-2:])
            features[level] = self.merged[level](joined)
        return [relu(x) for x in features]


@final
class LevelFeatures(ResidualFeatures):
    """Features of a level's blocks.

    Args:
        above: channels of the features of the next coarser level; 0 at the top.
        context: channels of the features of past frames and of actions; 0: none.
        far: channels of what is known of far displacements; 0: none.
    """

    def __init__(
        self, inputs: int, hidden: int, dilations: Sequence[int], above: int, context: int = 0, far: int = 0
    ) -> None:
        super().__init__(inputs, hidden, dilations)
        self.above = nn.Conv2d(above, hidden, 1) if above else None
        self.context = nn.Conv2d(context, hidden, 1) if context else None
        self.far = nn.Conv2d(far, hidden, 3, padding=1, bias=False) if far else None
        if self.context is not None:
            nn.init.zeros_(self.context.weight)
            nn.init.zeros_(self.context.bias)  # type: ignore[arg-type]  # Conv2d has one by default
        if self.far is not None:
            nn.init.zeros_(self.far.weight)

    def forward(
        self,
        planes: Tensor,
        above: Tensor | None,
        context: Tensor | None = None,
        far: Tensor | None = None,
    ) -> Tensor:
        """(B, hidden, h, w)."""
        added = []
        if self.above is not None and above is not None:
            added.append(F.interpolate(self.above(above), planes.shape[-2:]))
        if self.context is not None and context is not None:
            added.append(self.context(context))
        if self.far is not None and far is not None:
            added.append(self.far(far))
        return self.features(planes, sum(added[1:], added[0]) if added else None)


@final
class BlockDensity(nn.Module):
    """Mixture of each of a block's D wavelets given those before it: a small network each on shared features.

    Args:
        channels: wavelets to a slot, which share a softmax over displacements.
    """

    order: Tensor

    def __init__(self, features: int, depth: int, channels: int, components: int, unit: float) -> None:
        super().__init__()
        self.depth, self.channels, self.components, self.unit = depth, channels, components, unit
        outputs = 2 * (1 + components) + components
        self.context = nn.Linear(features, depth * HEAD)
        start = 0.3 * torch.randn(depth, HEAD, 2 * depth) / math.sqrt(2 * depth)
        self.seen = nn.Parameter(start) if depth > 1 else None  # one wavelet alone has none before it
        self.out = nn.Parameter(torch.zeros(depth, HEAD, outputs))
        self.bias = nn.Parameter(torch.zeros(depth, outputs))
        before = torch.ones(depth, depth).tril(-1)
        self.register_buffer("order", torch.cat([before, before], 1)[:, None], persistent=False)

    def forward(self, blocks: Blocks, z: Tensor, first: int, last: int) -> GaussianMixture:
        """Mixtures of ``first`` … ``last`` − 1 given those before each in z (N, D): (N, last − first, M)."""
        own, logits = slice(first, last), []
        for slot in range(first // self.channels, -(-last // self.channels)):
            known = slot * self.channels
            cost = (z[:, None, :known] - blocks.copies[..., :known]).abs().clamp_max(COST_LIMIT).sum(2)
            count = min(last, known + self.channels) - max(first, known)
            logits += [blocks.logits - cost * blocks.gain] * count
        inputs = torch.cat([z, z - blocks.expected], 1).clamp(-LARGE, LARGE)
        weight = self.context.weight.unflatten(0, (self.depth, HEAD))[own].flatten(0, 1)
        bias = self.context.bias.unflatten(0, (self.depth, HEAD))[own].flatten()
        hidden = F.linear(blocks.features, weight, bias).unflatten(1, (-1, HEAD))
        if self.seen is not None:
            hidden = hidden + torch.einsum("jhi,ni->njh", self.seen[own] * self.order[own], inputs)
        hidden = F.relu(hidden)
        out = torch.einsum("njh,jho->njo", hidden, self.out[own]) + self.bias[own]
        delta, raw, weight = out.split([1 + self.components, 1 + self.components, self.components], 2)
        copies = blocks.copies[..., own].transpose(1, 2)
        return mixture_over_copies(copies, torch.stack(logits, 1), delta, raw, weight, self.unit)


@final
class WaveletPrior(nn.Module):
    """p(z_t | x_<t) of integer Haar wavelets, from the means of the largest blocks to the finest differences.

    A level with blocks of s pixels a side codes their differences (of rows, then of columns above and below,
    each channel given those before) given their means; from ``parts`` pixels on in four parts, one block in
    2×2 each. It has a network of its own on its grid of blocks, so coarse levels, where motion is decided,
    learn as fast as fine ones, and cost little. The network sees what is known of the level, the same
    wavelets of past frames, matching costs of the newest frame, displaced, and features of the next coarser
    level, all of whose wavelets are known; with ``encoder`` also features of all that past frames show.
    Displacements beyond the radius (``far``) have weights of their own, so a trained prior can be given them.
    With ``extrapolated`` two more are the newest frame moved on along its optical flow, by fractions of a
    pixel, turns and zooms.
    With c_k for the newest frame's wavelet displaced by k, a latent has the mixture Σ_k a_k N(c_k + Δμ, σ²)
    + Σ_m w_m N(Σ_k a_k c_k + Δμ_m, σ_m²), the first sum over the likeliest displacements.

    Args:
        channels: C of the frames.
        frames: window length n; with n = 1 there are no costs of past displacements.
        actions: if frames come with some, whose features ``past`` is then given.
    """

    def __init__(
        self, channels: int, frames: int, config: WaveletPriorConfig, actions: ActionsConfig | None = None
    ) -> None:
        super().__init__()
        self.config, self.channels, self.frames = config, channels, frames
        self.top = config.levels
        self.vectors = displacements(config)
        self.near = (2 * config.radius + 1) ** 2
        self.displaced = len(self.vectors) + (EXTRAPOLATIONS if config.extrapolated else 0)
        far = self.displaced - self.near
        nets: list[nn.Module] = []
        heads: list[nn.Module] = []
        evidence: list[nn.Linear] = []
        far_evidence: list[nn.Linear] = []
        above = 0
        for level in reversed(range(self.top + 1)):
            entry, hidden = min(level, self.top - 1), config.hidden[min(level, self.top - 1)]
            inputs = self.slots(level) * channels + 1 + 2 * self.near
            inputs += frames * (self.slots(level) * channels + 1) + 2 * self.near
            context = config.encoder[entry] if config.encoder else 0
            context += actions.channels if actions else 0
            nets.insert(0, LevelFeatures(inputs, hidden, config.dilations[entry], above, context, 4 * far))
            heads.insert(0, BlockDensity(hidden, self.depth(level), channels, config.components, config.unit))
            evidence.insert(0, nn.Linear(hidden, self.near + GAINS + 1))
            nn.init.zeros_(evidence[0].weight)
            nn.init.zeros_(evidence[0].bias)
            if far:
                far_evidence.insert(0, nn.Linear(hidden, far))
                nn.init.zeros_(far_evidence[0].weight)
                nn.init.constant_(far_evidence[0].bias, FAR_START)
            above = hidden
        self.nets, self.heads, self.evidence = ModuleList(nets), ModuleList(heads), ModuleList(evidence)
        self.far_evidence = ModuleList(far_evidence)
        finest = frames * (self.slots(0) * channels + 1) + 2 * self.near
        self.encoder = PastEncoder(finest, config.encoder) if config.encoder else None

    def slots(self, level: int) -> int:
        """Wavelets to a block and channel: the top, which has means alone, shares the coarsest blocks."""
        return 1 if level == self.top else SLOTS

    def coded(self, level: int) -> int:
        """Slots that the level codes: all but the means, which the level above has coded."""
        return max(1, self.slots(level) - 1)

    def depth(self, level: int) -> int:
        """Wavelets of a block that the level codes, of all channels."""
        return self.channels * self.coded(level)

    def side(self, level: int) -> int:
        """Pixels along a block's side."""
        return 2 ** min(level + 1, self.top)

    def parts(self, level: int) -> int:
        """Parts that a level's blocks are coded in; where it is one, means alone are known before."""
        return len(PARITIES) if level == self.top or self.side(level) >= self.config.parts else 1

    @property
    def counts(self) -> list[int]:
        """Number of groups of each level, fine to coarse."""
        return [self.parts(level) * self.depth(level) for level in range(self.top + 1)]

    def order(self, height: int, width: int) -> Tensor:
        """Group of each latent, int64 (C, H, W)."""
        return wavelet_order(self.channels, height, width, self.top, self.config.parts)

    def strides(self, height: int, width: int) -> Tensor:
        """Half the side of the block that a difference is of, and the whole side for means: int64 (H, W)."""
        found = torch.ones(height, width, dtype=torch.int64)
        for level in range(self.top):
            found[:: self.side(level), :: self.side(level)] = self.side(level)
        return found

    def past(self, frames: Tensor, mask: Tensor, actions: Tensor | None = None) -> list[LevelPast]:
        """Past of each level, fine to coarse, of a window of frames (B, n, C, H, W), whole numbers around 0.

        ``mask`` (B, n) is 0 where a frame is absent. ``actions``: features of actions (B, E, h, w).
        """
        newest, before = self._displaced(frames, mask), None
        if self.frames > 1:
            before = self._displaced(frames[:, :-1], mask[:, :-1])
        own, found = haar_blocks(frames), []
        for level in range(self.top + 1):
            found.append(self._level_past(own, newest, before, mask))
            if level < self.top - 1:
                own, newest = haar_blocks(own[:, :, MEAN]), haar_blocks(newest[:, :, MEAN])
                before = None if before is None else haar_blocks(before[:, :, MEAN])
            else:
                own, newest = own[:, :, :1], newest[:, :, :1]
                before = None if before is None else before[:, :, :1]
        contexts: list[list[Tensor]] = [[] for _ in found]
        if self.encoder is not None:
            seen = self.encoder(torch.cat([found[0].planes, found[0].votes[:, : self.near].exp()], 1))
            contexts = [[x] for x in (*seen, seen[-1])]  # the top's means are those of the coarsest blocks
        if actions is not None:
            for own_past, parts in zip(found, contexts, strict=True):
                size = own_past.planes.shape[-2:]
                parts.append(F.interpolate(actions.float(), size, mode="bilinear", antialias=True))
        return [
            own_past._replace(context=torch.cat(parts, 1)) if parts else own_past
            for own_past, parts in zip(found, contexts, strict=True)
        ]

    def sweep(self, past: list[LevelPast]) -> Sweep:
        """Densities of one group after the other."""
        return Sweep(self, past)

    def picked(
        self, z: Tensor, pick: Tensor, past: list[LevelPast]
    ) -> Iterator[tuple[Places, GaussianMixture, float]]:
        """Places of latents, their densities, and which share of their level they are.

        All blocks of coarse levels, and a quarter of the finest level's, chosen by uniform numbers (B,).
        """
        means, above = z, None
        for level in reversed(range(self.top + 1)):
            blocks, depth, apart = self.blocks(z, means, level), self.depth(level), self.parts(level) > 1
            for turn in range(len(PARITIES) if level and apart else 1):
                part = (pick * len(PARITIES) + turn).long() % len(PARITIES)
                features = self.features(blocks, level, part, above, past[level])
                found = self.gather(features, level, part if apart or not level else None, past[level])
                density = self.density(found, self.details(blocks, found), level, 0, depth)
                yield self.places(found, level, 0, depth), density, 1.0 if level else 1 / len(PARITIES)
            if level:
                above = self.above(features, blocks, level, above, past[level])
                means = self.next_means(blocks, level)

    def blocks(self, z: Tensor, means: Tensor, level: int) -> Tensor:
        """Blocks of a level, (B, S, C, h, w), given their ``means`` (B, C, h, w), which the top has in z."""
        if level == self.top:
            return z[..., :: self.side(level), :: self.side(level)][:, None]
        return blocks_at(z, means, self.side(level))

    def next_means(self, blocks: Tensor, level: int) -> Tensor:
        """Means of the next finer level's blocks."""
        return blocks[:, MEAN] if level == self.top else join_blocks(blocks)

    def features(
        self, blocks: Tensor, level: int, part: Tensor, above: Tensor | None, past: LevelPast
    ) -> Features:
        """Features of a level whose parts before ``part`` (B,) are known; ``EVERY``: all of them."""
        seen = blocks / self.config.unit
        if self.parts(level) == 1:  # means alone are known
            known = torch.zeros_like(seen[:, 0, :1])
            cost = self._cost(seen[:, :1], past.copies[:, :, :1])
            seen = torch.cat([seen[:, :1], torch.zeros_like(seen[:, 1:])], 1)
        else:
            known = (_parts(*blocks.shape[-2:]).to(part.device) < part[:, None, None])[:, None].to(seen.dtype)
            means = [] if level == self.top else [torch.ones_like(known)]
            masks = torch.cat([*means, *[known] * self.coded(level)], 1)[:, :, None]
            seen = seen * masks
            cost = self._cost(seen, past.copies, masks)
        votes = votes_of(cost, self.config.reach)
        displaced = [cost, past.votes.exp(), votes.exp()]
        planes = [seen.flatten(1, 2), known, past.planes, *(plane[:, : self.near] for plane in displaced)]
        far = torch.cat([plane[:, self.near :] for plane in (past.cost, *displaced)], 1)
        evidence = torch.stack([-cost, votes, -past.cost, past.votes], 1)
        return Features(self.nets[level](torch.cat(planes, 1), above, past.context, far), evidence)

    def above(
        self, features: Features, blocks: Tensor, level: int, above: Tensor | None, past: LevelPast
    ) -> Tensor:
        """Features of a known level that the next finer one sees; ``features``: the last computed."""
        if self.parts(level) > 1:
            every = torch.full((len(blocks),), EVERY, device=blocks.device)
            features = self.features(blocks, level, every, above, past)
        return features.planes

    def gather(self, found: Features, level: int, part: Tensor | None, past: LevelPast) -> Blocks:
        """Blocks of a part (B,), or all."""
        h = found.planes
        inside = _parts(*h.shape[-2:]).to(h.device)[None].expand(len(h), -1, -1)
        at = (inside >= 0 if part is None else inside == part[:, None, None]).nonzero(as_tuple=True)
        batch, row, column = at
        features = F.layer_norm(h[batch, :, row, column].float(), h.shape[1:2])
        copies = past.copies[batch, ..., row, column]
        copies = copies.flatten(2) if level == self.top else copies[:, :, 1:].flatten(2)
        with torch.autocast(h.device.type, enabled=False):
            logits, gains, gain = self.evidence[level](features).split([self.near, GAINS, 1], 1)
            if self.far_evidence:
                logits = torch.cat([logits, self.far_evidence[level](features)], 1)
        evidence = found.evidence[batch, ..., row, column]
        logits = logits + (evidence * _gain(gains)[..., None]).sum(1)
        expected = (logits.softmax(1)[..., None] * copies).sum(1)
        return Blocks(features, copies, logits, _gain(gain), expected, at)

    def details(self, blocks: Tensor, found: Blocks) -> Tensor:
        """Wavelets of blocks that their level codes, (N, D), in the network's units."""
        batch, row, column = found.places
        own = blocks[batch, ..., row, column] / self.config.unit
        return own.flatten(1) if own.shape[1] == 1 else own[:, 1:].flatten(1)

    def density(self, found: Blocks, z: Tensor, level: int, first: int, last: int) -> GaussianMixture:
        """Mixtures of wavelets ``first`` … ``last`` − 1 of each block, (N · count,), in grey levels."""
        with torch.autocast(z.device.type, enabled=False):
            made = self.heads[level](found, z, first, last)
        return GaussianMixture(*(field.flatten(0, 1) for field in made))

    def places(self, found: Blocks, level: int, first: int, last: int) -> Places:
        """Example, channel, row and column of the same elements."""
        batch, row, column = found.places
        side = self.side(level)
        number = torch.arange(first, last, device=batch.device)
        slot, channel = number // self.channels + (level < self.top), number % self.channels
        offsets = torch.tensor([slot_offset(s, side) for s in slot.tolist()], device=batch.device)
        count = last - first
        return (
            batch.repeat_interleave(count),
            channel.repeat(len(batch)),
            (row[:, None] * side + offsets[:, 0]).flatten(),
            (column[:, None] * side + offsets[:, 1]).flatten(),
        )

    def _level_past(self, own: Tensor, newest: Tensor, before: Tensor | None, mask: Tensor) -> LevelPast:
        unit = self.config.unit
        own, newest = own * (mask[:, :, None, None, None, None] / unit), newest / unit
        absent = mask[:, :, None, None].expand(*mask.shape, *own.shape[-2:])
        if before is None:
            cost = own.new_zeros(len(own), self.displaced, *own.shape[-2:])
        else:
            cost = self._cost(own[:, -1], before / unit) * mask[:, -2, None, None, None]
        votes = votes_of(cost, self.config.reach)
        planes = torch.cat([own.flatten(1, 3), absent, cost[:, : self.near]], 1)
        return LevelPast(planes, newest, cost, votes)

    def _displaced(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Finest blocks (B, K, 4, C, H/2, W/2) of the newest of (B, n, C, H, W), displaced in K ways."""
        image = frames[:, -1]
        down, right = (max(abs(vector[axis]) for vector in self.vectors) for axis in (0, 1))
        height, width = image.shape[2] // 2, image.shape[3] // 2
        padded = F.pad(image, (right, right + 1, down, down + 1), mode="replicate")
        rows, columns = 2 * (height + down), 2 * (width + right)
        starts = [(*divmod(dy + down, 2), *divmod(dx + right, 2)) for dy, dx in self.vectors]
        blocks = {
            (i, j): haar_blocks(padded[..., i : i + rows, j : j + columns])  # a pixel makes other blocks
            for i, j in {(i, j) for _, i, _, j in starts}
        }
        found = [blocks[i, j][..., y : y + height, x : x + width] for y, i, x, j in starts]
        if self.config.extrapolated:
            found += haar_blocks(_moved_on(frames, mask)).unbind(1)
        return torch.stack(found, 1)

    def _cost(self, blocks: Tensor, copies: Tensor, known: Tensor | None = None) -> Tensor:
        """Distance (B, K, h, w) of blocks (B, S, C, h, w), where known, from copies (B, K, S, C, h, w)."""
        difference = blocks[:, None] - copies
        if known is not None:
            difference *= known[:, None]
        total = difference.abs_().clamp_max_(COST_LIMIT).sum((2, 3))
        return total / math.sqrt(blocks.shape[1] * self.channels)


@torch.no_grad()
def _moved_on(frames: Tensor, mask: Tensor) -> Tensor:
    """Frames (B, E, C, H, W) after (B, n, C, H, W) along the optical flow of the last two, in E ways.

    Where ``mask`` (B, n) lacks the one before the newest, the newest.
    """
    newest = frames[:, -1]
    found = torch.stack([newest] * EXTRAPOLATIONS, 1)
    if frames.shape[1] > 1:
        from vflow.optical_flow import next_frames  # only here does a model need OpenCV

        images = (frames[:, -2:] + GREY).clamp(0, LEVELS - 1).to("cpu", torch.uint8).movedim(2, -1).numpy()
        for number in mask[:, -2].nonzero().flatten().tolist():
            made = torch.from_numpy(next_frames(*images[number])).movedim(-1, 1)
            found[number] = made.to(found) - GREY
    return found


def displacements(config: WaveletPriorConfig) -> list[tuple[int, int]]:
    """Rows and columns by which the newest frame is displaced: all within the radius, then those beyond."""
    near = [i * config.step for i in range(-config.radius, config.radius + 1)]
    rows, columns = (range(-far, far + 1) for far in config.far)
    beyond = [(y, x) for y, x in product(rows, columns) if max(abs(y), abs(x)) > config.radius * config.step]
    return [*product(near, near), *beyond]


@final
class Sweep:
    """Densities of one group of latents after the other, given those before; keeps what a level shares."""

    def __init__(self, prior: WaveletPrior, past: list[LevelPast]) -> None:
        self.prior, self.past = prior, past
        self.level, self.first, self.part = prior.top, 0, -1
        self.means: Tensor | None = None
        self.above: Tensor | None = None
        self.features: Features | None = None
        self.found: Blocks | None = None

    def __call__(self, z: Tensor, group: int) -> tuple[Places, GaussianMixture]:
        """Places of a group's latents (B, C, H, W), and their density given the latents ``z`` before it."""
        prior = self.prior
        while group >= self.first + prior.counts[self.level]:
            self._descend(z)
        part, number = divmod(group - self.first, prior.depth(self.level))
        blocks, past = self._blocks(z), self.past[self.level]
        if part != self.part or self.found is None:
            index = torch.full((len(z),), part, device=z.device)
            self.features = prior.features(blocks, self.level, index, self.above, past)
            own = index if prior.parts(self.level) > 1 else None
            self.found, self.part = prior.gather(self.features, self.level, own, past), part
        details = prior.details(blocks, self.found)
        density = prior.density(self.found, details, self.level, number, number + 1)
        return prior.places(self.found, self.level, number, number + 1), density

    def _descend(self, z: Tensor) -> None:
        """Go to the next finer level, all of this one being known."""
        prior, blocks, past = self.prior, self._blocks(z), self.past[self.level]
        assert self.features is not None
        self.above = prior.above(self.features, blocks, self.level, self.above, past)
        self.means = prior.next_means(blocks, self.level)
        self.first += prior.counts[self.level]
        self.level, self.part = self.level - 1, -1

    def _blocks(self, z: Tensor) -> Tensor:
        return self.prior.blocks(z, z if self.means is None else self.means, self.level)


def mixture_over_copies(
    copies: Tensor, logits: Tensor, delta: Tensor, raw: Tensor, weight: Tensor, unit: float
) -> GaussianMixture:
    """Mixture of modes at the likeliest displaced copies and components around their mean, elements (\\*S).

    Args:
        copies, logits: (\\*S, K), in multiples of ``unit``.
        delta, raw: (\\*S, M + 1): offsets and scales of a network; modes share the first.
        weight: logits of the M components, (\\*S, M).
    """
    likely, near = logits, copies
    if copies.shape[-1] > MODES:
        likely, index = logits.topk(MODES, -1)
        near = copies.gather(-1, index)
    spread = torch.linspace(-SPREAD, SPREAD, weight.shape[-1], dtype=weight.dtype, device=weight.device)
    mean = (logits.softmax(-1) * copies).sum(-1, keepdim=True) + delta[..., 1:]
    scales = [bounded_log_scale(raw[..., :1]).expand_as(near), bounded_log_scale(raw[..., 1:] + spread)]
    return GaussianMixture.broadened(
        torch.cat([near + delta[..., :1], mean], -1) * unit,
        torch.cat(scales, -1) + math.log(unit),
        torch.cat([likely, weight], -1).log_softmax(-1),
    )


def _gain(raw: Tensor) -> Tensor:
    """Weight of evidence, above 0."""
    return GAIN_START * (GAIN_LIMIT * torch.tanh(raw / GAIN_LIMIT)).exp()


@lru_cache(maxsize=64)
def _parts(height: int, width: int) -> Tensor:
    """Part of each block, 0 … 3, int64 (h, w)."""
    found = torch.zeros(height, width, dtype=torch.int64)
    for part, (row, column) in enumerate(PARITIES):
        found[row::2, column::2] = part
    return found


@lru_cache(maxsize=16)
def wavelet_order(channels: int, height: int, width: int, levels: int, parts_from: int) -> Tensor:
    """Group of each wavelet in place, int64 (C, H, W)."""
    order, first = torch.zeros(channels, height, width, dtype=torch.int64), 0
    for level in reversed(range(levels + 1)):
        side = 2 ** min(level + 1, levels)
        slots = range(1) if level == levels else range(1, SLOTS)
        apart = level == levels or side >= parts_from
        parts, depth = _parts(height // side, width // side) if apart else 0, len(slots) * channels
        for number, (slot, channel) in enumerate(product(slots, range(channels))):
            row, column = slot_offset(slot, side)
            order[channel, row::side, column::side] = first + parts * depth + number
        first += depth * (len(PARITIES) if apart else 1)
    return order
