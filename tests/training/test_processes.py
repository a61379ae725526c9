"""Several processes under torchrun and accelerate launch (gloo, on the CPU)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.training.support import command, finish, lines, losses, run_here, spawn, torchrun, wait_for
from tests.training.test_codecs import CLIP, clips
from vflow.config import load_preset
from vflow.registry import config_class, kinds
from vflow.training.commit import commits, find_fault

LAUNCH = (sys.executable, "-m", "accelerate.commands.launch")
FLAGS = ("--dtype", "float32", "--batch-size", "4", "--resume")


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def workers(launcher: subprocess.Popen[str]) -> list[psutil.Process]:
    """Training processes below a launcher."""
    children = psutil.Process(launcher.pid).children(recursive=True)
    return [child for child in children if any("train.py" in word for word in child.cmdline())]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


NORM = """
model: {kind: density, layers: [{kind: batchnorm}, {kind: coupling, hidden: [8]}]}
training: {max_steps: 3, batch_size: 64, actnorm_batch: 64, validation_examples: 64}
"""


@pytest.mark.usefixtures("one_thread")
def test_two_processes_train_like_one(tiny: str, runs: Path) -> None:
    flags = (*FLAGS, "--max-steps", "6", "--set", "training.validate_every=3")
    code, output = finish(torchrun(2, *command(tiny, runs / "two", *flags)))
    assert code == 0 and "FutureWarning" not in output, output
    options = {"dtype": "float32", "batch_size": 4, "max_steps": 6, "set": ("training.validate_every=3",)}
    assert run_here(tiny, runs / "one", **options) == 0
    one, two = losses(runs / "one"), losses(runs / "two")
    assert one.keys() == two.keys()
    assert all(abs(two[step][0] - one[step][0]) <= 1e-4 * one[step][0] for step in one)
    validation = [
        [line["val_bits_per_dim"] for line in lines(runs / name) if "val_bits_per_dim" in line]
        for name in ("one", "two")
    ]
    assert validation[1] == pytest.approx(validation[0], rel=1e-4) and len(validation[1]) == 2
    assert find_fault(commits(runs / "two")[-1]) is None


@pytest.mark.usefixtures("one_thread")
def test_a_process_may_have_no_first_frame_for_a_clip_codec(runs: Path) -> None:
    config, data = runs / "clip.yaml", clips(runs / "clips")
    config.write_text(CLIP)
    flags = (*FLAGS, "--data", str(data), "--max-steps", "3")
    code, output = finish(torchrun(2, *command(str(config), runs / "two", *flags)))
    assert code == 0, output
    options = {"data": str(data), "dtype": "float32", "batch_size": 4, "max_steps": 3}
    assert run_here(str(config), runs / "one", **options) == 0
    one, two = losses(runs / "one"), losses(runs / "two")
    assert one.keys() == two.keys()
    assert all(two[step][:2] == pytest.approx(one[step][:2], rel=1e-4) for step in one)


@pytest.mark.usefixtures("one_thread")
def test_batch_norm_starts_from_the_main_process_alone(runs: Path) -> None:
    config = runs / "norm.yaml"
    config.write_text(NORM)
    code, output = finish(
        torchrun(2, *command(str(config), runs / "two", "--data", "two-moons", "--device", "cpu"))
    )
    assert code == 0, output
    assert run_here(str(config), runs / "one", data="two-moons") == 0
    one, two = losses(runs / "one"), losses(runs / "two")
    assert one.keys() == two.keys()
    assert all(two[step][:2] == pytest.approx(one[step][:2], rel=1e-4) for step in one)


@pytest.mark.usefixtures("one_thread")
def test_two_processes_train_all_stages_of_a_recipe(runs: Path) -> None:
    (runs / "norm.yaml").write_text(NORM)
    stages = ", ".join(f"{{name: {name}, config: {runs / 'norm.yaml'}}}" for name in ("first", "second"))
    (runs / "recipe.yaml").write_text(f"stages: [{stages}]")
    flags = ("--recipe", str(runs / "recipe.yaml"), "--data", "two-moons", "--device", "cpu")
    script = command("", runs / "two")
    code, output = finish(torchrun(2, script[0], *script[3:], *flags))
    assert code == 0, output
    assert output.count("stage 2 of 2: second\n") == 1
    assert all(lines(runs / "two" / name)[-1]["status"] == "finished" for name in ("1-first", "2-second"))
    assert (runs / "two" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("codec-clip", {}, True),
        ("codec-photo", {}, True),
        ("codec-photo", {"model.direct": None}, False),
        ("codec-photo", {"model.direct": None, "model.crop": 8}, True),
        ("shapes", {}, False),
    ],
)
def test_models_whose_steps_may_leave_parts_out(kind: str, changes: dict[str, int], expected: bool) -> None:
    assert load_preset(kind, changes).model.leaves_parts_out == expected


def test_every_model_says_whether_its_steps_may_leave_parts_out() -> None:
    assert [kind for kind in kinds() if not hasattr(config_class(kind), "leaves_parts_out")] == []


@pytest.mark.usefixtures("one_thread")
def test_accelerate_launch_runs_the_script(tiny: str, runs: Path) -> None:
    process = spawn(
        [*LAUNCH, "--cpu", "--num_processes", "1", *command(tiny, runs / "a", "--max-steps", "2")]
    )
    code, output = finish(process)
    assert code == 0, output
    assert lines(runs / "a")[-1]["status"] == "finished"


@pytest.mark.usefixtures("one_thread")
def test_two_processes_asked_and_one_got_is_refused(tiny: str, runs: Path) -> None:
    process = spawn([*LAUNCH, "--cpu", "--num_processes", "2", *command(tiny, runs / "a")])
    code, output = finish(process)
    assert code != 0 and "error: accelerate launch was to start several processes" in output
    assert not (runs / "a").exists()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("count", [1, 2])
def test_workers_of_a_dead_launcher_commit_and_leave(count: int, tiny: str, runs: Path) -> None:
    run = runs / "orphaned"
    words = command(tiny, run, *FLAGS, "--max-steps", "100000", "--checkpoint-every", "100000")
    simple = (*LAUNCH, "--cpu", "--num_processes", "1")
    launcher = spawn([*simple, *words]) if count == 1 else torchrun(count, *words)
    wait_for(lambda: len(lines(run)) >= 2)
    children = workers(launcher)
    assert len(children) == count
    launcher.kill()
    wait_for(lambda: gone(children), timeout=20)
    end = lines(run)[-1]
    assert end["status"] == "interrupted" and end["reason"] == "launcher died"
    assert commits(run)[-1].name == f"step_{end['step']:07d}" and find_fault(commits(run)[-1]) is None
    finish(launcher)


@pytest.mark.usefixtures("one_thread")
def test_a_killed_worker_is_replaced_and_the_run_goes_on(tiny: str, runs: Path) -> None:
    run = runs / "elastic"
    words = command(tiny, run, *FLAGS[:-1], "--max-steps", "14")  # no --resume: restarts imply it
    launcher = torchrun(2, "--max-restarts", "2", *words)
    wait_for(lambda: len(commits(run)) >= 2)
    children = workers(launcher)
    os.kill(children[1].pid, signal.SIGKILL)
    code, output = finish(launcher)
    assert code == 0, output
    assert "resuming from" in output and lines(run)[-1]["status"] == "finished"
    assert list(losses(run)) == list(range(1, 15)) and gone(children)


@pytest.mark.usefixtures("one_thread")
def test_sigterm_to_the_launcher_commits(tiny: str, runs: Path) -> None:
    run = runs / "stopped"
    flags = (*FLAGS, "--max-steps", "100000", "--checkpoint-every", "100000")
    launcher = torchrun(2, *command(tiny, run, *flags))
    wait_for(lambda: len(lines(run)) >= 2)
    children = workers(launcher)
    launcher.terminate()
    finish(launcher, timeout=40)
    assert gone(children)
    assert lines(run)[-1]["status"] == "interrupted" and len(commits(run)) == 1
