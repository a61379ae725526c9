"""Tables from file to scores: names, conditions, whole numbers, missing cells, ranks."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import vflow
from vflow import cli
from vflow.bijections.whitening import Whitening
from vflow.checkpoint import read_statistics
from vflow.config import DensityConfig, parse
from vflow.data.datasets.points import Points, describe_columns, read_table
from vflow.errors import ConfigError, InputError
from vflow.models import DensityModel, PointBatch
from vflow.pipelines.density import score_rows

Run = Callable[..., tuple[int, str, str]]
NAMES = ["age", "children", "smoker", "pressure"]


def table(rows: int, seed: int = 0) -> np.ndarray:
    """Pressure depends on age and on smoking, which is 0 or 1; children are counted."""
    random = np.random.default_rng(seed)
    age, smoker = random.uniform(20, 70, rows).round(2), random.integers(0, 2, rows)
    pressure = 100 + 0.6 * age + 12 * smoker + random.normal(0, 2, rows)
    return np.stack([age, random.poisson(1.5, rows), smoker, pressure], 1)


def write(path: Path, rows: np.ndarray, names: list[str] = NAMES) -> Path:
    np.savetxt(path, rows, fmt="%.9g", delimiter=",", header=",".join(names), comments="")
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Run:
    """Exit code, stdout and stderr with remarks of the log."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        caplog.clear()
        code = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err + caplog.text

    return call


def train(run: Run, data: Path, folder: Path, *flags: object) -> str:
    words = ("train", "--config", "maf", "--data", data, "--output", folder, "--max-steps", 40)
    code, _, err = run(*words, *flags, "--set", "model.layers.1.times=2", "training.learning_rate=0.01")
    assert code == 0, err
    return err


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_keeps_its_names_and_its_rows_are_ranked(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said = train(run, write(tmp_path / "rows.csv", table(300)), folder)
    assert "children, smoker" in said and "whole numbers" in said
    assert [c.name for c in vflow.load(folder).config.columns] == NAMES

    run("sample", "--checkpoint", folder, "--num-samples", 500, "--output", tmp_path / "more.csv")
    drawn = read_table(tmp_path / "more.csv")
    assert list(drawn.names) == NAMES and set(drawn.numbers[:, 2]) == {0, 1}
    assert (drawn.numbers[:, 1] % 1 == 0).all() and (drawn.numbers[:, 0] % 1 != 0).any()

    odd = table(40, 1)
    odd[7] = 45, 1, 0, 190  # of columns in another order, beside one of text
    with (tmp_path / "new.csv").open("w") as file:
        file.write("pressure,name,smoker,children,age\n")
        file.writelines(f"{p:.9g},p{i},{s:g},{c:g},{a:g}\n" for i, (a, c, s, p) in enumerate(odd))
    words = ("score", "--checkpoint", folder, "--input", tmp_path / "new.csv", "--output")
    code, _, err = run(*words, tmp_path / "scores.csv", "--maps-dir", tmp_path / "maps")
    assert code == 2 and "--maps-dir" in err, "what is for clips is not passed over"
    code, out, _ = run(*words, tmp_path / "scores.csv", "--json")
    scores = rows_of(tmp_path / "scores.csv")
    added = ["log_p_nats", "rank", "percentile"]
    assert code == 0 and list(scores[0]) == ["pressure", "name", "smoker", "children", "age", *added]
    assert [row["name"] for row in scores] == [f"p{i}" for i in range(40)]
    log_p = np.array([float(row["log_p_nats"]) for row in scores])
    assert json.loads(out)["nats"] == pytest.approx(-log_p.mean())
    ranks = [int(row["rank"]) for row in scores]
    assert log_p.argmin() == 7 and ranks[7] == 1 and float(scores[7]["percentile"]) == 0
    assert 20 < np.mean([float(row["percentile"]) for row in scores]) < 80 and max(ranks) <= 301

    known = read_statistics(folder / "last" / "model")
    own = Points(str(tmp_path / "rows.csv"), "all", vflow.load(folder).config.columns)
    assert known["train_rows"] == 300
    np.testing.assert_allclose(known["train_log_p"], np.sort(score_rows(vflow.load(folder), own)), atol=1e-4)


def test_a_conditional_density_of_named_columns(run: Run, tmp_path: Path) -> None:
    folder, path = (
        tmp_path / "run",
        write(tmp_path / "rows.csv", table(600)[:, [0, 2, 3]], ["age", "smoker", "p"]),
    )
    train(run, path, folder, "--condition", "smoker,age")
    config = vflow.load(folder).config
    assert (config.dim, config.features) == (1, 2) and config.columns[1].kind == "binary"
    words = ("sample", "--checkpoint", folder, "--num-samples", 400, "--output", tmp_path / "p.csv")
    code, _, err = run(*words, "--condition", "age=50,smoker=1")
    drawn = read_table(tmp_path / "p.csv")
    assert code == 0 and drawn.names == ("age", "smoker", "p"), err
    assert (drawn.numbers[:, :2] == (50, 1)).all()
    assert drawn.numbers[:, 2].mean() == pytest.approx(142, abs=1) and 1.5 < drawn.numbers[:, 2].std() < 3
    for given in ((), ("--condition", "age=50"), ("--condition", "age=50,smoker=x")):
        assert run(*words, *given)[0] == 2
    code, out, _ = run("evaluate", "--checkpoint", folder, "--data", path, "--json")
    exact = 0.5 * np.log(2 * np.pi * np.e * 4)
    assert code == 0 and json.loads(out)["nats"] == pytest.approx(exact, abs=0.15)
    run("score", "--checkpoint", folder, "--input", path, "--output", tmp_path / "s.csv")
    log_p = [float(row["log_p_nats"]) for row in rows_of(tmp_path / "s.csv")]
    assert -np.mean(log_p) == pytest.approx(json.loads(out)["nats"], abs=1e-6)


def test_missing_cells_are_refused_by_column_or_left_out(run: Run, tmp_path: Path) -> None:
    path, folder = write(tmp_path / "rows.csv", table(300)), tmp_path / "run"
    lines = path.read_text().splitlines()
    lines[4], lines[9] = "30,,1,120", "NA,2,,130"
    path.write_text("\n".join(lines) + "\n")
    words = ("train", "--config", "maf", "--data", path, "--output", folder)
    code, _, err = run(*words)
    assert code == 1 and "1 (age): 1, 2 (children): 1, 3 (smoker): 1" in err and "--drop-missing" in err
    assert "2 rows with missing cells left out" in train(run, path, folder, "--drop-missing")
    assert read_statistics(folder / "last" / "model")["train_rows"] == 298
    score = ("score", "--checkpoint", folder, "--input", path, "--output", tmp_path / "scores.csv")
    assert run(*score)[0] == 1 and not (tmp_path / "scores.csv").exists()
    code, _, err = run(*score, "--drop-missing")
    scores = rows_of(tmp_path / "scores.csv")
    assert code == 0 and "2 rows" in err and len(scores) == 300
    assert [i for i, row in enumerate(scores) if not row["log_p_nats"]] == [3, 8]
    assert scores[3]["pressure"] == "120"


def test_whole_numbers_have_the_probability_of_their_unit(tmp_path: Path) -> None:
    """log p of a count under a normal density of the count and its noise: log of a difference of CDFs."""
    path = tmp_path / "rows.csv"
    write(path, np.arange(-4, 5)[:, None].repeat(2, 1) * (1, 0.5), ["count", "x"])
    columns = describe_columns(read_table(path), [], "rows.csv")
    assert [column.kind for column in columns] == ["whole", "number"]
    settings = {"kind": "density", "dim": 2, "columns": [c.model_dump() for c in columns]}
    model = DensityModel(parse(DensityConfig, settings, "test"))
    points, normal = Points(str(path), "test", columns), torch.distributions.Normal(0.0, 1.0)
    v = torch.from_numpy(points.points).double()
    exact = (normal.cdf(v[:, 0] + 1) - normal.cdf(v[:, 0])).log() + normal.log_prob(v[:, 1])
    found = score_rows(model, points)
    np.testing.assert_allclose(found, exact.numpy(), atol=0.05)
    np.testing.assert_array_equal(found[3:4], score_rows(model, points, np.array([3])))
    u = points.dequantized(slice(None), 1) - points.points
    assert (u[:, 1] == 0).all() and len(set(u[:, 0])) == 9 and u.min() >= 0 and u.max() <= 1


def test_whitening_given_a_condition_is_the_regression() -> None:
    torch.manual_seed(0)
    y = torch.randn(4000, 2, dtype=torch.float64)
    x = y @ torch.randn(2, 3, dtype=torch.float64) + torch.randn(4000, 3, dtype=torch.float64)
    given, whitening = Whitening(2).double(), Whitening(3, 2).double()
    images = [rows[:, :, None, None] for rows in (y, x)]
    z = whitening.initialize(images[1], context := given.initialize(images[0])).flatten(1)
    joint = torch.cat([context.flatten(1), z], 1)
    torch.testing.assert_close(torch.cov(joint.T), torch.eye(5, dtype=torch.float64), rtol=0, atol=0.02)
    back, ladj = whitening.inverse(z[:, :, None, None], context)
    torch.testing.assert_close(back, images[1])
    torch.testing.assert_close(whitening.forward(images[1], context)[1], -ladj)


def test_conditions_are_standardised_by_the_model() -> None:
    torch.manual_seed(0)
    layers = [{"kind": "autoregressive", "hidden": [8]}]
    settings = {"kind": "density", "dim": 2, "features": 1, "defensive": True, "layers": layers}
    small, large = (DensityModel(parse(DensityConfig, settings, "test")) for _ in range(2))
    large.load_state_dict(small.state_dict())
    x, y = torch.randn(200, 2), torch.randn(200, 1)
    small.initialize(PointBatch(x, y))
    large.initialize(PointBatch(1000 * x + 5, 1e6 * y - 3e7))
    for parameter, other in zip(small.parameters(), large.parameters(), strict=True):
        other.data.copy_(parameter.data.normal_(0, 0.1))
    shift = 2 * np.log(1000)
    torch.testing.assert_close(
        small.log_prob(x, y), large.log_prob(1000 * x + 5, 1e6 * y - 3e7) + shift, rtol=0, atol=1e-2
    )


@pytest.mark.parametrize(
    ("header", "conditions", "message"),
    [
        ("a,b,a", [], "'a'"),
        ("a,b,c", ["d"], "'d'"),
        ("a,b,c", ["c", "a", "b"], "all columns"),
    ],
)
def test_columns_that_cannot_be_named_are_refused(
    tmp_path: Path, header: str, conditions: list[str], message: str
) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\n1,2,3\n4,5,6.5\n")
    with pytest.raises(InputError, match=message):
        describe_columns(read_table(tmp_path / "t.csv"), conditions, "t.csv")


def test_columns_and_lengths_must_agree() -> None:
    with pytest.raises(ConfigError, match="columns"):
        parse(DensityConfig, {"kind": "density", "dim": 3, "columns": [{"name": "a"}]}, "test")


def test_what_is_no_table_is_refused(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", table(50))
    moons = ("train", "--config", "maf", "--data", "two-moons", "--output", tmp_path / "run")
    assert run(*moons, "--condition", "age")[0] == 2
    assert run("train", "--config", "maf", "--output", tmp_path / "run", "--condition", "age")[0] == 2
    assert run(*moons, "--max-steps", 1)[0] == 0
    score = ("score", "--checkpoint", tmp_path / "run", "--input", path, "--output", tmp_path / "s.csv")
    assert run(*score)[0] == 3
    assert run("score", "--input", path, "--output", tmp_path / "s.csv")[0] == 2
