"""Vectors of classes with known structure: xor, Potts model, sums of numbers (Tran et al. 2019, 4)."""

from __future__ import annotations

import itertools

import numpy as np

from vflow.randomness import generator

XOR = np.array([[0.63, 0.07], [0.03, 0.27]])
"""Probabilities of (x₁, x₂): after x₂ ← x₁ xor x₂ they are (0.7, 0.3) × (0.9, 0.1)."""


def xor_examples(count: int, seed: int = 0) -> np.ndarray:
    """Draws from ``XOR``: int64 (count, 2)."""
    drawn = generator("xor", seed).choice(4, size=count, p=XOR.ravel())
    return np.stack(np.divmod(drawn, 2), 1).astype(np.int64)


def potts_examples(
    count: int, *, side: int = 4, states: int = 3, coupling: float = 0.5, sweeps: int = 100, seed: int = 0
) -> np.ndarray:
    """Draws of a Potts model on a square grid with free borders, by Gibbs sampling: int64 (count, side²).

    p(x) ∝ exp(coupling · number of neighbouring pairs with equal states). The two halves of a checkerboard
    take turns, all chains at once, ``sweeps`` times from uniform states.
    """
    random = generator("potts", side, states, seed)
    grid = random.integers(states, size=(count, side, side))
    parity = np.add.outer(np.arange(side), np.arange(side)) % 2
    for _ in range(sweeps):
        for half in (0, 1):
            one_hot = np.pad(np.eye(states)[grid], ((0, 0), (1, 1), (1, 1), (0, 0)))
            equal = (
                one_hot[:, :-2, 1:-1] + one_hot[:, 2:, 1:-1] + one_hot[:, 1:-1, :-2] + one_hot[:, 1:-1, 2:]
            )
            gumbel = random.gumbel(size=equal.shape)
            drawn = (coupling * equal + gumbel).argmax(-1)
            grid = np.where(parity == half, drawn, grid)
    return grid.reshape(count, -1).astype(np.int64)


def potts_entropy(*, side: int, states: int, coupling: float) -> float:
    """Entropy of a small Potts model in nats, by enumeration of its states^(side²) configurations."""
    grids = np.array(list(itertools.product(range(states), repeat=side * side))).reshape(-1, side, side)
    pairs = (grids[:, 1:] == grids[:, :-1]).sum((1, 2)) + (grids[:, :, 1:] == grids[:, :, :-1]).sum((1, 2))
    energy = coupling * pairs
    log_p = energy - np.logaddexp.reduce(energy)
    return -float((np.exp(log_p) * log_p).sum())


def addition_examples(count: int, *, digits: int = 10, seed: int = 0) -> np.ndarray:
    """Two numbers of ``digits`` digits and their sum modulo 10^digits: int64 (count, 3 · digits).

    Digits stand from the lowest on, in the order a₀ b₀ s₀ a₁ b₁ s₁ …, in which a carry is known when it is
    needed: left to right a sum is a function of what stands before.
    """
    random = generator("addition", digits, seed)
    first, second = random.integers(10, size=(2, count, digits))
    total, carry = np.empty_like(first), np.zeros(count, np.int64)
    for place in range(digits):
        carry, total[:, place] = np.divmod(first[:, place] + second[:, place] + carry, 10)
    return np.stack([first, second, total], 2).reshape(count, -1).astype(np.int64)
