"""Settings files: what is written is read back, and what does not belong is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vflow.errors import ConfigError, InputError
from vflow.pipelines.batch.records import read_record, record_class
from vflow.pipelines.common import versions
from vflow.tasks.colorize.settings import ColorSettings
from vflow.tasks.video.settings import PredictSettings

BASE = {"checkpoint": "shapes", "checkpoint_hash": "ab"}
PredictRecord = record_class(PredictSettings)


def test_round_trip(tmp_path: Path) -> None:
    record = PredictRecord(**BASE, temperature=(0.5, 1.0), num_frames=3, seed=7, context_sha="cd")
    path = tmp_path / "settings.json"
    path.write_text(record.to_json())
    assert read_record(path, PredictRecord) == record
    used = PredictSettings(num_frames=3, temperature=(0.5, 1.0), seed=7, context_sha="cd")
    assert record.settings() == used
    assert record.threads == torch.get_num_threads()
    assert record.versions == versions()
    assert record.differences() == []


def test_other_versions_are_remarked(tmp_path: Path) -> None:
    record = PredictRecord(**BASE, versions=versions() | {"torch": "1.0", "python": "2"})
    assert record.differences() == [f"made with torch 1.0, here {torch.__version__}: pixels may differ"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BASE | {"extra": 1}, r"settings\.json: unknown key 'extra'$"),
        ({"checkpoint": "shapes"}, r"settings\.json: checkpoint_hash: Field required"),
        (BASE | {"num_frames": "many"}, r"settings\.json: num_frames: "),
        (BASE | {"format": "avi"}, r"settings\.json: format: "),
        ([], r"settings\.json: Input should be "),
    ],
)
def test_what_does_not_belong(tmp_path: Path, data: Any, message: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=message):
        read_record(path, PredictRecord)


def test_no_such_file_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: No such file or directory; give the settings\.json"):
        read_record(tmp_path / "none.json", PredictRecord)
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match=r"bad\.json: not valid JSON; give the settings\.json"):
        read_record(tmp_path / "bad.json", PredictRecord)


def test_commands_have_the_flags_of_settings() -> None:
    made = record_class(ColorSettings)(**BASE, hints=("0.5,0.5,#ff0000",), strength=0.5, threads=1)
    command = str(made.with_command("colorize", ["bay.png"]).command)
    assert "--strength 0.5" in command and "--hint '0.5,0.5,#ff0000'" in command
    step = made.model_copy(update={"near": (1,)})
    assert step.with_command("colorize", ["bay.png"]).command is None, "no flag names it"
