"""Configurations of models, and the union of them by ``kind``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from vflow.config.base import Config

Count = Annotated[int, Field(ge=1, le=2048)]
Warmth = Annotated[float, Field(ge=0, le=2)]
Noise = Literal["uniform", "gaussian", "anchored", "learned"]


class GlowConfig(Config):
    """Multi-scale Glow of one frame: per level squeeze, ``depth`` steps, split (Kingma & Dhariwal 2018)."""

    channels: int = Field(3, ge=1, le=3)
    height: int = Field(64, ge=1, le=1024)
    width: int = Field(64, ge=1, le=1024)
    depth: tuple[Count, ...] = Field((8, 8, 8), description="flow steps per level, fine to coarse")
    hidden: tuple[Count, ...] = Field((128, 128, 128), description="conditioner width per level")
    coupling: Literal["affine", "additive", "mixture"] = "affine"
    mixtures: int = Field(4, ge=1, le=32, description="components of a mixture coupling")
    activation: Literal["relu", "gatu"] = "relu"
    memory: Literal["plain", "recompute"] = Field(
        "plain", description="keep activations for the gradient, or rebuild them from outputs by inversion"
    )

    @property
    def levels(self) -> int:
        return len(self.depth)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 1 <= self.levels <= 8 or len(self.hidden) != self.levels:
            raise ValueError("depth and hidden need one entry per level (1 to 8 levels)")
        if max(self.depth) > 64:
            raise ValueError("depth must lie in 1..64")
        step = 2**self.levels
        if self.height % step or self.width % step:
            fits = [max(step, round(s / step) * step) for s in (self.height, self.width)]
            raise ValueError(
                f"{self.height}×{self.width} is not divisible by 2^levels = {step}; "
                f"use height {fits[0]} and width {fits[1]}, or fewer levels"
            )
        return self


class PriorConfig(Config):
    """Temporal prior: 3-D residual network over the window of past frames, per level."""

    blocks: int = Field(1, ge=1, le=32)
    hidden: int = Field(32, ge=1, le=2048)
    dilations: tuple[Count, ...] = (1, 2, 4)
    skip: bool = Field(True, description="add z of the frame before to the mean (history 'latents' only)")


class EncoderConfig(Config):
    """Context pyramid: what couplings and priors see of the frames before, when history is 'frames'."""

    hidden: tuple[Count, ...] = Field((48, 64, 96), description="feature channels per level, fine to coarse")
    blocks: int = Field(2, ge=1, le=16)


class FramePredictorConfig(Config):
    """A code of whole numbers per frame; the flow codes the frame against what is predicted from it."""

    code: int = Field(16, ge=1, le=256, description="numbers per frame")
    hidden: tuple[Count, ...] = Field((16, 32, 48, 64), description="channels per level, fine to coarse")
    weight: float = Field(0.1, gt=0, description="nats per grey level of the prediction's error, in training")
    moves: int = Field(0, ge=0, le=8, description="parts that move as wholes, told apart by how they came")
    reach: int = Field(5, ge=1, le=8, description="pixels that a part moves by at most, along each axis")


class VideoFlowConfig(Config):
    """VideoFlow: a per-frame Glow and an autoregressive prior over its latents (Kumar et al. 2020)."""

    kind: Literal["videoflow"] = "videoflow"
    glow: GlowConfig = GlowConfig()
    prior: PriorConfig = PriorConfig()
    history: EncoderConfig | None = Field(
        None, description="None: the paper's model; else couplings and prior see the past frames themselves"
    )
    motion: int | None = Field(
        None, ge=1, le=8, description="code a global displacement of up to so many pixels per frame"
    )
    foresight: FramePredictorConfig | None = Field(
        None, description="predict each frame from a small code of it, and code it against that prediction"
    )
    context: int = Field(2, ge=1, le=16, description="window: past frames the next one may depend on")
    min_context: int = Field(1, ge=1, le=16)
    noise: Noise = Field("uniform", description="q(u | x) in the bin; 'learned' is a small flow of its own")
    values: Literal["scaled", "counts", "transitions"] = Field(
        "scaled", description="elementwise map: x/256 - ½, CDF of value counts, or CDF given the pixel before"
    )
    temper: float = Field(0.25, gt=0, le=1, description="exponent on the counts of that map")
    fps: float = Field(10.0, gt=0, le=1000, description="frames per second; clips with a rate are resampled")
    temperature: Warmth | tuple[Warmth, ...] = Field(
        1.0, description="the app's first choice for samples that look best: one, or one per level of latents"
    )
    typical_bits: tuple[float, float] | None = Field(
        None,
        description="validation bits/dim, 1% and 99% quantile over frames; far outside is unlike the data",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.temperature == ():
            raise ValueError("temperature needs one number, or one per level of latents")
        if self.min_context > self.context:
            raise ValueError(f"min_context {self.min_context} exceeds context {self.context}")
        if self.values == "transitions" and self.history is None:
            raise ValueError(
                "values 'transitions' needs a history section: each frame is coded given the one before"
            )
        if self.motion is not None and self.history is None:
            raise ValueError("motion needs a history section: the moved frame joins the past frames")
        if self.foresight is not None:
            self._check_foresight(self.foresight)
        if self.noise == "anchored" and self.values == "scaled":
            raise ValueError("noise 'anchored' needs values 'counts' or 'transitions'")
        if self.history is not None and len(self.history.hidden) != self.glow.levels:
            raise ValueError("history.hidden needs one entry per level")
        return self

    def _check_foresight(self, foresight: FramePredictorConfig) -> None:
        if self.history is None or self.motion is not None:
            raise ValueError("foresight needs a history section, and takes the place of motion")
        levels = len(foresight.hidden)
        if not 1 <= levels <= self.glow.levels or max(foresight.hidden) > 512:
            raise ValueError(
                "foresight.hidden needs 1 to 512 channels per level, and no more levels than glow"
            )


class DigitsConfig(Config):
    """Class-conditional flow of small grey pictures: a Glow whose couplings and priors see the label."""

    kind: Literal["digits"] = "digits"
    glow: GlowConfig = GlowConfig(channels=1, height=28, width=28, depth=(6, 10), hidden=(64, 96))
    classes: int = Field(10, ge=2, le=1000)
    condition: tuple[Count, ...] = Field(
        (16, 32), description="features of the label per level, fine to coarse"
    )
    noise: Noise = "anchored"
    values: Literal["scaled", "positions"] = Field(
        "positions", description="elementwise map: x/256 - ½, or the CDF of value counts at each position"
    )
    temperature: float = Field(1.0, ge=0, le=2, description="the app's first choice")
    typical_bits: tuple[float, float] | None = Field(None, description="validation bits/dim, 1% and 99%")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.condition) != self.glow.levels or min(self.condition) < 1:
            raise ValueError("condition needs one positive entry per level")
        if self.noise == "anchored" and self.values == "scaled":
            raise ValueError("noise 'anchored' needs values 'positions'")
        return self


class ColorizerConfig(Config):
    """Colours given lightness: a wavelet flow over the ab planes of Lab (Ardizzone et al. 2019; Yu 2020).

    ``glow`` gives size, steps and widths per wavelet level; ``condition`` the features of L, whose first
    entry is at L's half size, the planes' own, and the others at the levels below it.
    """

    kind: Literal["colorizer"] = "colorizer"
    glow: GlowConfig = GlowConfig(
        channels=2, height=32, width=32, depth=(4, 4, 4, 4, 4), hidden=(48, 64, 64, 64, 64)
    )
    condition: EncoderConfig = EncoderConfig(hidden=(32, 48, 64, 96, 96, 96), blocks=2)
    backbone: bool = Field(
        False, description="a network of L that was made to tell things apart is asked as well"
    )
    outline: tuple[Count, ...] | None = Field(
        None, description="colours are coded against what is expected of them: channels, fine to coarse"
    )
    mirror: bool = Field(False, description="what is expected is asked of the mirror image as well: the mean")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of L's features left out in training")
    noise: Literal["uniform", "learned"] = "uniform"
    temperature: Warmth | tuple[Warmth, ...] = Field(
        1.0, description="the app's first choice: one, or one per level of latents"
    )
    typical_bits: tuple[float, float] | None = Field(None, description="validation bits/dim, 1% and 99%")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.glow.channels != 2:
            raise ValueError("glow.channels must be 2: the planes a and b")
        if len(self.condition.hidden) != self.glow.levels + 1:
            raise ValueError("condition.hidden needs an entry for the planes' size and one per level")
        if isinstance(self.temperature, tuple) and len(self.temperature) != self.glow.levels + 1:
            raise ValueError("temperature needs one number, or one per level and one for the mean colour")
        if self.backbone and (self.glow.height % 8 or self.glow.width % 8):
            raise ValueError("backbone needs glow.height and glow.width to be multiples of 8")
        if self.mirror and self.outline is None:
            raise ValueError("mirror needs an outline: it is what is asked of the mirror image")
        if self.outline is not None and not 1 <= len(self.outline) <= self.glow.levels:
            raise ValueError("outline needs channels for 1 level or more, and no more levels than glow")
        return self


def _kind_of(value: Any) -> str:
    kind = value.get("kind", "videoflow") if isinstance(value, dict) else getattr(value, "kind", "videoflow")
    return str(kind)


ModelConfig = Annotated[
    Annotated[VideoFlowConfig, Tag("videoflow")]
    | Annotated[DigitsConfig, Tag("digits")]
    | Annotated[ColorizerConfig, Tag("colorizer")],
    Discriminator(_kind_of),
]
