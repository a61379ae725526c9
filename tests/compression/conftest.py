from __future__ import annotations

import pytest

from vflow.compression import codec


@pytest.fixture
def always_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame is stored raw, though codecs that were not trained take more bytes."""
    monkeypatch.setattr(codec, "_shorter", lambda frame, raw: frame)
