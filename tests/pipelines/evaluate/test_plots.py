"""Plots of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.pipelines.evaluate.report import Evaluation, fidelity, plain, write_plots


def test_lines_are_drawn() -> None:
    flat = {"psnr_best_per_frame": [20.0, 20.0, 20.0]}
    one = fidelity(flat, "psnr")
    two = fidelity(flat | {"psnr_copy_last_per_frame": [15.0, 12.0, 10.0]}, "psnr")
    assert one.ndim == 3 and one.dtype == np.uint8
    assert len(np.unique(two.reshape(-1, 3), axis=0)) > len(np.unique(one.reshape(-1, 3), axis=0)) > 2


def test_files(tmp_path: Path) -> None:
    sheet = np.full((4, 6, 3), 9, np.uint8)
    series = {"psnr_best_per_frame": [1.0, 2.0], "ssim_best_per_frame": [0.1, 0.2]}
    evaluation = Evaluation(series, {}, {"best": sheet})
    written = write_plots(tmp_path / "plots", evaluation)
    assert sorted(path.name for path in written) == ["best.png", "psnr.png", "ssim.png"]
    assert np.array_equal(media.read_image(tmp_path / "plots" / "best.png").frames[0], sheet)
    assert [path.name for path in write_plots(tmp_path, Evaluation({}, {}))] == []


def test_json_has_no_infinities() -> None:
    value = {"a": np.float32(0.5), "b": [np.inf, np.int64(3)], "c": np.array([1.0, np.nan]), "d": (None, "x")}
    assert plain(value) == {"a": 0.5, "b": [None, 3], "c": [1.0, None], "d": [None, "x"]}
