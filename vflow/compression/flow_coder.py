"""Coder of clips by a VideoFlow whose pixels have exact masses."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from typing import final

import numpy as np
import torch
from torch import Tensor

from vflow.compression.coder import Count, FrameCoder
from vflow.compression.container import Header
from vflow.compression.entropy import BinMasses, Decoder, Encoder
from vflow.data.stills import lossless_webp, read_webp
from vflow.devices import one_thread
from vflow.errors import ConfigError
from vflow.models.lattice_videoflow import LatticeVideoFlow
from vflow.priors.gaussian_mixture import GaussianMixture


@final
class FlowCoder(FrameCoder):
    """Frames by a VideoFlow with exact masses; the first, which it takes as given, as lossless WebP.

    The masses are computed in floating point, by one thread, so a file is read where it was written.
    """

    def __init__(self, model: LatticeVideoFlow) -> None:
        self.model, self.given = model, model.config.min_context
        self.past: list[Tensor] = []
        self.arithmetic = _arithmetic()

    def begin(self, pictures: np.ndarray) -> None:
        (_, height, width), found = self.model.image_shape, pictures.shape[1:3]
        multiple = self.model.size_multiple
        fits = self.model.config.keeps_size(*found) and not any(side % multiple for side in found)
        if found != (height, width) and not fits:
            raise ConfigError(
                f"frames of {found[1]}×{found[0]}, the checkpoint codes {width}×{height}; "
                "choose a checkpoint of kind clip_codec, such as codec-clip"
            )

    def encode(self, pixels: np.ndarray, count: Count) -> tuple[bytes, float]:
        if len(self.past) < self.given:
            self.remember(pixels)
            data = lossless_webp(pixels)
            return data, 8.0 * len(data)
        encoder, known = Encoder(), _known_in_turn(self.model, _tensor(pixels))

        def choose(density: GaussianMixture, edges: Tensor) -> Tensor:
            values = next(known)
            encoder.levels(BinMasses(density, edges), values)
            count(values.numel())
            return values

        self._code(choose)
        return encoder.finish(), encoder.information

    def decode(self, header: Header, data: bytes, count: Count) -> np.ndarray:
        if len(self.past) < self.given:
            pixels = read_webp(data, (header.height, header.width))
            self.remember(pixels)
            return pixels
        decoder = Decoder(data)

        def choose(density: GaussianMixture, edges: Tensor) -> Tensor:
            values = decoder.levels(BinMasses(density, edges))
            count(values.numel())
            return values

        frame = self._code(choose)
        return np.ascontiguousarray(frame[0].permute(1, 2, 0).numpy())

    def _code(self, choose: Callable[[GaussianMixture, Tensor], Tensor]) -> Tensor:
        with one_thread():
            frame = self.model.code_frame(torch.stack(self.past, 1), choose)
        self._remember(frame)
        return frame

    def remember(self, pixels: np.ndarray) -> None:
        self._remember(_tensor(pixels))

    def _remember(self, frame: Tensor) -> None:
        self.past = [*self.past, frame][-self.model.config.context :]


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]


def _known_in_turn(model: LatticeVideoFlow, frame: Tensor) -> Iterator[Tensor]:
    """Numbers of the bins of a frame's latents (1, C, H, W), group by group, int64 (N,) each."""
    order, symbols = model.prior.order(*frame.shape[2:])[None], model.pixel_map.symbols(frame)
    return (symbols[order == group] for group in range(int(order.max()) + 1))


def _arithmetic() -> str:
    """Libraries and processor that decide how floating-point sums are rounded, as far as known."""
    parts = [f"torch {torch.__version__}", torch.backends.cpu.get_cpu_capability(), platform.machine()]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return ", ".join([*parts, limit] if limit else parts)
