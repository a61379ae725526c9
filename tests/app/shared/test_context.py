from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pytest

from apps.ui.shared import context
from apps.ui.shared.context import AppContext, settings_text
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from vflow.errors import InputError


@pytest.mark.parametrize("name", ["a.csv", "\u202egnp.bmp", "two\nlines.csv", "x" * 200 + ".csv", "ä b.csv"])
def test_errors_name_files_and_not_their_folders(name: str, tmp_path: Path) -> None:
    app = AppContext(ModelStore(), RunStore(tmp_path), Jobs(), tmp_path)
    path = str(tmp_path / "uploads" / name)
    message = app.error_message(InputError(f"{path}: not a CSV of numbers"), [path])
    assert str(tmp_path) not in message and message.endswith("not a CSV of numbers")
    assert message.isprintable() and not message.startswith("/")


def test_errors_do_not_name_folders_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = AppContext(ModelStore(), RunStore(tmp_path), Jobs(), tmp_path)
    monkeypatch.setattr(context, "Path", PureWindowsPath)
    monkeypatch.setattr(context.os, "sep", "\\")
    path = r"C:\Users\me\uploads\a.csv"
    assert app.error_message(InputError(f"{path}: no numbers"), [path]) == "a.csv: no numbers"


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("shapes", "64×64 pixels (larger up to 256×256), colour, "),
        ("push", "64×64 pixels, colour, "),
        ("rain", "Rain radar of any size, "),
        ("digits", ""),
    ],
)
def test_summaries_say_which_frames_a_model_takes(name: str, summary: str, tmp_path: Path) -> None:
    found = AppContext(ModelStore(), RunStore(tmp_path), Jobs(), tmp_path).video_summary(name)
    assert found.startswith(summary) and bool(found) is bool(summary)


def test_a_line_of_status_tells_the_settings() -> None:
    assert settings_text("push", temperature=0.8, seed=3) == "push, temperature 0.8, seed 3"
    assert settings_text("push", temperature=(0.5, 1.0), seed=0) == "push, temperature 0.5 / 1, seed 0"
    assert settings_text("push", temperature=0.0) == "push, temperature 0"
    assert settings_text("push") == "push"
