"""Pyramid of lattices: p(image) as three quarters of the pixels given a quarter, level after level.

Every second pixel of every second row is an image of half the size. Given it (a lattice A), the pixels in the
middle of its cells (D) are coded, then those between them to the right of A (B) and below A (C), each channel
given those before it at its pixel. All pixels of one of these passes are coded at once, so decoding takes
nine evaluations of small networks per level and is linear in pixels. As a flow: a squeeze, and factored-out
parts with conditional priors, log-det 0 (Hoogeboom et al. 2019); the order is that of interlaced coding
(Kamisli 2023, *Learned Lossless Image Compression Through Interpolation With Low Complexity*).

Of a clip the networks also see the frames before, displaced to where they match what is known of the next
(motion compensation by the decoder, so no displacements are sent).

The networks compute with exact sums (nn/exact.py), so whatever decodes gets the numbers that the encoder had.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vflow.config import LatticeConfig
from vflow.config.codec import BASE_SIDE, level_sizes
from vflow.nn.exact import ExactConv2d, rounded_relu, straight_through_round
from vflow.nn.modules import ModuleList
from vflow.priors.discretized_logistic import log_masses

COLORS = 3
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # A, D, B, C: row and column within a cell of 2×2 pixels
CONTRAST_UNIT = 1 / 16
CONTRAST_LIMIT = 255 * CONTRAST_UNIT
MEAN_STEPS = 16  # means are multiples of 1/16 grey level
SCALE_STEPS = 8  # scales are powers of 2^(1/8) ...
SMALLEST_SCALE = -4  # ... from 2^-4 grey levels
SCALES = 96
WEIGHT_STEPS = 8  # weights of components are powers of 2^(1/8)
MARGIN = 4  # sites around an image that its networks look at: 2 by windows, 2 by convolutions
DISPLACED_GAIN = 54  # grey levels by which a displaced match must be nearer: two for each of 3·3·3 values


class QuantizedMixture(NamedTuple):
    """Mixture of K discretised logistics for each pixel, whose parameters are whole numbers.

    So all machines agree on it. Each part is float32 (B, K, H, W). mean: in 1/16 grey level. scale: index i
    of the scale 2^(i/8 − 4) grey levels. weight: index j of the unnormalised weight 2^(j/8).
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor

    def log_probability(self, values: Tensor) -> Tensor:
        """Natural log of the probabilities of grey levels 0 … 255 (B, H, W); 0 and 255 take the tails."""
        log_scale = (self.scale / SCALE_STEPS + SMALLEST_SCALE) * math.log(2)
        up_to, from_on, inside = log_masses(values[:, None] - self.mean / MEAN_STEPS, log_scale)
        first, last = (values == 0)[:, None], (values == 255)[:, None]
        term = torch.where(first, up_to, torch.where(last, from_on, inside))
        log_weight = torch.log_softmax(self.weight * (math.log(2) / WEIGHT_STEPS), 1)
        return torch.logsumexp(term + log_weight, 1)


class Neighbor(NamedTuple):
    """A pixel near the one to be coded: frame (0 is the current one), phase, and offset in cells."""

    frame: int
    phase: int
    row: int
    column: int


def _grid(phase: int, rows: range, columns: range) -> list[Neighbor]:
    return [Neighbor(0, phase, row, column) for row in rows for column in columns]


# What is known of the current frame around a pixel of each phase, and the four of it that are nearest.
KNOWN = (
    (),
    tuple(_grid(0, range(-1, 3), range(-1, 3))),
    tuple(_grid(0, range(-1, 2), range(-1, 3)) + _grid(1, range(-2, 2), range(-1, 2))),
    tuple(
        _grid(0, range(-1, 3), range(-1, 2))
        + _grid(1, range(-1, 2), range(-2, 2))
        + _grid(2, range(-1, 3), range(-2, 2))
    ),
)
NEAREST = (
    (),
    tuple(_grid(0, range(2), range(2))),
    tuple(_grid(0, range(1), range(2)) + _grid(1, range(-1, 1), range(1))),
    tuple(_grid(0, range(2), range(1)) + _grid(1, range(1), range(-1, 1))),
)


def _around(phase: int, frame: int, radius: int) -> list[Neighbor]:
    """Pixels of an earlier frame up to ``radius`` rows and columns from a pixel of ``phase``."""
    top, left = PHASES[phase]
    places = itertools.product(range(top - radius, top + radius + 1), range(left - radius, left + radius + 1))
    return [Neighbor(frame, PHASES.index((y % 2, x % 2)), y // 2, x // 2) for y, x in places]


Planes = Sequence[Sequence[Tensor]]
"""By frame and phase: pixels (B, 3, h + 2 · MARGIN, w + 2 · MARGIN), with a margin."""


@final
class PhaseNetwork(nn.Module):
    """Mixtures of the pixels of one phase, channel by channel.

    Contrasts d of what is known to a base value p (the nearest pixels' mean, or the same pixel of the
    displaced frame before) go through a 1×1 and two residual 3×3 convolutions; a head per channel also sees
    the channels before it. Means are p + (a linear function of d) + (the head's offset).
    """

    def __init__(self, phase: int, config: LatticeConfig) -> None:
        super().__init__()
        self.phase, self.config = phase, config
        inputs = COLORS * (len(KNOWN[phase]) + len(self._earlier()))
        hidden, head = config.hidden, config.head
        self.enter = ExactConv2d(inputs, hidden, input_unit=CONTRAST_UNIT, input_limit=CONTRAST_LIMIT)
        self.middle = ModuleList([ExactConv2d(hidden, hidden, 3) for _ in range(2)])
        for layer in self.middle:
            nn.init.normal_(layer.weight, std=0.3 * math.sqrt(2 / (9 * hidden)))
        self.linear = nn.Parameter(torch.zeros(COLORS, inputs))
        self.across = nn.Parameter(torch.zeros(COLORS, COLORS - 1))
        self.heads = ModuleList(
            [ExactConv2d(hidden + c, head, input_limit=CONTRAST_LIMIT) for c in range(COLORS)]
        )
        self.outputs = ModuleList([ExactConv2d(head, 3 * config.mixtures, zero=True) for _ in range(COLORS)])
        k = config.mixtures
        for layer in self.outputs:
            layer.bias.data[k : 2 * k] = torch.linspace(4.5, 7.5, k)  # log2 of scales, less the smallest

    def _earlier(self) -> list[Neighbor]:
        """Pixels of the last frame and the one before; of displaced frames also of the last as it was."""
        if not self.config.references:
            return []
        undisplaced = _around(self.phase, 3, 1) if self.config.max_displacement else []
        return _around(self.phase, 1, 2) + _around(self.phase, 2, 1) + undisplaced

    def contrasts(self, planes: Planes, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Contrasts (B, 3n, h + 4, w + 4) in grey levels, and base values (B, 3, h + 4, w + 4)."""

        def at(n: Neighbor) -> Tensor:
            top, left = MARGIN - 2 + n.row, MARGIN - 2 + n.column
            return planes[n.frame][n.phase][..., top : top + size[0] + 4, left : left + size[1] + 4]

        known = KNOWN[self.phase]
        if not self.config.references:
            base = torch.stack([at(n) for n in NEAREST[self.phase]]).sum(0).add_(2).mul_(0.25).floor_()
            return torch.cat([at(n) - base for n in known], 1), base
        base = at(Neighbor(1, self.phase, 0, 0))
        changes = [at(n) - at(n._replace(frame=1)) for n in known]
        before = [at(n) - base for n in self._earlier()]
        return torch.cat(changes + before, 1), base

    def features(self, contrasts: Tensor) -> Tensor:
        """(B, hidden, h, w)."""
        h = rounded_relu(self.enter(contrasts * CONTRAST_UNIT))
        for layer in self.middle:
            h = rounded_relu(h[..., 1:-1, 1:-1] + layer(h))
        return h

    def mixtures(
        self,
        planes: Planes,
        size: tuple[int, int],
        code: Callable[[int, QuantizedMixture], Tensor],
        dtype: torch.dtype,
    ) -> Tensor:
        """Go through the channels: ``code`` gets a channel and its mixture and returns the pixels (B, h, w).

        Returns:
            The pixels (B, 3, h, w), float32.
        """
        contrasts, base = self.contrasts(planes, size)
        features = self.features(contrasts.to(dtype))
        inner = contrasts[..., 2:-2, 2:-2].float()
        linear = functional.conv2d(inner, _fine(self.linear)[..., None, None])
        base = base[..., 2:-2, 2:-2].float()
        across = _fine(self.across)
        seen: list[Tensor] = []
        pixels: list[Tensor] = []
        for channel in range(COLORS):
            inputs = torch.cat([features, *[s.to(dtype) * CONTRAST_UNIT for s in seen]], 1)
            hidden = rounded_relu(self.heads[channel](inputs))
            offset, scale, weight = self.outputs[channel](hidden).float().chunk(3, 1)
            shift = linear[:, channel, None]
            for j, s in enumerate(seen):
                shift = shift + across[channel, j] * s
            mean = straight_through_round((shift + offset) * MEAN_STEPS) + base[:, channel, None] * MEAN_STEPS
            mixture = QuantizedMixture(
                mean.clamp(-4096, 8192),
                straight_through_round(scale * SCALE_STEPS).clamp(0, SCALES - 1),
                straight_through_round(weight * WEIGHT_STEPS).clamp(-256, 256),
            )
            pixels.append(code(channel, mixture))
            seen.append(pixels[-1][:, None] - base[:, channel, None])
        return torch.stack(pixels, 1)


def _fine(weight: Tensor) -> Tensor:
    """Weights of what is added to means, in multiples of 2⁻⁹."""
    return straight_through_round(weight.clamp(-8, 8) * 512) / 512


class Place(NamedTuple):
    """Pixels that are coded at once: level (0 is the finest), phase, channel, first and last row."""

    level: int
    phase: int
    channel: int
    start: int
    stop: int


Code = Callable[[Place, QuantizedMixture], Tensor]
"""Codes pixels given their mixtures: an encoder returns what it knows, a decoder what it reads, (B, h, w)."""


def phases(image: Tensor) -> list[Tensor]:
    """The four lattices A, D, B, C of images (B, 3, H, W)."""
    return [image[..., row::2, column::2] for row, column in PHASES]


def plane_size(size: tuple[int, int], phase: int) -> tuple[int, int]:
    """Rows and columns that the lattice ``phase`` of an image of ``size`` has."""
    row, column = PHASES[phase]
    return (size[0] + 1 - row) // 2, (size[1] + 1 - column) // 2


def _pad(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """A lattice extended by copies of its border to ``size``, and by a margin all around."""
    height, width = plane.shape[-2:]
    padding = (MARGIN, MARGIN + size[1] - width, MARGIN, MARGIN + size[0] - height)
    return functional.pad(plane, padding, mode="replicate")


def motion_compensated(frame: Tensor, known: Tensor, radius: int) -> Tensor:
    """A frame (B, 3, H, W), each cell of 2×2 pixels displaced to where it best matches the next frame.

    Decoders know lattice A of the next frame, so they find the same displacements and none is sent
    (decoder-side motion estimation). Sums are of whole numbers, which float32 holds exactly.

    Args:
        known: lattice A of the next frame, (B, 3, (H + 1) // 2, (W + 1) // 2). Matches are by absolute
            differences at 3×3 of its pixels.
        radius: of displacements along each axis, in pixels.
    """
    if not radius:
        return frame
    size, (height, width) = frame.shape[-2:], known.shape[-2:]
    padding = (radius, radius + 2 * width - size[1], radius, radius + 2 * height - size[0])
    padded = functional.pad(frame.float(), padding, mode="replicate")
    lattices = [[padded[..., row::2, column::2].contiguous() for column in range(2)] for row in range(2)]

    def cost(row: int, column: int) -> Tensor:
        top, left = radius + row, radius + column
        lattice = lattices[top % 2][left % 2]
        seen = lattice[..., top // 2 : top // 2 + height, left // 2 : left // 2 + width]
        difference = functional.pad(
            (known - seen).abs_().sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate"
        )
        return functional.avg_pool2d(difference, 3, 1, divisor_override=1)

    offset, stride = radius * padded.shape[-1] + radius, padded.shape[-1]
    span = range(-radius, radius + 1)
    nearest_first = sorted(itertools.product(span, span), key=lambda v: (v[0] ** 2 + v[1] ** 2, v))
    best = cost(0, 0) - DISPLACED_GAIN
    shift = torch.zeros_like(best, dtype=torch.int64)
    for row, column in nearest_first[1:]:
        found = cost(row, column)
        nearer = found < best
        best = torch.where(nearer, found, best)
        shift.masked_fill_(nearer, row * stride + column)
    shift = shift.repeat_interleave(2, -2).repeat_interleave(2, -1)[..., : size[0], : size[1]]
    rows, columns = (torch.arange(n, device=frame.device) for n in size)
    index = (shift + rows[:, None] * stride + columns + offset).flatten(2)
    displaced = padded.flatten(2).gather(2, index.expand(-1, COLORS, -1))
    return displaced.view_as(frame).to(frame.dtype)


@final
class LatticePyramid(nn.Module):
    """Likelihood of images of any size, level by level; see the module's docstring."""

    def __init__(self, config: LatticeConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = ModuleList(
            [ModuleList([PhaseNetwork(p, config) for p in (1, 2, 3)]) for _ in range(config.levels)]
        )

    def code(
        self,
        base: Tensor,
        size: tuple[int, int],
        code: Code,
        references: Sequence[Tensor] = (),
        *,
        strip: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Go through the pyramid, coarse to fine.

        Args:
            base: the coarsest lattice, (B, 3, h, w) as ``level_sizes`` has it.
            size: of the images.
            references: frames before, the last one first, (B, 3, H, W).
            strip: cells that are computed at once (which bounds memory, and changes no result); None: all.
            dtype: of the networks. Exact in float32; bfloat16 is for training.

        Returns:
            The images (B, 3, H, W), float32, made of what ``code`` returned.
        """
        sizes = level_sizes(size)
        pyramids = [image_pyramid(reference.to(dtype)) for reference in references]
        image = base.float()
        for level in reversed(range(len(sizes) - 1)):
            before = [pyramid[level] for pyramid in pyramids]
            image = self._level(level, image, sizes[level], code, before, strip, dtype)
        return image

    def _level(
        self,
        level: int,
        image: Tensor,
        size: tuple[int, int],
        code: Code,
        references: Sequence[Tensor],
        strip: int | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """The image of ``size`` whose lattice A is ``image``; ``references``: frames before, of that size."""
        networks = self.levels[min(level, len(self.levels) - 1)]
        cells = (image.shape[-2], image.shape[-1])
        if self.config.max_displacement:
            radius = self.config.max_displacement >> level
            displaced = [motion_compensated(frame, image, radius) for frame in references]
            references = [*displaced, references[0]]
        lattices = [phases(reference) for reference in references]
        before = [[_pad(p if p.numel() else frame[0], cells) for p in frame] for frame in lattices]
        planes, padded = [image], [_pad(image.to(dtype), cells)]
        for phase, network in zip((1, 2, 3), networks, strict=True):
            height, width = plane_size(size, phase)
            plane = image.new_empty((*image.shape[:2], height, width))
            rows = max(1, strip // max(1, width)) if strip else max(1, height)
            for start in range(0, height, rows) if width else ():
                stop = min(start + rows, height)
                window = [[p[..., start : stop + 2 * MARGIN, :] for p in f] for f in (padded, *before)]
                place = Place(level, phase, 0, start, stop)
                strip_size = (stop - start, width)
                plane[..., start:stop, :] = network.mixtures(window, strip_size, _at(place, code), dtype)
            planes.append(plane)
            padded.append(_pad((plane if plane.numel() else image).to(dtype), cells))
        whole = image.new_empty((*image.shape[:2], *size))
        for (row, column), plane in zip(PHASES, planes, strict=True):
            whole[..., row::2, column::2] = plane
        return whole

    def log_probability(
        self,
        images: Tensor,
        references: Sequence[Tensor] = (),
        *,
        levels: Sequence[int] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Log-likelihood of uint8 images (B, 3, H, W) by level, (B, levels + 1), nats.

        The base takes 8 bits a value.

        Args:
            levels: those to compute, since each is coded given the next alone; others count 0. None: all.
        """
        pyramid, before = image_pyramid(images.float()), [image_pyramid(r.to(dtype)) for r in references]
        terms = [images.new_zeros(len(images), dtype=torch.float32) for _ in pyramid]
        terms[-1] = terms[-1] - math.log(256) * pyramid[-1][0].numel()
        for level in range(len(pyramid) - 1) if levels is None else levels:
            lattices = phases(pyramid[level])

            def code(place: Place, mixture: QuantizedMixture, lattices: list[Tensor] = lattices) -> Tensor:
                values = lattices[place.phase][:, place.channel, place.start : place.stop]
                terms[place.level] = terms[place.level] + mixture.log_probability(values).flatten(1).sum(1)
                return values

            size = (pyramid[level].shape[-2], pyramid[level].shape[-1])
            frames = [p[level] for p in before]
            self._level(level, pyramid[level + 1], size, code, frames, None, dtype)
        return torch.stack(terms, 1)


def _at(place: Place, code: Code) -> Callable[[int, QuantizedMixture], Tensor]:
    """``code`` for the channels of one place."""
    return lambda channel, mixture: code(place._replace(channel=channel), mixture)


def image_pyramid(image: Tensor) -> list[Tensor]:
    """Images (B, 3, H, W) and every second row and column of each, down to the base."""
    found = [image]
    while max(found[-1].shape[-2:]) > BASE_SIDE:
        found.append(found[-1][..., ::2, ::2])
    return found
