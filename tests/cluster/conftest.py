"""Small photos, a model that enlarges them, and what one process makes of them; S3 on this machine.

Fixtures import moto, which no other tests need, when they are used.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

from vflow.checkpoint import save_checkpoint
from vflow.data import media

from ..pipelines.super_resolution_models import make_super_resolution

ROOT = Path(__file__).resolve().parents[2]
SECRET, BUCKET = "a-secret-of-the-tests", "vflow-tests"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_super_resolution()
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, made, config=made.config)
    return folder


def photos(folder: Path, count: int) -> Path:
    """Random photos of 8×8 pixels."""
    random = np.random.default_rng(0)
    for number in range(count):
        media.write_png(folder / f"p{number}.png", random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return folder


def command(model: Path, given: object, output: object, *more: object) -> list[str]:
    call = ("generate", "upscale", "--checkpoint", model, "--input", given, "--output", output)
    return [*map(str, call), "--num-samples", "1", "--threads", "1", *map(str, more)]


def start(words: list[str]) -> subprocess.Popen[str]:
    """A process of the command line, on the tree that the tests are in."""
    return subprocess.Popen(
        [sys.executable, "-m", "vflow", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def outputs(folder: Path) -> dict[str, bytes]:
    """Bytes of every file but manifests and records of runs, which lie in the folder itself."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """fsspec's S3 on a server of moto's at a free port of this machine, with an empty bucket."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        settings = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "name",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with urlopen(Request(f"{settings['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")):
            s3fs.S3FileSystem.clear_instance_cache()
        fs = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        fs.mkdir(BUCKET)
        yield fs
    finally:
        server.stop()
