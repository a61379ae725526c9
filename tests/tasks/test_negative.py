"""A task of another package gets every face: command, batches, records, evaluation, endpoint and tab."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from apps.ui import api, tasks
from apps.ui.shared import task_tab
from apps.ui.shared.context import AppContext
from apps.ui.shared.events import Buttons, Downloads, StatusBar, html_block
from apps.ui.shared.faces import Face
from apps.ui.shared.forms import Upload
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from apps.ui.shared.turns import Turn
from vflow import catalog, cli, registry
from vflow.checkpoint import load, save_checkpoint
from vflow.errors import CheckpointError
from vflow.pipelines.batch.records import Manifest
from vflow.pipelines.batch.stores import Folder

PHOTO = np.random.default_rng(0).integers(0, 256, (20, 12, 3), dtype=np.uint8)


def forget() -> None:
    """Leave the registry as it is before anything is looked up."""
    registry._registry.cache_clear()
    registry.load_plugins.cache_clear()
    sys.modules.pop("negative", None)


def install(site: Path, name: str = "negative") -> None:
    """What pip leaves of a package with the task: its module, and where its entry point leads."""
    site.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("negative.py"), site)
    about = site / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[vflow.tasks]\nnegative = negative:FAMILY\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place of packages, on the path."""
    forget()
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield tmp_path / "site"
    forget()


@pytest.fixture
def model(site: Path, tmp_path: Path) -> Path:
    """A checkpoint of the task, written where the task is known; two photos lie beside it."""
    negative = import_module("negative")
    save_checkpoint(tmp_path / "model", negative.Negative(config := negative.NegativeConfig()), config=config)
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        Image.fromarray(PHOTO).save(tmp_path / "photos" / f"{name}.png")
    sys.modules.pop("negative")
    return tmp_path / "model"


def vflow(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def saved(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def mixed(strength: float) -> np.ndarray:
    return np.rint(PHOTO + strength * (255.0 - 2 * PHOTO.astype(np.float32))).astype(np.uint8)


def test_it_has_a_command_whose_record_repeats_it(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ("negative", "--checkpoint", model, "--input", tmp_path / "photos/a.png", "--output")
    assert vflow(*call, tmp_path / "one", "--strength", 0.25) == 0
    assert np.array_equal(saved(tmp_path / "one/a/negative.png"), mixed(0.25))
    record = tmp_path / "one/run.json"
    assert json.loads(record.read_text())["strength"] == 0.25
    assert vflow(*call, tmp_path / "two", "--settings", record) == 0
    assert np.array_equal(saved(tmp_path / "two/a/negative.png"), mixed(0.25))
    capsys.readouterr()
    assert vflow("--help") == 0 and "negatives of photos" in capsys.readouterr().out
    assert vflow("negative", "--help") == 0 and "Share of the negative" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ("--input photos/a.png --strength 2 --checkpoint model", 2, "--strength"),
        ("--input photos/a.png --strength much --checkpoint model", 2, "--strength"),
        ("--input photos/a.png --checkpoint digits", 3, "digits"),
        ("--input photos/a.png", 2, "--checkpoint"),
        ("--input none.png --checkpoint model", 1, "none.png"),
    ],
)
def test_its_errors_are_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: str, code: int, named: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert vflow("negative", "--output", "o", *arguments.split()) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and named in line


def test_batches_are_shared_out_and_go_on(model: Path, tmp_path: Path) -> None:
    call = ("generate", "negative", "--checkpoint", model, "--input", tmp_path / "photos")
    out = tmp_path / "out"
    assert vflow(*call, "--output", out, "--shard", "1/2") == 0
    assert not (out / "b").exists()
    assert vflow(*call, "--output", out, "--shard", "2/2") == 0
    assert np.array_equal(saved(out / "b/negative.png"), mixed(1))
    assert [{*Manifest(Folder(out), f"manifest-{index}-of-2.jsonl").entries} for index in (1, 2)] == [
        {"a"},
        {"b"},
    ]
    kept = (out / "a/negative.png").stat().st_mtime_ns
    (out / "b/negative.png").unlink()
    for shard in ("1/2", "2/2"):
        assert vflow(*call, "--output", out, "--shard", shard) == 0
    assert (out / "a/negative.png").stat().st_mtime_ns == kept
    assert np.array_equal(saved(out / "b/negative.png"), mixed(1))


def test_it_is_evaluated(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vflow("evaluate", "--checkpoint", model, "--data", tmp_path / "photos", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["mean_level"] == pytest.approx(255 - PHOTO.mean()) and figures["protocol"]["photos"] == 2


def test_two_tasks_of_one_name_are_an_error(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "other")
    assert vflow("--help") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "negative" in line


def test_a_checkpoint_has_no_task_imported(model: Path) -> None:
    assert catalog.family_of(model) is None
    with pytest.raises(CheckpointError, match="'negative'"):
        load(model)
    assert "negative" not in sys.modules
    registry.load_plugins()
    assert catalog.family_of(model) == "negative" and float(load(model).white) == 255


@pytest.fixture
def app(model: Path, tmp_path: Path) -> AppContext:
    """The app with the task's model alone."""
    registry.load_plugins()
    (tmp_path / "runs").mkdir()
    return AppContext(ModelStore([model]), RunStore(tmp_path / "runs"), Jobs(), tmp_path)


def face() -> Face:
    return next(face for face in tasks.faces() if face.family.name == "negative")


def test_it_has_a_tab_and_an_endpoint(app: AppContext) -> None:
    with gr.Blocks() as blocks:
        (tab,) = tasks.plain_tabs()
        tab.build(app)
        api.build(app)
    assert tab.title == "Negative"
    sliders = [block for block in blocks.blocks.values() if isinstance(block, gr.Slider)]
    assert [(s.label, s.minimum, s.maximum, s.value) for s in sliders] == [("Strength", 0, 1, 1.0)]
    endpoint = blocks.get_api_info()["named_endpoints"]["/negative"]
    found = {each["parameter_name"]: each.get("parameter_default") for each in endpoint["parameters"]}
    assert found == {"files": None, "checkpoint": "model", "strength": 1.0}


def test_its_job_shows_progress_stops_and_leaves_settings(app: AppContext, tmp_path: Path) -> None:
    with gr.Blocks():
        form = task_tab.TaskForm(app, face(), Upload(gr.File()))
        bar = StatusBar.below(Buttons.row("Run", "negative", ready=True), "negative")
        view = task_tab.TaskView(bar, html_block(""), Downloads.below(*face().downloads), gr.State(), None)
    values = {
        form.files: [str(tmp_path / "photos/a.png")],
        form.checkpoint: "model",
        form.parts["strength"]: 0.5,
    }
    told: list[str] = []

    def steps(after: int) -> list[Any]:
        told.clear()
        made = task_tab._steps(app, face(), form, view, values, lambda: len(told) > after)
        found = []
        for step in made:
            found.append(step)
            if not isinstance(step, Turn) and "of 8" in str(step.get(bar.status)):
                told.append(step[bar.status])
        return found

    *_, last = steps(after=99)
    assert len(told) == 9 and "Strip 3 of 8" in told[2]
    result = last[view.result]
    assert np.array_equal(saved(result.folder / "negative.png"), mixed(0.5))
    call = ("negative", "--input", tmp_path / "photos/a.png", "--output", tmp_path / "again", "--settings")
    assert vflow(*call, result.settings) == 0
    assert np.array_equal(saved(tmp_path / "again/a/negative.png"), mixed(0.5))
    *_, last = steps(after=2)
    assert "Stopped after 2 of 8" in last[bar.status]
    assert len(saved(last[view.result].folder / "negative.png")) < len(PHOTO)
