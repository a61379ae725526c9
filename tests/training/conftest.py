from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.support import end_all, tiny_preset
from vflow.training import logging


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """Processes of a failed test do not outlive it."""
    yield
    end_all()


@pytest.fixture
def animations() -> None:
    """Samples of runs move, too, in tests that ask for this."""


@pytest.fixture(autouse=True)
def stills(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere they do not: to write them takes a tiny run longer than its steps."""
    if "animations" not in request.fixturenames:
        monkeypatch.setattr(logging, "write_video", lambda *arguments: None)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """Path of the tiny preset."""
    return tiny_preset(tmp_path)
