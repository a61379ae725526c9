from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.support import end_all, tiny_preset


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """Processes of a failed test do not outlive it."""
    yield
    end_all()


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """Path of the tiny preset."""
    return tiny_preset(tmp_path)
