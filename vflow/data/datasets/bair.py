"""BAIR robot pushing, small version: the original TFRecords of softmotion30_44k (Ebert et al. 2017)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vflow.data.datasets.splits import Split, choose_split
from vflow.data.datasets.tfrecord import bytes_features, index_records, read_record
from vflow.errors import InputError
from vflow.randomness import generator

SHAPE = (64, 64, 3)
FRAMES = 30
_LAYOUT = "give the folder softmotion30_44k with train/ and test/ inside (bair_robot_pushing_dataset_v0.tar)"


class Bair:
    """Clips of a robot arm pushing objects: 64×64 RGB, 30 frames each, camera "aux1" (as VideoFlow takes it).

    Checksums of every record are verified when it is read. Training and validation start at a random frame (a
    function of key and index), "test" at the first.

    Args:
        path: the unpacked archive, softmotion30_44k in it, or a folder of .tfrecords files.
        frames: per example, at most 30.
        split: "train" and "validation" divide the files of train/ 95 : 5 by hash of their names; "test" is
            test/.

    Raises:
        InputError: no such files, a damaged one, or more frames than there are.
    """

    def __init__(self, path: str | Path, *, frames: int, split: Split) -> None:
        if frames > FRAMES:
            raise InputError(f"{path}: BAIR clips have {FRAMES} frames; set data.frames to {FRAMES} or fewer")
        self.frames, self.split = frames, split
        files = {file.name: file for file in _files(Path(path), split)}
        self._records = [
            (files[name], number, offset)
            for name in choose_split(list(files), split, str(path))
            for number, offset in enumerate(index_records(files[name]))
        ]
        if not self._records:
            raise InputError(f"{path}: its TFRecord files are empty; download them again")

    def __len__(self) -> int:
        return len(self._records)

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Record ``index`` cut as ``key`` says: uint8 (frames, 64, 64, 3).

        Raises:
            InputError: a checksum or the content is wrong; the message names file and record.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        path, number, offset = self._records[index]
        where = f"{path}: record {number}"
        try:
            features = bytes_features(read_record(path, number, offset))
        except ValueError as error:
            raise InputError(f"{where} is not a tf.train.Example; download the file again") from error
        start = 0
        if self.split != "test":
            start = int(generator("bair", *key, index).integers(FRAMES - self.frames + 1))
        return np.stack([_frame(features, t, where) for t in range(start, start + self.frames)])


def _frame(features: dict[str, bytes], number: int, where: str) -> np.ndarray:
    key = f"{number}/image_aux1/encoded"
    raw = features.get(key)
    if raw is None:
        raise InputError(f"{where} has no '{key}'; {_LAYOUT}")
    if len(raw) != np.prod(SHAPE):
        raise InputError(f"{where}: '{key}' has {len(raw):,} bytes, not 64×64×3; {_LAYOUT}")
    return np.frombuffer(raw, np.uint8).reshape(SHAPE)


def _files(path: Path, split: Split) -> list[Path]:
    """TFRecord files of a split, by name."""
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; {_LAYOUT}")
    part = "test" if split == "test" else "train"
    path = path.parent if path.name in ("train", "test") else path  # so that "test" never reads train/
    for folder in (path / "softmotion30_44k" / part, path / part, path):
        files = sorted(folder.glob("*.tfrecord*")) if folder.is_dir() else []
        if files:
            return files
    raise InputError(f"{path}: no .tfrecords files for {part}; {_LAYOUT}")
