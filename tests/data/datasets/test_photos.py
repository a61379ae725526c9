"""Photos: cuts and hints by key, splits, near-grey and damaged files, folders and zips."""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vflow.config import ColorizerConfig, DataConfig
from vflow.data.color import lab_to_rgb, rgb_to_lab
from vflow.data.datasets import photos
from vflow.data.datasets.photos import PhotoPairs, Photos, halve, mean_chroma, random_square, sample_hints
from vflow.data.datasets.registry import open_image_dataset
from vflow.data.datasets.types import ImageExample
from vflow.errors import ConfigError, InputError
from vflow.randomness import generator

SIZE = 8


def paint(path: Path, number: int, shape: tuple[int, int] = (60, 90)) -> Path:
    """A picture of two colour ramps; ``number`` names its colours."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    red = np.full(shape, 40 + 8 * number % 200)
    image = np.stack([red, 255 * y / height, 255 * x / width], -1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number in range(12):
        paint(root / ("a" if number % 2 else "b/c") / f"{number:02d}.png", number)
    return root


def train(path: Path) -> Photos:
    return Photos(path, size=SIZE, split="train")


def same(a: ImageExample, b: ImageExample) -> bool:
    return np.array_equal(a.image, b.image) and np.array_equal(a.condition, b.condition)


def test_examples_are_functions_of_key_and_index(folder: Path) -> None:
    first, second = train(folder), train(folder)
    second.example(7, (3,))
    example = first.example(5, (0, 1))
    assert example.image.shape == (SIZE, SIZE, 2) and example.image.dtype == np.uint8
    assert example.condition.shape == (4, 2 * SIZE, 2 * SIZE) and example.condition.dtype == np.float32
    assert same(second.example(5, (0, 1)), example)
    for index, key in ((6, (0, 1)), (5, (0, 2)), (5, (1, 1))):
        assert not same(first.example(index, key), example)


def test_validation_shows_the_central_square_without_hints(folder: Path) -> None:
    data = Photos(folder, size=SIZE, split="validation")
    example = data.example(0, (0, 0))
    assert same(example, data.example(0, (5, 5)))
    assert example.condition[0].max() > 20 and not example.condition[1:].any()
    square = np.asarray(Image.open(folder / data.names[0]))[:, 15:75]
    lab = rgb_to_lab(torch.from_numpy(square / 255).permute(2, 0, 1)[None])[0]
    assert abs(float(lab[0].mean()) - example.condition[0].mean()) < 0.5
    planes = example.image.astype(float) - 128
    assert np.abs(lab[1:].mean((1, 2)).numpy() - planes.mean((0, 1))).max() < 1


def test_without_crops_only_hints_vary(folder: Path) -> None:
    photos = Photos(folder, size=SIZE, split="train", crop=False)
    examples = [photos.example(0, (0, epoch)) for epoch in range(8)]
    for example in examples[1:]:
        assert np.array_equal(example.image, examples[0].image)
        assert np.array_equal(example.condition[0], examples[0].condition[0])
    hinted = [bool(example.condition[1].any()) for example in examples]
    assert any(hinted) and not all(hinted)


def test_fingerprint_names_the_files(folder: Path) -> None:
    first = train(folder).fingerprint
    assert train(folder).fingerprint == first
    assert Photos(folder, size=2 * SIZE, split="train").fingerprint != first
    name = train(folder).names[0]
    stat = (folder / name).stat()
    os.utime(folder / name, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    changed = train(folder).fingerprint
    assert changed != first
    paint(folder / "another.png", 77)
    assert train(folder).fingerprint != changed


def test_fingerprint_of_a_zip_names_its_content(tmp_path: Path) -> None:
    found = []
    for value in (b"a", b"b", b"a"):
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            archive.writestr("one.png", value)
        found.append(train(tmp_path / "photos.zip").fingerprint)
    assert found[0] == found[2] != found[1]


def test_planes_and_lightness_together_are_the_picture(folder: Path) -> None:
    """Where colours change slowly, L and the colours at half the size give the photo back."""
    example = Photos(folder, size=SIZE, split="validation").example(0, (0, 0))
    ab = np.repeat(np.repeat(example.image.astype(np.float32) - 128, 2, 0), 2, 1).transpose(2, 0, 1)
    rgb = lab_to_rgb(torch.from_numpy(np.concatenate([example.condition[:1], ab]))[None])[0].clamp(0, 1)
    name = Photos(folder, size=SIZE, split="validation").names[0]
    true = Image.open(folder / name).crop((15, 0, 75, 60)).resize((2 * SIZE, 2 * SIZE), Image.Resampling.BOX)
    assert np.abs(255 * rgb.permute(1, 2, 0).numpy() - np.asarray(true)).mean() < 8


def test_hints_are_means_of_what_they_cover() -> None:
    ab = np.random.default_rng(0).normal(0, 30, (2, 64, 64)).astype(np.float32)
    drawn = [sample_hints(ab, generator("hints", number)) for number in range(400)]
    covered = np.array([hints[0].sum() for hints in drawn])
    assert 0.4 < (covered == 0).mean() < 0.6 and covered.max() <= 8 * 81 and covered[covered > 0].min() < 4
    assert all(set(np.unique(hints[0])) <= {0, 1} for hints in drawn)
    assert all(not hints[1:, hints[0] == 0].any() for hints in drawn)
    smallest = next(hints for hints in drawn if hints[0].sum() == 1)
    assert np.array_equal(smallest[1:, smallest[0] == 1], ab[:, smallest[0] == 1])
    square = next(hints for hints in drawn if hints[0].sum() == 49 and len(np.unique(hints[1])) == 2)
    assert np.allclose(square[1:, square[0] == 1], ab[:, square[0] == 1].mean(1, keepdims=True), atol=1e-4)


def test_cuts_stay_inside_and_are_half_to_all_of_the_largest_square() -> None:
    y, x = np.mgrid[:60, :90]
    photo = np.stack([y, x, np.zeros_like(x)], -1).astype(np.uint8)
    cuts = np.stack([random_square(photo, 16, generator("cut", number)) for number in range(300)]).astype(int)
    high, wide = (cuts[:, -1, -1, i] - cuts[:, 0, 0, i] for i in (0, 1))
    area = high * wide * (16 / 15) ** 2  # from first to last pixel's centre is a sixteenth short
    assert area.min() > 0.44 * 3600 and area.max() < 1.06 * 3600 and area.std() > 300
    assert cuts[:, 0, 0, 1].min() < 5 and cuts[:, -1, -1, 1].max() > 83


def test_near_grey_photos_are_left_out_of_training_only(tmp_path: Path) -> None:
    for number in range(6):
        paint(tmp_path / f"{number}.png", number)
    for number in range(6, 40):
        grey = np.random.default_rng(number).integers(0, 256, (20, 30, 1), np.uint8)
        Image.fromarray(np.repeat(grey, 3, -1)).save(tmp_path / f"{number}.png")
    data = train(tmp_path)
    seen = [data.example(index, (0, 0)).image for index in range(len(data))]
    assert all(
        np.hypot(*(image.transpose(2, 0, 1) - 128.0)).mean() > photos.MIN_MEAN_CHROMA for image in seen
    )
    assert all("near-grey" in why for why in data.skipped.values()) and len(data.skipped) >= 30
    held = Photos(tmp_path, size=SIZE, split="validation")
    assert [held.example(index, (0, 0)) for index in range(len(held))] and not held.skipped
    sepia = np.full((9, 9, 3), (120, 100, 70), np.uint8)
    assert (
        mean_chroma(sepia)
        > photos.MIN_MEAN_CHROMA
        > mean_chroma(np.full((9, 9, 3), (120, 118, 116), np.uint8))
    )


def test_a_damaged_file_is_reported_once_and_passed_over(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = train(folder)
    bad = folder / data.names[2]
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        examples = [data.example(2, (0, 0)), data.example(2, (0, 0)), data.example(3, (0, 0))]
    assert same(examples[0], examples[1])
    assert [record.message for record in caplog.records] == [
        f"skipped {bad}: damaged or cut short PNG; save or upload it again"
    ]
    assert list(data.skipped) == [data.names[2]]


def test_photos_left_out_are_counted_and_said_once(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = train(folder).names
    data = PhotoPairs(folder, size=16, split="train")
    data.examine()
    assert data.usable == len(names) and not caplog.messages
    for name in names[:3]:
        paint(folder / name, 1, (12, 20))
    data = PhotoPairs(folder, size=16, split="train")
    data.examine()
    count = len(names)
    assert (len(data), data.usable) == (count, count - 3)
    assert caplog.messages == [f"{folder}: 3 of {count} training photos left out: smaller than 16 pixels"]
    [data.example(index, (0, 0)) for index in range(count)]
    assert len(caplog.messages) == 1
    (folder / names[3]).write_bytes(b"nothing")
    caplog.clear()
    monkeypatch.setattr(photos, "EXAMINED", 5)  # a larger set is counted as it is read
    data = PhotoPairs(folder, size=16, split="train")
    data.examine()
    assert data.usable == count and not caplog.messages
    [data.example(index, (0, 0)) for index in range(count)]
    assert caplog.messages[1:] == [
        f"{folder}: 4 of {count} training photos left out: 3 smaller than 16 pixels, 1 unreadable"
    ]


def test_nothing_usable_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}: no photos found; give a folder or zip with photos"):
        train(tmp_path)
    with pytest.raises(InputError, match=r"nowhere: no such file or folder"):
        train(tmp_path / "nowhere")
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(InputError, match=r"a.zip: not a folder or zip of photos"):
        train(tmp_path / "a.zip")
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (tmp_path / "b.jpg").write_bytes(b"text")
    with pytest.raises(InputError, match=r"none of 1 photos can be used; the first: .*\.jpg: "):
        train(tmp_path).example(0, (0, 0))
    with pytest.raises(InputError, match=r"none of 1 photos can be used; the first: .*\.jpg: "):
        train(tmp_path).examine()


def test_splits_divide_the_files_and_a_train_folder_is_taken(folder: Path) -> None:
    names = {
        split: set(Photos(folder, size=SIZE, split=split).names) for split in ("train", "validation", "test")
    }  # type: ignore[arg-type]
    assert names["train"] | names["validation"] == names["test"] and len(names["test"]) == 12
    assert names["validation"] and not names["train"] & names["validation"]
    (
        paint(folder / "train" / "x.png", 1),
        paint(folder / "train" / "y.png", 2),
        paint(folder / "val" / "z.png", 3),
    )
    both = (
        Photos(folder, size=SIZE, split="train").names + Photos(folder, size=SIZE, split="validation").names
    )
    assert sorted(both) == ["train/x.png", "train/y.png"]
    assert Photos(folder, size=SIZE, split="test").names == ["val/z.png"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    for number in range(3):
        try:
            paint(tmp_path / os.fsdecode(b"caf\xe9%d.png" % number), number)
        except OSError:
            pytest.skip("this file system takes UTF-8 names alone")
    data = [Photos(tmp_path, size=SIZE, split=split) for split in ("train", "validation")]  # type: ignore[arg-type]
    assert sum(len(part) for part in data) == 3
    assert all(part.example(0, (0, 0)).image.shape == (SIZE, SIZE, 2) for part in data)


def test_a_zip_gives_what_its_folder_gives(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "photos.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
        archive.writestr("__MACOSX/a/._01.png", b"")
        archive.writestr("notes.txt", b"")
    zipped, plain = train(packed), train(folder)
    assert zipped.names == plain.names
    assert all(same(zipped.example(i, (0, i)), plain.example(i, (0, i))) for i in range(len(plain)))


def test_a_damaged_member_of_a_zip_is_passed_over(tmp_path: Path) -> None:
    good = paint(tmp_path / "good.png", 3)
    packed = tmp_path / "photos.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(good, "good.png")
        archive.writestr("bad.png", good.read_bytes())
    content = packed.read_bytes()
    at = content.rindex(good.read_bytes()[:60]) + 70
    packed.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    data = Photos(packed, size=SIZE, split="test")
    assert same(data.example(0, (0, 0)), data.example(1, (0, 0)))
    assert data.skipped == {"bad.png": "bad.png: damaged in the zip; pack it again"}


def test_small_pictures_are_enlarged(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1, (10, 10)), paint(tmp_path / "b.png", 2, (10, 10))
    for split in ("train", "validation"):
        data = Photos(tmp_path, size=SIZE, split=split)  # type: ignore[arg-type]
        assert data.example(0, (0, 0)).condition.shape == (4, 16, 16)


def test_open_images_names_what_is_missing(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1), paint(tmp_path / "b.png", 2)
    data = open_image_dataset(DataConfig(name="photos", path=str(tmp_path)), ColorizerConfig(), "train")
    assert data.example(0, (0, 0)).image.shape == (32, 32, 2)
    with pytest.raises(ConfigError, match="data photos: no path given; add --data FOLDER"):
        open_image_dataset(DataConfig(name="photos"), ColorizerConfig(), "train")
    with pytest.raises(ConfigError, match=r"data.name = shapes does not suit a model of kind colorizer"):
        open_image_dataset(DataConfig(), ColorizerConfig(), "train")


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photos.zip")
    with pytest.raises(InputError, match=r"photos.zip: not a folder or zip of photos; give one of these$"):
        Photos(tmp_path / "photos.zip", size=SIZE, split="train")


def test_crops_come_with_the_means_of_their_blocks(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / f"{number}.png")
    Image.fromarray(random.integers(0, 256, (8, 50, 3), np.uint8)).save(tmp_path / "flat.png")
    data = PhotoPairs(tmp_path, size=16, split="test")
    for index in range(len(data)):
        image, small = data.example(index, (0, 0))
        assert image.shape == (16, 16, 3) and small.shape == (3, 8, 8) and small.dtype == np.uint8
        means = image.reshape(8, 2, 8, 2, 3).mean((1, 3)).transpose(2, 0, 1)
        assert np.abs(means - small).max() <= 0.5
    assert data.skipped == {"flat.png": "flat.png: smaller than 16 pixels (50×8)"}


def test_photos_are_kept_as_large_as_a_crop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "CROP_KEPT_SIDE", 16)
    for number in range(2):
        paint(tmp_path / f"{number}.png", number, (40, 60))
    data = PhotoPairs(tmp_path, size=32, split="train")
    assert data.example(0, (0, 0)).image.shape == (32, 32, 3) and not data.skipped


def test_half_of_the_training_crops_are_of_photos_at_half_size(tmp_path: Path) -> None:
    """Noise loses half its deviation where photos are halved."""
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    data = PhotoPairs(tmp_path, size=16, split="train")
    deviations = [data.example(0, (0, epoch)).image.std() for epoch in range(40)]
    assert 10 < sum(deviation < 55 for deviation in deviations) < 30
    assert np.array_equal(halve(np.full((5, 4, 3), 7, np.uint8)), np.full((2, 2, 3), 7))
