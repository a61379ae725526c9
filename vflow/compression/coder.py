"""Coders of frames: pixels to bytes and back, one frame after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from vflow.compression.color import ColorMap
from vflow.compression.container import Header
from vflow.errors import InputError

Count = Callable[[int], None]
"""Called with the number of a frame's values that were coded since the last call."""


class FrameCoder(ABC):
    """Pixels of frames to bytes and back, one after the other, each given those before."""

    color_map: ColorMap = "rgb"
    """Of the newest frame."""
    arithmetic: str = ""
    """Processor and libraries that both sides must share; "" where whole numbers decide."""
    alone: bool = False
    """The newest frame was coded without those before, though there are some."""

    costs: np.ndarray | None = None
    """Bits of each pixel of the newest frame, float32 (H, W); None where they are not known."""

    @abstractmethod
    def begin(self, pictures: np.ndarray) -> None:
        """Look at all frames, uint8 (T, H, W, C), before the first is coded.

        Raises:
            ConfigError: too many, or of another size.
        """

    @abstractmethod
    def encode(self, pixels: np.ndarray, count: Count) -> tuple[bytes, float]:
        """Bytes of the next frame, uint8 (H, W, 3), and −log₂ p."""

    @abstractmethod
    def remember(self, pixels: np.ndarray) -> None:
        """Take the next frame, uint8 (H, W, 3), as decoded: it was stored raw."""

    def restart(self) -> None:
        """Forget the frames before: the next one to be decoded was coded alone.

        Raises:
            InputError: this coder codes none so.
        """
        raise InputError("coded without the frames before, as this checkpoint never does")

    @abstractmethod
    def decode(self, header: Header, data: bytes, count: Count) -> np.ndarray:
        """The next frame, uint8 (H, W, 3).

        Raises:
            InputError: it ends too early.
        """
