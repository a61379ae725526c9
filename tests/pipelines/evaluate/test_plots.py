"""Plots of an evaluation, and training curves from a log that a kill may have cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.evaluate.report import Evaluation, fidelity, plain, read_curves, training, write_plots

LOG = """{"step": 1, "bits_per_dim": 4.0, "seconds": 60}
{"step": 2, "bits_per_dim": 2.0, "seconds": 120}
{"step": 2, "event": "skipped"}
{"step": 2, "val_bits_per_dim": 2.5}
{"step": 3, "bits_per_dim": null, "seconds": 150}
{"step": 3, "bits_per_d"""


def _log(folder: Path, text: str = LOG) -> Path:
    (folder / "log.jsonl").write_text(text)
    return folder


def test_curves(tmp_path: Path) -> None:
    expected = {"training": [(1.0, 4.0), (2.0, 2.0)], "validation": [(2.0, 2.5)]}
    assert read_curves(_log(tmp_path)) == expected
    assert read_curves(tmp_path / "log.jsonl") == expected
    with pytest.raises(InputError, match="no bits/dim in it"):
        read_curves(_log(tmp_path, '{"step": 1}\n'))
    with pytest.raises(InputError, match=r"log\.jsonl: No such file"):
        read_curves(tmp_path / "absent" / "log.jsonl")


def test_lines_are_drawn() -> None:
    flat = {"psnr_best_per_frame": [20.0, 20.0, 20.0]}
    one = fidelity(flat, "psnr")
    two = fidelity(flat | {"psnr_copy_last_per_frame": [15.0, 12.0, 10.0]}, "psnr")
    assert one.ndim == 3 and one.dtype == np.uint8
    assert len(np.unique(two.reshape(-1, 3), axis=0)) > len(np.unique(one.reshape(-1, 3), axis=0)) > 2
    curve = training({"training": [(0.0, 8.0), (1.0, 0.1)], "validation": []})
    assert curve.std() > 0


def test_files(tmp_path: Path) -> None:
    sheet = np.full((4, 6, 3), 9, np.uint8)
    series = {"psnr_best_per_frame": [1.0, 2.0], "ssim_best_per_frame": [0.1, 0.2]}
    evaluation = Evaluation(series, {}, {"best": sheet})
    written = write_plots(tmp_path / "plots", evaluation, _log(tmp_path))
    assert sorted(path.name for path in written) == ["best.png", "psnr.png", "ssim.png", "training.png"]
    assert np.array_equal(media.read_image(tmp_path / "plots" / "best.png").frames[0], sheet)
    assert [path.name for path in write_plots(tmp_path, Evaluation({}, {}), None)] == []


def test_json_has_no_infinities() -> None:
    value = {"a": np.float32(0.5), "b": [np.inf, np.int64(3)], "c": np.array([1.0, np.nan]), "d": (None, "x")}
    assert plain(value) == {"a": 0.5, "b": [None, 3], "c": [1.0, None], "d": [None, "x"]}
