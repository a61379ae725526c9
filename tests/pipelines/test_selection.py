"""Models chosen for what clips show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vflow.data import media
from vflow.errors import CheckpointError
from vflow.pipelines.selection import Choice, choose

EXAMPLES = Path(__file__).parents[2] / "apps" / "examples"
NAMES = ("any", "grasp", "push", "rain", "shapes", "shapes-guided")


def example(name: str) -> np.ndarray:
    path = next(path for path in sorted(EXAMPLES.glob(f"{name}-*")) if path.suffix != ".json")
    return media.read_clip(path).frames


@pytest.mark.parametrize("name", ["grasp", "push", "shapes"])
@pytest.mark.parametrize("form", ["as it is", "cropped", "coded"])
def test_clips_are_known_as_people_have_them(name: str, form: str, tmp_path: Path) -> None:
    frames = example(name)
    if form == "cropped":
        height, width = frames.shape[1] * 9 // 10, frames.shape[2] * 9 // 10
        frames = frames[:, -height:, -width:]
    elif form == "coded":
        media.write_video(tmp_path / "clip.mp4", frames, 10)
        frames = media.read_clip(tmp_path / "clip.mp4").frames
    assert choose(frames, names=NAMES) == Choice(name, True)


def test_the_purpose_may_ask_for_another_model() -> None:
    assert choose(example("push"), "bits", NAMES) == Choice("any", True)
    assert choose(example("push"), "bits", ("push", "shapes")) == Choice("push", True)


def test_other_clips_are_for_the_generalist() -> None:
    photo = media.read_image(EXAMPLES / "photo-chelsea.png").frames[0]
    pan = np.stack([photo[:160, start : start + 160] for start in range(0, 48, 4)])
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    for clip in (pan, noise):
        assert choose(clip, names=NAMES) == Choice("any", False)
    with pytest.raises(CheckpointError, match=r"^auto: .*push"):
        choose(pan, names=("push", "shapes"))
