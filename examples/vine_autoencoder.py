"""Vine-copula autoencoder of digits (Tagasovska et al. 2019), by pyvinecopulib (extra ``vine``).

An autoencoder learns z(x) by the reconstruction loss alone. Its latents then get a density: kernel
estimates of the margins, joined by a vine of pair copulas (Bedford & Cooke 2002; Nagler & Czado 2016),
fitted once. Decoding samples of the vine gives digits. After 30 s of one core 3,099 validation digits cost
85.3 nats per reconstruction; their latents cost 24.95 nats under the vine, 26.30 under a normal density
and 26.17 under the margins alone. Writes docs/figures/flows/vine-autoencoder.png. Run with one thread::

    python -m examples.vine_autoencoder --data MNIST --seconds 30
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from examples.flow_figures import FOLDER, SHADES
from examples.vae import Vae, VaeConfig, binarize
from vflow.config import TrainingConfig
from vflow.data.datasets.digits import MnistImages
from vflow.data.media import write_png
from vflow.densities.base import Density
from vflow.errors import ConfigError, InputError
from vflow.randomness import normal
from vflow.training.density import Progress, batches, optimize

NAME, LATENT, POINTS, DIGITS = "vine-autoencoder", 10, 5000, 16
EDGE = 1e-6  # of the unit cube, whose faces quantiles do not reach


@final
class Vine(Density):
    """p(x) = |det W| Π f_d(y_d) · Π c_e, y = W (x − m): kernel margins, copulas c_e of a vine's pairs.

    Fitted once, to ``points``, one margin and one pair at a time; it has no parameters to train, and computes
    in float64 on the CPU, without gradients. Pair copulas are local likelihoods, so that dependence may have
    any form.

    Args:
        points: (N, D), D ≥ 2.
        whiten: W and m give the points mean 0 and covariance I first, so that what is linear in their
            dependence is exact, and smoothing blurs the rest alone; else y = x.

    Raises:
        ConfigError: pyvinecopulib is not installed. InputError: later, where a gradient is wanted.
    """

    def __init__(self, points: Tensor, *, whiten: bool = False) -> None:
        super().__init__()
        try:
            from pyvinecopulib import BicopFamily, FitControlsVinecop, Vinedist
        except ImportError as error:
            raise ConfigError("pyvinecopulib is not installed; pip install 'vflow-torch[vine]'") from error
        self.dim = self.noise_dim = points.shape[1]
        points = points.double().cpu()
        # x = factor · y + mean; no buffers, since ``distribution`` stays in float64 on the CPU, too
        self.mean, self.factor = torch.zeros(self.dim).double(), torch.eye(self.dim).double()
        if whiten:
            self.mean, self.factor = points.mean(0), torch.linalg.cholesky(torch.cov(points.T))
        controls = FitControlsVinecop(family_set=[BicopFamily.tll])
        self.distribution = Vinedist.from_data(self._whitened(points), controls)

    def _whitened(self, x: Tensor) -> np.ndarray:
        """y (B, D), float64, of x (B, D)."""
        _refuse_gradient(x)
        centred = (x.double().cpu() - self.mean).T
        return torch.linalg.solve_triangular(self.factor, centred, upper=False).T.contiguous().numpy()

    def _log_prob(self, nats: np.ndarray, like: Tensor) -> Tensor:
        return (torch.from_numpy(nats) - self.factor.diagonal().log().sum()).to(like)

    def _log_density(self, x: Tensor) -> Tensor:
        return self._log_prob(self.distribution.logpdf(self._whitened(x)), x)

    def margins_log_prob(self, x: Tensor) -> Tensor:
        """log |det W| Π f_d(y_d), (B,), of x (B, D): as if the y were independent."""
        margins = zip(self.distribution.margins, self._whitened(x).T, strict=True)
        return self._log_prob(sum(margin.logpdf(column.copy()) for margin, column in margins), x)

    def _draw(self, eps: Tensor) -> Tensor:
        """Samples (B, D) from standard-normal noise (B, D), by the inverse Rosenblatt transform."""
        _refuse_gradient(eps)
        uniform = torch.special.ndtr(eps.double()).clamp(EDGE, 1 - EDGE).cpu().numpy()
        y = torch.from_numpy(self.distribution.inverse_rosenblatt(uniform))
        return (y @ self.factor.T + self.mean).to(eps)


def _refuse_gradient(x: Tensor) -> None:
    if x.requires_grad and torch.is_grad_enabled():
        raise InputError("a vine has no gradients; use torch.no_grad(), or another base while layers learn")


def fit_autoencoder(
    model: Vae, bits: Tensor, config: TrainingConfig, seconds: float | None = None
) -> Iterator[Progress]:
    """Fit ``model`` to ``bits`` (N, D) as a plain autoencoder: least loss of reconstructions, no noise.

    Args: as of ``vflow.training.density.fit``.
    """
    stream = batches(bits, config.batch_size, config.seed)
    yield from optimize(model, lambda _: -model.reconstruction(next(stream)).mean(), config, seconds)


@torch.no_grad()
def figure(data: str, seconds: float, folder: Path) -> dict[str, Any]:
    """Digits of the vine-copula autoencoder (Tagasovska et al. 2019), and nats of validation latents.

    Rows of ``folder/vine-autoencoder.png``: digits, reconstructions, and decoded draws of the vine and of a
    normal density with the latents' mean and covariance.
    """
    train, held = (
        binarize(torch.from_numpy(MnistImages(split=split, root=data).images))
        for split in ("train", "validation")
    )
    torch.manual_seed(0)
    model = Vae(VaeConfig(latent=LATENT))
    config = TrainingConfig(batch_size=128, max_steps=1_000_000, learning_rate=1e-3, grad_clip_norm=50.0)
    with torch.enable_grad():
        steps = sum(1 for _ in fit_autoencoder(model, train, config, seconds))
    began = time.process_time()
    points, latents = model.latents(train[:POINTS]), model.latents(held)
    vine = Vine(points, whiten=True)
    fitting = time.process_time() - began
    gaussian = torch.distributions.MultivariateNormal(points.mean(0), torch.cov(points.T))
    drawn = (
        model.sample(vine.sample(normal((DIGITS, LATENT), NAME))),
        model.sample(gaussian.sample((DIGITS,))),
    )
    rows = [held[:DIGITS], model.sample(latents[:DIGITS]), *drawn]
    tiles = torch.stack(rows).unflatten(-1, (28, 28)).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
    picture = (255 * (1 - tiles)).byte().numpy()
    write_png(folder / f"{NAME}.png", np.repeat(picture[..., None], 3, 2) // SHADES * SHADES)
    nats = {
        "reconstruction": -model.reconstruction(held).mean(),
        "latents_vine": -vine.log_prob(latents).mean(),
        "latents_margins": -vine.margins_log_prob(latents).mean(),
        "latents_normal": -gaussian.log_prob(latents).mean(),
    }
    return {
        "system": NAME,
        **{f"{name}_nats": round(float(value), 2) for name, value in nats.items()},
        "steps": steps,
        "seconds": seconds,
        "seconds_vine": round(fitting, 1),
        "held": len(held),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of MNIST")
    parser.add_argument("--seconds", type=float, default=30, help="processor time of the autoencoder")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder")
    options = parser.parse_args()
    print(json.dumps(figure(options.data, options.seconds, options.output)))


if __name__ == "__main__":
    main()
