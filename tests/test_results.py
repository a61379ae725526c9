"""docs/RESULTS.md matches its JSON files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.acceptance.registry import FIGURES, MEASURES
from scripts.acceptance.report import DirtyTreeError, clean_commit
from scripts.density_tables import density_tables, filled
from scripts.results import BENCHMARK, DENSITIES, FOLDER, ROWS, TASKS, pages, promised, read, remark, render
from vflow.benchmarks.registry import MODULES

PROTOCOL: dict[str, Any] = {
    "command": "vflow evaluate --checkpoint push --data push", "checkpoint": "push", "data": "push",
    "checkpoint_hash": "0123456789abcdef", "split": "test", "clips": 256, "num_samples": 20,
    "temperature": 0.7, "versions": {"torch": "2.13.0"},
}  # fmt: skip


def test_the_pages_are_up_to_date() -> None:
    for page, text in pages().items():
        assert page.read_text(encoding="utf-8") == text
    for name, data in read(FOLDER).items():
        if name != DENSITIES:
            assert "/" not in data["protocol"].get("checkpoint", "")  # a path of the machine it was made on


def test_densities_stand_in_order_of_their_nats() -> None:
    row = {"density": "rings", "above": 0.03, "steps": 9, "parameters": 1200, "seconds": 60.0, "seed": 0}
    row |= {"test_points": 50_000, "machine": "a machine"}
    rows = [
        row | {"model": "maf"},
        row | {"model": "zuko-maf", "above": 0.02},
        row | {"density": "u", "model": "x"},
    ]
    page = density_tables({"plane": rows})["plane"]
    table = [line for line in page.splitlines() if line.startswith("| `")]
    assert [line.split("`")[3] for line in table] == ["zuko-maf", "maf", "x"]
    assert "| `rings` | `maf` | 0.0300 | 9 | 1,200 |" in table and page.count("a machine") == 1
    assert "\nold" not in filled("a\n<!-- plane -->\nold\n<!-- /plane -->\nb", {"plane": "new"})


def test_energies_stand_one_a_line_by_the_number_of_layers() -> None:
    budget = {"seconds": 20.0, "steps": 900, "seed": 0, "machine": "a machine"}
    rows = [
        budget | {"energy": energy, "layers": layers, "kl": kl, "effective": 0.5}
        for energy, found in (("u1", (0.9, 0.4, 0.1)), ("u2", (0.3, 0.25, 0.2)))
        for layers, kl in zip((2, 8, 32), found, strict=True)
    ]
    page = density_tables({"energies": rows})["energies"]
    assert "| `u1` | 0.900 | 0.400 | 0.100 | 50% | 50% | 50% |\n| `u2` | 0.300 | 0.250 | 0.200 | 50%" in page
    assert "python -m examples.systems energies --steps 900 --output" in page


def test_each_measure_and_each_file_of_results_has_one_task() -> None:
    assert FIGURES.keys() == MEASURES.keys()
    for key in MEASURES:
        assert sum(key.startswith(beginnings) for beginnings, _ in TASKS.values()) == 1, key
    names = [name for _, files in TASKS.values() for name in files]
    tables = [name for name in read(FOLDER) if name.startswith(BENCHMARK)]
    assert sorted([*names, *tables, DENSITIES]) == sorted(read(FOLDER))
    assert {name.removeprefix(BENCHMARK) for name in tables} <= set(MODULES)


def test_an_evaluation_joins_the_table_of_its_task() -> None:
    data = {
        "bits_per_dim": 0.66764, "psnr_best": 18.5, "psnr_training_mean": None, "nonfinite": 0,
        "protocol": PROTOCOL,
    }  # fmt: skip
    page = render({"push": data}, {})
    table = page.split("## Futures of video")[1].split("## ")[0]
    assert "| bits/dim, K = 1 | 0.6676 | | | push |" in table
    assert "| PSNR, best sample | 18.5 dB | | | push |" in table
    assert "| non-finite values before any redraw | 0 | | | push |" in table
    assert "| F.shapes |" in table
    assert ROWS["psnr_training_mean"].what not in page
    assert "push on push (test): 256 clips; 20 samples each; T = 0.7; torch 2.13.0" in table
    assert f"{PROTOCOL['command']} --json > docs/results/push.json" in table


def test_a_comparison() -> None:
    rows = [{"model": "exact", "calibration_error": 0.00567}, {"model": "flow", "steps": 7}]
    protocol = {**PROTOCOL, "command": "python -m arm"}
    page = render(
        {"arm": {"title": "Arm", "note": "90 observations", "rows": rows, "protocol": protocol}}, {}
    )
    assert "### Arm\n\n| | steps | calibration error |\n|---|---|---|\n" in page
    assert "\n| exact |  | 0.00567 |\n| flow | 7 |  |\n" in page
    assert "90 observations; torch 2.13.0.\n\n```\npython -m arm > docs/results/arm.json" in page


def test_promises_come_with_what_was_measured_where_and_what_it_said() -> None:
    measure = MEASURES["F.colorizer"]
    assert "| – | ≥ 10 (aim 20) | not measured | F.colorizer |" in "\n".join(promised(measure, None))
    entry = {"values": {"under": 12.34}, "date": "2026-01-02", "commit": "abc", "note": "90 photos."}
    rows = promised(measure, entry)
    assert "| 12.34 % | ≥ 10 (aim 20) | pass | F.colorizer (2026-01-02, abc) |" in rows[0]
    assert not any("spread of ab" in line for line in rows), "neither promised nor found"
    assert remark(measure, entry) == "- F.colorizer: 90 photos."


def test_figures_are_recorded_from_a_clean_tree_only(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    assert re.fullmatch(r"[0-9a-f]{7,}", clean_commit(tmp_path))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "RESULTS.md").write_text("written by make accept itself")
    assert clean_commit(tmp_path)
    (tmp_path / "flow.py").write_text("changed")
    with pytest.raises(DirtyTreeError, match=r"clean tree; commit or remove first: flow\.py"):
        clean_commit(tmp_path)
