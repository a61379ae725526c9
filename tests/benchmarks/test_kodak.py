"""The benchmark ``kodak`` on made photos."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.compression.support import photo_codec, smooth
from vflow import cli
from vflow.benchmarks import base, kodak
from vflow.data import media
from vflow.data.stills import STILL_FORMATS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    paths = [tmp_path / f"kodim{index:02d}.png" for index in (1, 2)]
    for index, path in enumerate(paths):
        media.write_png(path, smooth(24, 32, index))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    monkeypatch.setattr(base, "digests", lambda name: found)
    monkeypatch.setattr(kodak, "load", lambda name: photo_codec())
    return tmp_path


def test_a_row_for_each_format(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", "kodak", "--data", str(folder), "--json"]) == 0
    own, *others = json.loads(capsys.readouterr().out)["rows"]
    assert own["format"] == kodak.OURS and [row["format"] for row in others] == list(STILL_FORMATS)
    assert float(own["least"]) <= float(own["bits"]) <= float(own["most"])
    assert own["smaller"] is None and all(0 <= row["smaller"] <= 2 for row in others)


def test_a_photo_that_comes_back_changed_ends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = kodak.code
    monkeypatch.setattr(kodak, "code", lambda model, photo: code(model, photo)._replace(exact=False))
    assert cli.main(["benchmark", "kodak", "--data", str(folder)]) != 0
