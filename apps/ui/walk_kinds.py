"""What each kind of walk asks for and says, by kind of model. Words only: no components, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LIKELIEST = "likeliest"
ALL = "all"


@dataclass(frozen=True)
class Kind:
    """A kind of walk.

    Attributes:
        name: as ``vflow.walk`` calls it. title: on its button. info: one sentence below the buttons.
        first: label of the first upload box. second: of the second; empty: there is none.
        groups: there are two boxes for groups of examples.
        asks: further controls it needs: direction, level, reach, temperature, steps, frames, futures.
    """

    name: str
    title: str
    info: str
    first: str = ""
    second: str = ""
    groups: bool = False
    asks: frozenset[str] = frozenset({"steps"})


CLIP = "a clip: images in order, one video, or npz"
BOX = {"videoflow": f"Start: {CLIP}", "digits": "Start: a picture of a digit", "colorizer": "Start: a photo"}
FRAMES = frozenset({"temperature", "frames"})


def kinds(model: str) -> tuple[Kind, ...]:
    """Walks that a model of kind ``model`` can do, in the order offered; direction is the first."""
    video, photos = model == "videoflow", model == "colorizer"
    clip = FRAMES if video else frozenset()
    own = {"videoflow": (_blend(),), "digits": (_styles(),), "colorizer": (_colours(),)}[model]
    return (
        Kind(
            "direction",
            "Direction",
            "Both ways along a principal direction of the training data’s noise.",
            BOX[model],
            asks=frozenset({"steps", "direction", "level", "reach"}) | clip,
        ),
        *(() if photos else own),
        Kind(
            "interpolate",
            "Between two",
            "From one input to another; the ends are the inputs themselves.",
            f"From: {CLIP}" if video else BOX[model].replace("Start", "From"),
            f"To: {CLIP}" if video else BOX[model].replace("Start", "To"),
            asks=frozenset({"steps"}) | clip,
        ),
        *(own if photos else ()),
        Kind(
            "temperature",
            "Temperature",
            "The same noise, from none of it to more than was drawn.",
            BOX[model],
            asks=frozenset({"steps", "reach"} | (clip - {"temperature"})),
        ),
        Kind(
            "semantic",
            "Groups",
            "Along what tells one group of your examples from another.",
            BOX[model].replace("Start", "Start (optional)"),
            groups=True,
            asks=frozenset({"steps", "level", "reach"}) | clip,
        ),
    )


def kind(model: str, name: str | None) -> Kind:
    """The kind called ``name``, or the model's second if it has none of that name."""
    offered = kinds(model)
    return next((one for one in offered if one.name == name), offered[1])


def _blend() -> Kind:
    return Kind(
        "blend",
        "Two futures",
        "From one future of a clip to another: numbered as Predict draws them with this seed.",
        BOX["videoflow"],
        asks=frozenset({"steps", "futures"}) | FRAMES,
    )


def _styles() -> Kind:
    return Kind("transfer", "All ten", "One hand’s style under every label.", BOX["digits"], asks=frozenset())


def _colours() -> Kind:
    return Kind(
        "transfer", "Colours", "From a photo’s own colours to those of another.",
        "Photo to colour", "Photo with the colours",
    )  # fmt: skip


def levels(shapes: Sequence[Sequence[int]]) -> list[tuple[str, str]]:
    """(what a level is called, its number as text), coarse to fine, and all levels together.

    Args:
        shapes: the model's ``latent_shapes``, (C, h, w) per level; a single number is a displacement, several
            without a place are a tint or what guides a frame.
    """
    named = [(_level_name(*shape), str(level)) for level, shape in enumerate(shapes)]
    if len(shapes) > 1:
        named[0] = (f"{named[0][0]}, the finest", "0")
    return [*reversed(named), ("All levels together", ALL)]


def _level_name(channels: int, height: int, width: int) -> str:
    if height * width > 1:
        return f"{height}×{width}"
    return "Motion of the frame" if channels == 1 else "Whole picture"


def said(model: str, name: str, positions: Sequence[float]) -> list[str]:
    """What is said of each step: a position along the walk in the words of its kind."""
    if name == "direction":
        return [f"{_signed(p)} σ" if p else "start" for p in positions]
    if name == "semantic":
        return [f"{_signed(100 * p / 3, 0)}%" if p else "start" for p in positions]
    if name == "temperature":
        return [f"T {p:.2f}" for p in positions]
    if name == "transfer" and model == "digits":
        return [f"as {p:.0f}" for p in positions]
    return [f"{100 * p:.0f}%" for p in positions]


def first_shown(name: str, positions: Sequence[float]) -> int:
    """The step that a walk shows first: its start, or the temperature nearest to 1."""
    wanted = {"direction": 0.0, "semantic": 0.0, "temperature": 1.0}.get(name, positions[0])
    return min(range(len(positions)), key=lambda index: abs(positions[index] - wanted))


def _signed(value: float, digits: int = 1) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")
