"""Parts of a run, each by a process, here without any: what is done stays, one manifest, errors come back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from vflow import cli
from vflow.checkpoint import save_checkpoint
from vflow.commands.generate import Batch
from vflow.data import media
from vflow.pipelines.batch.distribute import _task
from vflow.pipelines.batch.launchers import Launcher, Results, Work

from ...compression.support import photo_codec, smooth
from ..digit_models import make_digits

FLAGS = ("--num-samples", "1", "--threads", "1")


class Here(Launcher):
    """Launcher that runs jobs in this process; the second dies, each time or once, after its first item."""

    lost = False

    def check(self) -> None:
        pass

    def run(self, work: Work, jobs: Sequence[str]) -> Results:
        for number, text in reversed(list(enumerate(jobs))):
            if number == 1:
                job = json.loads(text)
                work(json.dumps(job | {"items": job["items"][:1]}))
            yield number, None if number == 1 and self.lost else work(text)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = make_digits()
    save_checkpoint(tmp_path / "model", made, config=made.config)
    monkeypatch.setattr(
        Batch, "launcher", lambda self, threads: Here("ray", 1, threads, self.worker_memory, tmp_path)
    )
    monkeypatch.setattr(Here, "lost", False)
    return tmp_path / "model"


def generate(model: Path, out: Path, *more: str) -> int:
    words = ["generate", "digits", "--checkpoint", str(model), "--output", str(out), *FLAGS, *more]
    return cli.main(words)


def entries(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "manifest.jsonl").read_text()
    return [{**json.loads(line), "duration_s": None} for line in text.splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.jsonl"
    }


def test_the_bytes_and_the_manifest_of_one_process(model: Path, tmp_path: Path) -> None:
    assert generate(model, tmp_path / "one") == 0
    assert generate(model, tmp_path / "many", "--engine", "ray") == 0
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert entries(tmp_path / "many") == entries(tmp_path / "one")
    assert torch.get_num_threads() == 1


def test_lossless_files_are_those_of_one_process(model: Path, tmp_path: Path) -> None:
    """A task beside its family's first: its name travels with the job."""
    pytest.importorskip("constriction")
    codec = photo_codec()
    save_checkpoint(tmp_path / "codec", codec, config=codec.config)
    for seed in range(3):
        media.write_png(tmp_path / "in" / f"{seed}.png", smooth(9, 8, seed))
    words = ["generate", "compress", "--checkpoint", str(tmp_path / "codec"), "--threads", "1"]
    words += ["--input", str(tmp_path / "in"), "--output"]
    assert cli.main([*words, str(tmp_path / "one")]) == 0
    assert cli.main([*words, str(tmp_path / "many"), "--engine", "ray"]) == 0
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert entries(tmp_path / "many") == entries(tmp_path / "one")


def test_what_is_done_stays_and_what_is_missing_is_made(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert generate(model, out) == 0
    removed = sorted(out.rglob("*.png"))[3]
    removed.unlink()
    capsys.readouterr()
    assert generate(model, out, "--engine", "ray") == 0
    assert "10 done (9 of them before)" in capsys.readouterr().err
    assert removed.is_file() and len(entries(out)) == 10


def test_a_part_whose_process_always_dies_fails_alone(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Here, "lost", True)
    out = tmp_path / "out"
    assert generate(model, out, "--engine", "ray") == 1
    failed = [entry["item"] for entry in entries(out) if entry["status"] == "failed"]
    assert len(failed) == 2 and len(entries(out)) == 10
    monkeypatch.setattr(Here, "lost", False)
    assert generate(model, out, "--engine", "ray") == 0
    assert generate(model, tmp_path / "one") == 0
    assert contents(out) == contents(tmp_path / "one")


def test_parts_of_a_killed_run_are_taken_over(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert generate(model, out) == 0
    (out / "manifest.jsonl").rename(out / "manifest-part-7.jsonl")
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert generate(model, out, "--engine", "ray") == 0
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert [path.name for path in out.glob("manifest*")] == ["manifest.jsonl"]


def test_another_model_under_the_same_name_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = iter("ab")
    monkeypatch.setattr("vflow.checkpoint.checkpoint_hash", lambda folder: next(hashes))
    _task.cache_clear()
    assert generate(model, tmp_path / "out", "--engine", "ray") == 3
    assert str(model) in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ("--workers", "2"),
        ("--engine", "ray", "--workers", "0"),
        ("--engine", "slurm", "--worker-memory", "0"),
    ],
)
def test_usage(
    model: Path, tmp_path: Path, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(model, tmp_path / "out", *flags) == 2
    assert flags[-2] in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound what a process allocates")
def test_what_exceeds_a_workers_memory_fails_alone() -> None:
    code = (
        "import torch\n"
        "from vflow.errors import InputError, naming_memory\n"
        "from vflow.pipelines.batch.distribute import _limit_memory\n"
        "_limit_memory(1.5)\n"
        "try:\n"
        "    with naming_memory('use a smaller input'):\n"
        "        torch.empty(2 << 30, dtype=torch.uint8)\n"
        "except InputError as error:\n"
        "    print(error, torch.empty(1 << 20).numel())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "use a smaller input 1048576" in done.stdout, done.stderr
