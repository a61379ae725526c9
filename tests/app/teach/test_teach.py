"""Teach: a run of its own process, one at a time, seen and stopped, whose model is its session's alone."""

from __future__ import annotations

import re
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from playwright.sync_api import expect

import vflow
from apps.ui.shared.context import AppContext
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from apps.ui.teach import job
from apps.ui.teach.job import Run, Teacher, look, verdict
from tests.app.support import App
from tests.data.sample_media import write_lossless
from vflow.commands.app import App as Command
from vflow.errors import CheckpointError, InputError


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds in which a picture slides."""
    random = np.random.default_rng(0).integers(0, 255, (8, 24, 3), np.uint8)
    picture = np.kron(random, np.ones((4, 4, 1), np.uint8))
    frames = np.stack([picture[:, t : t + 32] for t in range(30)])
    return write_lossless(tmp_path_factory.mktemp("film") / "mine.mp4", frames)


@pytest.fixture
def app(checkpoints: Path, tmp_path: Path) -> AppContext:
    (tmp_path / "runs").mkdir()
    return AppContext(ModelStore([checkpoints]), RunStore(tmp_path / "runs"), Jobs(), tmp_path, True)


def wait(run: Run, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while run.alive:
        assert time.monotonic() < end, (run.folder / "log.txt").read_text()
        time.sleep(0.1)


def test_a_run_in_a_process_of_its_own(app: AppContext, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = job.command
    monkeypatch.setattr(job, "command", lambda clips, out, minutes, first: real(clips, out, 0.05, first))
    teacher = Teacher(app)
    for files, minutes, first in (([], 1, "shapes"), ([str(film)], 0, "shapes")):
        with pytest.raises(InputError):
            teacher.start(files, minutes, first)
    with pytest.raises(CheckpointError, match="/etc"):
        teacher.start([str(film)], 1, "/etc")
    run = teacher.start([str(film)], 1, "shapes")
    with pytest.raises(InputError):  # one at a time
        teacher.start([str(film)], 1, "shapes")
    assert run.name not in app.models.names() and app.models.config(run.name) is None
    wait(run)
    view, packed = look(run), teacher.finish(run)
    assert packed and packed == teacher.finish(run), (run.folder / "log.txt").read_text()
    assert view.done > 0 and len(view.bits) >= 2 and view.picture is not None
    assert verdict(run)[-1].startswith("Verdict:")
    assert sorted(zipfile.ZipFile(packed).namelist()) == ["README.md", "config.json", "model.safetensors"]
    assert vflow.load(packed).config == app.models.load(run.name, "videoflow").config
    assert run.name not in app.models.names()  # others are not offered it
    assert app.models.record(run.name)["checkpoint"] == packed.name
    assert not list(run.output.glob("step_*")) and not (run.folder / "clips").exists()
    assert teacher.start([str(film)], 1, "shapes").name != run.name
    teacher.end()


def test_film_that_cannot_be_used_is_named(app: AppContext, tmp_path: Path) -> None:
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(b"no video")
    teacher = Teacher(app)
    run = teacher.start([str(torn)], 1, "shapes")
    wait(run)
    assert teacher.finish(run) is None and "torn.mp4" in verdict(run)[-1]


@pytest.mark.parametrize(
    ("flags", "on"),
    [({}, True), ({"host": "0.0.0.0"}, False), ({"allow_host": ("a.example",)}, False),
     ({"host": "0.0.0.0", "teach": True}, True)],
)  # fmt: skip
def test_over_the_web_it_is_off_unless_asked_for(
    flags: dict, on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict = {}
    main = SimpleNamespace(main=lambda *arguments, **named: told.update(named))
    monkeypatch.setattr("vflow.commands.app._module", lambda: main)
    Command(**flags).run()
    assert ("teach" in told["offers"]) is on


def test_in_the_browser_it_is_watched_stopped_and_chosen(opened: object, film: Path) -> None:
    app: App = opened()  # type: ignore[operator]
    page = app.page
    page.get_by_role("button", name="Teach it your own film").click()
    page.locator("#vf-teach-files input[type=file]").set_input_files(str(film))
    page.locator("#vf-teach-first input").fill("shapes")
    page.get_by_role("option", name="shapes", exact=True).click()
    expect(page.locator("#vf-teach-files")).to_contain_text("mine")
    page.locator("#vf-teach-start").click()
    expect(page.locator("#vf-teach-stop")).to_be_enabled()
    expect(page.locator(".vf-teach-picture")).to_be_visible(timeout=120_000)
    page.locator("#vf-teach-stop").click()
    expect(page.locator("#vf-teach-zip")).to_be_visible(timeout=120_000)
    expect(page.locator(".vf-teach-picture")).to_be_visible()
    chosen = page.get_by_label("Checkpoint", exact=True).first
    expect(chosen).to_have_value(re.compile("taught-[0-9a-f]{16}"))
