"""Lossless files in the app, without a browser."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from apps.ui.compress import html, job
from apps.ui.compress.job import (
    CONVERT,
    MAX_PHOTO_PIXELS,
    SHORTEN,
    TooLarge,
    converted,
    read,
    refusal,
)
from apps.ui.shared import task_tab
from apps.ui.shared.context import AppContext
from apps.ui.shared.events import Buttons, Downloads, StatusBar, html_block
from apps.ui.shared.examples import CAMERA_PHOTOS, FOLDER
from apps.ui.shared.forms import Upload
from apps.ui.shared.html import way_on
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from tests.compression.support import clip_codec, smooth, video_flow
from tests.data.sample_media import foreign_profile
from vflow.checkpoint import save_checkpoint
from vflow.compression.codec import compress_frames
from vflow.config.settings import Settings
from vflow.data import media
from vflow.data.stills import still_bytes
from vflow.errors import CheckpointError, InputError

pytest.importorskip("constriction")
CLIP = np.stack([smooth(8, 8, seed) for seed in range(3)])


@pytest.fixture
def app(tmp_path: Path) -> AppContext:
    """The app with a codec of clips and a video flow of one's own."""
    for name, model in (("codec-clip", clip_codec()), ("mine", video_flow())):
        save_checkpoint(tmp_path / "models" / name, model, config=model.config, card="# Untrained\n")
    (tmp_path / "runs").mkdir()
    return AppContext(ModelStore([tmp_path / "models"]), RunStore(tmp_path / "runs"), Jobs(), tmp_path)


def compress(app: AppContext, upload: str) -> Any:
    """Result of the tab for an upload."""
    begun = job.FACE.begin(app, None, Settings(), [upload])
    for _ in begun.advance(lambda: False):
        pass
    with app.runs.job_folder() as folder:
        return begun.save(app, folder)


def write(folder: Path, data: bytes) -> str:
    (folder / "arm.vflow").write_bytes(data)
    return str(folder / "arm.vflow")


def test_the_page_offers_the_file_by_its_name_and_keeps_no_pixels(app: AppContext, tmp_path: Path) -> None:
    media.write_npz(tmp_path / "clip.npz", frames=CLIP)
    with gr.Blocks():
        form = task_tab.TaskForm(app, job.FACE, Upload(gr.File()))
        bar = StatusBar.below(Buttons.row("Run", "compress", ready=True), "compress")
        downloads = Downloads.below(*job.FACE.downloads)
        view = task_tab.TaskView(bar, html_block(""), downloads, gr.State(), None)
    values = {form.files: [str(tmp_path / "clip.npz")], form.checkpoint: None}
    *_, last = task_tab._steps(app, job.FACE, form, view, values, lambda: False)
    assert last[view.result] is None
    assert last[downloads.buttons[0]]["label"] == "Download clip.vflow"
    assert "Compressed in" in last[bar.status] and "None" not in last[bar.status]


def test_files_of_a_video_flow_are_restored(app: AppContext, tmp_path: Path) -> None:
    path = write(tmp_path, compress_frames(app.models.load("mine"), CLIP).data)
    assert np.array_equal(compress(app, path).frames, CLIP)


def test_files_of_models_that_are_not_on_offer_are_refused(app: AppContext, tmp_path: Path) -> None:
    other = video_flow()
    other.pixel_map.probability[:, :, 0] += 0.5
    path = write(tmp_path, compress_frames(other, CLIP).data)
    with pytest.raises(CheckpointError, match="made with a codec that is not on offer"):
        compress(app, path)


def test_files_of_models_that_no_longer_ship_say_where_their_weights_are(app: AppContext) -> None:
    path = Path(__file__).parents[2] / "compression" / "push-wavelet.vflow"
    with pytest.raises(CheckpointError, match=r"--checkpoints /tmp/checkpoints/push-wavelet$"):
        compress(app, str(path))


def test_photos_may_have_more_pixels_than_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "MAX_PIXELS", 50)
    monkeypatch.setattr(job, "MAX_PHOTO_PIXELS", 100)
    for side in (10, 11):
        media.write_png(tmp_path / f"{side}.png", np.zeros((side, side, 3), np.uint8))
    assert job.read(str(tmp_path / "10.png")).frames.shape == (10, 10, 3)
    with pytest.raises(InputError, match=r"11\.png.*121"):
        job.read(str(tmp_path / "11.png"))
    media.write_npz(tmp_path / "clip.npz", frames=np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"clip\.npz.*128"):
        job.read(str(tmp_path / "clip.npz"))


def test_what_a_video_flow_decodes_has_a_lower_limit(
    app: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "MAX_FLOW_PIXELS", 100)
    slow = write(tmp_path, compress_frames(app.models.load("mine"), CLIP).data)
    with pytest.raises(InputError, match="more than 100 pixels; use vflow decompress"):
        compress(app, slow)
    fast = write(tmp_path, compress_frames(app.models.load("codec-clip"), CLIP).data)
    assert np.array_equal(compress(app, fast).frames, CLIP)


def test_longer_work_says_how_long(app: AppContext, tmp_path: Path) -> None:
    media.write_npz(tmp_path / "clip.npz", frames=CLIP)
    upload = str(tmp_path / "clip.npz")
    assert job.expected_seconds(app, None, [upload]) is None, "nothing is known yet"
    clock = job.COMPRESS.clock(app, job.COMPRESS.begin(app, None, Settings(), [upload]))
    assert clock
    clock.frame_done()
    assert (job.expected_seconds(app, None, [upload]) or 0) > 0
    for other in (None, [], [str(tmp_path / "gone.png")], [str(tmp_path / "clip.vflow")]):
        assert job.expected_seconds(app, None, other) is None


def test_stop_ends_the_coding_of_a_picture_midway(app: AppContext, tmp_path: Path) -> None:
    media.write_npz(tmp_path / "clip.npz", frames=CLIP)
    begun = job.FACE.begin(app, None, Settings(), [str(tmp_path / "clip.npz")])
    steps = begun.advance(lambda: True)
    next(steps)
    assert begun.face.step(begun, "") == "Coding · 0%" and not list(steps)
    assert begun.face.stopped(begun) == "Stopped before it was done."


def test_what_reading_changed_is_not_called_lossless(app: AppContext, tmp_path: Path) -> None:
    clip = str(tmp_path / "clip.npz")
    media.write_npz(clip, frames=CLIP)
    made = compress(app, clip)
    assert "nothing is lost" in html.compressed(made)
    changed = replace(made, notes=("16-bit samples scaled to 8 bits",))
    assert "nothing more is lost" in html.compressed(changed)


def test_the_first_sentence_says_whether_to_keep_the_file() -> None:
    others = (job.Size("PNG (oxipng)", 500), job.Size("WebP, lossless", 300))

    def said(came: int, ours: int) -> str:
        return html._lead((job.Size("Your JPG", came, "lossy"), *others, job.Size("vflow", ours, "ours")))

    assert said(100, 210).startswith("<strong>2.1 times your JPG: keep that.</strong>")
    assert said(100, 210).endswith("30% smaller than WebP, lossless.")
    assert said(400, 330) == "<strong>18% smaller than your JPG</strong>, and 10% larger than WebP, lossless."
    assert "As large as your JPG: keep that." in said(100, 101)


def test_raw_pixels_say_how_many_bytes_they_have(app: AppContext, tmp_path: Path) -> None:
    clip = str(tmp_path / "clip.npz")
    for frames, phrase in ((CLIP, "three bytes a pixel"), (CLIP[..., :1], "one byte a pixel")):
        media.write_npz(clip, frames=frames)
        assert phrase in html.compressed(compress(app, clip))


def test_photos_keep_their_color_profile(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    app = AppContext(ModelStore(), RunStore(tmp_path / "runs"), Jobs(), tmp_path)
    photo, profile = str(tmp_path / "phone.png"), foreign_profile()
    (tmp_path / "phone.png").write_bytes(media.encode_png(smooth(16, 24), profile))
    made = compress(app, photo)
    back = compress(app, str(made.path))
    assert made.profile == back.profile == profile
    assert "nothing is lost" in html.compressed(made)
    for page in (html.compressed(made), html.restored(back)):
        picture = base64.b64decode(page.split("base64,")[1].split('"')[0])
        assert Image.open(BytesIO(picture)).info["icc_profile"] == profile
    sizes = {size.label: size.bytes for size in made.sizes}
    plain = {label: still_bytes(smooth(16, 24), name) for name, label in job.STILLS.items()}
    assert all(sizes[label] > plain[label] + 300 for label in plain)  # they hold it too


def test_photos_that_would_lose_information_are_refused(tmp_path: Path) -> None:
    Image.fromarray(smooth(8, 8)[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"^deep\.png: would lose information \(16-bit"):
        job.read(str(tmp_path / "deep.png"))


@pytest.mark.parametrize("name", CAMERA_PHOTOS.values())
def test_examples_become_smaller_than_other_formats_make_them(name: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    app = AppContext(ModelStore(), RunStore(tmp_path / "runs"), Jobs(), tmp_path)
    path = str(FOLDER / name)
    made = compress(app, path)
    others = [size.bytes for size in made.sizes if size.kind == "other"]
    assert made.report()["bytes"] < 0.9 * min(others)


def deep(path: Path) -> Path:
    """A photo of 16 bits."""
    Image.fromarray(np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 100).save(path)
    return path


def clear(path: Path) -> Path:
    """A photo with transparent pixels."""
    photo = np.full((20, 30, 4), 128, np.uint8)
    photo[..., 3] = 255
    photo[:10, :, 3] = 0
    media.write_png(path, photo)
    return path


def wide(path: Path) -> Path:
    """A clip of large frames."""
    frames = np.zeros((12, 600, 800, 3), np.uint8)
    frames[..., 0] = 20 * np.arange(12)[:, None, None]
    media.write_npz(path, frames=frames, fps=8.0)
    return path


@pytest.mark.parametrize(
    ("make", "name", "action", "label"),
    [
        (deep, "deep.png", CONVERT, "Convert: 16-bit samples scaled to 8 bits"),
        (clear, "clear.png", CONVERT, "Convert: transparency laid on white"),
        (wide, "wide.npz", SHORTEN, "Take the first 12 frames, reduced to 408×306"),
    ],
)
def test_what_is_refused_has_a_way_on(
    make: Callable[[Path], Path], name: str, action: str, label: str, tmp_path: Path
) -> None:
    path = make(tmp_path / name)
    found = refusal(str(path))
    assert name in found and way_on(action, label) in found and found.count("data-action") == 1
    assert ("vflow compress wide.npz --output compressed" in found) == (make is wide)
    taken = converted(str(path), action, tmp_path)
    assert taken.parent == tmp_path and taken.stem == f"{path.stem}-{action}" and refusal(str(taken)) == ""
    frames = read(str(taken)).frames
    if make is wide:
        assert frames.shape == (12, 306, 408, 3)
        assert frames[:, 0, 0, 0].tolist() == list(range(0, 240, 20))
    elif make is clear:
        assert (frames[:10] == 255).all() and (frames[10:] == 128).all()
    else:
        assert frames.shape == (20, 30, 1)


def test_more_frames_than_the_page_takes_are_left_out_and_a_large_photo_is_reduced(tmp_path: Path) -> None:
    media.write_npz(tmp_path / "long.npz", frames=np.zeros((300, 100, 100, 3), np.uint8))
    long = refusal(str(tmp_path / "long.npz"))
    assert way_on(SHORTEN, "Take the first 200 frames") in long
    large = TooLarge("", (4000, 6000))
    assert large.way == "Reduce to 4,347×2,898" and MAX_PHOTO_PIXELS >= 4347 * 2898


def test_what_the_page_takes_is_not_refused_and_what_is_no_picture_has_no_way_on(tmp_path: Path) -> None:
    media.write_png(tmp_path / "hill.png", smooth(20, 30))
    assert refusal(str(tmp_path / "hill.png")) == ""
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match=r"text\.png"):
        refusal(str(tmp_path / "text.png"))


def test_an_animated_picture_is_converted_at_its_own_size_and_made_shorter(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.full((600, 700, 4), (40 * i, 0, 0, 128), np.uint8)) for i in range(6)]
    path = tmp_path / "moving.png"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    found = refusal(str(path))
    assert f'data-action="{CONVERT}"' in found and found.count("data-action") == 1
    taken = converted(str(path), CONVERT, tmp_path)
    assert media.read_clip(taken).frames.shape == (6, 600, 700, 3)
    again = refusal(str(taken))
    assert way_on(SHORTEN, "Take the first 6 frames, reduced to 381×327") in again


def test_a_change_that_the_page_does_not_offer_is_refused(tmp_path: Path) -> None:
    media.write_png(tmp_path / "hill.png", smooth(20, 30))
    with pytest.raises(InputError, match=r"hill\.png: no such change"):
        converted(str(tmp_path / "hill.png"), "../../elsewhere", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hill.png"]


def test_a_map_shows_where_the_bits_of_a_photo_went(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    app = AppContext(ModelStore(), RunStore(tmp_path / "runs"), Jobs(), tmp_path)
    photo, pixels = str(tmp_path / "half.png"), np.full((48, 64, 3), 90, np.uint8)
    pixels[:, 32:] = np.random.default_rng(0).integers(60, 120, (48, 32, 3))
    media.write_png(photo, pixels)
    made = compress(app, photo)
    assert made.costs is not None
    page = html.compressed(made)
    assert f"{made.costs.mean():.1f} a pixel on average" in page
    bits = np.asarray(Image.open(BytesIO(base64.b64decode(page.split("base64,")[2].split('"')[0]))), float)
    assert bits[:, 36:].mean() > bits[:, :28].mean() + 60
    assert html.compressed(replace(made, costs=None)).count("<img") == 1
