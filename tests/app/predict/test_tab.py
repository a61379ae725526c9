"""The Predict tab in a real browser: bytes up, pixels on the screen, files down."""

from __future__ import annotations

import base64
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Route, expect

import vflow
from apps.ui.shared import forms
from apps.ui.shared.examples import FOLDER
from tests.app.support import DONE, SETTLED, App, differ
from tests.app.test_access import check
from tests.data.sample_media import moving_square, write_lossless
from vflow.cli import main as vflow_command
from vflow.data import media
from vflow.metrics.video import best_of
from vflow.pipelines.video.predict import prepare

pytestmark = pytest.mark.browser


def test_upload_predict_and_play(app: App, stills: list[Path]) -> None:
    app.upload(*stills[:2])
    app.settings(futures=3, frames=4)
    assert app.predict().startswith("3 futures × 4 frames in ")
    assert app.videos() == 3 + 2
    app.page.locator(".vf-playing").wait_for()
    assert all(app.advances(index) for index in range(app.videos()))
    app.page.get_by_role("button", name="Pause all futures").click()
    assert all(app.page.eval_on_selector_all(".vf-player video", "all => all.map((v) => v.paused)"))


def test_shows_what_the_npz_holds(app: App, stills: list[Path], square: np.ndarray, tmp_path: Path) -> None:
    app.upload(*stills[:2])
    app.settings(futures=2, frames=2)
    app.predict()
    with np.load(app.download("Frames (npz)", tmp_path)) as saved:
        context, futures = saved["context"], saved["frames"]
    assert np.array_equal(context, square[:2])
    assert futures.shape == (2, 2, 32, 32, 3) and futures.dtype == np.uint8
    assert differ(app.pictures(1)[0], context[0]) < 2
    shown = app.pictures(4)
    for index, future in enumerate(futures):
        # Chroma is halved in previews; brightness is kept.
        assert differ(shown[index].mean(-1), future[-1].mean(-1)) < 12
    for _ in range(4):  # asked for their last frame again, videos stay there
        app.page.evaluate("document.querySelector('.vf-seek').dispatchEvent(new Event('input'))")
        app.page.wait_for_timeout(200)
        times = app.page.eval_on_selector_all(".vf-player video", "all => all.map((v) => v.currentTime)")
        assert min(times) == max(times) > 0


def test_randomise_draws_a_seed_and_shows_it(app: App, clip: Path) -> None:
    app.upload(clip)
    app.settings(futures=1, frames=1)
    app.page.get_by_label("Randomise").check()
    app.predict()
    seed = app.page.get_by_label("Seed", exact=True).input_value()
    assert seed != "0" and app.status().endswith(f"seed {seed}")


def test_example_predicts_in_one_click_with_settings_of_its_own(app: App) -> None:
    app.settings(futures=20, frames=3, seed=5)  # such as of rain before
    app.advanced()
    app.number("Preview frames per second", 1)
    app.page.get_by_role("button", name="Predict from example: Circle").click()
    done = app.finished()
    assert done.startswith("8 futures × 4 frames in ") and done.endswith(", seed 5")
    expect(app.page.get_by_label("number input for Preview frames per second")).to_have_value("5")
    expect(app.names()).to_have_text(["shapes-circle.png"])
    assert app.videos() == 8 + 2


def test_a_second_example_ends_the_first_and_runs(app: App, checkpoints: Path, tmp_path: Path) -> None:
    app.page.get_by_role("button", name="Predict from example: Circle").click()
    app.page.locator(".vf-live, .vf-player").wait_for(timeout=DONE)
    app.page.get_by_role("button", name="Predict from example: Square").click()
    app.page.get_by_role("button", name="Predict from example: Triangle").click()
    names = app.names()
    expect(names).to_have_text("shapes-triangle.png")
    app.page.locator("#vf-predict-status .vf-done").wait_for(timeout=DONE)
    app.page.locator("#vf-predict-run:not([disabled])").wait_for()
    expect(names).to_have_text("shapes-triangle.png")
    triangle = prepare(
        vflow.load(checkpoints / "shapes"), media.read_frames([FOLDER / "shapes-triangle.png"])
    )
    with np.load(app.download("Frames (npz)", tmp_path)) as saved:
        assert np.array_equal(saved["context"], triangle.context)
    app.page.wait_for_timeout(1500)
    assert app.page.locator("#vf-predict-run").is_enabled() and app.videos() == 8 + 2


CLEARED_WHEN = """(text) => {
  const line = document.querySelector("#vf-predict-status");
  const observer = new MutationObserver(() => {
    if (!line.textContent.includes(text)) return;
    observer.disconnect();
    document.querySelector("#vf-predict-files button[aria-label=Clear]").click();
  });
  observer.observe(line, {childList: true, subtree: true, characterData: true});
  document.querySelector("#vf-predict-run").click();
}"""


def test_clear_while_the_previews_are_written_leaves_an_empty_page(app: App, stills: list[Path]) -> None:
    app.upload(stills[0])
    app.settings(futures=16, frames=6)
    with app.until_answered():
        app.page.evaluate(CLEARED_WHEN, "Writing the files…")
    app.page.evaluate(SETTLED)
    expect(app.page.locator("#vf-predict-status .vf-status p")).to_have_text("Ready.")
    expect(app.page.locator("#vf-predict-run")).to_be_enabled()
    app.page.locator("#vf-predict-results .vf-empty").wait_for()


def test_a_future_fills_the_window_with_files_of_its_own(
    app: App, stills: list[Path], tmp_path: Path
) -> None:
    app.upload(stills[0])
    app.settings(futures=3, frames=2)
    app.predict()
    width = app.page.locator(".vf-tile video").first.evaluate("(video) => video.clientWidth")
    assert width >= 220
    app.page.get_by_role("button", name="Enlarge future 3").click()
    large = app.page.get_by_role("dialog")
    expect(large).to_contain_text("Future 3 of 3")
    app.page.keyboard.press("ArrowRight")
    expect(large).to_contain_text("Future 1 of 3")
    app.page.keyboard.press("ArrowLeft")
    assert large.locator("video").evaluate("(video) => video.clientWidth") > 2 * width
    check(app, "with a large future")
    with app.page.expect_download() as saved:
        large.get_by_role("button", name="GIF").click()
    assert saved.value.suggested_filename == "future_03.gif"
    gif = media.read_clip(saved.value.path()).frames
    assert len(gif) == 3 and gif.shape[1] == 256
    with app.page.expect_download() as saved:
        large.get_by_role("link", name="mp4").click()
    assert saved.value.suggested_filename == "future_03.mp4"
    app.page.keyboard.press("Escape")
    expect(app.page.get_by_role("button", name="Enlarge future 3")).to_be_focused()


def test_stop_keeps_the_frames_so_far(app: App, stills: list[Path], tmp_path: Path) -> None:
    app.choose("slow")
    app.upload(stills[0])
    app.settings(futures=4, frames=60)
    app.page.locator("#vf-predict-run").click()
    app.page.locator(".vf-live .vf-tile:not(.vf-waiting)").first.wait_for(timeout=DONE)
    app.page.locator("#vf-predict-stop").click()
    status = app.finished()
    assert status.startswith("Stopped after frame ")
    done = int(status.split()[3])
    assert 1 <= done < 60
    with np.load(app.download("Frames (npz)", tmp_path)) as saved:
        assert saved["frames"].shape[:2] == (4, done)
    assert app.page.locator("#vf-predict-stop").is_disabled()


def test_waiting_for_the_model_and_leaving_it(app: App, stills: list[Path]) -> None:
    app.tab("Digits")
    app.choose("slowest-digits")
    app.number("Digits per class", 32)
    app.page.locator("#vf-digits-run").click()
    app.page.locator(".vf-live img").first.wait_for(timeout=DONE)
    app.tab("Predict")
    app.choose("slow")
    app.upload(stills[0])
    app.settings(futures=1, frames=60)
    app.page.locator("#vf-predict-run").click()
    app.page.locator("#vf-predict-status", has_text="Waiting for the model: ").wait_for()
    app.page.locator("#vf-predict-stop").click()
    app.page.locator("#vf-predict-status", has_text="Stopped before the first frame.").wait_for()
    assert app.page.locator("#vf-predict-run").is_enabled()
    app.stop("digits")
    app.page.locator(".vf-drawn").wait_for(state="attached", timeout=DONE)


def test_continue_from_a_future(app: App, stills: list[Path], tmp_path: Path) -> None:
    app.upload(*stills[:2])
    app.settings(futures=2, frames=3)
    app.predict()
    with np.load(app.download("Frames (npz)", tmp_path)) as saved:
        chosen = saved["frames"][1]
    app.page.evaluate("document.querySelector('.vf-player').classList.add('old')")
    app.page.get_by_role("button", name="Continue from future 2").click()
    app.finished()
    app.page.wait_for_function("document.activeElement.className === 'vf-play'")
    with np.load(app.download("Frames (npz)", tmp_path)) as saved:
        assert np.array_equal(saved["context"], chosen[-2:])


def test_downloads_and_the_command_give_the_same(
    app: App, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.upload(clip)
    app.settings(futures=2, frames=2, seed=7)
    app.advanced()
    app.page.get_by_label("Temperature per level").filter(visible=True).fill("0.5, 0.7")
    app.predict()
    native = app.download("Frames (npz)", tmp_path)
    settings = app.download("Settings (json)", tmp_path)
    with zipfile.ZipFile(app.download("Previews (zip)", tmp_path)) as previews:
        expected = [
            "diversity.mp4",
            "future_01.mp4",
            "future_02.mp4",
            "given/000.png",
            "given/001.png",
            "mean.mp4",
        ]
        assert sorted(previews.namelist()) == expected
        previews.extractall(tmp_path)
    record = json.loads(settings.read_text())
    assert (record["seed"], record["num_frames"], record["temperature"]) == (7, 2, [0.5, 0.7])
    threads = torch.get_num_threads()
    try:
        for number, source in enumerate((clip, tmp_path / "given")):
            output = tmp_path / f"again{number}"
            arguments = ["predict", "--settings", settings, "--input", source, "--output", output]
            assert vflow_command([str(argument) for argument in arguments]) == 0
            with np.load(native) as ours, np.load(output / "futures.npz") as theirs:
                assert np.array_equal(ours["frames"], theirs["frames"])
        shutil.copy(clip, tmp_path)
        monkeypatch.chdir(tmp_path)
        assert vflow_command(app.command()) == 0
    finally:
        torch.set_num_threads(threads)
    with np.load(native) as ours, np.load("predict/futures.npz") as theirs:
        assert np.array_equal(ours["frames"], theirs["frames"])


def test_grey_model(app: App, clip: Path) -> None:
    app.choose("grey")
    app.page.get_by_text("32×32 pixels, grey, 10 frames per second.").wait_for()
    app.upload(clip)
    app.settings(futures=1, frames=1)
    app.predict()
    expect(app.page.get_by_text("Mean and differences need two or more futures.")).to_be_visible()
    expect(app.page.get_by_text("Used the last 2 of 6 frames")).to_be_visible()


def test_a_long_clip_begins_where_most_moves_or_at_a_frame_of_choice(app: App, tmp_path: Path) -> None:
    frames = np.concatenate([np.repeat(moving_square(1, 32, 32), 12, 0), moving_square(8, 32, 32)])
    app.upload(write_lossless(tmp_path / "late.mp4", frames))
    expect(app.page.get_by_label("A frame of your choice", exact=True)).to_be_checked()
    place = app.page.get_by_label("number input for First frame that is given", exact=True)
    expect(place).not_to_have_value("0")
    best = int(place.input_value())
    assert 9 <= best <= 13
    app.number("First frame that is given", 14)
    app.settings(futures=1, frames=2)
    app.predict()
    with np.load(app.download("Frames (npz)", tmp_path)) as saved:
        assert np.array_equal(saved["context"], frames[14:16])
        assert np.array_equal(saved["truth"], frames[16:18])
    assert json.loads(app.download("Settings (json)", tmp_path).read_text())["start"] == 14


def test_where_the_first_frames_are_given_no_frame_is_chosen(app: App, tmp_path: Path) -> None:
    app.page.get_by_label("The first frames", exact=True).check()
    app.upload(write_lossless(tmp_path / "long.mp4", moving_square(12, 32, 32)))
    app.settings(futures=1, frames=2)
    app.predict()
    expect(app.page.get_by_label("The first frames", exact=True)).to_be_checked()
    expect(app.page.get_by_label("number input for First frame that is given", exact=True)).to_be_hidden()


def test_the_rest_of_a_clip_is_shown_beside_the_futures(
    app: App, stills: list[Path], square: np.ndarray, tmp_path: Path
) -> None:
    app.upload(*stills)
    app.page.get_by_label("The first frames", exact=True).check()
    app.settings(futures=2, frames=2)
    app.predict()
    assert app.videos() == 2 + 2 + 2
    with np.load(app.download("Frames (npz)", tmp_path)) as saved:
        context, futures, truth = saved["context"], saved["frames"], saved["truth"]
    given = len(context)
    assert np.array_equal(context, square[:given]) and np.array_equal(truth, square[given : given + 2])
    closest, scores = best_of(futures, truth)
    figures = app.page.locator(".vf-maps figcaption")
    expect(figures.nth(0)).to_have_text("What really happened")
    expect(figures.nth(1)).to_contain_text(f"future {closest + 1}PSNR {scores.mean():.1f} dB")
    posters = {
        name: pixels_of(app.page.locator(f"video[aria-label^='{name}']").last.get_attribute("poster"))
        for name in ("What really happened", f"Future {closest + 1}", "Mean of 2")
    }
    assert np.array_equal(posters["What really happened"], truth[-1]), "until its video is there"
    assert np.array_equal(posters[f"Future {closest + 1}"], futures[closest, -1])
    assert not np.array_equal(posters["Mean of 2"], truth[-1])
    real = app.pictures(given + 1)[2]
    assert differ(real.mean(-1), truth[0].mean(-1)) < 12


def pixels_of(uri: str | None) -> np.ndarray:
    """Pixels of a PNG in a data URI."""
    assert uri
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB"))


MOVED_BY_TEXTS = """async () => {
    const button = document.querySelector('#vf-predict-list button[data-action="earlier"][data-index="2"]');
    const names = [...document.querySelectorAll("#vf-predict-list .vf-name")];
    const [, second, third] = names.map((name) => name.firstChild);
    button.focus();
    button.click();
    [second.nodeValue, third.nodeValue] = [third.nodeValue, second.nodeValue];
    await Promise.resolve();
    return document.activeElement.dataset.index;
}"""


def test_focus_follows_a_file_where_texts_alone_change(app: App, stills: list[Path]) -> None:
    """As gradio draws a list of equal length; seen before the server's answer, which changes more."""
    app.upload(*stills[:3])
    expect(app.names()).to_have_text(["frame0.png", "frame1.png", "frame2.png"])
    assert app.page.evaluate(MOVED_BY_TEXTS) == "1"


LEFT_FOR_A_FIELD = MOVED_BY_TEXTS.replace(
    "await", "document.querySelector('input[type=number]').focus(); await"
)
CONTINUED = """async () => {
    const results = document.querySelector("#vf-predict-results");
    results.innerHTML = '<button class="vf-continue"></button><button class="vf-play"></button>';
    results.firstChild.focus();
    results.firstChild.click();
    results.innerHTML = "";
    document.querySelector("header").innerHTML = '<button class="vf-play"></button>';
    await Promise.resolve();
    results.innerHTML = '<button class="vf-play" id="new"></button>';
    await Promise.resolve();
    return document.activeElement.id;
}"""


def test_the_focus_stays_where_a_person_took_it_and_goes_to_the_player_of_the_same_tab(
    app: App, stills: list[Path]
) -> None:
    app.upload(*stills[:3])
    assert app.page.evaluate(LEFT_FOR_A_FIELD) is None
    expect(app.page.locator("input[type=number]").first).to_be_focused()
    assert app.page.evaluate(CONTINUED) == "new"


CHANGED = """([action, key, index]) => {
    const strip = document.createElement("div");
    strip.className = "vf-strip";
    strip.innerHTML = `<button data-action="${action}" data-key="${key}" data-index="${index}"></button>`;
    document.body.append(strip);
    strip.firstChild.click();
    strip.remove();
    return window.vfChanged([..."abca"].map((path) => ({path}))).map(({path}) => path).join("");
}"""


def test_a_button_of_the_list_changes_its_file_wherever_that_is_by_now(app: App) -> None:
    for action, key, index, expected in (
        ("earlier", "b", 1, "baca"),
        ("later", "b", 1, "acba"),
        ("remove", "b", 1, "aca"),
        ("earlier", "a", 0, "abca"),
        ("remove", "a", 3, "abc"),
        ("remove", "c", 3, "aba"),
        ("remove", "gone", 1, "abca"),
    ):
        assert app.page.evaluate(CHANGED, [action, key, index]) == expected
    assert app.page.evaluate("window.vfChanged(null)") is None


QUICKLY = """async (labels) => {
    for (const label of labels) {
        document.querySelector(`#vf-predict-list button[aria-label="${label}"]`).click();
        await new Promise((done) => setTimeout(done, 30));
    }
}"""


def test_of_quick_clicks_on_the_list_each_counts(app: App, stills: list[Path]) -> None:
    app.upload(*stills[:4])
    expect(app.names()).to_have_text([f"frame{n}.png" for n in (0, 1, 2, 3)])
    app.page.evaluate(QUICKLY, ["Move frame3.png earlier", "Move frame3.png earlier"])
    expect(app.names()).to_have_text([f"frame{n}.png" for n in (0, 3, 1, 2)])
    app.page.evaluate(QUICKLY, ["Remove frame0.png", "Remove frame1.png", "Remove frame1.png"])
    expect(app.names()).to_have_text([f"frame{n}.png" for n in (3, 2)])


@pytest.mark.parametrize(
    "buttons", [("Sort by name", "Remove frame1.png"), ("Remove frame1.png", "Sort by name")]
)
def test_of_sorting_and_removing_each_counts(app: App, stills: list[Path], buttons: tuple[str, str]) -> None:
    app.upload(*stills[:3])
    app.page.get_by_role("button", name="Reverse").click()
    expect(app.names()).to_have_text([f"frame{n}.png" for n in (2, 1, 0)])
    held, busy = list[Route](), [True]
    app.page.route("**/gradio_api/run/**", lambda route: held.append(route) if busy else route.continue_())
    for button in buttons:
        app.page.get_by_role("button", name=button).click()
        app.page.wait_for_timeout(200)  # until the page has asked, if it does
    busy.clear()
    for route in held:
        route.continue_()
    expect(app.names()).to_have_text(["frame0.png", "frame2.png"])
    expect(app.page.locator("#vf-predict-files tr.file")).to_contain_text(["frame0", "frame2"])


def test_the_browser_sorts_as_python_does(app: App) -> None:
    names = [
        "f10.png",
        "f9.png",
        "F1.png",
        "f1.png",
        "f01b.png",
        "f_1.png",
        "a.png",
        "10.png",
        "9.png",
        "é2.png",
        "Strasse2.png",
        "straße1.png",
        "STRASSE3.png",
        "Strate.png",
    ]
    files = [{"path": f"/tmp/{index}/{name}"} for index, name in enumerate(names)]
    ordered = app.page.evaluate("(files) => window.vfByName(files.slice(0, 4), null, files.slice(4))", files)
    assert [file["path"] for file in ordered] == forms.by_name([file["path"] for file in files])
    assert app.page.evaluate("window.vfByName(null, null)") is None


TOO_LATE = "Object.defineProperty(window, 'vfByName', { get: () => undefined, set: () => {} })"


def test_uploads_are_in_order_though_the_script_of_the_page_comes_late(
    app: App, stills: list[Path], square: np.ndarray
) -> None:
    app.page.add_init_script(TOO_LATE)
    app.page.reload()
    app.page.locator(".vf-example").first.wait_for()
    app.upload(stills[2], stills[0], stills[1])
    expect(app.names()).to_have_text(["frame0.png", "frame1.png", "frame2.png"])
    expect(app.page.locator("#vf-predict-files tr.file")).to_contain_text(["frame0", "frame1", "frame2"])
    app.settings(futures=1, frames=1)
    app.predict()
    assert all(differ(app.pictures(frame)[0], square[frame]) < 2 for frame in (1, 2))


def test_a_click_before_the_upload_is_answered_computes_in_order(
    app: App, stills: list[Path], square: np.ndarray
) -> None:
    app.settings(futures=1, frames=1)
    held, busy = list[Route](), [True]
    app.page.route("**/gradio_api/run/**", lambda route: held.append(route) if busy else route.continue_())
    app.page.locator("#vf-predict-files input[type=file]").set_input_files([stills[n] for n in (2, 0, 1)])
    app.page.locator("#vf-predict-files tr.file").nth(2).wait_for()
    app.page.locator("#vf-predict-run").click()
    app.page.wait_for_timeout(200)  # until the page has asked
    busy.clear()
    for route in reversed(held):
        route.continue_()
    app.finished()
    assert all(differ(app.pictures(frame)[0], square[frame]) < 2 for frame in (1, 2))
    expect(app.names()).to_have_text(["frame0.png", "frame1.png", "frame2.png"])


def test_order_of_uploads(app: App, stills: list[Path]) -> None:
    app.upload(stills[2], stills[0], stills[1])
    expect(app.names()).to_have_text(["frame0.png", "frame1.png", "frame2.png"])

    def press(button: str, *names: int) -> None:
        app.page.get_by_role("button", name=button).click()
        expect(app.names()).to_have_text([f"frame{n}.png" for n in names])

    press("Reverse", 2, 1, 0)
    press("Move frame0.png earlier", 2, 0, 1)
    assert app.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Move frame0.png earlier"
    press("Sort by name", 0, 1, 2)
    press("Remove frame1.png", 0, 2)
    app.page.get_by_test_id("Add files-upload-button").first.set_input_files(stills[1])
    expect(app.names()).to_have_text(["frame0.png", "frame1.png", "frame2.png"])
    press("Remove frame1.png", 0, 2)
    app.page.locator("#vf-predict-files tr.file").nth(0).drag_to(
        app.page.locator("#vf-predict-files tr.file").nth(1)
    )
    app.page.wait_for_function("document.querySelector('.vf-thumb .vf-name').innerText === 'frame2.png'")
