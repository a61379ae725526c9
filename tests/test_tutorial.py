"""The tutorial runs, and what it says by hand is what the model says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parents[1] / "docs" / "tutorial_flow.py"


def test_it_runs_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(TUTORIAL), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "bits/dim of frames never seen",
        "nats of the first clip",
        "largest error of encode, then decode",
        "futures",
    ]
