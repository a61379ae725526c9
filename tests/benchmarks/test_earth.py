"""The benchmark ``earth`` on made places, and tables of latitude and longitude."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from vflow import cli
from vflow.benchmarks import base, earth
from vflow.benchmarks.von_mises_fisher import best_mixture
from vflow.config import load_preset
from vflow.data.datasets.points import places, unit_vectors
from vflow.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sets of 120 places about two cities, 40 of them twice, with their digests."""
    random = np.random.default_rng(0)
    degrees = np.round(
        random.normal(0, 3, (80, 2)) + np.array([[40, 20], [-30, 170]])[random.integers(2, size=80)], 2
    )
    text = "# made\nlatitude,longitude\n" + "".join(f"{a},{b}\n" for a, b in [*degrees, *degrees[:40]])
    digests = {}
    for name in earth.SETS.values():
        (tmp_path / name).write_text(text)
        digests[name] = hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setattr(base, "digests", lambda name: digests)
    return tmp_path


def test_a_row_for_each_set_and_kind_of_split(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = {"training.max_steps": 2, "training.validate_every": 1, "model.base.components": 8}
    monkeypatch.setattr(earth, "load_preset", lambda name, entries: load_preset(name, entries | steps))
    command = ["benchmark", "earth", "--data", str(folder), "--splits", "1", "--json"]
    assert cli.main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["set"] for row in found["rows"]] == 2 * list(earth.SETS)
    once, published = found["rows"][0], found["rows"][4]
    assert once["seen"] == "0.0%" and published["seen"] != "0.0%"
    assert float(published["nats"]) < 3 and once["moser"] is None and published["moser"] == -2.02


def test_another_file_is_refused(folder: Path) -> None:
    (folder / "fire.csv").write_text("1,2\n")
    with pytest.raises(InputError, match=r"fire\.csv"):
        list(earth.run(folder, range(1)))


def test_the_mixture_finds_its_clusters() -> None:
    random = np.random.default_rng(0)
    centres = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, -1]])
    points = centres[random.integers(3, size=600)] + random.normal(0, 0.1, (600, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    model, _ = best_mixture(points[:500], points[500:], 0)
    # entropy of an equal mixture of three flat normals of deviation 0.1
    truth = np.log(3) + 1 + np.log(2 * np.pi * 0.01)
    assert -model.log_prob(points[500:]).mean() == pytest.approx(truth, abs=0.3)


def test_places_are_points_of_the_sphere_and_back() -> None:
    degrees = np.array([[0.0, 0.0], [90.0, 0.0], [-45.0, 170.0]])
    points = unit_vectors(degrees)
    assert points[:2] == pytest.approx(np.array([[1, 0, 0], [0, 0, 1]]), abs=1e-6)
    assert places(points) == pytest.approx(degrees, abs=1e-4)
    turned = unit_vectors(degrees[:, ::-1], ("Longitude", "Latitude"))
    assert turned == pytest.approx(points)
    assert places(turned, ["lng"])[2] == pytest.approx([170, -45], abs=1e-4)
    with pytest.raises(InputError, match="row 2"):
        unit_vectors(np.array([[1.0, 2.0], [91.0, 0.0]]))


def test_a_table_of_places_is_learned_scored_and_drawn(folder: Path) -> None:
    run, table, scores = folder / "run", folder / "volerup.csv", folder / "scores.csv"
    small = ["--set", "model.base.components=8", "--max-steps", "2"]
    assert cli.main(["train", "--config", "earth", "--data", str(table), "--output", str(run), *small]) == 0
    assert cli.main(["score", "--checkpoint", str(run), "--input", str(table), "--output", str(scores)]) == 0
    assert len(scores.read_text().splitlines()) == 121
    drawn = folder / "drawn.csv"
    assert cli.main(["sample", "--checkpoint", str(run), "--num-samples", "50", "--output", str(drawn)]) == 0
    header, *rows = drawn.read_text().splitlines()
    assert header == "latitude,longitude" and len(rows) == 50
    assert np.abs(np.array([[float(cell) for cell in row.split(",")] for row in rows])).max() <= 180
