"""Cache of decoded clips and photos, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

CACHE_BYTES = 1_500_000_000


class ClipCache:
    """Decoded clips, the least recently used dropped beyond ``max_bytes``. Safe between threads.

    Decoding each time would starve a trainer on two cores. A copy sent to another process starts empty.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes = max_bytes, 0
        self._clips: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[ClipCache], tuple[int]]:
        return ClipCache, (self.max_bytes,)

    def get(self, name: str) -> np.ndarray | None:
        """The clip under ``name``, now the most recent, or None."""
        with self._lock:
            if name in self._clips:
                self._clips.move_to_end(name)
            return self._clips.get(name)

    def put(self, name: str, clip: np.ndarray) -> None:
        """Keep ``clip``, unless it alone exceeds the bound."""
        with self._lock:
            if name in self._clips or clip.nbytes > self.max_bytes:
                return
            self._clips[name] = clip
            self.bytes += clip.nbytes
            while self.bytes > self.max_bytes:
                self.bytes -= self._clips.popitem(last=False)[1].nbytes
