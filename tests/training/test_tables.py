"""Small tables: held-out rows, the best weights, and no fit that is worse than a Gaussian."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import vflow
from vflow import cli
from vflow.bijections.whitening import Whitening, shrunk_covariance
from vflow.config import DensityConfig, load_preset, parse
from vflow.data.datasets.points import Points
from vflow.errors import ConfigError, InputError
from vflow.models import DensityModel, PointBatch
from vflow.models.defensive import LEAST_SHARE
from vflow.training.args import TrainOptions, resolve
from vflow.training.loop import DivergedError
from vflow.training.points import refit
from vflow.training.state import read_state
from vflow.training.validate import Best

from .support import lines, run_here

AFFINE = [{"kind": "actnorm"}, {"kind": "autoregressive", "hidden": [16], "degrees": "spread"}]


def table(rows: int, seed: int = 0) -> np.ndarray:
    """A bent cloud of three columns, of which an unregularised flow learns the rows by heart."""
    random = np.random.default_rng(seed)
    first = random.normal(size=rows)
    second = first**2 + 0.3 * random.normal(size=rows)
    return np.stack([100 + 20 * first, second, 0.001 * (first + random.normal(size=rows))], 1)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    np.savetxt(tmp_path / "points.csv", table(150), delimiter=",", header="a,b,c", comments="")
    return tmp_path / "points.csv"


def gaussian_nats(train: np.ndarray, points: np.ndarray) -> float:
    whitening = Whitening(train.shape[1]).double()
    whitening.initialize(torch.from_numpy(train)[:, :, None, None])
    z, ladj = whitening.forward(torch.from_numpy(points)[:, :, None, None])
    return -float((torch.distributions.Normal(0, 1).log_prob(z.flatten(1)).sum(1) + ladj).mean())


def test_the_shrunk_covariance_is_that_of_ledoit_and_wolf() -> None:
    # by its definition: the mean over rows of ‖x xᵀ − S‖² / N, over ‖S − mI‖²
    rows = torch.randn(40, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64)
    rows = rows - rows.mean(0)
    sample = rows.T @ rows / len(rows)
    target = torch.eye(6, dtype=torch.float64) * sample.trace() / 6
    error = torch.stack([(torch.outer(x, x) - sample).square().sum() for x in rows]).mean() / len(rows)
    share = min(1.0, float(error / (sample - target).square().sum()))
    torch.testing.assert_close(shrunk_covariance(rows), (1 - share) * sample + share * target)
    few = torch.randn(3, 6, dtype=torch.float64)
    assert torch.linalg.eigvalsh(shrunk_covariance(few - few.mean(0))).min() > 1e-7


def test_whitening_is_exact_both_ways_and_set_once() -> None:
    whitening, x = Whitening(3).double(), torch.from_numpy(table(200))[:, :, None, None]
    z = whitening.initialize(x).flatten(1)
    torch.testing.assert_close(z.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
    back, ladj = whitening.inverse(z[:, :, None, None])
    torch.testing.assert_close(back, x)
    jacobian = torch.autograd.functional.jacobian(
        lambda row: whitening.transform(row[None, :, None, None])[0].flatten(), x[0].flatten()
    )
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, -ladj[0])
    whitening.initialize(5 * x)
    torch.testing.assert_close(whitening.transform(x)[0].flatten(1), z)
    with pytest.raises(InputError, match="whitening"):
        whitening.initialize_inverse(x)


def defensive_model(**changes: object) -> DensityModel:
    torch.manual_seed(0)
    settings = {"kind": "density", "dim": 3, "layers": AFFINE, "defensive": True} | changes
    return DensityModel(parse(DensityConfig, settings, "test")).eval().requires_grad_(False)


def test_a_defensive_flow_starts_as_the_gaussian_and_never_leaves_it_by_more_than_three_nats() -> None:
    points, far = (torch.from_numpy(table(n, n)).float() for n in (150, 500))
    model = defensive_model()
    model.initialize(PointBatch(points))
    start = model.log_prob(far)
    assert -float(start.mean()) == pytest.approx(gaussian_nats(table(150, 150), table(500, 500)), abs=1e-3)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter))
    model.base.raw_share.fill_(-50.0)
    assert model.log_prob(far).min() < -100 or model.base.flow.log_prob(10 * far).min() < -100
    assert (start - model.log_prob(far)).max() <= -np.log(LEAST_SHARE) + 1e-3


def test_samples_of_a_defensive_flow_have_its_density() -> None:
    model = defensive_model(dim=1, layers=[{"kind": "elementwise"}])
    model.base.flow.flows[0].layers[0].h.copy_(torch.tensor([[3.0, 1.0]]))  # a narrow second peak at 3
    x = vflow.sample(model, num_samples=20_000)[:, 0]
    grid = torch.linspace(-8, 8, 4001)
    density = model.log_prob(grid[:, None]).exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1, abs=1e-4)
    above = float(torch.trapezoid(density[grid > 2], grid[grid > 2]))
    assert (x > 2).mean() == pytest.approx(above, abs=0.01)


def test_defensive_models_of_angles_are_refused() -> None:
    with pytest.raises(ConfigError, match="defensive"):
        defensive_model(base="circle", layers=[])


def test_a_better_weight_is_better_beyond_chance() -> None:
    best = Best(defensive_model())
    best.bits = np.ones((40, 1), np.float32)
    noise = np.random.default_rng(0).normal(size=(40, 1))
    assert best.beaten_by(best.bits - 0.1) and not best.beaten_by(best.bits)
    assert not best.beaten_by(best.bits - 0.01 + noise - noise.mean())
    assert not best.beaten_by(best.bits * np.nan)


def test_a_small_table_ends_below_a_gaussian_with_the_best_weights(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ("train", "--config", "maf", "--data", str(csv), "--output", str(run), "--max-steps", "150")
    assert cli.main([*words, "--set", "training.learning_rate=0.01", "model.layers.1.times=3"]) == 0
    said = capsys.readouterr().err
    assert "held out" in said and "was best" in said
    train, held = (len(Points(str(csv), split)) for split in ("train", "validation"))
    assert train + held == 150 and 15 <= held <= 45
    test = table(2000, 1)
    nats = -float(vflow.load(run).log_prob(torch.from_numpy(test).float()).mean())
    assert nats < gaussian_nats(table(150), test) - 0.1

    found = {line["step"]: line["val_nats"] for line in lines(run) if "val_nats" in line}
    progress = read_state(run / "last" / "state")[1]
    assert found[progress.best_step] == pytest.approx(progress.best_bits * 3 * np.log(2)) and 0 in found
    assert progress.refitted
    again = refit(resolve(TrainOptions(config=str(run / "preset.yaml"), output=run)), progress.best_step)
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), vflow.load(run).parameters(), strict=True)
    )


@pytest.mark.long
def test_the_preset_as_readme_has_it_beats_a_gaussian_on_ten_columns(tmp_path: Path) -> None:
    """450 correlated rows of ten numbers, which plain maximum likelihood overfits to 10¹⁵ nats."""
    random = np.random.default_rng(0)
    rows = random.standard_t(5, size=(2450, 10)) @ random.normal(size=(10, 10))
    np.savetxt(tmp_path / "points.csv", rows[:450], delimiter=",")
    run = tmp_path / "run"
    words = ("train", "--config", "maf", "--data", str(tmp_path / "points.csv"), "--output", str(run))
    assert cli.main(list(words)) == 0
    nats = -float(vflow.load(run).log_prob(torch.from_numpy(rows[450:]).float()).mean())
    assert nats <= gaussian_nats(rows[:450], rows[450:])


def test_the_best_weights_survive_worse_ones(csv: Path, tmp_path: Path) -> None:
    """Steps that ruin the model leave the Gaussian that it started as, which is the run's result."""
    run = tmp_path / "run"
    ruin = ("training.learning_rate=3", "training.warmup_steps=0", "training.refit=false", "training.ema=0")
    few = {"max_steps": 50, "patience": 2, "set": (*ruin, "model.layers.1.times=2")}
    try:
        run_here("maf", run, data=str(csv), **few)
    except DivergedError as error:
        assert "step" in str(error)
    assert lines(run)[-1]["status"] in ("finished", "failed")
    own = Points(str(csv), "train").points
    test = table(500, 1)
    nats = -float(vflow.load(run).log_prob(torch.from_numpy(test).float()).mean())
    assert nats == pytest.approx(gaussian_nats(own.astype(float), test), abs=1e-3)


def test_settings_for_tables_yield_to_those_that_are_given(csv: Path, tmp_path: Path) -> None:
    def resolved(config: str, data: str, *settings: str, **flags: int) -> tuple[object, ...]:
        preset = resolve(TrainOptions(config=config, output=tmp_path, data=data, set=settings, **flags))
        training = preset.training
        return training.patience, training.refit, preset.model.defensive, training.learning_rate

    assert resolved("maf", str(csv)) == (8, True, True, 2e-3)
    given = ("training.learning_rate=0.1", "model.defensive=false")
    assert resolved("maf", str(csv), *given, patience=3) == (3, True, False, 0.1)
    assert resolved("maf", "two-moons") == (None, False, False, 1e-2)
    (tmp_path / "own.yaml").write_text(json.dumps(load_preset("maf").model_dump(mode="json")))
    assert resolved(str(tmp_path / "own.yaml"), str(csv)) == (None, False, False, 1e-2)


def test_noise_on_rows_has_their_covariance(csv: Path, tmp_path: Path) -> None:
    from vflow.training.points import open_point_data

    preset = resolve(TrainOptions(config="maf", output=tmp_path, data=str(csv)))
    data = open_point_data(preset.model, preset)
    calm = open_point_data(
        preset.model,
        preset.model_copy(update={"training": preset.training.model_copy(update={"input_noise": 0.0})}),
    )
    noise = torch.cat([data.batch(s, 500).points - calm.batch(s, 500).points for s in range(0, 20_000, 500)])
    assert not noise[: data.length].any() and noise[data.length :].any(1).all()
    rows = torch.from_numpy(data.train.points).double()
    deviation = rows.std(0, correction=0)
    correlations = shrunk_covariance((rows - rows.mean(0)) / deviation).float()
    white = noise[data.length :] / (preset.training.input_noise * deviation.float())
    torch.testing.assert_close(torch.cov(white.T), correlations, rtol=0, atol=0.05)


def test_a_run_whose_validation_explodes_fails_and_keeps_its_best_weights(csv: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ruin = (
        "training.learning_rate=1e6",
        "training.warmup_steps=0",
        "training.ema=0",
        "model.layers.1.times=2",
    )
    bare = ("model.defensive=false", "training.validate_every=2")
    with pytest.raises(DivergedError, match="step 0"):
        run_here("maf", run, data=str(csv), max_steps=40, set=(*ruin, *bare))
    assert lines(run)[-1]["status"] == "failed"
    held = torch.from_numpy(Points(str(csv), "validation").points)
    start = next(line["val_nats"] for line in lines(run) if "val_nats" in line)
    assert -float(vflow.load(run).log_prob(held).mean()) == pytest.approx(start, abs=1e-3)


def test_resuming_knows_the_best_weights(csv: Path, tmp_path: Path) -> None:
    still = ("model.layers.1.times=2", "training.validate_every=5", "training.min_lr_ratio=1")
    still = (*still, "training.refit=false")
    run_here("maf", tmp_path / "parts", data=str(csv), max_steps=15, set=still)
    whole, parts = tmp_path / "other", tmp_path / "parts"
    run_here("maf", whole, data=str(csv), max_steps=30, set=still)
    run_here("maf", parts, data=str(csv), max_steps=30, set=still, resume=True)
    found = [read_state(run / "last" / "state") for run in (whole, parts)]
    assert found[0][1].best_bits == pytest.approx(found[1][1].best_bits, abs=1e-6)
    assert found[0][1].best_step == found[1][1].best_step and found[0][1].waited == found[1][1].waited
    best = [key for key in found[0][0] if key.startswith("best.")]
    assert best and all(torch.equal(found[0][0][key], found[1][0][key]) for key in best)
