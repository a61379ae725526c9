"""Hostile files on the command line: no traceback, no hang, one line each, no code run."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.hostile import MAKERS
from vflow.checkpoint import save_checkpoint
from vflow.cli import main
from vflow.config import (
    ColorizerConfig,
    EncoderConfig,
    GlowConfig,
    LatentPriorConfig,
    ModelConfig,
    VideoFlowConfig,
)
from vflow.models import build_model

COMMANDS = {
    "predict": ("video", ("--num-frames", "1", "--num-samples", "1")),
    "colorize": ("color", ("--num-samples", "1")),
    "score": ("video", ("--json",)),
    "walk": ("video", ("--steps", "2", "--num-frames", "1")),
}
SECONDS, MEGABYTES = 30.0, 2_000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained models of videos and of colours that compute in no time."""
    folder = tmp_path_factory.mktemp("models")
    small = GlowConfig(height=16, width=16, depth=(1, 1), hidden=(4, 4))
    planes = GlowConfig(channels=2, height=32, width=32, depth=(1,) * 5, hidden=(4,) * 5)
    configs: dict[str, ModelConfig] = {
        "video": VideoFlowConfig(glow=small, prior=LatentPriorConfig(hidden=4, dilations=(1,)), fps=10),
        "color": ColorizerConfig(glow=planes, condition=EncoderConfig(hidden=(4,) * 6, blocks=1)),
    }
    for name, config in configs.items():
        torch.manual_seed(0)
        save_checkpoint(folder / name, build_model(config), config=config)
    return folder


Record = Callable[[str, object], None]
"""Takes a figure for `make accept`."""


def peak_megabytes() -> float:
    """Most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def campaign(
    count: int, models: Path, folder: Path, capsys: pytest.CaptureFixture[str], record: Record
) -> None:
    """Feed ``count`` hostile files, made in turn by every maker, to commands in turn."""
    rng, mark, longest = np.random.default_rng(0), folder / "code-was-run", 0.0
    before = peak_megabytes()
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        path = MAKERS[number % len(MAKERS)](rng, place, mark)
        name = list(COMMANDS)[int(rng.integers(len(COMMANDS)))]
        model, flags = COMMANDS[name]
        output = () if name == "score" else ("--output", str(place / "out"))
        began = time.monotonic()
        code = main([name, "--checkpoint", str(models / model), f"--input={path}", *flags, *output])
        seconds, err = time.monotonic() - began, capsys.readouterr().err
        shown = f"{number}: {name} {path!r}: {code} {err[-600:]}"
        assert code in (0, 1, 2) and seconds < SECONDS, shown
        assert "Traceback" not in err and "site-packages" not in err, shown
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == (code != 0), shown
        assert all(line.isprintable() and len(line) < 2_100 for line in err.splitlines()), shown
        assert not mark.exists(), shown
        longest = max(longest, seconds)
    megabytes = peak_megabytes()
    assert megabytes < max(MEGABYTES, before + 1)  # other tests of this process may have taken more
    for name, value in (("inputs", count), ("seconds", longest), ("megabytes", megabytes)):
        record(name, value)


def test_forty_hostile_files(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], record_property: Record
) -> None:
    campaign(40, models, tmp_path, capsys, record_property)


@pytest.mark.long
def test_five_hundred_hostile_files(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], record_property: Record
) -> None:
    campaign(500, models, tmp_path, capsys, record_property)
