"""Bad input, each with its exact message: in the status line, in the toast, from the endpoint."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect

from apps.app import main
from tests.app.conftest import Server, free_port
from tests.app.support import SETTLED, App
from tests.data.sample_media import png_header, write_lossless
from vflow.data import media
from vflow.errors import CheckpointError, ConfigError

KINDS = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, HEIC, MP4, MOV, WebM, MKV, AVI, NPZ or NPY"


def text(folder: Path) -> Path:
    path = folder / "notes.png"
    path.write_text("Dear diary, this is not an image at all.\n")
    return path


def truncated(folder: Path) -> Path:
    path = write_lossless(
        folder / "clip.mp4", np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def enormous(folder: Path) -> Path:
    path = folder / "big.png"
    path.write_bytes(png_header(20_000, 20_000))
    return path


def pixel(folder: Path) -> Path:
    path = folder / "pixel.png"
    Image.new("RGB", (1, 1)).save(path)
    return path


def endless(folder: Path) -> Path:
    path = folder / "long.npz"
    np.savez_compressed(path, frames=np.zeros((10_000, 8, 8, 3), np.uint8))
    return path


def not_a_number(folder: Path) -> Path:
    path = folder / "nan.npz"
    np.savez(path, frames=np.full((3, 16, 16, 3), np.nan, np.float32))
    return path


CASES: list[tuple[Callable[[Path], Path], str]] = [
    (text, f"notes.png: not an image or video (its content does not match); give {KINDS}"),
    (truncated, "clip.mp4: the file is truncated (ends early); copy or upload it again"),
    (enormous, "big.png: 400 megapixels; the limit is 64; reduce the image and try again"),
    (pixel, "pixel.png: 1×1 pixels; give frames of at least 8×8"),
    (endless, "long.npz: more than 3,000 frames, the limit; trim it"),
    (not_a_number, "nan.npz: 2,304 of 2,304 values are NaN or infinite; give numbers in 0..1"),
]


@pytest.mark.browser
def test_files_in_the_browser(app: App, tmp_path: Path) -> None:
    app.refused("predict", "no frames given; add images or a video, or choose an example")
    for make, expected in CASES:
        app.upload(make(tmp_path))
        app.refused("predict", expected)
        app.page.locator(".vf-thumb button[data-action=remove]").click()
        app.page.locator(".vf-thumb").wait_for(state="detached")


@pytest.mark.browser
def test_models_and_numbers_in_the_browser(app: App, stills: list[Path]) -> None:
    app.upload(stills[0])
    app.settings(futures=1, frames=1)
    app.choose("hungry")
    app.refused("predict", "frame0.png: 1 frame at 10 per second, but the model needs at least 2; add frames")
    app.choose("torn")
    missing = "a checkpoint is a folder with config.json and model.safetensors"
    app.refused("predict", f"torn: no model.safetensors in it; {missing}")
    app.choose("shapes")
    app.page.get_by_text("and uses the last").wait_for()  # else the form may still be made to suit it
    app.advanced()
    levels = app.page.get_by_label("Temperature per level").filter(visible=True)
    levels.fill("1, 1, 1")
    app.refused("predict", "temperature per level: 3 given, shapes has 2 levels")
    levels.fill("warm")
    app.refused("predict", "temperature per level: 'warm': give a number from 0 to 2")
    app.number("Temperature", 0.9)  # the slider empties it
    expect(levels).to_have_value("")
    for seed in (-1, "1e20"):
        app.number("Seed", seed)
        app.refused("predict", "seed: give a number from 0 to 2147483647")
    app.number("Seed", 1.5)
    app.refused("predict", "seed: give a whole number from 0 to 2147483647")
    app.number("Seed", 0)
    box = app.page.get_by_label("number input for Futures").filter(visible=True)
    for futures, clamped in (("0", "1"), ("", "1"), ("99", "32")):  # once the box is left
        box.fill(futures)
        app.page.evaluate(SETTLED)
        box.blur()
        expect(box).to_have_value(clamped)
    app.number("Futures", 1)
    app.predict()


@pytest.mark.browser
def test_names_are_shown_as_text(app: App, tmp_path: Path) -> None:
    path = tmp_path / "a<img src=x onerror=alert(1)>b.png"
    path.write_text("no image")
    app.page.locator("#vf-predict-files input[type=file]").set_input_files(path)
    app.page.locator(".vf-thumb .vf-bad").wait_for()
    app.page.locator("#vf-predict-run").click()
    app.page.locator(".toast-message-text").wait_for()
    assert app.page.locator("img[src=x]").count() == 0


def odd(name: str, folder: Path) -> Path:
    """A picture of an unusual kind, 32×32."""
    path = folder / f"{name}.{'gif' if name == 'animated' else 'jpg' if name == 'cmyk' else 'png'}"
    rng = np.random.default_rng(0)
    if name == "deep":
        Image.fromarray(rng.integers(0, 65_536, (32, 32), np.uint16)).save(path)
        return path
    frames = [Image.fromarray(f) for f in rng.integers(0, 256, (3, 32, 32, 3), np.uint8)]
    if name == "animated":
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    else:
        frames[0].convert({"cmyk": "CMYK", "palette": "P"}[name]).save(path)
    return path


@pytest.mark.browser
def test_unusual_pictures_are_taken_and_remarked_on(app: App, tmp_path: Path) -> None:
    app.settings(futures=1, frames=1)
    for name in ("deep", "cmyk", "palette", "animated"):
        path = odd(name, tmp_path)
        app.upload(path)
        app.predict()
        remarks = app.page.locator("#vf-predict-status li").all_inner_texts()
        for note in media.read_frames([path]).notes:
            assert note[:1].upper() + note[1:] in remarks
        app.page.locator(".vf-thumb button[data-action=remove]").click()
        app.page.locator(".vf-thumb").wait_for(state="detached")


def test_files_from_the_endpoint(server: Server, tmp_path: Path) -> None:
    client = Client(server.address, verbose=False)
    for make, expected in CASES:
        with pytest.raises(AppError) as error:
            client.predict([handle_file(make(tmp_path))], api_name="/predict_future")
        assert str(error.value.message) == expected
    for numbers, expected in (
        ({"num_frames": 0}, "num_frames: give a number from 1 to 60"),
        ({"num_samples": 2.5}, "num_samples: give a whole number from 1 to 32"),
        ({"temperature": -1}, "temperature: give a number from 0 to 2"),
        ({"seed": -1}, "seed: give a number from 0 to 2147483647"),
        ({"checkpoint": "owner/model"}, "owner/model: no such checkpoint here; choose one of: "),
        ({"checkpoint": "push-wavelet"}, "push-wavelet: no longer ships; use push for futures"),
    ):
        with pytest.raises(AppError) as error:
            client.predict([handle_file(pixel(tmp_path))], **numbers, api_name="/predict_future")
        assert str(error.value.message).startswith(expected)


def test_port_in_use(server: Server) -> None:
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(ConfigError) as error:
        main(port=port)
    assert str(error.value) == (
        f"port {port} on 127.0.0.1 cannot be used (Address already in use); try --port {port + 1}"
    )


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"^--host nowhere\.invalid: .*; give an address of this machine"):
        main(host="nowhere.invalid")


def test_folder_without_checkpoints(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(CheckpointError) as error:
        main(port=free_port(), checkpoints=[tmp_path])
    assert signal.getsignal(signal.SIGTERM) is handler
    expected = "holds no checkpoint (a folder with config.json and model.safetensors)"
    assert str(error.value) == f"{tmp_path}: {expected}"
