"""``vflow evaluate``: one object with every figure, and one line for what cannot be evaluated."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.data.sample_media import write_mnist
from vflow import cli
from vflow.checkpoint import checkpoint_hash, save_checkpoint
from vflow.commands import evaluate as command
from vflow.commands.evaluate import Evaluate, flags
from vflow.models import build_model
from vflow.pipelines.evaluate.report import Settings
from vflow.registry import families

from ..pipelines.conftest import FRAMES, make_model
from ..pipelines.digit_models import make_digits
from ..pipelines.evaluate.support import make_colorizer, write_clips, write_photos

KINDS = ("video", "digits", "photos", "few")


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and a data set of each kind, each in a folder of its own."""
    root = tmp_path_factory.mktemp("place")
    write_clips(root / "data" / "video")
    write_mnist(root / "data" / "digits")
    write_photos(root / "data" / "photos")
    few = make_digits().config.model_copy(update={"classes": 3})
    models = (make_model(**FRAMES), make_digits(), make_colorizer(), build_model(few))
    for name, model in zip(KINDS, models, strict=True):
        save_checkpoint(root / name, model, config=model.config)
    return root


def vflow(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


@pytest.mark.parametrize("family", families())
def test_flags_that_an_evaluation_does_not_read_are_known(family: str) -> None:
    names = {"videoflow": "video", "colorizer": "color", "nowcast": "rain"}
    source = inspect.getsource(import_module(f"vflow.pipelines.evaluate.{names.get(family, family)}"))
    read = set(re.findall(r"settings\.(\w+)", source))
    read |= {"limit"} if "count" in read else set()
    read |= {"num_samples", "temperature"} if "sampling" in read else set()
    read |= {"probe_clips"} if "probes" in read else set()
    opens = re.search(r"\b(locate|open_clips|open_photos|open_pairs|digits_root)\(", source)
    read |= {"train"} if opens else set()
    read |= {"context", "num_frames", "held_out_files"} if "open_clips(" in source else set()
    optional = {field.name for field in dataclasses.fields(Settings)} - {"data", "split", "seed"}
    assert set(families()[family].reads) == optional & read


def test_a_flag_that_does_nothing_is_noted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vflow("--checkpoint", place / "digits", "--data", "shapes", "--num-frames", 3) == 2
    noted, error = capsys.readouterr().err.splitlines()
    assert noted == "note: --num-frames does nothing for a model of kind digits"
    assert error.startswith("error: --data shapes: ")


def test_an_object_of_figures(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = place / "data" / "video"
    words = (
        "--checkpoint",
        place / "video",
        "--data",
        data,
        "--num-samples",
        2,
        "--num-importance-samples",
        2,
        "--limit",
        2,
    )
    assert vflow(*words, "--json", "--seed", 4, "--plots", tmp_path / "plots") == 0
    printed = capsys.readouterr()
    assert printed.err.count("note: wrote ") == 5
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "best.png", "worst.png", "random.png", "psnr.png", "ssim.png"
    }  # fmt: skip
    figures = json.loads(printed.out)
    protocol = figures.pop("protocol")
    assert protocol["checkpoint_hash"] == checkpoint_hash(place / "video")
    assert (protocol["seed"], protocol["dtype"], protocol["split"], protocol["clips"]) == (
        4,
        "float32",
        "test",
        2,
    )
    assert protocol["command"] == f"vflow evaluate {' '.join(map(str, words[:4]))} " + (
        "--limit 2 --num-samples 2 --num-importance-samples 2 --seed 4"
    )
    assert protocol["versions"]["torch"] == torch.__version__
    assert (
        cli.main(
            list(
                map(
                    str,
                    ("score", *words[:2], "--context", 2, "--json", "--seed", 4, "--input", data / "test"),
                )
            )
        )
        == 0
    )
    scores = [json.loads(line)["bits_per_dim"] for line in capsys.readouterr().out.splitlines()]
    assert figures["bits_per_dim"] == pytest.approx((scores[0] + scores[2]) / 2, abs=1e-6)


@pytest.mark.parametrize(("kind", "tuned"), [("video", True), ("digits", False), ("photos", False)])
def test_a_table_for_people(place: Path, capsys: pytest.CaptureFixture[str], kind: str, tuned: bool) -> None:
    words = ["--checkpoint", place / kind, "--data", place / "data" / kind, "--num-samples", 2]
    words += ["--num-importance-samples", 1, "--limit", 3, *(["--tune-temperature"] if tuned else [])]
    assert vflow(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    table: dict[str, str] = dict(line.split(None, 1) for line in lines[: lines.index("")])
    assert float(table["bits_per_dim"]) > 0
    assert "round_trip_latent" in table
    protocol = dict(line.split(": ", 1) for line in lines[lines.index("") + 1 :])
    assert ("tuned_on" in protocol) == tuned
    if tuned:
        scores = dict(pair.split() for pair in protocol["temperature_scores"].split(", "))
        best = max(scores, key=lambda temperature: float(scores[temperature]))
        assert float(scores[protocol["temperature"]]) == float(scores[best])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--checkpoint", "{video}"), 2, "--data: give shapes"),
        (("--data", "shapes"), 2, "--checkpoint: give a folder"),
        (("--checkpoint", "{digits}", "--data", "x", "--plots", "{file}"), 1, "{file}: cannot be written"),
        (("--checkpoint", "{video}", "--data", "nowhere"), 2, "--data nowhere: no such folder"),
        (("--checkpoint", "{video}", "--data", "digits"), 2, "--data digits: not for a model of kind video"),
        (("--checkpoint", "{video}", "--data", "shapes"), 2, "data shapes: frames are 64×64×3"),
        (("--checkpoint", "{video}", "--data", "x", "--limit", "-1"), 2, "--limit must be at least 0"),
        (
            ("--checkpoint", "{video}", "--data", "x", "--temperature", "1", "--tune-temperature"), 2,
            "--tune-temperature chooses the temperature",
        ),
        (
            ("--checkpoint", "{video}", "--data", "{data}/video", "--temperature", "1,1,1"), 2,
            "--temperature has 3 values, the model 2 levels",
        ),
        (
            ("--checkpoint", "{few}", "--data", "{data}/digits"), 3,
            "{few}: model.classes is 3, and MNIST has 10; train a model with 10",
        ),
        (("--checkpoint", "{digits}", "--data", "{data}/photos"), 1, "{data}/photos: no IDX files"),
    ],
)  # fmt: skip
def test_one_line_for_what_cannot_be_evaluated(
    place: Path, arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {name: place / name for name in (*KINDS, "data")} | {"file": Path(__file__)}
    assert vflow(*(argument.format(**names) for argument in arguments)) == code
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {message.format(**names)}")


def test_needs_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(module: str, what: str, extra: str) -> Any:
        raise command.ConfigError(f"{what} needs {module}; [{extra}]")

    monkeypatch.setattr(command, "require", missing)
    assert vflow("--checkpoint", "shapes", "--data", "shapes") == 2
    assert capsys.readouterr().err == "error: evaluate needs torchmetrics; [eval]\n"


def test_flags_that_decide_the_figures() -> None:
    assert flags(Evaluate(data="a b", limit=0, json=True, plots=Path("p"))) == [
        "--data",
        "a b",
        "--limit",
        "0",
    ]
