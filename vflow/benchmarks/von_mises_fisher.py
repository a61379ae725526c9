"""Mixtures of von Mises–Fisher densities on S² by EM (Banerjee et al. 2005), to compare with."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from vflow.clusters import spread_starts

STEPS, PATIENCE, LARGEST = 25, 4, 1e6  # of EM, steps without a better one, concentration
COMPONENTS = (8, 16, 32, 64, 128, 256, 512)


class VonMisesFisher(NamedTuple):
    """Unit vectors μ (K, 3), concentrations κ and weights (K,)."""

    mean: np.ndarray
    concentration: np.ndarray
    weight: np.ndarray

    def joint(self, x: np.ndarray) -> np.ndarray:
        """log w_k p_k(x), (N, K), of unit vectors x (N, 3)."""
        kappa = self.concentration
        constant = np.log(kappa / (2 * np.pi) * self.weight) - np.log1p(-np.exp(-2 * kappa))
        joint: np.ndarray = kappa * (x @ self.mean.T - 1) + constant
        return joint

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """log p in nats, (N,)."""
        found: np.ndarray = np.logaddexp.reduce(self.joint(x), 1)
        return found

    def improved(self, x: np.ndarray) -> Self:
        """After one step of EM."""
        joint = self.joint(x)
        share = np.exp(joint - np.logaddexp.reduce(joint, 1)[:, None])
        size, total = share.sum(0) + 1e-9, share.T @ x
        length = np.linalg.norm(total, axis=1)
        along = np.minimum(length / size, 1 - 1e-9)
        kappa = along * (3 - along**2) / (1 - along**2)
        for _ in range(3):  # Newton on coth κ − 1/κ = R̄
            mean = 1 / np.tanh(kappa) - 1 / kappa
            kappa = np.clip(kappa - (mean - along) / (1 - mean**2 - 2 * mean / kappa), 1e-3, LARGEST)
        return self._replace(mean=total / length[:, None], concentration=kappa, weight=size / size.sum())


def best_mixture(train: np.ndarray, held: np.ndarray, seed: int) -> tuple[VonMisesFisher, int]:
    """The mixture, and its number of components, that gives unit vectors ``held`` the most likelihood."""
    best, most = None, -np.inf
    for count in COMPONENTS:
        if count > max(COMPONENTS[0], len(train) // 2):
            break
        mean = spread_starts(train, count, "von-mises-fisher", seed)
        between = (1 - (train @ mean.T).max(1)).mean()
        model = VonMisesFisher(mean, np.full(count, 1 / max(between, 1e-4)), np.full(count, 1 / count))
        highest, waited = -np.inf, 0
        for _ in range(STEPS):
            model = model.improved(train)
            score = float(model.log_prob(held).mean())
            highest, waited = (score, 0) if score > highest else (highest, waited + 1)
            if score > most:
                best, most = model, score
            if waited == PATIENCE:
                break
    assert best is not None
    return best, len(best.weight)
