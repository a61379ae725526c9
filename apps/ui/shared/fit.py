"""Fit of an upload to the shipped models, told before anything is computed.

A frame becomes statistics of its values, gradients, frequencies and places (``features``). Their squared
Mahalanobis distance from those of a model's training frames, that of its texture alone, and the largest
deviation of one of them say how unlike it is. All are two-sided: what is flatter than the training data is as
far away as what is busier.
``apps/examples/make_fit.py`` measures the statistics and the limits, and how well they separate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import NamedTuple

import cv2
import gradio as gr
import numpy as np

from vflow.data import media
from vflow.errors import InputError, VflowError
from vflow.pipelines.digits.preprocess import prepare_digit

from .context import AppContext
from .events import ON_CLICK, QUICK, html_block
from .examples import FOLDER, SAME_DATA

SIDE = 64
MAX_FRAMES = 8
MARGIN = 1.15
MAX_GREYNESS = 0.16  # of a picture of a digit; 0.13 is the most among 60 validation digits
SUBJECTS = {
    "shapes": "a single coloured shape that moves",
    "shapes-guided": "a single coloured shape that moves",
    "push": "robot-arm video",
    "push-wavelet": "robot-arm video",
    "grasp": "a robot's hands at a table",
    "digits": "a handwritten digit",
    "colorizer": "a photo",
    "colorizer-regions": "a photo",
    "rain": "rain radar",
    "enlarge": "a photo",
}
"""Training data of each shipped checkpoint, in words."""
UNKNOWN_CLIP = (
    "No model here has seen a clip like this: expect noise. "
    "Train a model on clips of your own (docs/TRAINING.md)."
)
CLIP_FAMILIES = ("videoflow", "nowcast")


def features(frame: np.ndarray) -> np.ndarray:
    """Statistics of a frame, uint8 (H, W, C), float64 (D,)."""
    rgb = media.resize(frame[None], SIDE, SIDE, 3)[0].astype(np.float64) / 255
    grey = rgb.mean(-1)
    blocks = rgb.reshape(4, SIDE // 4, 4, SIDE // 4, 3).mean((1, 3)).ravel()
    histogram = np.sqrt(np.histogram(grey, 16, (0, 1))[0] / grey.size)
    chroma = rgb.max(-1) - rgb.min(-1)
    steep = np.abs(np.diff(grey, axis=1))
    shares = [(steep < 0.5 / 255).mean(), (steep > 0.1).mean()]
    gradients, peaks = [], []
    for scale in (1, 2, 4):
        small = grey.reshape(SIDE // scale, scale, SIDE // scale, scale).mean((1, 3))
        down, across = np.diff(small, axis=0), np.diff(small, axis=1)
        gradients += [np.abs(down).mean(), np.abs(across).mean()]
        peaks += [*sorted((_kurtosis(down), _kurtosis(across))), _patchiness(down[:, :-1], across[:-1])]
    power = np.abs(np.fft.rfft2(grey - grey.mean())) ** 2 / grey.size
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    rings = np.minimum((np.hypot(rows, columns) * 12).astype(int), 5)
    bands = [power[rings == ring].mean() for ring in range(6)]
    edges = cv2.Laplacian(grey, cv2.CV_64F)
    peaked = (edges**4).mean() / ((edges**2).mean() ** 2 + 1e-9)
    logs = np.log([*(g + 1e-3 for g in gradients), *(b + 1e-5 for b in bands), peaked + 1])
    return np.concatenate([blocks, histogram, [chroma.mean(), chroma.std()], shares, logs, peaks])


TEXTURE = slice(-22, None)
"""Of the features: gradients, frequencies, and how these are spread over the frame."""


def _kurtosis(values: np.ndarray) -> float:
    """Logarithm of one more than the kurtosis: edges among flat parts are peaked, noise is not."""
    centred = values - values.mean()
    return float(np.log((centred**4).mean() / ((centred**2).mean() ** 2 + 1e-9) + 1))


def _patchiness(down: np.ndarray, across: np.ndarray) -> float:
    """Logarithm of the spread of the gradient's length over patches of 4×4, in units of its mean."""
    length = np.hypot(down, across)
    rows, columns = (side // 4 for side in length.shape)
    patches = length[: 4 * rows, : 4 * columns].reshape(rows, 4, columns, 4).mean((1, 3))
    return float(np.log(patches.std() / (patches.mean() + 1e-3) + 0.05))


def view(name: str, frame: np.ndarray) -> np.ndarray:
    """A frame, uint8 (H, W, C), as the model sees it: photos without colour, digits cut out and centred.

    Raises:
        InputError: it holds no ink.
    """
    if name == "digits":
        return prepare_digit(frame)[..., None]
    in_grey = SAME_DATA.get(name, name) == "colorizer"
    return media.resize(frame[None], SIDE, SIDE, 1 if in_grey else 3)[0]


class Reference(NamedTuple):
    """Statistics of a model's training frames.

    Attributes:
        mean, spread: of each feature, float64 (D,). precision: inverse covariance, float64 (D, D); of the
            texture alone, float64 (22, 22).
        limits: of the squared distances, and of the largest deviation of one feature, float64 (3,).
    """

    mean: np.ndarray
    spread: np.ndarray
    precision: np.ndarray
    texture_precision: np.ndarray
    limits: np.ndarray

    @classmethod
    def fitted(cls, training: np.ndarray, validation: np.ndarray) -> Reference:
        """From features, float64 (N, D) each. About 1% of the validation frames lie beyond the limits, before
        these are widened by ``MARGIN`` for data from elsewhere."""
        covariance = np.cov(training.T)
        variance = np.diag(covariance) + 1e-4
        shrunk = 0.9 * covariance + np.diag(0.1 * variance)
        inverse = np.linalg.inv(shrunk), np.linalg.inv(shrunk[TEXTURE, TEXTURE])
        reference = cls(training.mean(0), np.sqrt(variance), *inverse, np.ones(3))
        limits = np.quantile(reference.deviations(validation), 0.99, axis=0)
        unlike = reference._replace(limits=limits).unlikeness(validation)
        return reference._replace(limits=MARGIN * limits * max(1.0, float(np.quantile(unlike, 0.99))))

    def deviations(self, values: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance, that of the texture, and largest deviation: (N, D) → (N, 3)."""
        centred = values - self.mean
        texture = centred[:, TEXTURE]
        distance = ((centred @ self.precision) * centred).sum(1)
        texture_distance = ((texture @ self.texture_precision) * texture).sum(1)
        return np.stack([distance, texture_distance, np.abs(centred / self.spread).max(1)], axis=1)

    def unlikeness(self, values: np.ndarray) -> np.ndarray:
        """Deviations in units of their limits, of features float64 (N, D) → (N,): over 1 is unlike."""
        return (self.deviations(values) / self.limits).max(1)


def greyness(frame: np.ndarray) -> float:
    """Share of a frame's variance, 0..1, that is not between ink and paper (Otsu's classes)."""
    grey = media.resize(frame[None], SIDE, SIDE, 1)[0, ..., 0]
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    values, ink = grey.astype(np.float64), grey > threshold
    if ink.all() or not ink.any():
        return 1.0
    share = ink.mean()
    between = share * (1 - share) * (values[ink].mean() - values[~ink].mean()) ** 2
    return float(1 - between / values.var())


def unlikeness(name: str, reference: Reference, frame: np.ndarray) -> float:
    """Unlikeness of a frame, uint8 (H, W, C), to a model's training frames, in units of its limits."""
    try:
        unlike = float(reference.unlikeness(features(view(name, frame))[None])[0])
    except InputError:
        return float("inf")
    return max(unlike, greyness(frame) / MAX_GREYNESS) if name == "digits" else unlike


@lru_cache(maxsize=1)
def references() -> dict[str, Reference]:
    """Statistics of the shipped models, by name."""
    with np.load(FOLDER / "fit.npz") as saved:
        return {
            name: Reference(*(saved[f"{SAME_DATA.get(name, name)}/{part}"] for part in Reference._fields))
            for name in SUBJECTS
        }


@dataclass(frozen=True)
class Verdict:
    """Fit of an upload.

    Attributes:
        chosen: the checkpoint selected. fits: its training data look like this; None where they are unknown.
        best: the shipped model that fits best; None if none fits. Of models of frames for a clip of theirs.
        clip: several frames, for a model of frames.
    """

    chosen: str
    fits: bool | None
    best: str | None
    clip: bool = False


def judge(app: AppContext, chosen: str | None, frames: np.ndarray) -> Verdict:
    """Judge frames, uint8 (T, H, W, C), for the checkpoint selected."""
    looked_at = frames[np.unique(np.linspace(0, len(frames) - 1, MAX_FRAMES).astype(int))]
    clip = len(frames) > 1 and app.models.family(chosen) in CLIP_FAMILIES
    scores = {
        name: float(np.median([unlikeness(name, reference, frame) for frame in looked_at]))
        for name, reference in references().items()
        if app.models.ships(name) and (not clip or app.models.family(name) in CLIP_FAMILIES)
    }
    fitting = [name for name, score in scores.items() if score <= 1]
    # Photos are the broadest kind: whatever else fits says more.
    best = min(
        fitting, key=lambda name: (SAME_DATA.get(name, name) == "colorizer", scores[name]), default=None
    )
    own = scores.get(str(chosen))
    return Verdict(str(chosen), None if own is None else own <= 1, best, clip)


def judged_upload(app: AppContext, chosen: str | None, paths: Sequence[str], names: Sequence[str]) -> str:
    """HTML on how an upload fits; empty where there is none, or it cannot be read.

    Args:
        names: checkpoints that a click can choose; none where choosing one takes the upload away.
    """
    verdict = judge_files(app, chosen, paths)
    return "" if verdict is None else banner(verdict, names)


def judge_files(app: AppContext, chosen: str | None, paths: Sequence[str]) -> Verdict | None:
    """Judge an upload for the checkpoint selected; None where there is none, or it cannot be read.

    Nor is a video judged that a model of photos is given: the job refuses it.
    """
    if not paths or chosen is None:
        return None
    try:
        if len(paths) == 1:
            if app.models.family(chosen) not in CLIP_FAMILIES and media.is_video(paths[0]):
                return None
            return judge(app, chosen, media.read_clip(paths[0], max_frames=MAX_FRAMES).frames)
        stills = [media.read_clip(path, max_frames=1).frames for path in paths[:MAX_FRAMES]]
        return judge(app, chosen, np.concatenate([media.resize(s, SIDE, SIDE, 3) for s in stills]))
    except VflowError:
        return None  # the list of files, or the job, says what is wrong


def sentence(verdict: Verdict) -> str:
    """A verdict in words; empty where nothing is known."""
    chosen, best = verdict.chosen, verdict.best
    if verdict.fits:
        return f"{_seen(chosen)}, which {chosen} was trained on."
    if best is None:
        if verdict.fits is None:
            return ""
        return UNKNOWN_CLIP if verdict.clip else "No model here has seen anything like this: expect nonsense."
    if verdict.fits is None:
        return f"{_seen(best)}, which {best} was trained on."
    return f"{_seen(best)}. {chosen} has seen nothing like it."


def banner(verdict: Verdict, names: Sequence[str]) -> str:
    """HTML of a verdict: quiet where the upload fits, amber where it does not, empty where none is known."""
    best, text, button = verdict.best, escape(sentence(verdict), quote=False), ""
    if not text:
        return ""
    if verdict.fits:
        return f'<p class="vf-fit">{text}</p>'
    if best is not None:
        if best in names:
            button = (
                f'<button type="button" class="vf-small" data-index="{list(names).index(best)}"'
                f' data-action="use">Use {escape(best)}</button>'
            )
        elif not names:
            text += f" Choose {escape(best)} above."
        else:
            tab = {"colorizer": "Colourise", "enlarge": "Enlarge", "digits": "Digits"}.get(best, "Predict")
            text += f" See the tab {tab}."
    amber = "" if verdict.fits is None else " vf-amber"
    return f'<div class="vf-fit{amber}" role="status"><p>{text}</p>{button}</div>'


def digit_warning(app: AppContext, name: str | None, frames: np.ndarray) -> str:
    """Warning where a picture, uint8 (1, H, W, C), is unlike the digits of a model; else empty."""
    verdict = judge(app, name, frames)
    return (
        ""
        if verdict.fits in (True, None)
        else "This does not look like a handwritten digit: expect nonsense."
    )


def fit_line(tab: str) -> gr.HTML:
    """Place of the verdict, below an upload box; wire it with ``wire_fit``."""
    return html_block("", f"vf-{tab}-fit", js_on_load=ON_CLICK)


def wire_fit(app: AppContext, line: gr.HTML, files: gr.File, checkpoint: gr.Dropdown, *families: str) -> None:
    """Judge ``files`` whenever they or the checkpoint change; with ``families``, a click chooses the best."""

    def judged(paths: list[str] | None, name: str | None) -> str:
        return judged_upload(app, name, paths or [], app.models.names(*families) if families else ())

    def choose(event: gr.EventData) -> str:
        return app.models.names(*families)[int(event.index)]

    for part in (files, checkpoint):
        part.change(app.turns.glance(judged), [files, checkpoint], line, **QUICK)
    line.select(choose, None, checkpoint, **QUICK)


def _seen(name: str) -> str:
    return f"This looks like {SUBJECTS[name]}"
