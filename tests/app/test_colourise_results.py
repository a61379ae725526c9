"""Coloured photos on the server's disk, without a browser: how long they stay, and what is said when gone."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from apps.ui import colourise_endpoint, colourise_files, colourise_flow, runs
from apps.ui import colourise_page as page
from apps.ui.colourise_desk import Desk
from apps.ui.colourise_files import GONE, Coloured
from apps.ui.colourise_run import Runner
from apps.ui.common import Shared
from apps.ui.controls import Board, Buttons, Seed, Updates
from apps.ui.jobs import Jobs
from apps.ui.models import ModelStore
from apps.ui.runs import RunStore
from tests.app.conftest import save_untrained, tiny_colorizer
from vflow.errors import InputError


def named(kind: Any, *names: str, **parts: Any) -> Any:
    """A form or a view whose components are their own names: handlers only look them up."""
    return kind(**{name: name for name in names}, **parts)


board = named(Board, "status", buttons=named(Buttons, "run", "stop", "leave"))
downloads = named(page.Downloads, "row", "one", "archive", "settings", "link")
form = named(
    page.Form, "files", "desk", "checkpoint", "num_samples", "temperature", "levels",
    seed=named(Seed, "value", "randomise"),
)  # fmt: skip
view = named(
    page.View, "chooser", "editor", "compare", "tools", "strength", "cards", board=board, downloads=downloads
)


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    """What tabs share, with one untrained colouriser."""
    save_untrained(tmp_path / "models" / "mine", tiny_colorizer())
    (tmp_path / "runs").mkdir()
    return Shared(ModelStore([tmp_path / "models"]), RunStore(tmp_path / "runs"), Jobs(), tmp_path)


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Five photos, which differ."""
    paths = [tmp_path / f"bay{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((12, 16), 90 + number, np.uint8)).save(path)
    return [str(path) for path in paths]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a job could have more photos than runs are kept."""
    monkeypatch.setattr(runs, "KEEP_RUNS", 3)


def another(shared: Shared) -> Path:
    """A result of another session."""
    folder = shared.runs.fresh()
    (folder / "digits.npz").touch()
    return folder


def wished(desk: Desk) -> Updates:
    """What the form says."""
    numbers = {"num_samples": 2, "temperature": 1.0, "levels": "", "value": 0, "randomise": False}
    return {"desk": desk, "checkpoint": "mine", "strength": 100, **numbers}


def coloured(shared: Shared, paths: list[str]) -> tuple[Desk, Updates]:
    """A desk whose photos were coloured in one job of the page, and what the page then knows."""
    desk = Desk()
    desk.hold(paths)
    values = wished(desk)
    for _ in Runner(shared, form, view, "session").everything(values):
        pass
    return desk, values


def test_the_last_update_of_a_run_says_what_is_visible(shared: Shared, photos: list[str]) -> None:
    """Of two updates that follow close on each other, gradio's client empties the first before it is read."""
    desk = Desk()
    desk.hold(photos[:1])
    *_, last = Runner(shared, form, view, "session").everything(wished(desk))
    updates: Any = last
    assert updates["tools"]["visible"] and updates["row"]["visible"]


def colorize(shared: Shared) -> Callable[..., Iterator[Any]]:
    """The endpoint's function."""
    with gr.Blocks() as blocks:
        colourise_endpoint.build(shared, gr.Button())
    function: Any = next(f.fn for f in blocks.fns.values() if f.api_name == "colorize")
    return lambda paths: function(paths, "mine", 2, 1.0, 1.0, 0, "", "")


def lose(shared: Shared) -> None:
    """All results are cleared."""
    for folder in (shared.cache / "runs").iterdir():
        shutil.rmtree(folder)


@pytest.mark.usefixtures("few")
def test_a_job_of_many_photos_keeps_them_all_and_others_results(shared: Shared, photos: list[str]) -> None:
    other = another(shared)
    desk, _ = coloured(shared, photos)
    made = [photo.made for photo in desk.photos if photo.made]
    assert len(made) == 5 and all(one.after(1, 1.0).shape == (12, 16, 3) for one in made)
    assert other.is_dir()
    archive = shared.cache / "all.zip"
    assert list(colourise_files.archive(archive, made, 1.0)) == list(range(1, 11))
    assert len(zipfile.ZipFile(archive).namelist()) == 10


@pytest.mark.usefixtures("few")
def test_a_call_with_many_photos_keeps_them_all_and_others_results(shared: Shared, photos: list[str]) -> None:
    other = another(shared)
    *_, (archive, settings) = colorize(shared)(photos)
    assert [Path(path).name for path in (archive, settings)] == ["colourised.zip", "settings.json"]
    assert Path(settings).is_file() and other.is_dir()
    assert zipfile.ZipFile(archive).namelist() == [f"bay{n}/s00{k}.png" for n in range(5) for k in (0, 1)]


def test_nothing_is_removed_from_a_running_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEEP_RUNS", 1)
    store, long_ago = RunStore(tmp_path), time.time() - runs.KEEP_SECONDS - 1
    with store.job() as folder:
        (folder / "result").touch()
        os.utime(folder, (long_ago, long_ago))
        store.fresh()
        store.fresh()
        assert folder.is_dir()
    store.fresh()
    assert folder.is_dir(), "counts from its end"
    store.fresh()
    store.fresh()
    assert not folder.exists()
    with store.job() as nothing:
        pass
    assert not nothing.exists(), "a job without a result takes no one's place"


def test_a_call_whose_folder_is_lost_says_so(shared: Shared, photos: list[str]) -> None:
    for steps in (1, 3):  # lost before it is written to again, and while the archive is written
        call = colorize(shared)(photos[:2])
        for _ in range(steps):
            next(call)
        lose(shared)
        with pytest.raises(gr.Error, match=GONE):
            list(call)


def test_downloads_of_lost_colours_say_so(shared: Shared, photos: list[str]) -> None:
    desk, _ = coloured(shared, photos[:1])
    made = desk.made(photos[0])
    assert isinstance(made, Coloured)
    lose(shared)
    with pytest.raises(InputError, match=GONE):
        list(colourise_files.archive(made.folder / "colourised.zip", [made], 1.0))
    with pytest.raises(InputError, match=GONE):
        colourise_flow.save_record(shared, made, 1.0)


def test_clicks_on_lost_colours_say_so_and_empty_the_results(shared: Shared, photos: list[str]) -> None:
    desk, values = coloured(shared, photos[:2])
    colourise_files._reduced.cache_clear()
    lose(shared)
    clicks: dict[str, Callable[[], Updates]] = {
        "thumbnail": lambda: page.choose(form, view, values, "choose", 1),
        "card": lambda: page.card(form, view, values, "pick", 1),
        "strength, the large picture": lambda: page.at_once(form, view, values, page.large),
        "strength, the small pictures": lambda: page.at_once(form, view, values, page.small),
        "upload": lambda: page.everything(form, view, values),
    }
    for name, click in clicks.items():
        updates: Any = click()
        assert GONE in updates["status"] and "vf-error" in updates["status"], name
        assert "vf-empty" in updates["compare"] and updates["cards"] == "", name
        assert not updates["tools"]["visible"] and not updates["row"]["visible"], name
    assert desk.at == 1
    assert "bay1.png" in page.choose(form, view, values, "choose", 0)["chooser"], "the rest still answers"


def test_back_to_lost_colours_says_so(shared: Shared, photos: list[str]) -> None:
    desk, values = coloured(shared, photos[:1])
    lose(shared)
    for _ in Runner(shared, form, view, "session").like(values, 1):
        pass
    colourise_files._reduced.cache_clear()
    assert desk.photo and desk.photo.made and desk.photo.made.near == (1,)
    assert GONE in page.card(form, view, values, "back", 0)["status"]
