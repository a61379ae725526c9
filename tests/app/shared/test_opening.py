"""Openings: what they show was made with what the forms beside them say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.app import TABS, build
from apps.examples.make_openings import FOLDER, RECORD, opening_forms


def test_every_tab_opens_on_a_result_of_its_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    forms = opening_forms(build())
    assert forms == json.loads(RECORD.read_text()), "run python -m apps.examples.make_openings"
    assert [tab.identifier for tab in TABS] == list(forms)
    assert forms["predict"]["Checkpoint"] == "shapes" and forms["walk"]["Level"] == "1"


def test_films_are_small() -> None:
    for tab in TABS:
        assert 5_000 < (FOLDER / f"opening-{tab.identifier}.mp4").stat().st_size < 400_000
