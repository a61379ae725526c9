"""Models as ONNX graphs compute what torch does."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vflow
from vflow import cli
from vflow.commands import export as command
from vflow.config import BlockConfig, PatchFlowConfig, TarFlowConfig
from vflow.disk import parse_json
from vflow.errors import CheckpointError, ConfigError
from vflow.models import TarFlow
from vflow.pipelines import export

needs_onnx = pytest.mark.export
BLOCKS = (
    BlockConfig(layers=2, hidden=8, heads=2, head=6, element="spline"),
    BlockConfig(layers=1, hidden=8, heads=2),
)


def tarflow() -> TarFlow:
    torch.manual_seed(0)
    glow = PatchFlowConfig(height=4, width=8, patch=2, window=1, blocks=BLOCKS)
    model = TarFlow(TarFlowConfig(glow=glow, classes=3, condition=2)).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("name", ["shapes", "digits"])
def test_other_models_are_refused_by_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "--checkpoint", name, "--output", str(tmp_path / "page")]) == 3
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "page").exists()
    with pytest.raises(CheckpointError, match="kind"):
        export.parts_of(vflow.load(name))


def test_without_the_packages_or_npm_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'vflow-torch\[onnx\]'"):
        next(export.write(tarflow(), tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="npm"):
        command.write_page(tmp_path)


@needs_onnx
def test_a_loop_over_steps_draws_what_the_model_does(tmp_path: Path) -> None:
    """As digits.js does it, for a number of images that no graph has seen, from no past on."""
    import onnxruntime

    model, count = tarflow(), 3
    written = list(export.write(model, tmp_path))
    assert [path.name for path in written] == [
        "digits-block_0.onnx", "digits-block_1.onnx", "digits-pixels.onnx", "models.json"
    ]  # fmt: skip
    facts = parse_json(written[-1].read_bytes())["digits"]
    run = {path.stem: onnxruntime.InferenceSession(path).run for path in written[:-1]}
    eps, labels = torch.randn(count, *model.latent_shapes[0]), torch.tensor([2, 0, 1])
    x = eps.flatten(2).mT.numpy()
    for index in reversed(range(2)):
        block = facts["blocks"][index]
        z = x[:, ::-1] if block["reverse"] else x
        cache = np.zeros((block["layers"], 2, count, block["heads"], 0, block["channels"]), np.float32)
        found: list[np.ndarray] = []
        for t in range(facts["tokens"]):
            seen = [found[t - o] if o <= t else np.zeros_like(z[:, :1]) for o in block["offsets"]]
            given = {"z": z[:, t : t + 1], "before": np.concatenate(seen, 2), "label": labels.numpy()}
            token, cache = run[f"digits-block_{index}"](None, given | {"cache": cache})
            found.append(token)
        x = np.concatenate(found, 1)
        x = x[:, ::-1] if block["reverse"] else x
    (images,) = run["digits-pixels"](None, {"tokens": np.ascontiguousarray(x)})
    true = model.decode([eps], labels, [1.0]).frame.numpy()
    assert images.shape == true.shape and (images == true).mean() > 0.98
    assert np.abs(images.astype(int) - true).max() <= 1  # a value on the edge of its bin


@needs_onnx
def test_enlarging_takes_any_size(tmp_path: Path) -> None:
    import onnxruntime

    model = vflow.load("enlarge")
    path = next(export.write(model, tmp_path))
    photo, eps = torch.randint(0, 256, (1, 3, 30, 17), dtype=torch.uint8), torch.randn(1, 9, 30, 17)
    given = {"photo": photo.numpy(), "temperature": np.array([0.5], np.float32), "eps_0": eps.numpy()}
    (larger,) = onnxruntime.InferenceSession(path).run(None, given)
    condition = model.condition(model.features(photo))
    true = model.generate(condition, [eps], [0.5])[0].numpy()
    assert np.abs(larger - true).max() < 256 * export.ERROR


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


@needs_onnx
def test_a_graph_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    graph = export.Graph("random", Random(), {"x": torch.zeros(8)}, ("y",))
    with pytest.raises(ConfigError, match="differs from torch"):
        export.write_graph(graph, tmp_path / "random.onnx")
    assert not list(tmp_path.iterdir())
