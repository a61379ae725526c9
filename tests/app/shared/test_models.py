"""Checkpoints on offer, and a page without some of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.app import build
from apps.ui.shared.models import ModelStore
from tests.app.conftest import save_untrained, tiny, tiny_colorizer, tiny_digits
from vflow import checkpoint
from vflow.config import ModelConfig, preset_names
from vflow.errors import CheckpointError


def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> ModelStore:
    """A store that offers untrained checkpoints of these names, and nothing that ships."""
    configs: dict[str, ModelConfig] = {"mine": tiny(), "digits": tiny_digits(), "colorizer": tiny_colorizer()}
    for name in names:
        save_untrained(tmp_path / name, configs[name])
    monkeypatch.setattr(
        checkpoint, "find_checkpoints", lambda folders=(): {name: tmp_path / name for name in names}
    )
    return ModelStore()


def test_checkpoints_are_offered_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = store(tmp_path, monkeypatch, "mine", "digits", "colorizer")
    assert models.names() == ["digits", "colorizer", "mine"]
    offered = {name: models.names(name) for name in ("videoflow", "nowcast", "digits", "colorizer")}
    assert offered == {"videoflow": ["mine"], "nowcast": [], "digits": ["digits"], "colorizer": ["colorizer"]}
    assert models.names("digits", "videoflow") == ["digits", "mine"]
    assert models.default("colorizer") == "colorizer"
    with pytest.raises(CheckpointError, match=r"mine: a model of another kind; choose one of: digits$"):
        models.load("mine", "digits")
    (tmp_path / "digits" / "config.json").write_text("{")
    assert models.names("videoflow") == ["digits", "mine"], "where it can be learnt why it cannot be read"


def test_own_models_leave_the_selection_at_first_to_those_that_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    ships = checkpoint.find_checkpoints()
    own = {f"a-{name}": folder for name, folder in ships.items()}
    monkeypatch.setattr(checkpoint, "find_checkpoints", lambda folders=(): own | ships)
    families = ("videoflow", "digits", "colorizer", "super_resolution")
    assert [ModelStore().default(family) for family in families] == [
        "shapes",
        "digits",
        "colorizer",
        "enlarge",
    ]


def test_a_tab_without_a_model_says_how_to_train_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = store(tmp_path, monkeypatch, "mine")
    assert models.default("digits") is None
    with pytest.raises(CheckpointError, match=r"train one: vflow train --config digits$"):
        models.load(None, "digits")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    page = str(build().config)
    for preset in ("digits", "colorizer"):
        assert f"vflow train --config {preset} --output runs/{preset}" in page
        assert preset in preset_names()
    assert "vflow train --config shapes-guided" not in page
