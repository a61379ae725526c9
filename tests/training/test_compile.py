"""`training.compile`: the prepared model is compiled, in place, and the time it took is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.support import losses, run_here, tiny_preset


def test_the_model_is_compiled_and_the_time_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the compiler itself, which takes minutes."""
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda model: compiled.append(model))
    preset = tiny_preset(tmp_path)
    settings = ("training.compile=true",)
    assert run_here(preset, tmp_path / "compiled", max_steps=2, set=settings) == 0
    assert [type(model).__name__ for model in compiled] == ["FrameConditionedVideoFlow"]
    assert capsys.readouterr().err.count("first step, compilation included:") == 1
    assert run_here(preset, tmp_path / "plain", max_steps=2) == 0
    assert len(compiled) == 1 and losses(tmp_path / "plain") == losses(tmp_path / "compiled")
