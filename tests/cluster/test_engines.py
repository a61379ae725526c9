"""``--engine ray`` and ``slurm``: the bytes of one process, one manifest, though a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from vflow import cli
from vflow.errors import ConfigError
from vflow.pipelines.batch import launchers

from .conftest import command, outputs, photos, start

pytestmark = pytest.mark.cluster
COUNT = 200


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("in"), COUNT)


@pytest.fixture(scope="module")
def whole(model: Path, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of one process."""
    out = tmp_path_factory.mktemp("whole")
    assert cli.main(command(model, inputs, out)) == 0
    return out


def lines(folder: Path, pattern: str = "manifest*.jsonl") -> list[dict[str, Any]]:
    """Whole lines of manifests, also of those that are just being written."""
    found = []
    for path in folder.glob(pattern):
        text = path.read_text()
        found += [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return found


def kill_a_worker(driver: int, out: Path, name: str, done: int) -> bool:
    """SIGKILL for a process below ``driver`` of a name, as soon as ``done`` items are."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        below = psutil.Process(driver).children(recursive=True)
        workers = [process for process in below if name in " ".join(process.cmdline())]
        if workers and len(lines(out)) >= done:
            workers[-1].send_signal(signal.SIGKILL)
            return True
        time.sleep(0.02)
    return False


def check(out: Path, whole: Path) -> None:
    assert outputs(out) == outputs(whole)
    assert [path.name for path in out.glob("*.jsonl")] == ["manifest.jsonl"]
    found, expected = lines(out), lines(whole)
    for line in (*found, *expected):
        del line["duration_s"]
    assert found == expected


def test_ray_loses_nothing_with_a_killed_worker(
    model: Path, inputs: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = start(command(model, inputs, out, "--engine", "ray", "--workers", 2, "--json"))
    assert kill_a_worker(driver.pid, out, "ray::work", COUNT // 5)
    text, errors = driver.communicate(timeout=400)
    assert driver.returncode == 0, errors
    assert errors.splitlines()[-1] == f"{COUNT} items: {COUNT} done (0 of them before), 0 failed"
    assert Counter(Counter(json.loads(line)["item"] for line in text.splitlines()).values()) == {1: COUNT}
    check(out, whole)


def test_slurm_loses_nothing_with_a_killed_job(
    model: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By submitit's executor for this machine, in place of an array."""
    monkeypatch.setattr(launchers.Launcher.__init__, "__defaults__", ("local",))
    some, out, killed = inputs / "p[12]?.png", tmp_path / "out", list[bool]()
    assert cli.main(command(model, some, tmp_path / "whole")) == 0
    name = "submitit.core._submit"
    killer = threading.Thread(target=lambda: killed.append(kill_a_worker(os.getpid(), out, name, 1)))
    killer.start()
    assert cli.main(command(model, some, out, "--engine", "slurm", "--workers", 1)) == 0
    killer.join()
    assert killed == [True]
    check(out, tmp_path / "whole")
    assert not (out / ".slurm").exists()


def test_slurm_needs_sbatch(
    model: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    launcher = launchers.Launcher("slurm", 1, 1, None, tmp_path)
    with pytest.raises(ConfigError, match="sbatch"):
        launcher.check()
