"""Tiny models for the pipelines: random weights, so that outputs depend on everything they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vflow.checkpoint import save_checkpoint
from vflow.config import VideoFlowConfig
from vflow.models import VideoFlow, build_model

SIZE: dict[str, Any] = {
    "glow": {"height": 16, "width": 16, "depth": [1, 1], "hidden": [4, 4]},
    "prior": {"hidden": 4, "dilations": [1]},
    "context": 2,
    "fps": 5,
}


def make_model(**changes: Any) -> VideoFlow:
    """A model whose zero-initialised layers are perturbed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(VideoFlowConfig.model_validate(SIZE | changes))
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="session", params=["latents", "frames"])
def model(request: pytest.FixtureRequest) -> VideoFlow:
    """The paper's model, and the one with a history of frames."""
    history = {"hidden": [4, 4], "blocks": 1} if request.param == "frames" else None
    return make_model(history=history)


@pytest.fixture(scope="session")
def one_model() -> VideoFlow:
    """For tests in which the kind of model does not matter."""
    return make_model(history={"hidden": [4, 4], "blocks": 1})


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, one_model: VideoFlow) -> Path:
    """A checkpoint of ``one_model``."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, one_model, config=one_model.config)
    return folder


@pytest.fixture(scope="session")
def clip() -> np.ndarray:
    """Frames (4, 16, 16, 3)."""
    return np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
