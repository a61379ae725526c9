"""Fréchet distance between two sets of features, and features by a network that the user gives.

It is FVD or FID only on the features of I3D or Inception; on others it has no such name, and figures on the
features of different networks, or on different numbers of pictures, do not compare.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np

from vflow.errors import ConfigError, InputError

BATCH = 32


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of Gaussians fitted to features (N, D) and (M, D).

    Raises:
        InputError: fewer than two rows on a side, or features that are not finite.
    """
    if min(len(first), len(second)) < 2:
        raise InputError("a Fréchet distance needs two or more pictures on each side; raise --limit")
    one, two = first.astype(np.float64), second.astype(np.float64)
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise InputError("features: some are NaN or infinite; give a network that takes values in 0..1")
    covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (one, two)]
    root = _root(covariances[0])
    # The eigenvalues of Σ₁^½ Σ₂ Σ₁^½ are those of Σ₁ Σ₂, and this matrix is symmetric.
    mixed = np.linalg.eigvalsh(root @ covariances[1] @ root)
    traces = sum(np.trace(covariance) for covariance in covariances)
    apart = ((one.mean(0) - two.mean(0)) ** 2).sum()
    return float(max(0.0, apart + traces - 2 * np.sqrt(np.maximum(mixed, 0)).sum()))


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


@final
class FeatureNetwork:
    """An ONNX network that turns pictures into features; its first input and first output are used.

    Pictures enter as float32 (B, 3, H, W), RGB, 0..1, at the size that the network declares (else their own);
    maps (B, D, h, w) are averaged over space. What else a network needs, such as subtracting the mean of its
    training data, belongs into it.

    Raises:
        ConfigError: no onnxruntime. InputError: not an ONNX network, or one with another kind of input.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError("--features needs onnxruntime: pip install onnxruntime") from error
        if not path.is_file():
            raise InputError(f"{path}: no such file; give an ONNX network")
        self.path = path
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"{path}: cannot be loaded as ONNX ({str(error)[:200]})") from error
        given = self._session.get_inputs()[0]
        shape = [side if isinstance(side, int) else None for side in given.shape]
        if len(shape) != 4 or shape[1] not in (3, None) or given.type != "tensor(float)":
            raise InputError(
                f"{path}: its input is {given.type} {given.shape}; it must be float (B, 3, H, W)"
            )
        self._name, self._fixed = given.name, shape[0] is not None
        self._step = shape[0] or BATCH
        self.size = None if shape[2] is None or shape[3] is None else (shape[2], shape[3])

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Features float32 (N, D) of uint8 (N, H, W, C), C 1 or 3."""
        found = []
        for start in range(0, len(pictures), self._step):
            some = pictures[start : start + self._step]
            batch = np.stack([self._prepare(picture) for picture in some]).transpose(0, 3, 1, 2)
            # A network may declare how many pictures it takes.
            missing = self._step - len(some) if self._fixed else 0
            batch = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
            features = np.asarray(self._session.run(None, {self._name: batch})[0])[: len(some)]
            features = features.mean((2, 3)) if features.ndim == 4 else features.reshape(len(some), -1)
            found.append(features.astype(np.float32))
        return np.concatenate(found)

    def protocol(self) -> dict[str, Any]:
        """Protocol of the figure: network, input, features."""
        return {
            "network": self.path.name,
            "network_sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "input": "float32 RGB in 0..1" + (", resized by area" if self.size else ""),
            "input_size": self.size,
            "features": "first output, maps averaged over space",
        }

    def _prepare(self, picture: np.ndarray) -> np.ndarray:
        x = np.repeat(picture, 3, -1) if picture.shape[-1] == 1 else picture
        x = np.ascontiguousarray(x, np.float32) / 255
        if self.size:
            height, width = self.size
            x = cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA)
        return x
