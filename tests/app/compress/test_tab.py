"""The tab Compress in a real browser, and its endpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import expect

from apps.ui.compress.job import CODED, DECODED
from tests.app.conftest import Opener, Server
from tests.app.support import DONE, PHONE, App, found_by_axe
from tests.compression.support import smooth
from vflow.checkpoint import load
from vflow.compression.codec import compress_frames
from vflow.data import media
from vflow.data.stills import still_bytes

pytestmark = pytest.mark.browser
STATUS = "#vf-compress-status"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    media.write_png(tmp_path / "hill.png", smooth(40, 30))
    return tmp_path / "hill.png"


def give(app: App, path: Path) -> None:
    """Put a file into the empty upload box and press the button."""
    app.page.locator("#vf-compress-files input[type=file]").set_input_files(path)
    app.page.locator("#vf-compress-files").get_by_text(path.stem[:4]).first.wait_for()
    app.page.locator("#vf-compress-run").click()


def test_a_photo_becomes_a_file_and_a_photo_again(opened: Opener, photo: Path, tmp_path: Path) -> None:
    tab = opened()
    tab.tab("Compress")
    give(tab, photo)
    expect(tab.page.locator(STATUS)).to_contain_text("Compressed in", timeout=DONE)
    rows = tab.page.locator(".vf-sizes tbody tr").all_inner_texts()
    pixels = smooth(40, 30)
    assert f"{pixels.size:,}" in rows[0] and f"{photo.stat().st_size:,}" in rows[1]
    assert f"{still_bytes(pixels, 'png'):,}" in rows[2] and f"{still_bytes(pixels, 'webp'):,}" in rows[3]
    coded = tab.download("Download hill.vflow", tmp_path)
    assert f"{coded.stat().st_size:,}" in rows[4]
    assert f"{coded.stat().st_size / photo.stat().st_size:.2g} × your PNG" in rows[4]
    assert not any("×" in row for row in rows[:2])
    picture, costs = tab.images(".vf-compress figure img")
    assert np.array_equal(picture, pixels) and len(np.unique(costs)) > 10
    assert found_by_axe(Axe().run(tab.page).response["violations"]) == []
    tab.page.locator("#vf-compress-files").get_by_role("button", name="Clear").or_(
        tab.page.locator("#vf-compress-files").get_by_role("button", name="Remove")
    ).first.click()
    tab.page.locator("#vf-compress-files").get_by_text("Drop File Here").wait_for()
    give(tab, coded)
    expect(tab.page.locator(STATUS)).to_contain_text("Restored in", timeout=DONE)
    back = tab.download("Download hill.png", tmp_path)
    assert np.array_equal(media.read_image(back).frames[0], pixels)


RECORD = """() => {
  window.shown = [];
  new MutationObserver(() => {
    const bar = document.querySelector('#vf-compress-status [role=progressbar]');
    if (bar) window.shown.push(Number(bar.getAttribute('aria-valuenow')));
  }).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""


def test_within_a_large_photo_progress_moves(opened: Opener, tmp_path: Path) -> None:
    media.write_png(tmp_path / "large.png", smooth(1200, 1600))
    tab = opened()
    tab.tab("Compress")
    tab.page.evaluate(RECORD)
    give(tab, tmp_path / "large.png")
    expect(tab.page.locator(STATUS)).to_contain_text("Compressed in", timeout=DONE)
    shown = tab.page.evaluate("window.shown")
    assert shown == sorted(shown), "it never goes back"
    coding = {share for share in shown if 0 < share < 100 * CODED}
    decoding = {share for share in shown if 100 * CODED < share < 100 * DECODED}
    assert len(coding) > 1 and len(decoding) > 1, shown


def test_an_example_in_one_click(opened: Opener) -> None:
    tab = opened()
    tab.tab("Compress")
    tab.page.get_by_role("button", name="Compress example: coffee").click()
    expect(tab.page.locator(STATUS)).to_contain_text("Compressed in", timeout=DONE)
    assert "camera-coffee" in tab.page.locator("#vf-compress-files").inner_text()
    assert tab.page.locator(".vf-sizes tbody tr").count() == 5


def test_on_a_phone_a_damaged_file_is_refused_in_one_line(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "torn.vflow").write_bytes(b"VFLW\x01 and no more")
    tab = opened(PHONE)
    tab.tab("Compress")
    give(tab, tmp_path / "torn.vflow")
    expect(tab.page.locator(STATUS)).to_contain_text("torn.vflow: cut short", timeout=DONE)
    tab.errors.clear()  # the failed request itself


def test_endpoints_give_files_and_pixels(
    server: Server, checkpoints: Path, square: np.ndarray, clip: Path, tmp_path: Path
) -> None:
    client = Client(server.address, verbose=False)
    coded, report = client.predict(handle_file(clip), api_name="/compress")
    expected = compress_frames(load(checkpoints / "codec-clip"), square, fps=10.0).data
    assert Path(coded).read_bytes() == expected
    assert report["bytes"] == len(expected) and report["raw_bytes"] == square.size
    with np.load(client.predict(handle_file(coded), api_name="/decompress")) as saved:
        assert np.array_equal(saved["frames"], square) and float(saved["fps"]) == 10
    with pytest.raises(AppError, match=r"not a \.vflow file"):
        client.predict(handle_file(clip), api_name="/decompress")


def test_a_file_that_is_refused_says_so_at_once_and_a_button_goes_on(opened: Opener, tmp_path: Path) -> None:
    photo = np.full((20, 30, 4), 128, np.uint8)
    photo[:10, :, 3] = 0
    media.write_png(tmp_path / "clear.png", photo)
    tab = opened(PHONE)
    tab.tab("Compress")
    tab.page.locator("#vf-compress-files input[type=file]").set_input_files(tmp_path / "clear.png")
    told, results = (tab.page.locator(f"#vf-compress-{part}") for part in ("upload", "results"))
    expect(told).to_contain_text("clear.png: has transparent pixels", timeout=DONE)
    assert found_by_axe(Axe().run(tab.page).response["violations"]) == []
    convert = told.get_by_role("button", name="Convert: transparency laid on white")
    expect(convert).to_be_in_viewport()
    convert.click()
    expect(results).to_contain_text("clear-8bit.png: press Compress or restore.", timeout=DONE)
    expect(told).to_have_text("", timeout=DONE)
    tab.page.locator("#vf-compress-run").click()
    expect(tab.page.locator(STATUS)).to_contain_text("Compressed in", timeout=DONE)
    assert tab.page.get_by_role("button", name="Download clear-8bit.vflow").is_visible()
