"""Parts of models as ONNX graphs, for programs without Python, such as a page in a browser."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from vflow.bijections.pixel_map import LEVELS
from vflow.bijections.tarflow import TransformerBlock
from vflow.data.media.write import atomic_write
from vflow.disk import parse_json
from vflow.errors import CheckpointError, ConfigError
from vflow.models.colorizer import Colorizer
from vflow.models.digits import Digits
from vflow.models.image import ConditionalFlow
from vflow.models.super_resolution import SuperResolution
from vflow.models.tarflow import TarFlow
from vflow.registry import families, family_of, resolve

VARIES = torch.export.Dim.DYNAMIC
ERROR = 1e-4
"""Largest difference of a graph's output from torch's, over the spread of that output."""


class Graph(NamedTuple):
    """A part of a model.

    Attributes:
        module: computes it, of the tensors that ``inputs`` has examples of, by name.
        outputs: names of what it returns.
        sizes: axes whose size may vary, as ``torch.export`` takes them.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    sizes: dict[str, Any] | None = None


class Parts(NamedTuple):
    """Graphs of a model, and what a page has to know beside them: numbers and texts."""

    graphs: list[Graph]
    facts: dict[str, Any]


class Drawing(nn.Module):
    """Images before rounding, in grey levels, given a condition, and each level's temperature and noise."""

    def __init__(self, model: ConditionalFlow) -> None:
        super().__init__()
        self.model, self.chains = model, model.flow.with_cached_inverse()

    def forward(self, given: Tensor, temperature: Tensor, *eps: Tensor) -> Tensor:
        condition = self.model.condition(self.model.features(given))
        levels = cast(Sequence[float], temperature.unbind())
        return self.model.generate(condition, eps, levels, self.chains)[0]


class TokenStep(nn.Module):
    """Next token of a block of a TarFlow from its latents, those before it, the class and the cache."""

    def __init__(self, model: TarFlow, block: TransformerBlock) -> None:
        super().__init__()
        self.block = block
        places = model.class_map.detach().flatten(2).mT
        self.places = nn.Buffer(places.flip(1) if block.reverse else places)

    def forward(self, z: Tensor, before: Tensor, label: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        first = cache.shape[4]
        given = self.places[label][:, first : first + 1]
        x, _, kept = self.block.decode_token(z, before, given, list(cache.unbind()))
        return x, torch.stack(kept)


class PatchPixels(nn.Module):
    """Images, uint8 (B, C, H, W), of patches (B, tokens, numbers) in raster order."""

    def __init__(self, model: TarFlow) -> None:
        super().__init__()
        self.patches, self.grid = model.flow.patches, model.latent_shapes[0][1:]
        levels = torch.arange(1.0, LEVELS, dtype=torch.float64)[:, None, None, None]
        edges = model.pixel_map.transform(levels.expand(-1, *model.image_shape))[0]
        self.edges = nn.Buffer(edges.float())  # of each pixel's bins: the map itself needs what ONNX lacks

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.patches.invert(tokens.mT.unflatten(2, self.grid))[0]
        return (x[:, None] >= self.edges).sum(1).to(torch.uint8)


def color_parts(model: Colorizer) -> Parts:
    """One graph: a and b of Lab, each + 128, at half the size of the lightness."""
    shapes = model.latent_shapes
    _, height, width = model.image_shape
    channels = 8 if model.config.scale_tta else 4
    given = torch.zeros(1, channels, 2 * height, 2 * width)
    given[:, 0] = 100 * torch.rand(1, 2 * height, 2 * width)
    temperatures = torch.full((len(shapes),), 0.8)
    inputs = {"lightness": given, "temperature": temperatures, **noise(shapes)}
    graph = Graph("colors", Drawing(model), inputs, ("planes",))
    return Parts([graph], {"channels": channels, "side": 2 * height, "noise": [list(s) for s in shapes]})


def enlarge_parts(model: SuperResolution) -> Parts:
    """One graph: a photo of twice the size."""
    small = torch.randint(0, 256, (1, 3, 24, 40), dtype=torch.uint8)
    inputs = {"photo": small, "temperature": torch.tensor([0.5]), **noise([(9, 24, 40)])}
    varies = dict.fromkeys((2, 3), VARIES)
    sizes = {"given": varies, "temperature": None, "eps": (varies,)}
    graph = Graph("enlarge", Drawing(model), inputs, ("larger",), sizes)
    return Parts([graph], {})


def digit_parts(model: Digits | TarFlow) -> Parts:
    """A step of each block of a TarFlow, which a loop calls token by token, and the pixels of all tokens.

    Raises:
        CheckpointError: another kind of model.
    """
    if not isinstance(model, TarFlow):
        raise CheckpointError(f"kind {model.config.kind}: not to be exported; of digits, kind tarflow is")
    width, tokens = model.latent_shapes[0][0], int(np.prod(model.latent_shapes[0][1:]))
    graphs, blocks = [], []
    for index, block in enumerate(cast(Sequence[TransformerBlock], model.flow.blocks.layers)):
        layers = block.net.layers
        heads = layers[0].heads
        cache = torch.randn(len(layers), 2, 2, heads, 3, block.net_out.in_features // heads)
        inputs = {
            "z": torch.randn(2, 1, width),
            "before": torch.randn(2, 1, width * len(block.offsets)),
            "label": torch.arange(2) % model.config.classes,
            "cache": cache,
        }
        batch = {0: VARIES}
        sizes = {"z": batch, "before": batch, "label": batch, "cache": {2: VARIES, 4: VARIES}}
        graphs.append(Graph(f"block_{index}", TokenStep(model, block), inputs, ("x", "kept"), sizes))
        cached = {"layers": len(layers), "heads": heads, "channels": cache.shape[5]}
        blocks.append({"offsets": block.offsets, "reverse": block.reverse, **cached})
    pixels = {"tokens": torch.randn(2, tokens, width)}
    graphs.append(Graph("pixels", PatchPixels(model), pixels, ("image",), {"tokens": {0: VARIES}}))
    size = {"size": model.image_shape[1:], "tokens": tokens, "width": width}
    return Parts(graphs, {"classes": model.config.classes, **size, "blocks": blocks})


def noise(shapes: Sequence[tuple[int, ...]]) -> dict[str, Tensor]:
    """Noise of each level, by name."""
    return {f"eps_{level}": torch.randn(1, *shape) for level, shape in enumerate(shapes)}


def parts_of(model: nn.Module) -> Parts:
    """Graphs of ``model``.

    Raises:
        CheckpointError: its family has none.
    """
    config: Any = model.config
    family = families()[family_of(config.kind)]
    if not family.export:
        able = ", ".join(each.name for each in families().values() if each.export)
        raise CheckpointError(f"kind {config.kind}: not to be exported; these are: {able}")
    found: Parts = resolve(family.export)(model)
    return found


@torch.no_grad()
def write_graph(graph: Graph, path: Path) -> float:
    """Write ``graph`` to ``path``, if it computes what torch does of the example inputs.

    Returns:
        The largest difference, over the spread of the output.

    Raises:
        ConfigError: the ONNX packages are not installed, or it computes something else.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise ConfigError(
            f"export needs the extra onnx (pip install 'vflow-torch[onnx]'): {error}"
        ) from error
    inputs = tuple(graph.inputs.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        program = torch.onnx.export(
            graph.module.eval(),
            inputs,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=graph.sizes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    with atomic_write(path) as draft:
        program.save(draft)
        session = onnxruntime.InferenceSession(draft, providers=["CPUExecutionProvider"])
        given = {name: x.numpy() for name, x in graph.inputs.items()}
        wanted = graph.module(*inputs)
        pairs = zip(session.run(None, given), wanted if isinstance(wanted, tuple) else (wanted,), strict=True)
        worst = max(_difference(found, true.numpy()) for found, true in pairs)
        if not worst <= ERROR:
            raise ConfigError(f"{graph.name}: differs from torch by {worst:.1e} of its spread; not written")
    return worst


def _difference(found: np.ndarray, true: np.ndarray) -> float:
    """Largest difference over the spread of ``true``."""
    found, true = found.astype(np.float64), true.astype(np.float64)
    return float(np.abs(found - true).max() / max(np.ptp(true), 1e-9))


def write(model: nn.Module, folder: Path) -> Iterator[Path]:
    """Write the graphs of ``model``, ``FAMILY-GRAPH.onnx``, then name them in ``models.json``; yields paths.

    Raises:
        CheckpointError: a kind of model that has none. ConfigError: see ``write_graph``.
    """
    parts, config = parts_of(model.requires_grad_(False)), cast(Any, model).config
    family, listed = family_of(config.kind), folder / "models.json"
    folder.mkdir(parents=True, exist_ok=True)
    for graph in parts.graphs:
        write_graph(graph, path := folder / f"{family}-{graph.name}.onnx")
        yield path
    known = parse_json(listed.read_bytes()) if listed.is_file() else {}
    known[family] = parts.facts | {"temperature": config.temperature}
    with atomic_write(listed) as draft:
        draft.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    yield listed
