"""Densities of vectors on the ordinary path: train, resume, evaluate, sample, and one line for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from vflow import cli
from vflow.config import load_preset, preset_names
from vflow.densities import TARGETS, target, target_entropy
from vflow.errors import ConfigError, VflowError
from vflow.models import DensityModel, PointBatch
from vflow.pipelines.density import sample
from vflow.randomness import normal
from vflow.training.setup import load_matching, new_model, open_data

from .support import lines, losses, run_here

TINY = """
model:
  kind: density
  base: logistic
  layers: [{kind: actnorm}, {kind: autoregressive, hidden: [32], element: {kind: mixture, components: 6}}]
training:
  {batch_size: 128, max_steps: 60, learning_rate: 0.02, warmup_steps: 5, actnorm_batch: 500, log_every: 10,
  validate_every: 30, validation_examples: 2000, checkpoint_every: 30, ema: 0.9}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return str(tmp_path / "tiny.yaml")


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(400, 3)) * (1, 10, 0.1) + (0, 5, -3)
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",")
    return tmp_path / "rows.csv"


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main([str(word) for word in words])
    return code, *capsys.readouterr()


def test_train_evaluate_and_sample(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert run_here(tiny, run, data="eight-gaussians") == 0
    log = lines(run)
    validation = [line for line in log if "val_nats" in line]
    assert [line["step"] for line in validation] == [30, 60] and log[-1]["status"] == "finished"
    assert all(line["round_trip"] < 1e-3 and line["sample_nonfinite"] == 0 for line in validation)
    assert validation[-1]["val_nats"] == pytest.approx(validation[-1]["val_bits_per_dim"] * 2 * np.log(2))
    assert next(line["nats"] for line in log if "nats" in line) > log[-3]["nats"]
    assert (run / "samples" / "step_0000060.png").is_file()

    evaluate = ("evaluate", "--checkpoint", run, "--data", "eight-gaussians", "--json")
    code, out, _ = command(capsys, *evaluate, "--split", "validation")
    found = json.loads(out)
    assert code == 0 and found["entropy"] == pytest.approx(target_entropy("eight-gaussians"))
    assert found["entropy"] < found["nats"] < found["entropy"] + 0.6
    assert found["kl"] == pytest.approx(found["nats"] - found["entropy"], abs=0.03)
    assert 0 < found["reverse_kl"] < 1.5 and 0.2 < found["effective_sample_share"] < 1
    assert found["protocol"]["points"] == 20_000

    for name in ("a.csv", "a.npz"):
        words = ("sample", "--checkpoint", run, "--num-samples", 1500, "--output", tmp_path / name)
        assert command(capsys, *words)[:2] == (0, f"{tmp_path / name}\n")
    points = np.load(tmp_path / "a.npz")["points"]
    assert np.array_equal(np.loadtxt(tmp_path / "a.csv", delimiter=",", dtype=np.float32), points)
    with pytest.raises(ConfigError, match=r"^seed must be"):
        vflow.sample(vflow.load(run), 10, seed=-1)
    assert points.shape == (1500, 2) and np.array_equal(vflow.sample(vflow.load(run), 10), points[:10])
    radius = np.linalg.norm(points, axis=1)
    assert ((radius > 1.5) & (radius < 4.2)).mean() > 0.6


def test_resuming_in_pieces_equals_one_run(tiny: str, tmp_path: Path, csv: Path) -> None:
    """The points of a file, three of their epochs a step: vectors are as long as its rows."""
    options: dict[str, Any] = {
        "data": str(csv),
        "set": ("training.min_lr_ratio=1", "training.batch_size=900"),
    }
    run_here(tiny, tmp_path / "whole", **options)
    run_here(tiny, tmp_path / "parts", max_steps=20, **options)
    run_here(tiny, tmp_path / "parts", resume=True, **options)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert vflow.load(tmp_path / "parts").config.dim == 3
    assert vflow.sample(vflow.load(tmp_path / "parts"), 7).shape == (7, 3)


def test_points_that_are_not_finite_are_redrawn_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(DensityModel, "sample", lambda _, eps: calls.append(len(eps)) or eps * torch.nan)
    with pytest.raises(VflowError, match="2000 points not finite after 8 redraws"):
        sample(DensityModel(load_preset("maf").model), 2000)
    assert calls == [1024] * 18, "two chunks, nine times"


@pytest.mark.parametrize("layers", ["[]", "[{kind: permutation}]"])
def test_a_model_without_weights_is_refused(tiny: str, tmp_path: Path, layers: str) -> None:
    with pytest.raises(
        VflowError, match=r"the model has no weights to train; give model.layers one that has"
    ):
        run_here(tiny, tmp_path / "run", data="two-moons", set=(f"model.layers={layers}",))


def test_an_energy_is_fitted_by_reverse_kl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "e.yaml").write_text(
        "model: {kind: density, layers: [{kind: elementwise}]}\n"
        "training: {batch_size: 128, max_steps: 60, learning_rate: 0.03, warmup_steps: 5, ema: 0.8,"
        " validation_examples: 2000, validate_every: 20}\n"
    )
    assert run_here(str(tmp_path / "e.yaml"), tmp_path / "run", data="u2") == 0
    code, out, _ = command(
        capsys, "evaluate", "--checkpoint", tmp_path / "run", "--data", "u2", "--limit", 4000, "--json"
    )
    found = json.loads(out)
    nats = [line["val_nats"] for line in lines(tmp_path / "run") if "val_nats" in line]
    assert code == 0 and nats[-1] < nats[0] - 0.3 and 0 < found["effective_sample_share"] <= 1
    assert found["nats"] == pytest.approx(nats[-1], abs=0.3)
    assert -0.05 < found["kl"] == pytest.approx(found["nats"] + found["log_normalizer"])


def test_parts_of_a_batch_have_its_noise_and_its_weight() -> None:
    data = open_data(load_preset("planar-energy", {"data.path": "u1", "training.batch_size": 8}))
    whole, parts = data.batch(16, 8), [data.batch(start, 2) for start in (16, 18, 20, 22)]
    assert torch.equal(torch.cat([part.points for part in parts]), whole.points)
    assert torch.equal(whole.points, normal((8, 2), "energy", 0, 16)), "as runs had it"
    assert {part.weight for part in parts} == {whole.weight}


@pytest.mark.parametrize("name", [n for n in preset_names() if load_preset(n).model.family == "density"])
def test_every_preset_takes_a_batch_of_its_data_and_scores_it(name: str) -> None:
    from vflow.training.setup import new_model

    preset = load_preset(name)
    data = open_data(preset)
    model, batch = new_model(preset), data.batch(0, 64)
    model.initialize(batch)  # type: ignore[arg-type]
    nats = model.eval()(batch)
    assert nats.shape == (64,) and bool(nats.isfinite().all())
    before, after = model.reconstruct(batch)  # type: ignore[arg-type]
    assert float((before - after).abs().max()) < 0.05


@pytest.mark.parametrize("name", ["torus", "sphere"])
def test_targets_on_manifolds_have_the_entropy_of_their_samples(name: str) -> None:
    assert name in TARGETS
    density = target(name)
    points = density.points(8000, 1)
    log_p = density.log_prob(points.double())
    assert float(-log_p.mean()) == pytest.approx(target_entropy(name), abs=0.05)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2\n3,4\n5,a\n", "line 3, column 2: 'a' is no number"),
        ("1,2\n" * 50 + "inf,1\n" + "2,3\n" * 50, "line 51 holds a number that is not finite"),
        ("1,2\n3,4,5\n", "line 2 has 3 columns, not 2"),
        ("1,2\n", "1 row, too few for training"),
        ("1,2\n" * 200, "column x1 is constant"),
        ("", "no rows"),
        (",".join("1" * 5000) + "\n", "rows of 5000 numbers"),
    ],
)
def test_bad_files_cost_one_line(
    tmp_path: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_text(content)
    words = ("train", "--config", "maf", "--data", tmp_path / "bad.csv", "--output", tmp_path / "run")
    code, _, err = command(capsys, *words)
    *progress, error = err.splitlines()
    assert code == 1 and message in error and "bad.csv" in error
    assert not progress or progress == [f"reading the data: {tmp_path / 'bad.csv'}"]
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_degrees_are_refused_where_angles_are_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, (200, 2))
    words = ("train", "--config", "mobius", "--dry-run", "--output", tmp_path / "run", "--data")
    for name, turn in (("radians.csv", 1), ("degrees.csv", 180 / np.pi)):
        np.savetxt(tmp_path / name, turn * angles, delimiter=",")
    assert command(capsys, *words, tmp_path / "radians.csv")[0] == 0
    code, _, err = command(capsys, *words, tmp_path / "degrees.csv")
    assert code == 1 and "exceeds 2π; give angles in radians" in err and err.count("\n") == 1


def test_a_huge_file_is_refused_by_its_header(tmp_path: Path) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 2)))
    import zipfile

    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive, archive.open("points.npy", "w") as entry:
        np.lib.format.write_array_header_1_0(entry, header | {"shape": (10**11, 2)})
    with pytest.raises(VflowError, match="more than 1,024 MiB"):
        run_here("maf", tmp_path / "run", data=str(tmp_path / "p.npz"))


def test_points_that_cannot_be_written_are_not_drawn(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(tiny, tmp_path / "run", data="two-moons", max_steps=1)
    (tmp_path / "file").touch()
    monkeypatch.setattr(DensityModel, "sample", lambda *_: pytest.fail("drawn in vain"))
    words = ("sample", "--checkpoint", tmp_path / "run", "--output", tmp_path / "file" / "a.csv")
    code, _, err = command(capsys, *words)
    assert code == 1 and f"{tmp_path / 'file'}: cannot be written (Not a directory)" in err


def test_points_of_another_length_and_other_models_are_refused(
    tiny: str, tmp_path: Path, csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run_here(tiny, run, data="two-moons", max_steps=1)
    capsys.readouterr()
    code, _, err = command(capsys, "evaluate", "--checkpoint", run, "--data", csv)
    assert code == 1 and "points of 3 numbers, the model takes 2" in err and err.count("\n") == 1
    run_here(tiny, tmp_path / "three", data=str(csv), max_steps=1)
    capsys.readouterr()
    code, _, err = command(capsys, "evaluate", "--checkpoint", tmp_path / "three", "--data", "u1")
    assert code == 1 and "u1: points of 2 numbers, the model takes 3" in err and err.count("\n") == 1
    with pytest.raises(VflowError, match="u1: points of 2 numbers, the model takes 3"):
        run_here(tiny, tmp_path / "other", data="u1", set=("model.dim=3",))
    capsys.readouterr()
    words = ("evaluate", "--checkpoint", run, "--data", "two-moons", "--tune-temperature")
    code, _, err = command(capsys, *words)
    assert code == 2 and "not for a model of kind density; leave it out" in err and err.count("\n") == 1
    code, _, err = command(capsys, "sample", "--checkpoint", "digits", "--output", tmp_path / "a.csv")
    assert code == 3 and "kind density" in err
    code, _, err = command(capsys, "sample", "--checkpoint", run, "--output", tmp_path / "a.txt")
    assert code == 2 and ".csv or .npz" in err
    code, _, err = command(capsys, "digits", "--checkpoint", run, "--output", tmp_path / "d")
    assert code == 3 and err.count("\n") == 1
    with pytest.raises(VflowError, match="num_samples"):
        sample(vflow.load(run), 0)


@pytest.mark.parametrize("kind", ["batchnorm", "marginals"])
def test_what_was_set_from_data_stays_with_init_from(kind: str, tmp_path: Path) -> None:
    base = "logistic" if kind == "marginals" else "normal"
    (tmp_path / "tiny.yaml").write_text(f"""
model: {{kind: density, base: {base}, layers: [{{kind: {kind}}}]}}
training: {{max_steps: 2, batch_size: 64, actnorm_batch: 64, validation_examples: 64}}
""")
    assert run_here(str(tmp_path / "tiny.yaml"), tmp_path / "a", data="two-moons") == 0
    model = new_model(load_preset(str(tmp_path / "tiny.yaml")))
    assert isinstance(model, DensityModel)
    taken = load_matching(model, str(tmp_path / "a"), report=False)
    assert taken == model.state_dict().keys()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train().initialize(PointBatch(torch.randn(50, 2) + 7))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
