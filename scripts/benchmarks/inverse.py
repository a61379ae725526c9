"""Posteriors of inverse problems: a conditional flow and an invertible network against rejection sampling.

Prints a comparison in the format of scripts/results.py. Budgets are in seconds of processor time per
training. Run with one thread::

    python -m scripts.benchmarks.inverse arm --seconds 120 > docs/results/arm.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from scripts.benchmarks.comparison import comparison
from vflow.config import TrainingConfig
from vflow.densities.inverse import PROBLEMS, InverseProblem
from vflow.metrics.calibration import calibration_error, mmd
from vflow.models.inverse import invertible_network, posterior_flow
from vflow.training.density import Progress
from vflow.training.inverse import draw_posteriors, fit_invertible, fit_posterior

Draw = Callable[[Tensor, Tensor], Tensor]
"""Noise and observations → parameters."""
OBSERVATIONS, SAMPLES = 1000, 500
COMPARED = 40  # observations whose posteriors are compared with rejection sampling
TRAINING = TrainingConfig(
    batch_size=512, max_steps=1_000_000, learning_rate=2e-3, warmup_steps=20, ema=0.99, actnorm_batch=4096
)


def judge(problem: InverseProblem, posteriors: Tensor, truth: Tensor, exact: Tensor) -> dict[str, float]:
    """Calibration, error of re-simulated y, distance from exact posteriors; all of samples (N, S, D)."""
    observed = problem.observe(truth)
    again = problem.observe(posteriors.flatten(0, 1)).unflatten(0, posteriors.shape[:2])
    distances = [mmd(a, b) for a, b in zip(posteriors, exact, strict=False)]
    return {
        "calibration_error": calibration_error(posteriors.numpy(), truth.numpy()),
        "resimulation_error": float((again - observed[:, None]).square().sum(2).mean().sqrt()),
        "mmd_from_rejection": float(torch.stack(distances).clamp(min=0).sqrt().mean()),
    }


def run(name: str, seconds: float, seed: int) -> list[dict[str, object]]:
    """Rows of the comparison."""
    problem = PROBLEMS[name]()
    truth, observed = problem.pairs(OBSERVATIONS, seed, "test")
    exact = torch.stack([problem.posterior(y, SAMPLES, seed, "exact", i) for i, y in enumerate(observed)])
    other = torch.stack(
        [problem.posterior(y, SAMPLES, seed, "other", i) for i, y in enumerate(observed[:COMPARED])]
    )
    rows: list[dict[str, object]] = [{"model": "rejection sampling", **judge(problem, exact, truth, other)}]
    sizes = problem.dim, problem.observed_dim
    flow, network = posterior_flow(*sizes), invertible_network(*sizes)
    config = TRAINING.model_copy(update={"seed": seed})
    models: list[tuple[str, nn.Module, Iterator[Progress], Draw, int]] = [
        (
            "conditional flow",
            flow,
            fit_posterior(flow, problem, config, seconds),
            flow.sample,
            flow.noise_dim,
        ),
        (
            "invertible network",
            network,
            fit_invertible(network, problem, config, seconds),
            network.sample,
            network.latent_dim,
        ),
    ]
    for label, model, training, sample, noise_dim in models:
        steps = 0
        for progress in training:
            steps = progress.step
        made = draw_posteriors(sample, noise_dim, observed, SAMPLES, seed)
        size = sum(p.numel() for p in model.parameters())
        rows.append(
            {
                "model": label,
                "parameters": size,
                "steps": steps,
                **judge(problem, made, truth, exact[:COMPARED]),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("problem", choices=PROBLEMS)
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time of each model's training")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name, seconds, seed = arguments.problem, arguments.seconds, arguments.seed
    found = comparison(
        f"Inverse problem: {name}",
        run(name, seconds, seed),
        f"{OBSERVATIONS} observations, {SAMPLES} samples of each posterior; distances of the first "
        f"{COMPARED} from posteriors by rejection; {seconds:g} s of processor time for each training, "
        f"seed {seed}",
        f"inverse {name} --seconds {seconds:g}" + (f" --seed {seed}" if seed else ""),
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
