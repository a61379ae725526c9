"""The files for ``accelerate launch --config_file``: accelerate takes them, and they say what was run."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from tests.training.support import ROOT, command, finish, lines, spawn
from vflow.cli import main
from vflow.commands.config import launcher_config
from vflow.config import load_preset, preset_names
from vflow.errors import ConfigError
from vflow.training.commit import commits, find_fault

FILES = sorted((ROOT / "vflow" / "presets" / "accelerate").glob("*.yaml"))
NAMES = {path.stem for path in FILES}


def test_launcher_configs_are_there_and_are_no_presets() -> None:
    assert {"ddp", "bf16", "multi-node"} == NAMES
    assert not NAMES & set(preset_names())
    assert all(load_preset(name) for name in preset_names())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_takes_it(path: Path) -> None:
    config = load_config_from_file(str(path))
    words = ["--config_file", str(path), "scripts/train.py", "--config", "shapes-guided"]
    arguments, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert defaults.to_dict() == config.to_dict()
    arguments.main_process_ip = arguments.main_process_ip or "10.0.0.1"
    environment = prepare_multi_gpu_env(arguments)
    assert environment["ACCELERATE_MIXED_PRECISION"] == ("bf16" if path.stem == "bf16" else "no")
    assert int(arguments.nproc_per_node) == 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_head_says_what_it_is_for_and_what_was_not_run(path: Path) -> None:
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert "accelerate launch --config_file" in "".join(head) and any("NOT RUN" in line for line in head)


def test_the_command_line_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "accelerate/ddp"]) == 0
    assert "distributed_type: MULTI_GPU" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"^accelerate/tpu: .* there are accelerate/bf16, accelerate/ddp, "):
        launcher_config("tpu")


def free_port() -> str:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def launch(name: str, *words: str) -> list[str]:
    """``accelerate launch`` with one of the files."""
    return [
        sys.executable, "-m", "accelerate.commands.launch",
        "--config_file", str(ROOT / "vflow" / "presets" / "accelerate" / f"{name}.yaml"), *words,
    ]  # fmt: skip


def test_two_machines_train_together(tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two launchers on this machine, a process each, by the file for several nodes.

    A second port, for the workers, is picked by the launcher before it is bound; whoever takes it meanwhile
    makes the launch fail. That may happen once.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if any(code for code, _ in _two_machines(tiny, runs / "first try")):
        for code, output in _two_machines(tiny, runs / "a"):
            assert code == 0, output
    else:
        (runs / "first try").rename(runs / "a")
    assert lines(runs / "a")[-1]["status"] == "finished" and find_fault(commits(runs / "a")[-1]) is None


def _two_machines(tiny: str, run: Path) -> list[tuple[int, str]]:
    """Exit code and output of the launcher of each node."""
    environment = {"ACCELERATE_USE_CPU": "true", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    where = ("--main_process_ip", "127.0.0.1", "--main_process_port", free_port(), "--num_processes", "2")
    words = command(tiny, run, "--max-steps", "3")
    nodes = [
        spawn(launch("multi-node", *where, "--machine_rank", str(rank), *words), **environment)
        for rank in range(2)
    ]
    return [finish(node) for node in nodes]
