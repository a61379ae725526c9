"""Rain in the Predict tab: from radar frames to files, and answers about areas."""

from __future__ import annotations

import json
import re
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import vflow
from apps.examples import make_rain
from apps.ui.predict import rain, rain_html
from apps.ui.predict.rain import RainResult, ask
from apps.ui.predict.rain_map import read_corners
from apps.ui.predict.tab import FACE, expected_seconds
from apps.ui.shared.context import AppContext
from apps.ui.shared.examples import FOLDER, all_clips
from apps.ui.shared.faces import SETTINGS, Job, checked
from apps.ui.shared.fit import judged_upload
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from tests.app.conftest import Opener, save_untrained, tiny_rain
from tests.app.support import DONE
from tests.app.test_access import check
from vflow.data.rain import UNKNOWN_COLOR, to_levels
from vflow.errors import InputError
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.records import read_record, record_class
from vflow.pipelines.batch.tasks import RunnerTask
from vflow.pipelines.nowcast import CHUNK, MEMBERS
from vflow.pipelines.video.task import NOWCAST
from vflow.tasks.video.settings import NowcastSettings

HEIGHT, WIDTH = 48, 64


def radar(path: Path, count: int = 10) -> Path:
    """Two showers that drift to the right, and a corner that no radar sees."""
    rates = np.zeros((count, HEIGHT, WIDTH))
    for step in range(count):
        rates[step, 10:20, 5 + 2 * step : 15 + 2 * step] = 6
        rates[step, 30:36, 20 + 2 * step : 26 + 2 * step] = 30
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[:8, :8] = False
    np.savez(path, frames=to_levels(rates), valid=valid)
    return path


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> AppContext:
    folder = tmp_path_factory.mktemp("rain")
    save_untrained(folder / "models" / "rain", tiny_rain())
    runs = folder / "runs"
    runs.mkdir()
    return AppContext(ModelStore([folder / "models"]), RunStore(runs), Jobs(), folder)


def begin(app: AppContext, *paths: Path, **changes: object) -> Job:
    face = FACE.of(app, "rain")
    values = {"num_frames": 3, "num_samples": 6, "temperature": 1.0, "seed": 0, "fps": 4, **changes}
    return face.begin(app, "rain", checked(face.kind, values), [str(path) for path in paths])


def finished(app: AppContext, path: Path) -> tuple[Job, RainResult]:
    job = begin(app, path, context_at="start")
    steps = [(job.done, job.steps_left) for _ in job.advance(lambda: False)]
    assert steps == [(4, 1), (6, 0)]
    return job, job.save(app, app.runs.new_folder())


def test_members_are_those_of_python_and_the_rest_is_what_happened(app: AppContext, tmp_path: Path) -> None:
    path = radar(tmp_path / "radar.npz")
    job, result = finished(app, path)
    saved = result.arrays()
    source = np.load(path)
    assert saved["frames"].shape == (6, 3, HEIGHT, WIDTH, 1)
    np.testing.assert_array_equal(saved["context"][..., 0], source["frames"][:4] * source["valid"])
    np.testing.assert_array_equal(saved["truth"][..., 0], source["frames"][4:7] * source["valid"])
    model = app.models.load("rain")
    again = vflow.nowcast(model, source["frames"][:4], valid=source["valid"], num_frames=3, num_samples=6)
    np.testing.assert_array_equal(saved["frames"][..., 0], again.frames)
    with zipfile.ZipFile(job.face.files(result)[1]) as archive:
        assert {"future_06.mp4", "mean.mp4", "chance.mp4"} <= set(archive.namelist())
    record = read_record(result.folder / SETTINGS, record_class(NowcastSettings))
    task = RunnerTask(model, record, runner=NOWCAST)
    for number, file in enumerate((path, result.native)):  # of the upload, and of the download
        task.run(Item("radar", (file,)), tmp_path / str(number))
        again = np.load(tmp_path / str(number) / "futures.npz")
        np.testing.assert_array_equal(again["frames"], saved["frames"])
    page = job.face.shown(job, result)
    assert page.count("<video") == 3 + 6 and 'data-minutes="5"' in page
    assert re.match(r"Off by [\d.]+ mm/h .* \(CRPS over .* off by [\d.]+ mm/h\.$", job.remarks(result)[0])
    assert "used 4 of 10 frames" in job.remarks(result)
    on = begin(app, result.continuation(5))
    newest = np.concatenate([job.given.context, job.results[-1].frames[-1]])[-4:]
    assert np.array_equal(on.given.context, newest) and np.array_equal(on.given.valid, job.given.valid)
    assert list(on.advance(lambda: False))
    further = on.save(app, app.runs.new_folder())
    commands = ["command" in json.loads((each.folder / SETTINGS).read_text()) for each in (result, further)]
    assert commands == [True, False], "nobody else has the file"
    with pytest.raises(InputError, match="member 7: 6 members to continue from"):
        result.future(6)


def test_the_time_of_a_forecast_follows_from_the_size_of_the_radar(
    app: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(radar(tmp_path / "radar.npz"))
    now = iter([0.0, 10.0])
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: next(now))
        app.jobs.clock("rain", rain.step_work(3, HEIGHT * WIDTH)).frame_done()
    assert expected_seconds(app, "rain", [path], 2 * CHUNK, 3) == pytest.approx(20)
    assert expected_seconds(app, "rain", [], 2 * CHUNK, 3) is None, "its size is not known"


def test_what_is_unknown_stays_grey_on_the_map_of_chances() -> None:
    valid = np.ones((2, 3), bool)
    valid[0, 0] = False
    colored = rain.color_chance(np.array([[0, 0, 255], [128, 0, 0]], np.uint8), valid)
    assert tuple(colored[0, 0]) == UNKNOWN_COLOR
    assert [tuple(colored[at]) for at in ((0, 1), (0, 2))] == [
        color for _, color in rain_html.CHANCE_COLORS[::2]
    ]


def test_the_answer_counts_members_and_times(app: AppContext, tmp_path: Path) -> None:
    _, result = finished(app, radar(tmp_path / "radar.npz"))
    arrays = result.arrays()
    frames = np.zeros_like(arrays["frames"])
    frames[:3, 1:, 40, 50] = frames[3, 2, 40, 50] = to_levels(np.array(4.0))
    truth = np.zeros_like(arrays["truth"])
    truth[2, 40, 50] = 255
    np.savez(result.native, **{**arrays, "frames": frames, "truth": truth})
    found = ask(result, 45, 38, 10, 4)
    assert found.area == (38, 45, 4, 10) and found.seen and not found.now
    assert found.first.tolist() == [1, 1, 1, 2, -1, -1] and found.truth == 2
    np.testing.assert_allclose(found.reached, [0, 3 / 6, 4 / 6])
    text = rain_html.answer(found, 5)
    assert (
        "within 15 minutes in 4 of 6 members (67%)" in text
        and "In reality it arrived after 15 minutes." in text
    )
    assert "none of 6 members" in rain_html.answer(ask(result, 32, 1, 7, 4), 5)
    assert "It is already raining" in rain_html.answer(ask(result, 6, 9, 26, 15), 5)
    assert "No radar sees" in rain_html.answer(ask(result, 0, 0, 3, 2), 5)
    for area, message in (
        ((-1, 0, 1, 1), "left of the area: give a number from 0 to 63"),
        ((0, "a", 1, 1), "top of the area: give a number from 0 to 47"),
        ((60, 0, 5, 1), "width of the area: give a number from 1 to 4"),
        ((0, 0, 1, 1.5), "height of the area: give a whole number from 1 to 48"),
    ):
        with pytest.raises(InputError, match=message):
            ask(result, *area)


def test_other_files_and_short_or_large_ones_are_refused_in_a_line(
    app: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(radar(tmp_path / "slow.npz")) as file:
        time = np.datetime64("2017-01-31T09:45") + np.arange(10) * np.timedelta64(15, "m")
        np.savez(tmp_path / "slow.npz", time=time, **file)
    with pytest.raises(InputError, match=r"^slow\.npz: frames 15 minutes apart; this model knows steps of 5"):
        begin(app, tmp_path / "slow.npz")
    with pytest.raises(InputError, match=r"^short\.npz: 3 frames; a nowcast needs the last 4"):
        begin(app, radar(tmp_path / "short.npz", 3))
    path = radar(tmp_path / "radar.npz")
    for paths in ((tmp_path / "a.gif",), (path, path)):
        with pytest.raises(InputError, match=r"^(a\.gif|radar\.npz): give one npz"):
            begin(app, *paths)
    monkeypatch.setattr(rain, "MAX_DRAWN", 1000)
    with pytest.raises(InputError, match="ask for fewer"):
        begin(app, path)
    monkeypatch.setattr(rain, "MAX_PIXELS", 1000)
    with pytest.raises(InputError, match="64×48 pixels"):
        begin(app, path)


def test_a_map_where_the_file_says_where_it_is(app: AppContext, tmp_path: Path) -> None:
    path = radar(tmp_path / "radar.npz")
    with np.load(path) as file:
        arrays = dict(file)
    job, result = finished(app, path)
    assert "vf-coast" not in job.face.shown(job, result)
    corners = np.array([[[61.2, 21.0], [61.2, 23.4]], [[60.2, 21.1], [60.2, 23.4]]])
    np.savez(path, **arrays, corners=corners)
    job, result = finished(app, path)
    page = job.face.shown(job, result)
    assert page.count('<svg class="vf-coast" viewBox="0 0 64 48"') == 3, "on the large maps"
    x, y = map(float, re.findall(r'<circle cx="(\d+)" cy="(\d+)"[^>]*/><text[^>]*>Turku<', page)[0])
    assert abs(x / WIDTH - 0.51) < 0.03 and abs(y / HEIGHT - 0.75) < 0.03, "60.45 N, 22.27 E"
    assert "Helsinki" not in page
    assert re.search(r'<path d="M[-\d. LM]+"/>', page)
    np.savez(path, **arrays, corners=corners[0])
    with pytest.raises(InputError, match=r"^radar\.npz: corners are float64 \(2, 2\); give latitude and"):
        begin(app, path)


def test_corners_of_the_example_are_those_of_its_projection() -> None:
    """Helsinki on FMI's composite, by pyproj: column 377.7, row 997 of pixels of 999.674 m."""
    assert make_rain.place(997, 377.7) == pytest.approx((60.17, 24.94), abs=0.01)
    corners = read_corners(FOLDER / "rain-finland.npz")
    assert corners is not None and corners.shape == (2, 2, 2)
    assert corners[0, 0] == pytest.approx(make_rain.place(784, 168))


def test_rain_has_a_place_of_its_own_among_the_examples(app: AppContext) -> None:
    clips = all_clips()
    strips = FACE.examples(replace(app, models=ModelStore())).value
    films, rain_strip = strips.split("Or forecast rain")
    assert (
        "Showers" not in films
        and f'data-index="{len(clips) - 1}" aria-label="Forecast from example: Showers' in rain_strip
    )


def test_steps_of_ten_minutes_are_told_at_upload(app: AppContext, tmp_path: Path) -> None:
    path = radar(tmp_path / "slow.npz")
    assert "vf-refused" not in judged_upload(app, "rain", [str(path)], ["rain"])
    with np.load(path) as file:
        time = np.datetime64("2017-01-31T09:45") + np.arange(10) * np.timedelta64(10, "m")
        np.savez(path, time=time, **file)
    told = judged_upload(app, "rain", [str(path)], ["rain"])
    assert "vf-refused" in told and "frames 10 minutes apart; this model knows steps of 5: give such" in told


TWO_QUESTIONS = """() => {
    for (const [width, height] of [[9, 8], [7, 5]]) {
        document.querySelector(".vf-area-width").value = width;
        document.querySelector(".vf-area-height").value = height;
        document.querySelector(".vf-ask").click();
    }
}"""


@pytest.mark.browser
def test_forecast_and_question_in_the_browser(opened: Opener, tmp_path: Path) -> None:
    page_app = opened()
    page = page_app.page
    example = page.get_by_role("button", name="Forecast from example: Showers over Finland").bounding_box()
    assert example and 24 <= example["width"] <= 60, "no larger than the others"
    page_app.choose("rain")
    page.get_by_text("Needs the last 4 frames.").wait_for()
    expect(page.get_by_label("number input for Futures (members)")).to_have_value(str(MEMBERS))
    page_app.upload(radar(tmp_path / "radar.npz"))
    page.get_by_label("The first frames", exact=True).check()
    page_app.number("Futures (members)", 3)
    page_app.number("Frames", 2)
    assert page_app.predict().startswith("3 members × 2 frames in ")
    expect(page.locator(".vf-rain-maps figcaption")).to_have_text(
        ["Chance of 1 mm/h or more", "Mean of the members", "What really happened"]
    )
    slider = page.get_by_role("slider", name="Frame shown in all members")
    page_app.seek(6)
    expect(slider).to_have_attribute("aria-valuetext", "in 10 min")
    chance = page.locator(".vf-askable .vf-map").first
    box = chance.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    answer = page.locator(".vf-answer")
    expect(answer).to_contain_text("of 3 members" if "reaches" in answer.inner_text() else "already raining")
    expect(page.locator(".vf-area-mark").nth(4)).to_be_visible()
    check(page_app, "with an answer")
    page.set_viewport_size({"width": 320, "height": 640})
    check(page_app, "on a small phone")
    first = answer.inner_text()
    page.get_by_label("Left", exact=True).fill("50")
    page.get_by_label("Top", exact=True).fill("40")
    page.get_by_role("button", name="Ask").click()
    expect(answer).not_to_have_text(first, timeout=DONE)
    small = chance.bounding_box()
    assert small is not None
    chance.click(position={"x": 0.357 * small["width"], "y": 0.5 * small["height"]})
    expect(answer).to_contain_text("of 20×20 km", timeout=DONE)
    assert [page.get_by_label(name, exact=True).input_value() for name in ("Left", "Top")] == ["13", "14"]
    page.evaluate(TWO_QUESTIONS)
    expect(answer).to_contain_text("of 7×5 km", timeout=DONE)
    page.wait_for_timeout(500)
    expect(answer).to_contain_text("of 7×5 km")
    page.get_by_role("button", name="Continue from member 2").click()
    expect(answer).to_have_count(0)
