"""Settings of coloured photos, and colour hints among them."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from vflow.config.ranges import MAX_SAMPLES
from vflow.config.settings import SEED, Samples, Seed, Settings, Shown, Temperature
from vflow.errors import ConfigError

MAX_HINTS, MOST_REACH = 100, 2


class Hint(NamedTuple):
    """A colour, (r, g, b) in 0..255, at a point: fractions 0..1 of width (``x``) and height (``y``).

    ``reach``, 0..2, is how willingly it takes places that are less like the point.

    Examples:
        >>> str(vflow.Hint(0.25, 0.5, (192, 48, 32)))
        '0.25,0.5,#c03020'
    """

    x: float
    y: float
    color: tuple[int, int, int]
    reach: float = 1.0

    def __str__(self) -> str:
        """The text that ``parse_hint`` reads."""
        x, y, reach = (f"{v:g}" if float(f"{v:g}") == v else repr(v) for v in (self.x, self.y, self.reach))
        return f"{x},{y},#{bytes(self.color).hex()}" + (f",{reach}" if self.reach != 1 else "")


def parse_hint(text: str) -> Hint:
    """``"0.25,0.5,#c03020"`` → a hint; a fourth part is its reach.

    Raises:
        ConfigError: not of this form, or out of range.
    """
    number = r"\s*([0-9.eE+-]+)\s*"
    found = re.fullmatch(rf"{number},{number},\s*#?([0-9a-fA-F]{{6}})\s*(?:,{number})?", text)
    try:
        if found:
            x, y, color, reach = found.groups()
            return check_hint(Hint(float(x), float(y), tuple(bytes.fromhex(color)), float(reach or 1)))  # type: ignore[arg-type]
    except ValueError:
        pass
    raise ConfigError(f"hint {text!r}: give X,Y,#RRGGBB with X and Y from 0 to 1, e.g. 0.25,0.5,#c03020")


def check_hint(hint: Hint) -> Hint:
    """The hint as plain numbers, in range.

    Raises:
        ConfigError: a value is out of range.
    """
    x, y, color, reach = hint
    if not all(math.isfinite(v) and 0 <= v <= 1 for v in (x, y)):
        raise ConfigError(f"hint at {x:g},{y:g}: x and y are fractions of width and height, 0..1")
    if len(color) != 3 or not all(0 <= c <= 255 and c == int(c) for c in color):
        raise ConfigError(f"hint at {x:g},{y:g}: colour {tuple(color)}; give red, green and blue, 0..255")
    if not 0 <= reach <= MOST_REACH:
        raise ConfigError(f"hint at {x:g},{y:g}: reach {reach:g}; give 0 to {MOST_REACH}")
    red, green, blue = (int(c) for c in color)
    return Hint(float(x), float(y), (red, green, blue), float(reach))


def _text(hint: object) -> object:
    """Text of a hint that is given as ``Hint``."""
    return str(check_hint(hint)) if isinstance(hint, Hint) else hint


def _checked(texts: tuple[str, ...]) -> tuple[str, ...]:
    if len(texts) > MAX_HINTS:
        raise ConfigError(f"{len(texts)} hints; give at most {MAX_HINTS}")
    for text in texts:
        parse_hint(text)
    return texts


class ColorSettings(Settings):
    """Variants of a photo or film, and their files."""

    num_samples: Annotated[Samples, Shown("Variants", most=16)] = 8
    """Variants of each photo."""
    temperature: Annotated[Temperature, Shown("Temperature", levels="the mean colour")] = 1.0
    """Scale of the noise (as the checkpoint suggests): one number, or one per level, fine to coarse."""
    strength: Annotated[float, Field(ge=0, le=1), Shown("Strength", form=False)] = 1.0
    """0 leaves the photo as it is, 1 gives the sampled colours alone."""
    seed: Annotated[Seed, SEED] = 0
    """Names the noise."""
    hints: Annotated[
        tuple[Annotated[str, BeforeValidator(_text)], ...],
        AfterValidator(_checked),
        Shown("Hints", form=False, flag="hint", metavar="X,Y,#RRGGBB[,REACH]…"),
    ] = ()
    """Colour hints: points whose colour you know, as fractions 0..1 of width and height: 0.25,0.5,#c03020.
    A hint colours the thing that it lies on; with a reach under 1 less of it, up to 2 more."""
    near: Annotated[tuple[Annotated[int, Field(ge=0, lt=MAX_SAMPLES)], ...], Shown(flag=False)] = ()
    """The variant that these are steps away from: number of a sample, then of each step."""
    format: Annotated[Literal["png", "mp4", "webm", "gif"] | None, Shown()] = None
    """png (of a video a folder of frames); videos also as mp4, webm (with sound), gif (png; videos mp4)."""

    @property
    def points(self) -> tuple[Hint, ...]:
        """The hints."""
        return tuple(map(parse_hint, self.hints))
