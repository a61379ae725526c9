"""Digits on the engine: files per class or one array, nothing redone that is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from vflow.data import media
from vflow.errors import InputError
from vflow.models import Digits
from vflow.pipelines.batch import engine
from vflow.pipelines.batch.engine import Options, Summary
from vflow.pipelines.batch.records import record_class
from vflow.pipelines.batch.tasks import RunnerTask
from vflow.pipelines.digits.digits import DRAW_DIGITS, digits
from vflow.tasks.digits.settings import DigitsSettings

from ..digit_models import make_digits


@pytest.fixture(scope="module")
def model() -> Digits:
    return make_digits()


def run(
    model: Digits, out: Path, on_existing: Literal["skip", "overwrite"] = "skip", **settings: object
) -> Summary:
    record = record_class(DigitsSettings).model_validate(
        {"checkpoint": "tiny", "checkpoint_hash": "0", "num_samples": 2} | settings
    )
    task = RunnerTask(model, record, runner=DRAW_DIGITS)
    return engine.run(task.items(), task, Options(out, record.settings().format == "npz", on_existing))


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_per_class(model: Digits, tmp_path: Path) -> None:
    summary = run(model, tmp_path)
    assert [entry["item"] for entry in summary.done] == [str(label) for label in range(10)]
    expected = {f"{label}/s{sample:03d}.png" for label in range(10) for sample in range(2)}
    assert files(tmp_path) == expected | {"run.json", "manifest.jsonl"}
    drawn = digits(model, 4, num_samples=2)
    for sample in range(2):
        assert np.array_equal(
            media.read_image(tmp_path / f"4/s{sample:03d}.png").frames[0, ..., 0], drawn[sample]
        )
    entry = json.loads((tmp_path / "manifest.jsonl").read_text().splitlines()[4])
    assert (entry["item"], entry["inputs"], entry["status"], entry["values"]) == ("4", [], "done", 2 * 784)
    assert json.loads((tmp_path / "run.json").read_text())["label"] == "all"


def test_a_class_that_is_there_is_kept(model: Digits, tmp_path: Path) -> None:
    assert not run(model, tmp_path, label="3").skipped
    assert [entry["item"] for entry in run(model, tmp_path).skipped] == ["3"]
    assert len(run(model, tmp_path).skipped) == 10
    assert not run(model, tmp_path, "overwrite", seed=1).skipped
    (tmp_path / "6/s001.png").unlink()
    assert len(run(model, tmp_path, seed=1).skipped) == 9
    assert len(run(model, tmp_path, "overwrite", seed=1, num_samples=1, label="6").done) == 1
    assert not (tmp_path / "6/s001.png").exists()


def test_one_array(model: Digits, tmp_path: Path) -> None:
    run(model, tmp_path, format="npz")
    assert files(tmp_path) == {"digits.npz", "run.json", "manifest.jsonl"}
    with np.load(tmp_path / "digits.npz") as saved:
        assert sorted(saved.files) == ["images", "labels"]
        assert np.array_equal(saved["images"], digits(model, "all", num_samples=2))
        assert np.array_equal(saved["labels"], np.repeat(np.arange(10), 2))
        assert np.issubdtype(saved["labels"].dtype, np.integer)
    assert len(run(model, tmp_path, format="npz").skipped) == 1
    with pytest.raises(InputError):
        run(model, tmp_path, format="npz", label="2")
    assert not run(model, tmp_path, "overwrite", format="npz", label="2").skipped
    with np.load(tmp_path / "digits.npz") as saved:
        assert saved["labels"].tolist() == [2, 2]
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 1


def test_redraws_are_told(model: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vflow.pipelines.common import Counts
    from vflow.pipelines.digits.digits import Chunk

    chunk = Chunk(1, 0, np.zeros((2, 28, 28), np.uint8), Counts(1568, 3, 0, 1))
    monkeypatch.setattr(DRAW_DIGITS, "iterate", lambda *args: iter([chunk]))
    notes: list[str] = []
    record = record_class(DigitsSettings).model_validate(
        {"checkpoint": "c", "checkpoint_hash": "0", "label": "1"}
    )
    task = RunnerTask(model, record, notes.append, runner=DRAW_DIGITS)
    summary = engine.run(task.items(), task, Options(tmp_path))
    assert notes == ["1: 1 digit drawn again: not finite"]
    assert summary.done[0]["nonfinite"] == 3
