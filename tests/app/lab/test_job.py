"""Jobs of the Lab without a browser: what is learned, what is written, what is refused."""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch

import vflow
from apps.ui.lab import html
from apps.ui.lab.job import Job, Request, ink_points
from apps.ui.lab.render import Plane
from apps.ui.lab.systems import BY_PRESET, CHOICES, FILE, LABELS, SYSTEMS, suited
from apps.ui.shared.context import AppContext
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from vflow.config import load_preset, preset_names
from vflow.data.datasets.points import Points
from vflow.densities import ENERGIES, TARGETS
from vflow.errors import InputError, VflowError
from vflow.models import build_model


@pytest.fixture
def context(tmp_path: Path) -> AppContext:
    (tmp_path / "runs").mkdir()
    return AppContext(ModelStore(), RunStore(tmp_path / "runs"), Jobs(), tmp_path)


def learn(context: AppContext, source: str, system: str, steps: int = 12, **given: str) -> Job:
    job = Job.begin(context, Request.checked(source, system, steps, 0, **given))
    for _ in job.advance(lambda: False):
        pass
    return job


def test_every_density_preset_is_a_system_and_suits_something() -> None:
    presets = {name for name in preset_names() if load_preset(name).model.family == "density"}
    assert presets == set(BY_PRESET) and len(SYSTEMS) == len(presets)
    offered = {system.preset for source in (*TARGETS, *ENERGIES) for system in suited(source)}
    assert offered == presets and set(LABELS) == {*TARGETS, *ENERGIES}
    assert len(CHOICES) == len(LABELS) + 2
    for system in SYSTEMS:
        assert system.title in html.about(system) and html.about(system).count("<li>") == 3


@pytest.mark.parametrize(
    ("source", "system"),
    [
        ("two-moons", "maf"),
        ("rings", "rad"),
        ("torus", "mobius"),
        ("sphere", "sphere"),
        ("u1", "planar-energy"),
    ],
)
def test_a_job_learns_and_writes_what_loads(context: AppContext, source: str, system: str) -> None:
    job = learn(context, source, system)
    assert job.done == 12 and len(job.losses) == 12 and job.snapshot
    stages = job.snapshot.drawing.stages
    assert len(stages) > 2 and stages.shape[2] == 2
    for picture in (job.task.picture, job.snapshot.density, job.snapshot.samples):
        assert picture.shape[0] in (80, 160) and picture.std() > 5
    result = job.save()
    with ZipFile(result.checkpoint) as archive:
        archive.extractall(result.folder / "unpacked")
    points = np.load(result.points)["points"]
    again = vflow.sample(vflow.load(result.folder / "unpacked" / system), 20)
    assert np.allclose(again, points[:20], atol=1e-5)
    report = json.loads(result.report.read_text())
    assert report["steps"] == 12 and np.isfinite(report["nats"])
    assert f"--config {system} --data {source}" in report["command"]
    page = html.results(job, done=True)
    assert page.count("<figure") == 5 and "nan" not in html.curve(job)


def test_layers_of_a_deep_flow_keep_their_numbers_where_some_are_left_out() -> None:
    model = build_model(load_preset("planar-energy").model)
    layers = Plane(4.0).drawing(model).layers
    assert len(layers) == 24 and (layers[0], layers[-1]) == (0, 33), "32 and an affine one"


def test_learning_brings_nats_down_and_a_stop_keeps_what_is_there(context: AppContext) -> None:
    job = learn(context, "eight-gaussians", "rnade", 60)
    assert job.curve[-1][1] < job.losses[0] - 0.2 and job.task.entropy is not None
    assert job.curve[-1][1] > job.task.entropy - 0.1
    job = Job.begin(context, Request.checked("eight-gaussians", "rnade", 5000, 0))
    for _ in job.advance(lambda: len(job.losses) >= 30):
        pass
    assert job.done == 30 and job.summary().startswith("Stopped after 30 steps")
    assert job.snapshot and not job.model.training


def test_the_command_of_a_drawing_finds_its_points_in_the_download(context: AppContext) -> None:
    pixels = np.zeros((112, 112), np.uint8)
    pixels[20:40, 10:50] = 255
    job = learn(context, "drawn", "rnade", ink=base64.b64encode(pixels.tobytes()).decode())
    result = job.save()
    with ZipFile(result.checkpoint) as archive:
        archive.extractall(result.folder / "unpacked")
    given = shlex.split(job.command())
    assert (
        len(Points(str(result.folder / "unpacked" / given[given.index("--data") + 1]), "train").points) > 1000
    )


@pytest.mark.parametrize("steps", [12, 200])
def test_learning_that_diverges_says_what_the_tab_can_change(context: AppContext, steps: int) -> None:
    job = Job.begin(context, Request.checked("two-moons", "maf", steps, 0))
    with torch.no_grad():
        for parameter in job.model.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(InputError, match=r"^learning diverged; take fewer steps"):
        list(job.advance(lambda: False))
    assert job.done <= 50


def test_a_drawing_and_a_file_are_learned(context: AppContext, tmp_path: Path) -> None:
    ink = np.zeros((112, 112), np.uint8)
    ink[:20, 90:] = 255
    points = ink_points(ink)
    assert (points > [2.3, 2.5]).all() and (points <= 4).all(), "ink above and to the right stays there"
    np.savetxt(tmp_path / "rows.csv", points[:300] * 10 + 100, delimiter=",")
    job = learn(context, FILE, "maf", file=str(tmp_path / "rows.csv"))
    assert job.task.entropy is None and "rows.csv" in job.command()
    assert 100 < vflow.sample(job.model, 50).mean() < 160


@pytest.mark.parametrize(
    ("source", "system", "steps", "message"),
    [
        ("three-moons", "maf", 10, "density: choose two-moons"),
        ("two-moons", "mobius", 10, "system: for Two moons choose one of spline"),
        ("torus", None, 10, "system: for Three bumps"),
        ("two-moons", "maf", 0, "steps: give a number from 10"),
        ("two-moons", "maf", "many", "steps"),
        (FILE, "maf", 10, "no file of points"),
        ("drawn", "maf", 10, "nothing drawn"),
        (["two-moons"], {}, 10, "density"),
    ],
)
def test_values_that_do_not_fit_are_named(
    source: object, system: object, steps: object, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Request.checked(source, system, steps, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n" * 200, "rows of 3 numbers, and the Lab draws the plane; give two columns"),
        ("a,b\n1,x\n", ""),
        ("1,1\n" * 200, "column 1 is constant"),
        ("1,2\n", "1 row, too few for training"),
        ("1,2\n3,4\n5,7\n", "3 rows, too few for validation; give 10 or more"),
    ],
)
def test_files_that_are_no_points_of_the_plane_are_refused(
    context: AppContext, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    request = Request.checked(FILE, "maf", 10, 0, file=str(tmp_path / "bad.csv"))
    with pytest.raises(VflowError, match=rf"bad\.csv.*{message}") as caught:
        Job.begin(context, request)
    assert "\n" not in str(caught.value)
