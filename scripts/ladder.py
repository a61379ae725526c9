"""The ladder from the paper's VideoFlow to lattices: each rung trained for equal time, then judged alike.

python -m scripts.ladder --output runs/ladder

On moving shapes, whose every pixel is known; all figures are on validation clips. A rung that has a result in
--output is not trained again. Writes docs/figures/ladder.json and docs/figures/ladder.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

import numpy as np

import vflow
from scripts.ablate import SPAN, ablate
from vflow.config import Preset
from vflow.data.datasets.shapes import Shapes
from vflow.data.media import atomic_write, write_png
from vflow.metrics import shapes
from vflow.models import VideoModel
from vflow.pipelines.common import evenly_spaced, set_threads
from vflow.pipelines.evaluate.report import Settings, plain
from vflow.pipelines.evaluate.video import evaluate_video
from vflow.pipelines.walk.render import tiles
from vflow.training.args import TrainOptions, resolve

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_SKIP = "model.prior={blocks: 2, hidden: [16, 32, 64, 64, 64, 64], dilations: [1, 2]}"
ENCODER = "model.encoder={hidden: [16, 24, 32, 48, 48, 48], blocks: 1}"
RUNGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "paper": ("videoflow", ("model.noise=uniform", "model.pixel_map=scaled")),
    "learned-noise": ("videoflow", ("model.noise=learned", "model.pixel_map=scaled")),
    "counts": ("videoflow", ()),
    "mixtures": ("videoflow", ("model.prior.mixtures=6",)),
    "couplings": (
        "videoflow",
        ("model.kind=frame_conditioned_videoflow", "model.noise=learned", WITHOUT_SKIP, ENCODER),
    ),
    "lattice": ("shapes", ("training.learning_rate=5.0e-4",)),
}
"""Rung → preset, and its entries that differ; each but the last has the Glow of ``videoflow``."""
KEPT = (
    "bits_per_dim",
    "bits_per_dim_shape",
    "bits_per_dim_background",
    "direction_entropy",
    "latent_share",
    "latent_share_by_level",
)
CLIPS, FUTURES, FRAMES = 32, 8, 4
TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
SHOWN, ENLARGE = 3, 2
USUAL = 0.6  # temperature of a picture of what the tracker accepts at none


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="processor time of each rung's training")
    parser.add_argument("--output", type=Path, required=True, help="folder of the rungs")
    arguments = parser.parse_args()
    set_threads(1)
    rows = {name: rung(name, arguments.output / name, arguments.minutes) for name in RUNGS}
    with atomic_write(ROOT / "docs" / "figures" / "ladder.json") as path:
        path.write_text(json.dumps({"minutes": arguments.minutes, "rungs": rows}, indent=1) + "\n")
    pictures = [picture(arguments.output / name, rows[name]["temperature"]) for name in RUNGS]
    write_png(ROOT / "docs" / "figures" / "ladder.png", tiles(np.concatenate(pictures), SHOWN * (FRAMES + 1)))


def rung(name: str, folder: Path, minutes: float) -> dict[str, Any]:
    """Figures of one rung, from ``folder`` if it is there, else of a model trained now."""
    result = folder / "result.json"
    if not result.exists():
        preset = configured(name)
        trained = ablate(preset, 60 * minutes, folder)
        with atomic_write(result) as path:
            path.write_text(json.dumps(plain(trained | judged(folder))))
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def configured(name: str) -> Preset:
    config, entries = RUNGS[name]
    return resolve(TrainOptions(config=config, output=Path(), set=entries, max_steps=SPAN))


def judged(folder: Path) -> dict[str, Any]:
    """Figures of a trained rung at temperature 1, and the share accepted at each temperature."""
    model = cast(VideoModel, vflow.load(folder))
    settings = Settings(
        data="shapes", split="validation", limit=CLIPS, num_samples=FUTURES, num_frames=FRAMES, context=1,
        num_importance_samples=1, probe_clips=0,
    )  # fmt: skip
    figures = evaluate_video(model, settings, lambda stage: lambda done, total: None).figures
    accepted = {temperature: accepted_at(model, temperature) for temperature in TEMPERATURES}
    best = max(TEMPERATURES, key=lambda temperature: (accepted[temperature], temperature == USUAL))
    return {key: figures[key] for key in KEPT} | {"accepted": accepted, "temperature": best}


def validation_clips(count: int) -> list[np.ndarray]:
    data = Shapes(split="validation")
    return [data.example(index)[: FRAMES + 1] for index in evenly_spaced(len(data), count)]


def futures(model: Any, clip: np.ndarray, count: int, temperature: float) -> np.ndarray:
    return vflow.predict(model, clip[:1], num_frames=FRAMES, num_samples=count, temperature=temperature)


def accepted_at(model: Any, temperature: float) -> float:
    """Share of futures that the independent tracker accepts."""
    verdicts = [
        shapes.judge(clip[:1], future).accepted
        for clip in validation_clips(CLIPS)
        for future in futures(model, clip, FUTURES, temperature)
    ]
    return float(np.mean(verdicts))


def picture(folder: Path, temperature: float) -> np.ndarray:
    """Frames (SHOWN · (T + 1), H, W, C): each given frame and the first of its futures."""
    model = vflow.load(folder)
    rows = [
        np.concatenate([clip[:1], futures(model, clip, 1, temperature)[0]])
        for clip in validation_clips(SHOWN)
    ]
    return np.concatenate(rows).repeat(ENLARGE, 1).repeat(ENLARGE, 2)


if __name__ == "__main__":
    main()
