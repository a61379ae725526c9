"""Fréchet distance, and features by a network that the user gives."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vflow.errors import ConfigError, InputError
from vflow.metrics.frechet import FeatureNetwork, frechet


def test_of_gaussians_that_are_known() -> None:
    random = np.random.default_rng(0)
    first = random.standard_normal((4000, 2))
    second = random.standard_normal((4000, 2)) * (2, 3) + (1, -2)
    # Diagonal covariances: |Δμ|² + Σ (σ₁ − σ₂)² = 1 + 4 + 1 + 4.
    assert frechet(first, second) == pytest.approx(10, rel=0.05)
    assert frechet(first, first) == pytest.approx(0, abs=1e-9)


def test_of_correlated_features_it_is_that_of_the_rotated_ones() -> None:
    random = np.random.default_rng(1)
    first, second = random.standard_normal((2, 300, 5)) * np.arange(1, 6)
    turn, _ = np.linalg.qr(random.standard_normal((5, 5)))
    assert frechet(first @ turn, second @ turn) == pytest.approx(frechet(first, second), rel=1e-9)
    mixed = first @ random.standard_normal((5, 5))
    assert frechet(mixed, second) == pytest.approx(frechet(second, mixed), rel=1e-9)
    few = frechet(mixed[:3], second[:4])  # fewer rows than features: singular covariances
    assert np.isfinite(few)
    assert few > 0


def test_what_has_no_distance() -> None:
    with pytest.raises(InputError, match="two or more"):
        frechet(np.zeros((1, 2)), np.zeros((3, 2)))
    with pytest.raises(InputError, match="NaN or infinite"):
        frechet(np.full((2, 2), np.nan), np.zeros((3, 2)))


class _Session:
    """Stands in for onnxruntime's: channel means as maps, and what it was given."""

    shape: tuple[Any, ...] = ("batch", 3, 4, 6)
    kind = "tensor(float)"
    seen: list[np.ndarray]

    def __init__(self, path: str, providers: list[str]) -> None:
        if Path(path).read_bytes() == b"bad":
            raise RuntimeError("INVALID_PROTOBUF")
        type(self).seen = []

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="x", shape=self.shape, type=self.kind)]

    def run(self, names: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert isinstance(self.shape[0], str) or len(given["x"]) == self.shape[0]
        self.seen.append(given["x"])
        return [given["x"]]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> type[_Session]:
    module = ModuleType("onnxruntime")
    session = type("Session", (_Session,), {})
    module.InferenceSession = session  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return session


@pytest.fixture
def network(tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(b"weights")
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("batch", ["batch", 3])
def test_pictures_enter_as_the_protocol_says(runtime: type[_Session], network: Path, batch: object) -> None:
    runtime.shape = (batch, 3, 4, 6)
    net = FeatureNetwork(network)
    pictures = np.random.default_rng(0).integers(0, 256, (40, 8, 12, 1), dtype=np.uint8)
    features = net(pictures)
    assert features.shape == (40, 3)
    assert np.allclose(features, pictures.mean((1, 2)) / 255, atol=1e-5)  # grey is shown in three channels
    assert all(x.shape[1:] == (3, 4, 6) and x.dtype == np.float32 for x in runtime.seen)
    protocol = net.protocol()
    assert protocol["network"] == "net.onnx"
    assert protocol["input_size"] == (4, 6)
    assert len(protocol["network_sha256"]) == 64


def test_networks_that_cannot_be_used(
    runtime: type[_Session], network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no such file"):
        FeatureNetwork(tmp_path / "absent.onnx")
    runtime.shape = (1, 1, 28, 28)
    with pytest.raises(InputError, match=r"net\.onnx: its input is tensor\(float\)"):
        FeatureNetwork(network)
    network.write_bytes(b"bad")
    with pytest.raises(InputError, match="cannot be loaded as ONNX"):
        FeatureNetwork(network)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="--features needs onnxruntime: pip install onnxruntime"):
        FeatureNetwork(network)


def test_a_network_as_exported(tmp_path: Path) -> None:
    """With the real runtime: a mean over space of each channel."""
    import onnx  # slow to import, and of use here alone

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["y"])], "mean",
        [helper.make_tensor_value_info("x", kind, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", kind, ["batch", 3, 1, 1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "net.onnx")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    features = FeatureNetwork(tmp_path / "net.onnx")(pictures)
    assert np.allclose(features, pictures.mean((1, 2)) / 255, atol=1e-5)
