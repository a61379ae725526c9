"""Coloured photos on the server's disk, without a browser: how long they stay, and what is said when gone."""

from __future__ import annotations

import copy
import os
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from apps.ui import api
from apps.ui.colorize import job as jobs
from apps.ui.colorize import page as pages
from apps.ui.colorize.job import FACE, GONE, ColorizedPhoto, archive
from apps.ui.colorize.page import DownloadsOnDemand, Form, Page, View
from apps.ui.colorize.state import SessionState
from apps.ui.shared import storage
from apps.ui.shared.context import AppContext
from apps.ui.shared.events import Buttons, StatusBar, Updates
from apps.ui.shared.forms import Seed
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from apps.ui.shared.turns import Turn
from tests.app.conftest import save_untrained, tiny_colorizer
from vflow.errors import InputError
from vflow.pipelines.color.colorize import join
from vflow.tasks.colorize.settings import ColorSettings


def named(kind: Any, *names: str, **parts: Any) -> Any:
    """A form or a view whose components are their own names: handlers only look them up."""
    return kind(**{name: name for name in names}, **parts)


def page_of(app: AppContext) -> Page:
    """The tab's page of an app."""
    bar = named(StatusBar, "status", "offer", buttons=named(Buttons, "run", "stop", "cancel"))
    downloads = named(DownloadsOnDemand, "row", "variant", "archive", "settings", "link")
    form = Form.__new__(Form)
    parts = {name: name for name in ("num_samples", "temperature", "level_temperatures")}
    vars(form).update({name: name for name in ("files", "state", "checkpoint", "reach")})
    vars(form).update(app=app, face=FACE, parts=parts, seed=named(Seed, "value", "randomize"))
    view = named(View, "photos", "editor", "compare", "tools", "cards", bar=bar, downloads=downloads)
    return Page(app, form, view, "strength")  # type: ignore[arg-type]


def never() -> bool:
    return False


@pytest.fixture
def context(tmp_path: Path) -> AppContext:
    """What tabs share, with one untrained colouriser."""
    save_untrained(tmp_path / "models" / "mine", tiny_colorizer())
    (tmp_path / "runs").mkdir()
    return AppContext(ModelStore([tmp_path / "models"]), RunStore(tmp_path / "runs"), Jobs(), tmp_path)


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
    monkeypatch.setattr(storage, "MAX_RUNS", 3)


def another(context: AppContext) -> Path:
    """A result of another session."""
    folder = context.runs.new_folder()
    (folder / "digits.npz").touch()
    return folder


def values_of(state: SessionState) -> Updates:
    """What the form says."""
    numbers = {"num_samples": 2, "temperature": 1.0, "level_temperatures": "", "value": 0, "randomize": False}
    return {"state": state, "checkpoint": "mine", "strength": 100, "reach": 100, **numbers}


def colorized(context: AppContext, paths: list[str]) -> tuple[SessionState, Updates]:
    """A state whose photos were coloured in one job of the page, and what the page then knows."""
    state = SessionState()
    state.set_paths(paths)
    values = values_of(state)
    for _ in page_of(context).colorize_all(values, gr.EventData(None, None), never):
        pass
    return state, values


def test_the_last_update_of_a_run_says_what_is_visible(context: AppContext, photos: list[str]) -> None:
    """Of two updates that follow close on each other, gradio's client empties the first before it is read."""
    state = SessionState()
    state.set_paths(photos[:1])
    *_, last = page_of(context).colorize_all(values_of(state), gr.EventData(None, None), never)
    updates: Any = last
    assert updates["tools"]["visible"] and updates["row"]["visible"]
    assert " s · mine, temperature 1, seed 0" in updates["status"]


def test_points_on_a_large_photo_are_prepared_with_progress(
    context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "paced", iter)
    path = str(tmp_path / "large.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 2000), np.uint8)).save(path)
    state = SessionState()
    state.set_paths([path])
    state.update(path, lambda photo: photo.with_hint(0.5, 0.5, "#c03020"))
    bars = [
        float(value)
        for updates in page_of(context).colorize_all(values_of(state), gr.EventData(None, None), never)
        if isinstance(updates, dict) and "Photo prepared" in (status := str(updates.get("status")))
        for value in re.findall(r'aria-valuenow="([0-9.]+)"', status)
    ]
    assert len(bars) >= 10 and bars == sorted(bars) and bars[-1] == 100


def colorize(context: AppContext) -> Callable[..., Iterator[Any]]:
    """Steps of the endpoint's job, without the turns that it asks for."""
    with gr.Blocks() as blocks:
        api.build(context)
    function: Any = next(f.fn for f in blocks.fns.values() if f.api_name == "colorize")

    def steps(paths: list[str]) -> Iterator[Any]:
        numbers = {"num_samples": 2, "temperature": 1.0, "strength": 1.0, "seed": 0}
        job = function.__wrapped__(files=paths, checkpoint="mine", **numbers, hints="", level_temperatures="")
        return (step for step in job if not isinstance(step, Turn))

    return steps


def lose(context: AppContext) -> None:
    """All results are cleared."""
    for folder in (context.cache / "runs").iterdir():
        shutil.rmtree(folder)


@pytest.mark.usefixtures("few")
def test_a_job_of_many_photos_keeps_them_all_and_others_results(
    context: AppContext, photos: list[str]
) -> None:
    other = another(context)
    state, _ = colorized(context, photos)
    results = [photo.result for photo in state.photos if photo.result]
    assert len(results) == 5 and all(each.after(1, 1.0).shape == (12, 16, 3) for each in results)
    assert other.is_dir()
    zipped = context.cache / "all.zip"
    written = list(archive(zipped, results, 1.0))
    assert [count for count in written if count % 1 == 0] == list(range(1, 11))
    assert len(zipfile.ZipFile(zipped).namelist()) == 10


@pytest.mark.usefixtures("few")
def test_a_call_with_many_photos_keeps_them_all_and_others_results(
    context: AppContext, photos: list[str]
) -> None:
    other = another(context)
    *_, (zipped, settings) = colorize(context)(photos)
    assert [Path(path).name for path in (zipped, settings)] == ["colourised.zip", "settings.json"]
    assert Path(settings).is_file() and other.is_dir()
    assert zipfile.ZipFile(zipped).namelist() == [f"bay{n}/s00{k}.png" for n in range(5) for k in (0, 1)]


def test_nothing_is_removed_from_a_running_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_RUNS", 1)
    store, long_ago = RunStore(tmp_path), time.time() - storage.MAX_AGE - 1
    with store.job_folder() as folder:
        (folder / "result").touch()
        os.utime(folder, (long_ago, long_ago))
        store.new_folder()
        store.new_folder()
        assert folder.is_dir()
    store.new_folder()
    assert folder.is_dir(), "counts from its end"
    store.new_folder()
    store.new_folder()
    assert not folder.exists()
    with store.job_folder() as nothing:
        pass
    assert not nothing.exists(), "a job without a result takes no one's place"


def test_a_call_whose_folder_is_lost_says_so(context: AppContext, photos: list[str]) -> None:
    for steps in (1, 3):  # lost before it is written to again, and while the archive is written
        call = colorize(context)(photos[:2])
        for _ in range(steps):
            next(call)
        lose(context)
        with pytest.raises(gr.Error, match=GONE):
            list(call)


def test_downloads_of_lost_colours_say_so(context: AppContext, photos: list[str]) -> None:
    state, _ = colorized(context, photos[:1])
    photo = state.find(photos[0])
    assert photo is not None and isinstance(photo.result, ColorizedPhoto)
    result = photo.result
    lose(context)
    with pytest.raises(InputError, match=GONE):
        list(archive(result.folder / "colourised.zip", [result], 1.0))
    with pytest.raises(InputError, match=GONE):
        result.save_settings(1.0)


def test_a_large_photo_is_drawn_at_once_and_joined_with_progress(context: AppContext, tmp_path: Path) -> None:
    path, size = tmp_path / "large.png", (1500, 2000)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size, np.uint8)).save(path)
    job = FACE.begin(context, "mine", ColorSettings(num_samples=1), [str(path)])
    assert list(job.advance(never)) == [None]
    assert not job.given.photo._enlargers, "colours are drawn before every pixel is looked at"
    with context.runs.job_folder() as folder:
        result = job.save(context, folder / "1")
    image = result.full_size()
    shares = list(result.color_rows(image, 0, 1.0))
    assert len(shares) >= 10 and shares == sorted(set(shares)) and shares[-1] == 1
    assert np.array_equal(image, join(job.given.photo, job.results[0].ab)[0])


def test_clicks_on_lost_colours_say_so_and_empty_the_results(context: AppContext, photos: list[str]) -> None:
    state, values = colorized(context, photos[:3])
    jobs._reduced_copy.cache_clear()
    lose(context)
    page = page_of(context)
    clicks: dict[str, Callable[[], Updates]] = {
        "thumbnail": lambda: page.choose_photo(values, "choose", photos[1]),
        "card": lambda: page.choose_variant(values, "pick", 1),
        "strength, the large image": lambda: page.answer(values, page.large),
        "strength, the small images": lambda: page.answer(values, page.small),
        "upload": lambda: page.uploaded({**values, "files": photos[1:3]}),
    }
    for name, click in clicks.items():
        updates: Any = click()
        assert GONE in updates["status"] and "vf-error" in updates["status"], name
        assert "vf-empty" in updates["compare"] and updates["cards"] == "", name
        assert not updates["tools"]["visible"] and not updates["row"]["visible"], name
    assert [photo.path for photo in state.photos] == photos[1:3]
    assert "bay2.png" in page.choose_photo(values, "choose", photos[1])["photos"], "the rest still answers"


def test_an_upload_box_that_reports_what_is_known_leaves_the_results_alone(
    context: AppContext, photos: list[str]
) -> None:
    _, values = colorized(context, photos[:2])
    updates = page_of(context).uploaded({**values, "files": photos[:2]})
    assert sorted(updates) == ["editor", "photos"], "a click on a variant meanwhile is not undone"
    assert "bay0.png" in updates["photos"] and "The photo to colour" in updates["editor"]


def test_two_quick_clicks_remove_two_photos(context: AppContext, photos: list[str]) -> None:
    state = SessionState()
    state.set_paths(photos[:3])
    values = {**values_of(state), "files": photos[:3]}
    page = page_of(context)
    for path, left in ((photos[0], photos[1:3]), (photos[1], photos[2:3]), (photos[1], photos[2:3])):
        assert page.choose_photo(values, "remove", path)["files"] == left


def test_answers_wait_for_each_other(context: AppContext, photos: list[str]) -> None:
    state, values = colorized(context, photos[:1])
    page, answers = page_of(context), []
    click = threading.Thread(target=lambda: answers.append(page.choose_variant(values, "pick", 1)))
    with state.turn:
        click.start()
        click.join(0.2)
        assert not answers and "Variant 1</span></figcaption>" in page.large(values)["compare"]
    click.join(30)
    assert "Variant 2</span></figcaption>" in answers[0]["compare"]
    assert copy.deepcopy(state).turn is not state.turn, "sessions do not wait for each other"


def test_back_to_lost_colours_says_so(context: AppContext, photos: list[str]) -> None:
    state, values = colorized(context, photos[:1])
    lose(context)
    page = page_of(context)
    for _ in page.more_like(values, gr.EventData(None, {"index": 1}), never):
        pass
    jobs._reduced_copy.cache_clear()
    assert state.photo and state.photo.result and state.photo.result.settings.near == (1,)
    assert GONE in page.choose_variant(values, "back", 0)["status"]
