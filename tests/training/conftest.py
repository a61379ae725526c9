from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.support import tiny_preset
from vflow.training import setup


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of the tiny preset; pixel maps are fitted to few clips in this process."""
    monkeypatch.setattr(setup, "COUNTED_CLIPS", 16)
    return tiny_preset(tmp_path)
