"""Figures of integer flows and PixelCNNs on digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.data.sample_media import write_mnist
from vflow.config import IntegerFlowConfig, PixelCNNConfig
from vflow.data.datasets.digits import MnistImages
from vflow.errors import CheckpointError
from vflow.models import IntegerFlow, PixelCNN
from vflow.pipelines.evaluate.discrete import evaluate_discrete
from vflow.pipelines.evaluate.report import Settings

from .support import quiet


def pixelcnn(classes: int = 10, size: int = 28) -> PixelCNN:
    torch.manual_seed(0)
    return PixelCNN(
        PixelCNNConfig(hidden=4, layers=1, kernel=3, classes=classes, height=size, width=size)
    ).eval()


def integer_flow() -> IntegerFlow:
    return IntegerFlow(IntegerFlowConfig(depth=(1, 1), layers=1, growth=4, classes=10)).eval()


@pytest.mark.parametrize("model", [pixelcnn(), pixelcnn(classes=0), integer_flow()])
def test_figures_are_those_of_the_model(model: PixelCNN | IntegerFlow, tmp_path: Path) -> None:
    root = write_mnist(tmp_path, train=20, test=6)
    settings = Settings(str(root), limit=0, num_samples=1)
    found = evaluate_discrete(model, settings, quiet)
    held = MnistImages(split="test", root=root)
    labels = torch.from_numpy(held.labels) if model.config.classes else None
    with torch.no_grad():
        nats = model.log_probability(torch.from_numpy(held.images)[:, None], labels)
    assert found.figures["bits_per_dim"] == pytest.approx(float(model.bits_per_dim(nats).mean()), rel=1e-5)
    assert found.figures["digits_per_s"] > 0
    assert found.protocol["digits"] == 6
    assert found.sheets["random"].shape[2] == 1


def test_other_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="images are 8×8×1, those of MNIST 28×28×1"):
        evaluate_discrete(pixelcnn(size=8), Settings(str(tmp_path)), quiet)
    with pytest.raises(CheckpointError, match=r"model\.classes is 3, and MNIST has 10"):
        evaluate_discrete(pixelcnn(classes=3), Settings(str(tmp_path)), quiet)
