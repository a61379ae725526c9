"""Codecs through the training loop, and their data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.compression.support import smooth
from tests.training.support import lines, run_here
from vflow.checkpoint import load
from vflow.config import load_preset
from vflow.data import media
from vflow.data.datasets.crops import ClipCrops, PhotoCrops
from vflow.data.datasets.photos import halve
from vflow.errors import ConfigError, InputError
from vflow.models import CodecBatch
from vflow.models.lattice import LatticePyramid
from vflow.pipelines.compress import compress, decompress
from vflow.training.codecs import CodedClips, level_weights
from vflow.training.setup import new_model, open_data

TRAINING = """
training: {batch_size: 2, max_steps: 4, warmup_steps: 1, actnorm_batch: 1, log_every: 1, validate_every: 4,
  validation_examples: 2, checkpoint_every: 2, learning_rate: 1.0e-3}
"""
LATTICE = "{hidden: 4, head: 4, mixtures: 2, levels: 2}"
PHOTO = f"model: {{kind: photo_codec, crop: 16, lattice: {LATTICE}}}\ndata: {{name: photos}}\n{TRAINING}"
CLIP = f"""
model:
  kind: clip_codec
  crop: 16
  first: {LATTICE}
  following: {LATTICE[:-1]}, references: 2}}
data: {{name: video-folder}}
{TRAINING}"""


def photos(folder: Path, count: int = 4, size: tuple[int, int] = (40, 36)) -> Path:
    for seed in range(count):
        media.write_png(folder / f"{seed}.png", smooth(*size, seed))
    return folder


def clips(folder: Path, count: int = 3, frames: int = 6) -> Path:
    for seed in range(count):
        media.write_npz(folder / f"{seed}.npz", frames=np.stack([smooth(18, 20, seed)] * frames))
    return folder


def preset(folder: Path, text: str) -> str:
    path = folder / "preset.yaml"
    path.write_text(text)
    return str(path)


def test_a_photo_codec_is_trained_resumed_and_codes(tmp_path: Path) -> None:
    data, config, run = photos(tmp_path / "photos"), preset(tmp_path, PHOTO), tmp_path / "run"
    assert run_here(config, run, data=str(data), max_steps=2) == 0
    assert run_here(config, run, data=str(data), resume=True) == 0
    logged = lines(run)
    assert [line["step"] for line in logged if "bits_per_dim" in line] == [1, 2, 3, 4]
    assert 0 < logged[-2]["val_bits_per_dim"] < 10 and logged[-2]["round_trip"] == 0
    model = load(run)
    assert np.array_equal(decompress(model, compress(model, smooth(9, 7))), smooth(9, 7))


def test_photos_of_both_kinds_train_a_pyramid_each(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 2)
    for seed in range(2):
        Image.fromarray(smooth(40, 36, seed)).save(folder / f"{seed}.jpg", quality=90)
    config = preset(tmp_path, PHOTO.replace("crop", f"direct: {LATTICE}, crop"))
    data = open_data(load_preset(config, {"data.path": str(folder)}))
    model = new_model(load_preset(config))
    batch = next(batch for batch in (data.batch(8 * i, 8) for i in range(9)) if 0 < batch.direct < 8)
    nats, first = model(batch), 8 - batch.direct
    for pyramid, part in (("lattice", slice(None, first)), ("direct", slice(first, None))):
        assert torch.equal(
            model.get_submodule(pyramid).log_probability(batch.images[part]).sum(1), nats[part]
        )
    before, after = model.reconstruct(batch)
    assert torch.equal(before, after)
    run = tmp_path / "run"
    assert run_here(config, run, data=str(folder)) == 0
    trained, new = load(run).state_dict(), new_model(load_preset(config)).state_dict()
    for pyramid in ("lattice", "direct"):
        assert any(not torch.equal(trained[k], new[k]) for k in new if k.startswith(pyramid))


def test_a_clip_codec_is_trained_and_codes(tmp_path: Path) -> None:
    data, run = clips(tmp_path / "clips"), tmp_path / "run"
    assert run_here(preset(tmp_path, CLIP), run, data=str(data)) == 0
    assert lines(run)[-1]["status"] == "finished" and lines(run)[-2]["round_trip"] == 0
    model, clip = load(run), np.stack([smooth(8, 9, seed) for seed in range(3)])
    assert np.array_equal(decompress(model, compress(model, clip)), clip)


def test_first_frames_lead_a_batch_and_others_have_two_before(tmp_path: Path) -> None:
    config = load_preset(preset(tmp_path, CLIP), {"data.path": str(clips(tmp_path / "clips"))})
    data = open_data(config)
    assert isinstance(data, CodedClips)
    batch = data.batch(4, 8)
    assert batch.images.shape == (8, 3, 16, 16) and batch.before.shape == (7, 2, 3, 16, 16)
    again = data.batch(4, 8)
    assert torch.equal(batch.images, again.images) and batch.weights == again.weights
    assert torch.equal(batch.images[1:], batch.before[:, 0])  # these clips stand still


def test_weights_of_levels_are_one_on_average() -> None:
    rows = np.array([level_weights(2, 32, (0, start)) for start in range(4000)])
    assert rows.shape[1] == 3 and (rows[:, :2] == 1).all()
    assert rows[:, 2].mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("text", [PHOTO, CLIP])
def test_parts_of_a_batch_have_its_weights(text: str, tmp_path: Path) -> None:
    folder = photos(tmp_path / "data") if text is PHOTO else clips(tmp_path / "data")
    settings = {"data.path": str(folder), "model.crop": 16, "training.batch_size": 4}
    data = open_data(load_preset(preset(tmp_path, text.replace("levels: 2", "levels: 1")), settings))
    for start in range(0, 64, 4):
        parts = [data.batch(first, 2).weights for first in (start, start + 2)]
        assert parts == [data.batch(start, 4).weights] * 2
        assert parts[0] == level_weights(1, 16, (0, start)), "as recipes had them"


def test_weights_choose_levels(tmp_path: Path) -> None:
    model = new_model(load_preset(preset(tmp_path, PHOTO)))
    images = torch.from_numpy(smooth(16, 16)).movedim(-1, 0)[None]
    before = images.new_zeros(0, 2, *images.shape[1:])
    pyramid = model.get_submodule("lattice")
    assert isinstance(pyramid, LatticePyramid)
    fine, coarse, base = pyramid.log_probability(images)[0].tolist()
    assert model(CodecBatch(images, before, (1.0, 0.0))).item() == pytest.approx(fine + base, rel=1e-6)
    assert model(CodecBatch(images, before, (0.0, 4.0))).item() == pytest.approx(4 * coarse + base, rel=1e-6)


def test_squares_are_functions_of_their_key(tmp_path: Path) -> None:
    data = PhotoCrops(photos(tmp_path), crop=16, split="train")
    first, again, other = (data.example(0, key) for key in ((0, 1), (0, 1), (0, 2)))
    assert first.shape == (16, 16, 3) and np.array_equal(first, again) and not np.array_equal(first, other)


def test_photos_smaller_than_squares_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = PhotoCrops(photos(tmp_path), crop=16, split="train")
    media.write_png(tmp_path / data.names[0], smooth(12, 40))
    for epoch in range(2):
        for index in range(len(data)):
            data.example(index, (0, epoch))
    count = len(data)
    assert caplog.messages == [f"{tmp_path}: 1 of {count} training photos left out: smaller than 16 pixels"]


def test_folders_of_clips_give_as_many_examples_each(tmp_path: Path) -> None:
    clips(tmp_path / "many", 9)
    clips(tmp_path / "few", 2)
    data = ClipCrops(tmp_path, crop=8, split="train")
    assert len(data.folders) == 2 and len(data) == 2 * max(map(len, data.folders))
    held = ClipCrops(tmp_path, crop=8, split="test")
    assert len(held.windows) == 11 and held.windows[0][0].parent != held.windows[1][0].parent
    last = held.window(10)
    assert last is not None and last.shape == (6, 18, 20, 3)


def test_long_clips_have_many_windows(tmp_path: Path) -> None:
    clips(tmp_path, 1, 47)
    assert [start for _, start in ClipCrops(tmp_path, crop=8, split="test").windows] == [0, 20]


def test_clips_longer_than_an_upload_may_be_are_read(tmp_path: Path) -> None:
    media.write_npz(tmp_path / "long.npz", frames=np.zeros((3010, 8, 8, 3), np.uint8))
    data = ClipCrops(tmp_path, crop=8, split="test")
    last = data.window(len(data.windows) - 1)
    assert last is not None and last.shape == (20, 8, 8, 3)
    assert data.example(0, (0, 0)).shape == (3, 8, 8, 3)


def test_held_out_photos_that_cannot_be_read_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, config, run = photos(tmp_path / "photos", 60), preset(tmp_path, PHOTO), tmp_path / "run"
    held = PhotoCrops(folder, crop=16, split="validation").names
    assert len(held) >= 2
    (folder / held[0]).write_bytes(b"no picture")
    flags = ("training.validate_every=2", "training.validation_examples=100")
    assert run_here(config, run, data=str(folder), set=flags) == 0
    assert [line["round_trip"] for line in lines(run) if "val_bits_per_dim" in line] == [0, 0]
    assert len([text for text in caplog.messages if held[0] in text]) == 1


def test_windows_of_clips_that_end_before_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = clips(tmp_path / "clips", 2, 22)
    monkeypatch.setattr(media, "probe", lambda *_: (70, 10.0))  # as where sound goes on after the pictures
    data = open_data(load_preset(preset(tmp_path, CLIP), {"data.path": str(folder)}))
    assert isinstance(data, CodedClips) and data.held_out == 3
    found = [data.validation([index]) for index in (0, 1, 2, 1)]
    assert found[0] is not None and len(found[0].images) == 17 and found[1:] == [None, None, None]
    (warning,) = (text for text in caplog.messages if "skipped" in text)
    assert "from frame 21 on: its container counts more frames than the 22 that are there" in warning


def test_the_warning_of_a_clip_that_is_damaged_later_names_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = clips(tmp_path / "clips", 1, 22)
    (clip,) = folder.iterdir()
    data = ClipCrops(folder, crop=16, split="train")
    assert data.windows == [(clip, 0)]
    clip.write_bytes(b"no clip")
    assert data.window(0) is None
    (warning,) = caplog.messages
    assert warning.count(clip.name) == 1 and "skipped" in warning


def test_halves_are_means() -> None:
    photo = np.arange(12, dtype=np.uint8).reshape(2, 6, 1).repeat(3, 2)
    assert halve(photo)[..., 0].tolist() == [[4, 6, 8]]


def test_data_that_do_not_suit_are_refused(tmp_path: Path) -> None:
    small = load_preset(preset(tmp_path, PHOTO), {"data.path": str(photos(tmp_path / "a")), "model.crop": 64})
    with pytest.raises(InputError, match=r"no photo is as large as 64 pixels; add --set model\.crop"):
        open_data(small).batch(0, 1)
    wrong = load_preset(preset(tmp_path, PHOTO), {"data.name": "shapes"})
    with pytest.raises(ConfigError, match="does not suit a model of kind photo_codec; set it to photos"):
        open_data(wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no clips found"):
        ClipCrops(tmp_path / "empty", crop=8, split="train")
