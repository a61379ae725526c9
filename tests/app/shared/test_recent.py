"""Last results, kept under unguessable tokens while their files are there."""

from __future__ import annotations

import time
from pathlib import Path

import gradio as gr
import pytest

from apps.ui.shared import recent
from apps.ui.shared.recent import Recent, merge


def test_a_result_is_found_by_its_token_alone_and_as_a_copy(tmp_path: Path) -> None:
    kept = Recent(tmp_path)
    token = kept.keep({"results": "<p>", "state": [1]}, "one")
    assert len(token) >= 32 and token != kept.keep({}, "one")
    for other in ("", token[:-1], None, [token], {"a": 1}, 3):
        assert kept.find(other, "two") is None
    assert kept.minutes(token, "one") is None, "that session shows it"
    assert kept.minutes(token, "two") == 0
    found = kept.find(token, "two")
    assert found == {"results": "<p>", "state": [1]} and kept.minutes(token, "two") is None
    found["state"].append(2)
    assert kept.find(token, "three") == {"results": "<p>", "state": [1]}


def test_it_goes_with_its_files_with_time_and_with_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, file = Recent(tmp_path), tmp_path / "futures.npz"
    file.touch()
    with_file = kept.keep({"npz": str(file)}, "a")
    with_list = kept.keep({"files": [str(file)]}, "a")
    assert kept.find(with_file, "b") and kept.find(with_list, "b")
    file.unlink()
    assert kept.find(with_file, "b") is None and kept.find(with_list, "b") is None
    first = kept.keep({"results": "first"}, "a")
    for number in range(recent.MAX_RUNS):
        last = kept.keep({"results": number}, "a")
    assert kept.find(first, "b") is None and kept.find(last, "b")
    later = time.time() + recent.MAX_AGE + 60
    monkeypatch.setattr(time, "time", lambda: later)
    assert kept.find(last, "b") is None


def test_changes_of_properties_add_up() -> None:
    shown: dict[str, object] = {"row": gr.update(visible=True), "status": "<p>"}
    merge(shown, {"row": gr.update(interactive=False), "status": "<p>done"})
    assert shown["row"] == {"visible": True, "interactive": False, "__type__": "update"}
    assert shown["status"] == "<p>done"
    merge(shown, {"row": "value"})
    assert shown["row"] == "value"
