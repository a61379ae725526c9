"""Configurations of models of whole numbers: codecs of photographs and clips."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from vflow.config.base import Config, ValidationBits

BASE_SIDE = 4
"""Rows and columns that the coarsest lattice of a pyramid has at most."""


def level_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes of the images of a pyramid, fine to coarse; the last one, at most 4×4, is its base."""
    sizes = [size]
    while max(sizes[-1]) > BASE_SIDE:
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


class LatticeConfig(Config):
    """Networks of a pyramid of lattices."""

    hidden: int = Field(default=48, ge=1, le=64)
    """Channels of a phase's network."""
    head: int = Field(default=32, ge=1, le=64)
    """Channels of the head of each colour."""
    mixtures: int = Field(default=3, ge=1, le=8)
    """Logistics per grey level."""
    levels: int = Field(default=3, ge=1, le=8)
    """Levels with networks of their own."""
    references: int = Field(default=0, ge=0, le=2)
    """Frames before, as conditions: 0 or 2."""
    max_displacement: int = Field(default=0, ge=0, le=32)
    """Pixels by which parts of the frames before may be displaced to match."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.references == 1:
            raise ValueError("references must be 0 or 2")
        if self.max_displacement and not self.references:
            raise ValueError("max_displacement must be 0 without references")
        return self


class DiscreteConfig(Config):
    """Entries that all models of whole numbers have."""

    temperature: ClassVar[float] = 1.0
    """Probabilities are used as they are."""
    validation_bits: ValidationBits = None


class PhotoCodecConfig(DiscreteConfig):
    """Model of photographs."""

    kind: Literal["photo_codec"] = "photo_codec"
    family: ClassVar[Literal["codec"]] = "codec"
    lattice: LatticeConfig = LatticeConfig()
    direct: LatticeConfig | None = None
    """A pyramid of (green, red, blue), for photos that were never JPEG files; null: those are coded as
    rounded (Y, Cb, Cr), and then each pixel among the colours that round so.
    """
    crop: int = Field(default=96, ge=8, le=1024)
    """Side of the squares it is trained on, in pixels."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.lattice.references or (self.direct and self.direct.references):
            raise ValueError("references must be 0: photos have no frames before")
        if self.direct and self.direct.levels != self.lattice.levels:
            raise ValueError("direct.levels must be lattice.levels")
        return self

    @property
    def leaves_parts_out(self) -> bool:
        """True if a batch may have no photo for one pyramid, or squares of ``crop`` do not reach a level."""
        return self.direct is not None or self.lattice.levels >= len(level_sizes((self.crop, self.crop)))


class ClipCodecConfig(DiscreteConfig):
    """Model of a clip's frames: one pyramid for the first frame, another for each given the two before it."""

    kind: Literal["clip_codec"] = "clip_codec"
    family: ClassVar[Literal["codec"]] = "codec"
    leaves_parts_out: ClassVar[bool] = True
    """A share of a batch may have no first frame."""
    first: LatticeConfig = LatticeConfig(hidden=32, head=24)
    following: LatticeConfig = LatticeConfig(hidden=32, head=24, references=2)
    crop: int = Field(default=64, ge=8, le=1024)
    """Side of the squares it is trained on, in pixels."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.first.references or not self.following.references:
            raise ValueError("first.references must be 0, and following.references 2")
        return self
