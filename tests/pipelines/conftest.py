"""Tiny models for the pipelines: random weights, so that outputs depend on everything they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vflow.checkpoint import save_checkpoint
from vflow.models import VideoModel, build_model
from vflow.registry import config_class

SIZE: dict[str, Any] = {
    "glow": {"height": 16, "width": 16, "depth": [1, 1], "hidden": [4, 4]},
    "prior": {"hidden": 4, "dilations": [1]},
    "context": 2,
    "fps": 5,
}
FRAMES: dict[str, Any] = {
    "kind": "frame_conditioned_videoflow",
    "encoder": {"hidden": [4, 4], "blocks": 1},
}
"""Couplings and prior that see past frames."""
MOTION: dict[str, Any] = FRAMES | {
    "kind": "reference_videoflow",
    "reference": {"kind": "motion", "max_displacement": 2},
}
"""The same against a displaced frame."""
AUGMENTED: dict[str, Any] = FRAMES | {
    "kind": "augmented_videoflow",
    "augmentation": {"size": 4, "hidden": [4, 4]},
}
"""The same against a frame predicted from augmented dimensions."""

LATTICE: dict[str, Any] = {
    "kind": "lattice_videoflow",
    "glow": {"height": 16, "width": 16, "depth": [0, 0], "hidden": [1, 1], "split": "quarter"},
    "prior": {"hidden": 4, "dilations": [1], "coarsest": 8, "reach": 2},
}
"""Latents coded on ever finer lattices."""


def make_model(**changes: Any) -> VideoModel:
    """A model whose zero-initialised layers are perturbed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = config_class(changes.get("kind", "videoflow")).model_validate(SIZE | changes)
        model = build_model(config)
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="session", params=["latents", "frames"])
def model(request: pytest.FixtureRequest) -> VideoModel:
    """The paper's model, and one that sees past frames."""
    return make_model(**(FRAMES if request.param == "frames" else {}))


@pytest.fixture(scope="session")
def one_model() -> VideoModel:
    """For tests in which the kind of model does not matter."""
    return make_model(**FRAMES)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, one_model: VideoModel) -> Path:
    """A checkpoint of ``one_model``."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, one_model, config=one_model.config)
    return folder


@pytest.fixture(scope="session")
def clip() -> np.ndarray:
    """Frames (4, 16, 16, 3)."""
    return np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
