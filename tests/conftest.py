"""What every test gets: few torch threads, fixed seeds, a folder for runs, no network beyond this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

# Before anything imports the libraries that read them; subprocesses of tests inherit them, as do the workers
# of pytest-xdist from the process that starts them. Tensors of tests are small: two threads a process would
# spend more time waiting for each other than they save, and spin where others have work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import numpy as np
import pytest
import torch

from tests.fake_hub import TOKEN, FakeHub, serving

THREADS = int(os.environ["OMP_NUM_THREADS"])
torch.set_num_threads(THREADS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same weights and inputs in every order of tests; a test that needs another seed sets its own.

    The same number of threads, too: --threads of an earlier test may have changed it, and so the last bits.
    """
    if torch.get_num_threads() != THREADS:
        torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # for libraries that still draw from the global state


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An empty folder for training runs."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections of this process to other machines fail, so that a test cannot come to need one."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        inet = self.family in (socket.AF_INET, socket.AF_INET6)
        if inet and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests may not connect to {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield


@pytest.fixture
def float64_by_default() -> Callable[[], AbstractContextManager[None]]:
    """Context in which float64 is torch's default type, as a program that uses the library may have it."""

    @contextmanager
    def context() -> Iterator[None]:
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)

    return context


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub of our own, an empty cache, and a token that may write."""
    from huggingface_hub import constants

    with serving() as fake:
        template = fake.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", fake.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield fake
