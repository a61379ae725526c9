"""Knowledge types over a flow of images: TzK (Livne & Fleet 2019, *Flow-Based Conditional Generative Model*).

A flow x ↔ z codes images without any condition. A type of knowledge κᵢ = (eᵢ, cᵢ) says that something
exists in an image (e = 1) and, by its code c, how. What is known changes the density of the latents,

    p(z | κ) = N(w; 0, I) |det ∂w/∂z|,    w = f(g(z; κ); h),    h = Σᵢ eᵢ (Aᵢ + Bᵢ cᵢ),

and p(x | κ) = p(z | κ) |det ∂z/∂x|. g is a linear map for each type that exists, one after the other,
which whitens the latents of that type and is fitted in closed form. f is a chain of couplings, learned.
Where nothing is known the flow is what it was, so types can be added to one that is frozen. Of the paper's
model the density of a code given an image is left out: codes are always given.

A flow is trained on MNIST at half its size (means of 2×2 pixels) without labels. It is then frozen and
eleven types are trained on it: the ten digits, and ink, whose code is the standardised mean grey level of
the digit. A classifier, which sees pictures at twice their size, recognises 93% of 400 digits drawn at T =
0.6 and 81% at T = 1 (97% of real ones); Bayes' rule names 93% of real ones; requested and drawn ink
correlate by 0.4. Prints that comparison. Budgets are in seconds of processor time, of one thread::

    VFLOW_DATA=… python -m examples.knowledge_types > docs/results/knowledge.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate

from scripts.benchmarks.comparison import comparison
from vflow.config import DensityConfig, DigitsConfig, GlowConfig, TrainingConfig
from vflow.data.datasets.digits import MnistImages
from vflow.data.datasets.splits import Split
from vflow.metrics.digits import CLASSES, DigitClassifier, agreement, train_classifier
from vflow.models.base import Condition, Sampled, sum_terms
from vflow.models.density import DensityModel
from vflow.models.digits import Digits
from vflow.models.flow import PointBatch
from vflow.models.image import ImageBatch
from vflow.randomness import generator, normal
from vflow.training.density import Progress, optimize

DROPPED = 0.2  # share of what is known that training leaves out, so that less than all of it can be given
CLASSIFIED = 16  # images of a batch whose exclusive type is inferred by Bayes' rule
FITTED, ENCODED = 32_768, 512  # images that types' linear maps are fitted to, and that are encoded at a time
KEPT, REPLACED = 4096, 32  # latents of a frozen flow that are kept, and those encoded anew each step

INK, SHAPE = CLASSES, (CLASSES + 1, 1)
GLOW = GlowConfig(
    channels=1, height=14, width=14, depth=(2,), hidden=(64,), coupling="mixture", activation="gatu"
)
BASE = DigitsConfig(glow=GLOW, classes=1, condition=(1,), noise="uniform", pixel_map="per_pixel")
NET = {"kind": "coupling", "hidden": [256, 256]}
BLOCK = [{"kind": "permutation", "order": "random"}, {**NET, "keep": "first"}, {**NET, "keep": "last"}]
OVER = DensityConfig.model_validate({
    "dim": 14 * 14,
    "features": 32,
    "layers": [{"kind": "actnorm"}, {"kind": "repeat", "times": 8, "layers": BLOCK}],
})  # fmt: skip
TRAINING = TrainingConfig(
    batch_size=48, max_steps=1_000_000, learning_rate=2e-3, warmup_steps=20, ema=0.99, actnorm_batch=256
)
OVER_TRAINING = TRAINING.model_copy(update={"batch_size": 128, "learning_rate": 1e-3})
BASE_SECONDS, SECONDS = 16.0, 12.0  # processor time
WEIGHT = 1.0  # of the cross-entropy of the digit, in nats, beside the nats of an image
HELD, PER_TYPE = 512, 40
TEMPERATURES = (1.0, 0.8, 0.6)


class Types(NamedTuple):
    """Knowledge of B images, for each of K types.

    exists: float32 (B, K), 1 where the type is known to exist.
    codes: float32 (B, K, D); those of types that are not known do not matter.
    """

    exists: Tensor
    codes: Tensor

    @classmethod
    def known(cls, count: int, shape: tuple[int, int], codes: Mapping[int, Sequence[float]]) -> Types:
        """Knowledge of ``count`` images: the types in ``codes`` exist; ``shape`` is (K, D)."""
        types = cls(torch.zeros(count, shape[0]), torch.zeros(count, *shape))
        for number, code in codes.items():
            types.exists[:, number] = 1
            types.codes[:, number] = torch.tensor(code, dtype=torch.float32)
        return types

    def kept(self, keep: Tensor) -> Types:
        """Knowledge without that where ``keep`` (B, K) is 0."""
        return Types(self.exists * keep, self.codes)


@final
class TypeWhitening(nn.Module):
    """Linear maps w = Lᵢ⁻¹ (z − mᵢ − Sᵢ cᵢ) of vectors of D elements, in turn for each type i that exists.

    They start as the identity; ``fit`` sets them.
    """

    means: Tensor
    slopes: Tensor
    factors: Tensor

    def __init__(self, count: int, code_dim: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(count, dim))
        self.register_buffer("slopes", torch.zeros(count, code_dim, dim))
        self.register_buffer("factors", torch.eye(dim).repeat(count, 1, 1))  # L, lower triangular

    def transform(self, z: Tensor, types: Types) -> tuple[Tensor, Tensor]:
        """z (B, D) → w (B, D) and the log-det (B,)."""
        for number in range(len(self.means)):
            z = torch.where(types.exists[:, number, None] > 0, self._whiten(z, types, number), z)
        return z, -types.exists @ self.factors.diagonal(dim1=1, dim2=2).log().sum(1)

    def invert(self, w: Tensor, types: Types) -> Tensor:
        """w (B, D) → z (B, D)."""
        for number in reversed(range(len(self.means))):
            z = w @ self.factors[number].T + self._mean(types, number)
            w = torch.where(types.exists[:, number, None] > 0, z, w)
        return w

    @torch.no_grad()
    def fit(self, z: Tensor, types: Types) -> None:
        """Mean given the code, and covariance, of the latents z (N, D) of each type.

        Covariances are shrunk as if D / 10 more latents were normal. A type of fewer than two examples stays.
        """
        for number in range(len(self.means)):
            rows = types.exists[:, number] > 0
            if rows.sum() > 1:
                self._fit_type(number, z[rows], types.codes[rows, number])
                z = torch.where(rows[:, None], self._whiten(z, types, number), z)

    def _fit_type(self, number: int, z: Tensor, code: Tensor) -> None:
        count, dim = z.shape
        centred = code - code.mean(0)
        slope = torch.linalg.lstsq(centred, z - z.mean(0), driver="gelsd").solution
        rest = z - z.mean(0) - centred @ slope
        prior = dim / 10
        covariance = (rest.T @ rest + prior * torch.eye(dim, dtype=z.dtype)) / (count + prior)
        self.means[number], self.slopes[number] = z.mean(0) - code.mean(0) @ slope, slope
        self.factors[number] = torch.linalg.cholesky(covariance)

    def _whiten(self, z: Tensor, types: Types, number: int) -> Tensor:
        centred = (z - self._mean(types, number)).T
        return torch.linalg.solve_triangular(self.factors[number], centred, upper=False).T

    def _mean(self, types: Types, number: int) -> Tensor:
        return self.means[number] + types.codes[:, number] @ self.slopes[number]


@final
class Knowledge(nn.Module):
    """``count`` types with codes of ``code_dim`` numbers over the flow of ``base``, which has one class.

    z are the base's whitened latents of all levels, joined to an image of the data's size.

    Args:
        config: the flow of z, as vectors of C · H · W elements; ``features`` is the length of h.

    Raises:
        ValueError: ``config`` is for vectors of another length, or has no features.
    """

    def __init__(self, base: Digits, count: int, code_dim: int, config: DensityConfig) -> None:
        super().__init__()
        size = math.prod(base.image_shape)
        if config.dim != size or not config.features:
            raise ValueError(f"dim {config.dim}, features {config.features}: needs {size} and at least 1")
        self.base, self.shape = base, (count, code_dim)
        self.whitening = TypeWhitening(count, code_dim, size)
        self.flow = DensityModel(config)
        self.existence = nn.Parameter(torch.randn(count, config.features))
        self.codes = nn.Parameter(torch.zeros(count, code_dim, config.features))

    def features(self, types: Types) -> Tensor:
        """h, (B, F)."""
        weights = types.exists[:, :, None] * types.codes
        return types.exists @ self.existence + torch.einsum("bkd,kdf->bf", weights, self.codes)

    def encode(self, images: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, C, H, W) of uint8 images dequantised by ``eps``, and log p(x), nothing known, nats (B,)."""
        condition = self._nothing_known(len(images))
        code = self.base.encode_images(images, eps, condition)
        z = self.base.flow.join(self.base.whiten(code, condition))
        return z, sum_terms(self.base.terms_of(condition, code))

    def log_ratio(self, z: Tensor, types: Types) -> Tensor:
        """log p(z | κ) − log p(z), nats (B,); 0 where nothing is known."""
        whitened, log_det = self.whitening.transform(z.flatten(1), types)
        known = self.flow.log_prob(whitened, self.features(types)) + log_det
        plain = -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1)
        return torch.where(types.exists.any(1), known - plain, torch.zeros_like(plain))

    def forward(self, images: Tensor, eps: Tensor, types: Types) -> Tensor:
        """log p(x | κ), nats (B,): a lower bound, one draw ``eps`` of the dequantisation noise."""
        z, nats = self.encode(images, eps)
        return nats + self.log_ratio(z, types)

    def log_posterior(self, z: Tensor, among: Sequence[int]) -> Tensor:
        """log p(type | x) (B, len(among)) of latents z: one of ``among`` exists, each as likely beforehand.

        Codes are at their mean, 0.
        """
        exists = torch.eye(self.shape[0], dtype=z.dtype, device=z.device)[list(among)].repeat(len(z), 1)
        each = Types(exists, exists.new_zeros(len(exists), *self.shape))
        ratios = self.log_ratio(z.repeat_interleave(len(among), 0), each).unflatten(0, (len(z), -1))
        return torch.log_softmax(ratios, 1)

    @torch.no_grad()
    def generate(self, noise: Tensor, types: Types, temperature: float = 1.0) -> Sampled:
        """Images of standard-normal noise (B, C, H, W), given what ``types`` say of each."""
        noise = temperature * noise
        whitened = self.flow.sample(noise.flatten(1), self.features(types))
        given = self.whitening.invert(whitened, types).view_as(noise)
        z = torch.where(types.exists.any(1)[:, None, None, None], given, noise)
        latents = self.base.flow.separate(z)
        return Sampled.of(self.base.generate(self._nothing_known(len(z)), latents, [1.0] * len(latents))[0])

    @torch.no_grad()
    def initialize(self, z: Tensor, types: Types) -> None:
        """Data-dependent start of linear maps and ActNorm, from latents z (B, C, H, W) and their types."""
        self.whitening.fit(z.flatten(1), types)
        whitened, _ = self.whitening.transform(z.flatten(1), types)
        self.flow.initialize(PointBatch(whitened, self.features(types)))

    def _nothing_known(self, count: int) -> Condition:
        label = torch.zeros(count, dtype=torch.int64, device=self.existence.device)
        return self.base.condition(self.base.features(label))


def fit_types(
    model: Knowledge,
    images: Tensor,
    types: Types,
    config: TrainingConfig,
    seconds: float | None = None,
    *,
    frozen: bool = True,
    exclusive: int = 0,
    weight: float = 0.0,
) -> Iterator[Progress]:
    """Maximise log p(x | κ) of uint8 images (N, C, H, W); a generator, as ``vflow.training.density.fit``.

    Args:
        frozen: the base flow stays as it is, so only log p(z | κ) is learned.
        exclusive, weight: each image has exactly one of the first ``exclusive`` types; ``weight`` · the
            cross-entropy of that type by Bayes' rule is added to the loss (IB-INN, Ardizzone et al. 2020).
    """
    if not frozen:
        first = images[: config.actnorm_batch]
        labels = torch.zeros(len(first), dtype=torch.int64)
        model.base.initialize(ImageBatch(first, labels, _noise(first, config.seed, "first")))
    model.base.requires_grad_(not frozen)
    if frozen:
        model.base.eval()
    with torch.no_grad():
        starts = [
            model.encode(part, _noise(part, config.seed, "first", number))[0]
            for number, part in enumerate(images[:FITTED].split(ENCODED))
        ]
    model.initialize(torch.cat(starts), Types(types.exists[:FITTED], types.codes[:FITTED]))
    random = generator("types", config.seed)

    def encoded(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of images, their latents, and log p(x), nothing known."""
        if frozen:  # the training mode of the whole model would move the base's running averages
            model.base.eval()
        rows = torch.from_numpy(random.integers(len(images), size=count))
        noise = _noise(images[rows], config.seed, int(random.integers(2**31)))
        with torch.set_grad_enabled(not frozen):
            return rows, *model.encode(images[rows], noise)

    def replay() -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and latents of batches; the oldest latents of a store make room for new ones."""
        parts = [encoded(REPLACED)[:2] for _ in range(KEPT // REPLACED)]
        for oldest in itertools.cycle(range(len(parts))):
            rows, latents = (torch.cat(part) for part in zip(*parts, strict=True))
            chosen = torch.from_numpy(random.integers(len(rows), size=config.batch_size))
            yield rows[chosen], latents[chosen]
            parts[oldest] = encoded(REPLACED)[:2]

    store = replay()

    def loss(share: float) -> Tensor:
        if frozen:
            (rows, z), nats = next(store), torch.zeros(())
        else:
            rows, z, nats = encoded(config.batch_size)
        known = Types(types.exists[rows], types.codes[rows])
        keep = torch.from_numpy(random.random(known.exists.shape) >= DROPPED).float()
        value = -(model.log_ratio(z, known.kept(keep)) + nats).mean()
        if weight:
            truth = known.exists[:CLASSIFIED, :exclusive].argmax(1)
            value = value + weight * cross_entropy(
                model.log_posterior(z[:CLASSIFIED], range(exclusive)), truth
            )
        return value

    yield from optimize(model, loss, config, seconds)


def _noise(images: Tensor, *key: int | str) -> Tensor:
    return normal(images.shape, "types-noise", *key)


def digits(split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Digits uint8 (N, 1, 14, 14), labels, int64 (N,), and mean grey levels, float32 (N,)."""
    found = MnistImages(split=split)
    images = avg_pool2d(torch.tensor(found.images)[:, None].float(), 2).round().to(torch.uint8)
    return images, torch.tensor(found.labels).long(), images.float().mean((1, 2, 3))


def train_base(images: Tensor, seconds: float) -> Digits:
    """The flow of digits without labels."""
    torch.manual_seed(0)
    base, random = Digits(BASE), generator("base")

    def batch(size: int) -> ImageBatch:
        rows = torch.from_numpy(random.integers(len(images), size=size))
        noise = normal((size, *images.shape[1:]), "base", int(random.integers(2**31)))
        return ImageBatch(images[rows], torch.zeros(size, dtype=torch.int64), noise)

    base.fit([batch(4096)])
    base.initialize(batch(TRAINING.actnorm_batch))
    size = TRAINING.batch_size
    for _ in optimize(base, lambda share: -base(batch(size)).mean(), TRAINING, seconds):
        pass
    return base


@cache
def judge() -> DigitClassifier:
    """The classifier of ``vflow evaluate``, trained independently of the flow for one epoch.

    Of the training split: digits that it judges are not among those that it learned.
    """
    train = MnistImages(split="train")
    with torch.enable_grad():
        return train_classifier(train.images, train.labels, epochs=1)


def recognised(images: Tensor, labels: Tensor) -> float:
    """Share of digits, uint8 (N, 1, 14, 14), that the classifier assigns to their labels."""
    large = interpolate(images.float(), scale_factor=2.0, mode="bilinear").round().to(torch.uint8)
    return agreement(judge(), large[:, 0].numpy(), labels.numpy())


def run(base_seconds: float, seconds: float) -> list[dict[str, object]]:
    """Rows: the frozen flow, given one type, given two types, and real digits as the classifier sees them."""
    images, labels, gray = digits("train")
    mean, deviation = float(gray.mean()), float(gray.std())

    def known(labels: Tensor, gray: Tensor) -> Types:
        types = Types(torch.zeros(len(labels), SHAPE[0]), torch.zeros(len(labels), *SHAPE))
        types.exists[torch.arange(len(labels)), labels] = 1
        types.exists[:, INK] = 1
        types.codes[:, INK, 0] = (gray - mean) / deviation
        return types

    model = Knowledge(train_base(images, base_seconds), *SHAPE, OVER)
    types, steps = known(labels, gray), 0
    for progress in fit_types(model, images, types, OVER_TRAINING, seconds, exclusive=CLASSES, weight=WEIGHT):
        steps = progress.step
    held, held_labels, held_gray = (part[:HELD] for part in digits("validation"))
    everything = known(held_labels, held_gray)
    asked = torch.arange(CLASSES).repeat(PER_TYPE)
    ink = torch.linspace(-1, 1, PER_TYPE).repeat_interleave(CLASSES)
    both = known(asked, mean + deviation * ink)
    noise = normal((len(asked), *images.shape[1:]), "drawn")
    only_digit = torch.arange(SHAPE[0]) < INK
    with torch.no_grad():
        z, nats = model.encode(held, normal(held.shape, "held"))
        named = model.log_posterior(z, range(CLASSES)).argmax(1)
        rows: list[dict[str, object]] = [
            {"model": "nothing known", "bits_per_dim": float(model.base.bits_per_dim(nats.mean()))},
            {"model": "a digit", "steps": steps, "bayes": float((named == held_labels).float().mean())},
            {"model": "a digit and its ink", "steps": steps},
        ]
        for row, types, wanted in (
            (rows[1], everything.kept(only_digit), both.kept(only_digit)),
            (rows[2], everything, both),
        ):
            row["bits_per_dim"] = float(model.base.bits_per_dim((nats + model.log_ratio(z, types)).mean()))
            for temperature in TEMPERATURES:
                made = model.generate(noise, wanted, temperature).frame
                row[f"recognised_at_{temperature:g}"] = recognised(made, asked)
                if temperature == 1:
                    pair = torch.stack([made.float().mean((1, 2, 3)), ink])
                    row["ink_correlation"] = float(torch.corrcoef(pair)[0, 1])
    return [*rows, {"model": "real digits", "recognised_at_1": recognised(held, held_labels)}]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--base-seconds", type=float, default=BASE_SECONDS, help="processor time of training the flow"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="processor time of training the types")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    budgets = arguments.base_seconds, arguments.seconds
    found = comparison(
        "Knowledge types added to a frozen flow of digits",
        run(*budgets),
        f"MNIST at half its size; {HELD} validation digits; {CLASSES * PER_TYPE} digits drawn "
        f"at each temperature; {budgets[0]:g} s of processor time for the flow, {budgets[1]:g} s for types",
        f"examples.knowledge_types --base-seconds {budgets[0]:g} --seconds {budgets[1]:g}",
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
