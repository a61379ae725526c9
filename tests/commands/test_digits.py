"""``vflow digits``: files as promised, settings that repeat, one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vflow import cli
from vflow.checkpoint import load, save_checkpoint
from vflow.config import VideoFlowConfig
from vflow.models import build_model
from vflow.pipelines.digits.digits import digits

from ..pipelines.digit_models import make_digits


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = make_digits()
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, model, config=model.config)
    return folder


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def vflow(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as saved:
        return dict(saved)


def test_png(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    call = ("digits", "--checkpoint", tiny, "--label", "all", "--num-samples", 2, "--output", out)
    assert vflow(*call) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(out / str(label)) for label in range(10)]
    assert printed.err.splitlines()[-1] == "10 items: 10 done (0 of them before), 0 failed"
    assert sorted(p.name for p in (out / "7").iterdir()) == ["s000.png", "s001.png"]
    assert sorted(p.name for p in out.iterdir()) == [*"0123456789", "manifest.jsonl", "run.json"]
    assert vflow(*call) == 0
    assert "10 done (10 of them before)" in capsys.readouterr().err
    assert vflow(*call, "--on-existing", "error", "--json") == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[0])["error"].startswith(f"{out / '0/s000.png'}: exists; ")


def test_npz_is_what_python_draws(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--temperature", "0.7,0.9", "--seed", 5, "--format", "npz", "--label", 3)
    call = ("digits", "--checkpoint", tiny, "--num-samples", 9, "--output", tmp_path / "a", *settings)
    assert vflow(*call) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a' / 'digits.npz'}\n"
    saved = arrays(tmp_path / "a" / "digits.npz")
    expected = digits(load(tiny), 3, num_samples=9, temperature=(0.7, 0.9), seed=5)
    assert np.array_equal(saved["images"], expected)
    assert saved["labels"].tolist() == [3] * 9
    run = json.loads((tmp_path / "a" / "run.json").read_text())
    assert (run["label"], run["num_samples"], run["temperature"], run["seed"]) == ("3", 9, [0.7, 0.9], 5)


def test_without_a_temperature_that_of_the_checkpoint_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is recorded, so the settings repeat the run whatever a later checkpoint suggests."""
    calm = make_digits(temperature=0.7)
    save_checkpoint(tmp_path / "calm", calm, config=calm.config)
    call = ("digits", "--checkpoint", tmp_path / "calm", "--num-samples", 2, "--format", "npz", "--label", 3)
    assert vflow(*call, "--output", tmp_path / "a") == 0
    assert f"drawn at temperature 0.7, as {tmp_path / 'calm'} suggests" in capsys.readouterr().err
    assert json.loads((tmp_path / "a" / "run.json").read_text())["temperature"] == 0.7
    assert vflow(*call, "--output", tmp_path / "b", "--temperature", 1) == 0
    assert "drawn at" not in capsys.readouterr().err
    drawn, warm = (arrays(tmp_path / name / "digits.npz")["images"] for name in "ab")
    assert np.array_equal(drawn, digits(calm, 3, num_samples=2, temperature=0.7))
    assert np.array_equal(warm, digits(calm, 3, num_samples=2, temperature=1))


def test_settings_repeat_a_run(tiny: Path, tmp_path: Path) -> None:
    rest = ("--label", 1, "--num-samples", 2, "--seed", 9, "--format", "npz")
    vflow("digits", "--checkpoint", tiny, "--output", tmp_path / "a", *rest)
    repeat = ("digits", "--settings", tmp_path / "a" / "run.json")
    assert vflow(*repeat, "--output", tmp_path / "b") == 0
    first, second = ((tmp_path / name / "digits.npz").read_bytes() for name in "ab")
    assert first == second
    assert vflow(*repeat, "--output", tmp_path / "c", "--label", "all") == 0
    assert np.array_equal(
        arrays(tmp_path / "c" / "digits.npz")["images"][2:4], arrays(tmp_path / "a/digits.npz")["images"]
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--label", "12", "--output", "o"), 2, "label must be between 0 and 9, or all, got 12"),
        (("--label", "1"), 2, "--output: give a folder for what is drawn"),
        (("--output", "o", "--num-samples", "0"), 2, "--num-samples must be between 1 and 10000, got 0"),
        (("--output", "o", "--temperature", "hot"), 2, "--temperature hot: give 0 to 2"),
        (("--output", "o", "--temperature", "1,1,1"), 2, "--temperature has 3 values, the model 2 levels"),
        (("--output", "o", "--format", "mp4"), 2, "invalid choice 'mp4'"),
        (("--output", "o", "--settings", "none.json"), 1, "none.json: No such file or directory; give the"),
    ],
)
def test_usage(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert vflow("digits", "--checkpoint", tiny, *arguments) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "o").exists()


def test_kinds_of_models_are_told_apart(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"height": 16, "width": 16, "depth": [1], "hidden": [4]}
    config = VideoFlowConfig.model_validate({"glow": small, "prior": {"hidden": 4}})
    save_checkpoint(tmp_path / "video", build_model(config), config=config)
    assert vflow("digits", "--checkpoint", tmp_path / "video", "--output", tmp_path / "o") == 3
    assert "does not draw digits; choose a checkpoint of kind digits" in capsys.readouterr().err
    clip = tmp_path / "clip.npz"
    np.savez(clip, frames=np.zeros((3, 16, 16, 3), np.uint8))
    assert vflow("predict", "--checkpoint", tiny, "--input", clip, "--output", tmp_path / "o") == 3
    assert "does not predict video; choose a checkpoint of kind videoflow" in capsys.readouterr().err
    assert vflow("digits") == 2
    assert "--output" in capsys.readouterr().err
