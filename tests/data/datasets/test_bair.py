"""BAIR's TFRecords, from a writer of our own."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from vflow.data.datasets.bair import Bair
from vflow.data.datasets.tfrecord import bytes_features, masked_crc
from vflow.errors import ConfigError, InputError

LAYOUT = "give the folder softmotion30_44k with train/ and test/ inside (bair_robot_pushing_dataset_v0.tar)"


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def example(clip: np.ndarray, raw_size: int | None = None) -> bytes:
    """A tf.train.Example as in softmotion30_44k: both cameras, actions and positions."""
    entries = b""
    for t, frame in enumerate(clip):
        aux, main = frame.tobytes()[:raw_size], (255 - frame).tobytes()
        floats = field(2, field(1, struct.pack("<4f", *range(4))))
        for key, feature in (
            (f"{t}/image_aux1/encoded", field(1, field(1, aux))),
            (f"{t}/action", floats),
            (f"{t}/image_main/encoded", field(1, field(1, main))),
        ):
            entries += field(1, field(1, key.encode()) + field(2, feature))
    return field(1, entries)


def write_records(path: Path, records: list[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(length + masked_crc(length) + data + masked_crc(data))
    return path


def clips(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 30, 64, 64, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "softmotion30_44k"
    for number in range(3):
        records = [example(c) for c in clips(2, number)]
        write_records(root / "train" / f"traj_{number}.tfrecords", records)
    write_records(root / "test" / "traj_0.tfrecords", [example(c) for c in clips(2, 9)])
    return tmp_path


def test_masked_crc_against_a_published_value() -> None:
    crc = 0xE3069283  # of b"123456789" (RFC 3720)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc(b"123456789") == struct.pack("<I", masked)


def test_without_google_crc32c_the_remedy_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(ConfigError, match=r"need google-crc32c; install vflow-torch's extra 'bair'$"):
        Bair(folder, frames=2, split="test")


def test_test_split_starts_at_the_first_frame(folder: Path) -> None:
    for path in (folder, folder / "softmotion30_44k", folder / "softmotion30_44k" / "test"):
        data = Bair(path, frames=13, split="test")
        assert len(data) == 2
        assert np.array_equal(data.example(1, (0,)), clips(2, 9)[1, :13])


def test_train_and_validation_divide_the_files(folder: Path) -> None:
    train, validation = (Bair(folder, frames=4, split=s) for s in ("train", "validation"))  # type: ignore[arg-type]
    assert (len(train), len(validation)) == (4, 2)
    seen = {data.example(i, (0,)).tobytes() for data in (train, validation) for i in range(len(data))}
    assert len(seen) == 6
    first = train.example(0, (5, 6))
    assert np.array_equal(Bair(folder, frames=4, split="train").example(0, (5, 6)), first)
    starts = {train.example(0, (0, epoch)).tobytes() for epoch in range(12)}
    assert len(starts) > 6
    every = {c[s : s + 4].tobytes() for n in range(3) for c in clips(2, n) for s in range(27)}
    assert starts <= every


def test_all_thirty_frames(folder: Path) -> None:
    assert np.array_equal(Bair(folder, frames=30, split="test").example(0, (0,)), clips(2, 9)[0])
    with pytest.raises(InputError) as error:
        Bair(folder, frames=31, split="test")
    assert str(error.value) == f"{folder}: BAIR clips have 30 frames; set data.frames to 30 or fewer"


def damaged(path: Path, offset: int) -> Path:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    return path


def test_damaged_data_names_file_and_record(folder: Path) -> None:
    file = folder / "softmotion30_44k" / "test" / "traj_0.tfrecords"
    size = file.stat().st_size
    damaged(file, size - 1000)
    data = Bair(folder, frames=2, split="test")
    assert data.example(0, (0,)).shape == (2, 64, 64, 3)
    with pytest.raises(InputError) as error:
        data.example(1, (0,))
    assert str(error.value) == f"{file}: record 1 is damaged (checksum); download the file again"
    damaged(file, size // 2 + 3)
    with pytest.raises(InputError) as error:
        Bair(folder, frames=2, split="test")
    expected = f"{file}: record 1 is damaged (checksum of its length); download the file again"
    assert str(error.value) == expected


def test_a_file_cut_short_or_of_another_kind(folder: Path) -> None:
    file = folder / "softmotion30_44k" / "test" / "traj_0.tfrecords"
    data = file.read_bytes()
    for cut in (len(data) - 1, len(data) // 2 + 5):
        file.write_bytes(data[:cut])
        with pytest.raises(InputError) as error:
            Bair(folder, frames=2, split="test")
        assert str(error.value) == f"{file}: record 1 is cut short; download the file again"
    file.write_text("this is no TFRecord file, only a page that says 404")
    with pytest.raises(InputError) as error:
        Bair(folder, frames=2, split="test")
    assert str(error.value) == f"{file}: record 0 is not a TFRecord; download the file again"


def test_records_without_the_frames(tmp_path: Path) -> None:
    file = write_records(
        tmp_path / "test" / "a.tfrecords", [example(clips(1)[0, :5]), example(clips(1)[0], 99), b"\xff\xff"]
    )
    data = Bair(tmp_path, frames=6, split="test")
    for index, message in enumerate(
        (
            f"record 0 has no '5/image_aux1/encoded'; {LAYOUT}",
            f"record 1: '0/image_aux1/encoded' has 99 bytes, not 64×64×3; {LAYOUT}",
            "record 2 is not a tf.train.Example; download the file again",
        )
    ):
        with pytest.raises(InputError) as error:
            data.example(index, (0,))
        assert str(error.value) == f"{file}: {message}"


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        Bair(tmp_path, frames=2, split="train")
    assert str(error.value) == f"{tmp_path}: no .tfrecords files for train; {LAYOUT}"
    with pytest.raises(InputError) as error:
        Bair(tmp_path / "nowhere", frames=2, split="train")
    assert str(error.value) == f"{tmp_path}/nowhere: no such folder; {LAYOUT}"
    write_records(tmp_path / "a.tfrecords", [])
    with pytest.raises(InputError) as error:
        Bair(tmp_path, frames=2, split="train")
    assert str(error.value) == f"{tmp_path}: its TFRecord files are empty; download them again"


@pytest.mark.parametrize("message", [b"\x0a\x05abc", b"\x0a", b"\xff" * 11, b"\x0b", b"\x09\x01"])
def test_malformed_messages_are_value_errors(message: bytes) -> None:
    with pytest.raises(ValueError):
        bytes_features(message)


def test_other_fields_are_passed_over() -> None:
    scalar = varint(5 << 3) + varint(300) + varint(6 << 3 | 5) + bytes(4) + varint(7 << 3 | 1) + bytes(8)
    entry = field(1, b"key") + scalar + field(2, field(1, field(1, b"value")))
    assert bytes_features(scalar + field(1, field(1, entry)) + field(2, b"rest")) == {"key": b"value"}
