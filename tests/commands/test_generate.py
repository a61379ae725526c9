"""``vflow generate``: batches that shards, batch sizes, kills and bad inputs leave the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vflow import cli
from vflow.catalog import checkpoint_folder
from vflow.checkpoint import checkpoint_hash, save_checkpoint
from vflow.commands.generate import parse_shard, shard_of_process
from vflow.data import media
from vflow.errors import ConfigError

from ..pipelines.conftest import FRAMES, make_model
from ..pipelines.digit_models import make_digits

ROOT = Path(__file__).resolve().parents[2]
COUNT, BAD = 7, 2


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = make_model(**FRAMES)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, model, config=model.config)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips, of which two share a stem, and two files that are none."""
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    for number in range(COUNT - BAD - 1):
        frames = random.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
        media.write_npz(folder / f"c{number}.npz", frames=frames)
    media.write_png(folder / "c0.png", frames[0])
    (folder / "c8.npz").write_text("not an array")
    (folder / "c9.mp4").write_bytes(b"")
    return folder


def vflow(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def call(tiny: Path, clips: Path, output: Path, *more: object) -> tuple[object, ...]:
    what = ("generate", "video", "--checkpoint", tiny, "--input", clips, "--output", output)
    return *what, "--num-samples", 9, "--num-frames", 2, "--format", "npz", *more


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file but manifests and run records."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def entries(folder: Path, pattern: str = "manifest*.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for path in folder.glob(pattern) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tiny: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of a run in one go."""
    out = tmp_path_factory.mktemp("whole")
    assert vflow(*call(tiny, clips, out)) == 1
    return out


def test_bad_items_fail_alone_and_nothing_is_redone(
    tiny: Path, clips: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {path.split("/")[0] for path in outputs(whole)} == {"c0-npz", "c0-png", "c1", "c2", "c3"}
    lines = {line["item"]: line for line in entries(whole)}
    assert len(lines) == COUNT
    assert [lines[name]["status"] for name in ("c1", "c8", "c9")] == ["done", "failed", "failed"]
    assert lines["c8"]["error"].startswith("c8.npz: ")
    done = lines["c1"]
    assert set(done["outputs"]) == {"c1/futures.npz"}
    assert {"input_sha256", "checkpoint_hash", "seed", "temperature", "bits_per_dim", "duration_s"} <= set(
        done
    )
    assert done["bits_per_dim"] > 0
    assert lines["c0-png"]["bits_per_dim"] is None  # one frame alone has no conditional
    run = json.loads((whole / "run.json").read_text())
    assert (run["num_samples"], run["num_frames"]) == (9, 2)
    assert "torch" in run["versions"]
    times = {path: path.stat().st_mtime_ns for path in whole.rglob("*.npz")}
    assert vflow(*call(tiny, clips, whole, "--json")) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == COUNT
    assert printed.err.splitlines()[-1] == "7 items: 5 done (5 of them before), 2 failed"
    assert times == {path: path.stat().st_mtime_ns for path in whole.rglob("*.npz")}


def test_shards_and_batch_sizes_change_no_byte(tiny: Path, clips: Path, whole: Path, tmp_path: Path) -> None:
    codes = [
        vflow(*call(tiny, clips, tmp_path, "--shard", f"{index}/3", "--batch-size", size))
        for index, size in ((2, 1), (1, 8), (3, 100))
    ]
    assert max(codes) == 1
    assert outputs(tmp_path) == outputs(whole)
    assert {path.name for path in tmp_path.glob("*.jsonl")} == {f"manifest-{i}-of-3.jsonl" for i in (1, 2, 3)}
    assert sorted(line["item"] for line in entries(tmp_path)) == sorted(e["item"] for e in entries(whole))


def test_processes_of_a_launcher_are_shards(
    tiny: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert vflow(*call(tiny, clips, tmp_path)) == 0  # or the launcher would end the other process
    lines = entries(tmp_path, "manifest-2-of-2.jsonl")
    assert [line["item"] for line in lines] == ["c0-png", "c2", "c8"]
    assert [line["status"] for line in lines] == ["done", "done", "failed"]


def test_a_dry_run_writes_nothing(
    tiny: Path, clips: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vflow(*call(tiny, clips, tmp_path / "out", "--dry-run", "--shard", "1/2")) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"to do: c0-npz ← {clips / 'c0.npz'}"
    assert len(printed) == 4
    assert not (tmp_path / "out").exists()
    assert vflow(*call(tiny, clips, whole, "--dry-run", "--json")) == 0
    plan = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["status"] for one in plan] == ["done"] * 5 + ["to do"] * 2
    assert vflow(*call(tiny, clips, whole, "--dry-run", "--json", "--seed", 1)) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(
        f"error: {whole}: has c0-npz with other settings (seed 0,"
    )
    other = ("--seed", 1, "--on-existing", "overwrite")
    assert vflow(*call(tiny, clips, whole, "--dry-run", "--json", *other)) == 0
    plan = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["status"] for one in plan} == {"to do"}


def test_names_of_files_stay_on_their_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "a\nb.npz"
    media.write_npz(clip, frames=np.zeros((3, 16, 8, 3), np.uint8))
    assert vflow(*call(tiny, clip, tmp_path / "out", "--dry-run")) == 0
    assert capsys.readouterr().out == f"to do: a\\nb ← {tmp_path}/a\\nb.npz\n"
    for seed in (0, 1):
        flags = ("--num-samples", 3 - seed, "--format", "gif", "--on-existing", "overwrite")
        assert vflow(*call(tiny, clip, tmp_path / "out", *flags)) == 0
        printed = capsys.readouterr()
        assert printed.out == f"{tmp_path}/out/a\nb\n"  # a path for other programs, as it is
        assert all(line.startswith("note: a\\nb: ") for line in printed.err.splitlines())
    assert "1 earlier file deleted" in printed.err


def test_stop_at_the_first_bad_item(
    tiny: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = (clips / "c8.npz", clips / "c1.npz")
    assert vflow(*call(tiny, clips / "c9.mp4", tmp_path, "--input", *inputs, "--on-error", "fail")) == 1
    assert capsys.readouterr().err.startswith("error: c9.mp4: ")
    assert [line["status"] for line in entries(tmp_path)] == ["failed"]


def test_existing_outputs(tiny: Path, clips: Path, tmp_path: Path) -> None:
    one = call(tiny, clips / "c1.npz", tmp_path)
    assert vflow(*one) == 0
    first = (tmp_path / "c1" / "futures.npz").stat().st_mtime_ns
    assert vflow(*one, "--on-existing", "error") == 1
    assert vflow(*one, "--on-existing", "overwrite") == 0
    assert (tmp_path / "c1" / "futures.npz").stat().st_mtime_ns > first


def test_killed_and_run_again(tiny: Path, clips: Path, whole: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "vflow", *map(str, call(tiny, clips, tmp_path))]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    until = time.monotonic() + 120
    while len(entries(tmp_path)) < 1 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = {name: data for name, data in outputs(tmp_path).items() if not name.startswith(".partial")}
    assert 0 < len(left) < len(outputs(whole))
    assert left.items() <= outputs(whole).items()  # whole files only
    assert vflow(*call(tiny, clips, tmp_path)) == 1
    assert outputs(tmp_path) == outputs(whole)


def test_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_digits()
    save_checkpoint(tmp_path / "model", model, config=model.config)
    flags = ("generate", "digits", "--checkpoint", tmp_path / "model", "--num-samples", 2, "--output")
    assert vflow(*flags, tmp_path / "one") == 0
    for shard in ("1/2", "2/2"):
        assert vflow(*flags, tmp_path / "two", "--shard", shard) == 0
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")
    assert len(outputs(tmp_path / "one")) == 20
    assert vflow(*flags, tmp_path / "npz", "--format", "npz") == 0
    assert (tmp_path / "npz" / "digits.npz").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "vflow generate: first name a task: colorize, digits, upscale, video, compress, "),
        (("video", "--input", "a"), "--output: give a folder"),
        (("video", "--output", "o", "--checkpoint", "shapes", "--input"), "--input: give files"),
        (("video", "--output", "o", "--input", "a", "--shard", "0/2"), "--shard 0/2: give I/N"),
        (("digits", "--output", "o", "--shard", "3/2"), "--shard 3/2: give I/N"),
        (("video", "--output", "o", "--batch-size", "0"), "--batch-size 0: must be between 1 and 10000"),
    ],
)
def test_usage(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vflow("generate", *arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_shards_are_read_or_told_by_the_launcher() -> None:
    assert parse_shard("2/3") == (2, 3)
    for text in ("2", "a/b", "0/1", "2/1", "-1/2", "1/2/3"):
        with pytest.raises(ConfigError, match="give I/N"):
            parse_shard(text)
    assert shard_of_process({"WORLD_SIZE": "4"}) == (1, 1)
    assert shard_of_process({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}) == (4, 4)


def test_the_checkpoint_of_each_clip_is_chosen_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = Path(__file__).parents[2] / "apps" / "examples"
    files = [examples / "grasp-014.npz", examples / "push-00000.mp4"]
    small = ("--num-samples", 1, "--num-frames", 1, "--format", "npz")
    assert vflow("predict", "--input", *files, "--output", tmp_path / "out", *small) == 0
    found = {line["item"]: line for line in entries(tmp_path / "out")}
    for name, file in zip(("grasp", "push"), files, strict=True):
        assert found[file.stem]["checkpoint"] == name
        assert found[file.stem]["checkpoint_hash"] == checkpoint_hash(checkpoint_folder(name))
        assert (tmp_path / "out" / file.stem / "futures.npz").is_file()
    assert "auto" not in (tmp_path / "out" / "run.json").read_text()
    assert "push is chosen for push-00000" in capsys.readouterr().err
