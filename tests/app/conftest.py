"""One server with untrained checkpoints, started as people start it; a fresh page for each test."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, expect, sync_playwright

from tests.app.support import ARTIFACTS, DESKTOP, FLAGS, App, browser_path
from tests.compression.support import LATTICE
from tests.data.sample_media import moving_square, write_lossless, write_stills
from vflow.checkpoint import save_checkpoint
from vflow.config import (
    ClipCodecConfig,
    ColorizerConfig,
    DigitsConfig,
    EncoderConfig,
    FrameStackConfig,
    GlowConfig,
    LatentPriorConfig,
    ModelConfig,
    NowcastConfig,
    PhotoCodecConfig,
    SuperResolutionConfig,
    VideoFlowConfig,
)
from vflow.models import build_model
from vflow.pipelines.walk.directions import principal_directions, save_directions

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "import sys; from vflow.cli import main; sys.exit(main())", "app"]
WAIT = 60_000  # milliseconds that a page gets for anything; a busy machine takes seconds for a click
expect.set_options(timeout=WAIT)
GLOW = {"height": 32, "width": 32, "depth": (1, 1), "hidden": (8, 8)}


def tiny(**changes: object) -> VideoFlowConfig:
    """A model that computes in no time: 32×32, two levels."""
    glow = GlowConfig(**{**GLOW, **changes.pop("glow", {})})  # type: ignore[dict-item,arg-type]
    return VideoFlowConfig(glow=glow, prior=LatentPriorConfig(hidden=4, dilations=(1,)), fps=10, **changes)  # type: ignore[arg-type]


def tiny_digits(depth: int = 1, hidden: int = 8) -> DigitsConfig:
    """A model of digits that computes in no time, or in some with more ``depth``."""
    glow = GlowConfig(channels=1, height=28, width=28, depth=(depth,) * 2, hidden=(hidden,) * 2)
    return DigitsConfig(glow=glow, condition=(4, 4), noise="uniform", pixel_map="scaled")


CALM = (0.5, 0.5, 0.5, 0.5, 0.5, 1.0)
"""What the checkpoint calm-colorizer suggests."""


def tiny_colorizer(depth: int = 1, hidden: int = 8) -> ColorizerConfig:
    """A colouriser that computes in no time, or in some with more ``depth``."""
    glow = GlowConfig(channels=2, height=32, width=32, depth=(depth,) * 5, hidden=(hidden,) * 5)
    return ColorizerConfig(glow=glow, condition=EncoderConfig(hidden=(4,) * 6, blocks=1))


def tiny_rain() -> NowcastConfig:
    """A model of rain that computes in no time: two frames at once, two levels."""
    glow = FrameStackConfig(channels=2, height=16, width=16, depth=(1, 1), hidden=(8, 8))
    condition = EncoderConfig(hidden=(8, 8), blocks=1)
    return NowcastConfig(glow=glow, condition=condition, features=(4, 4), noise_hidden=8)


def tiny_super_resolution() -> SuperResolutionConfig:
    """A model that enlarges photos in no time."""
    glow = GlowConfig(height=16, width=16, depth=(1,), hidden=(4,))
    return SuperResolutionConfig(glow=glow, condition=EncoderConfig(hidden=(4,), blocks=1), features=4)


def save_untrained(folder: Path, config: ModelConfig, *, stirred: bool | None = None) -> None:
    """A checkpoint with random weights; if ``stirred`` (usual for pictures), none are at zero any more."""
    torch.manual_seed(0)
    model = build_model(config)
    if config.family != "videoflow" if stirred is None else stirred:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    save_checkpoint(folder, model, config=config, card=f"# {folder.name}\nUntrained.\n")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of untrained models of each kind: plain, slow, hungry (needs two frames), and damaged ones.

    The first of each kind has the name that the app selects and its examples ask for.
    """
    folder = tmp_path_factory.mktemp("checkpoints")
    configs: dict[str, ModelConfig] = {
        "shapes": tiny(),
        "grey": tiny(glow={"channels": 1}),
        "slow": tiny(glow={"depth": (32, 32), "hidden": (128, 128)}),
        "slower": tiny(glow={"depth": (32, 32), "hidden": (256, 256)}),
        "hungry": tiny(min_context=2, context=3),
        "lively": tiny(),
        "torn": tiny(),
        "foreign": tiny(),
        "rain": tiny_rain(),
        "codec-photo": PhotoCodecConfig(lattice=LATTICE),
        "codec-clip": ClipCodecConfig(first=LATTICE, following=LATTICE.model_copy(update={"references": 2})),
        "digits": tiny_digits(),
        "slow-digits": tiny_digits(depth=16, hidden=64),
        "slower-digits": tiny_digits(depth=32, hidden=384),
        "slowest-digits": tiny_digits(depth=64, hidden=384),
        "torn-digits": tiny_digits(),
        "colorizer": tiny_colorizer(),
        "slow-colorizer": tiny_colorizer(depth=12, hidden=256),
        "torn-colorizer": tiny_colorizer(),
        "enlarge": tiny_super_resolution(),
        "calm-colorizer": tiny_colorizer().model_copy(update={"temperature": CALM}),
        "calm": tiny(temperature=(0.4, 1.0)),
    }
    stirred = {
        "lively": True,
        "calm": True,
        "slow-digits": False,
        "slower-digits": False,
        "slowest-digits": False,
        "slow-colorizer": False,
    }
    for name, config in configs.items():
        save_untrained(folder / name, config, stirred=stirred.get(name))
    noise = [torch.randn(12, *shape) for shape in build_model(configs["digits"]).latent_shapes]
    save_directions(folder / "digits", principal_directions(noise))
    for name in ("torn", "torn-digits", "torn-colorizer"):
        (folder / name / "model.safetensors").unlink()
    shutil.copy(folder / "grey" / "model.safetensors", folder / "foreign" / "model.safetensors")
    return folder


@dataclass(frozen=True)
class Server:
    """The running app: its address, how long it took to answer, and what it printed."""

    address: str
    seconds: float
    log: Path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``vflow app`` in a process of its own, which leaves no upload and no result behind when it ends."""
    folder = tmp_path_factory.mktemp("server")
    began = time.monotonic()
    with running(folder, checkpoints) as (address, _):
        yield Server(address, time.monotonic() - began, folder / "log.txt")


@contextmanager
def running(
    folder: Path, checkpoints: Path | None, *options: str, modules: Path = ROOT
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """``vflow app`` with ``options``, its address and process, until the block ends.

    Python finds modules in the folder ``modules``, too, such as a ``sitecustomize``.

    It logs to ``log.txt`` in ``folder``, where it has its files, too; none is left, and no traceback.
    """
    log, address = folder / "log.txt", f"http://127.0.0.1:{free_port()}"
    command = [*COMMAND, *options, "--port", address.rpartition(":")[2]]
    command += ["--checkpoints", str(checkpoints)] if checkpoints else []
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{modules}", "PYTHONWARNINGS": "ignore"}
    environment.pop("GRADIO_TEMP_DIR", None)
    environment["TMPDIR"] = str(folder)
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            _wait(address, process, log)
            yield address, process
        finally:
            process.terminate()
            process.wait(60)
    assert list(folder.glob("vflow-app-*")) == []
    assert "Traceback" not in log.read_text()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 120:
        if process.poll() is not None:
            raise RuntimeError(f"the app ended at once: {log.read_text()}")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the app did not answer within 120 s: {log.read_text()}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium; without one the tests fail with the command that installs it."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser_path(), args=list(FLAGS))
        yield chromium
        chromium.close()


Opener = Callable[..., App]
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fixtures may ask whether their test failed."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture
def opened(server: Server, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Opens pages; checks that none complained or left this machine; a failure leaves screenshots."""
    apps: list[App] = []

    def opener(
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
        motion: str = "no-preference",
        address: str = server.address,
    ) -> App:
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion=motion)  # type: ignore[arg-type]
        context.set_default_timeout(WAIT)
        app = App(context.new_page(), address)
        apps.append(app)
        app.open()
        return app

    yield opener
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    for number, app in enumerate(apps):
        if request.node.stash.get(FAILED, True):
            ARTIFACTS.mkdir(exist_ok=True)
            path = ARTIFACTS / f"{name}{f'-{number}' if number else ''}.png"
            app.page.screenshot(path=path, full_page=True)
        app.page.context.close()
    assert [error for app in apps for error in app.errors] == []
    assert [url for app in apps for url in app.foreign] == []


@pytest.fixture
def app(opened: Opener) -> App:
    """A fresh page at desktop size."""
    return opened()


@pytest.fixture(scope="session")
def square() -> np.ndarray:
    """A clip, uint8 (6, 32, 32, 3): a red square on grey."""
    return moving_square(6, 32, 32)


@pytest.fixture(scope="session")
def stills(tmp_path_factory: pytest.TempPathFactory, square: np.ndarray) -> list[Path]:
    """The clip as PNG files."""
    folder = write_stills(tmp_path_factory.mktemp("stills") / "frames", square)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, square: np.ndarray) -> Path:
    """The clip as a lossless mp4."""
    return write_lossless(tmp_path_factory.mktemp("clip") / "clip.mp4", square)
