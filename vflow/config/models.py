"""Configurations of models, and their union by ``kind``."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from vflow.config.base import Config, ValidationBits
from vflow.config.codec import ClipCodecConfig, PhotoCodecConfig
from vflow.config.density import DensityConfig

Count = Annotated[int, Field(ge=1, le=2048)]
Depth = Annotated[int, Field(ge=0, le=64)]
Pixels = Annotated[int, Field(ge=0, le=32)]
Warmth = Annotated[float, Field(ge=0, le=2)]
Temperatures = Annotated[
    Annotated[Warmth, Tag("number")] | Annotated[tuple[Warmth, ...], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "number"),
]
Temperature = Annotated[
    Temperatures,
    Field(description="suggested temperature of samples: one, or one per level of latents"),
]
Noise = Literal["uniform", "gaussian", "learned"]


def _require_temperatures(temperature: float | tuple[float, ...], levels: int, beside: str = "") -> None:
    """Raise ValueError unless there is one, or one per level, and one for what is ``beside`` them."""
    count = levels + bool(beside)
    if isinstance(temperature, tuple) and len(temperature) != count:
        also = f" and one for {beside}" if beside else ""
        raise ValueError(f"temperature needs one number, or one per level{also}: {count}")


class FrameConfig(Config):
    """Size of training images."""

    channels: int = Field(default=3, ge=1, le=3)
    height: int = Field(default=64, ge=1, le=1024)
    width: int = Field(default=64, ge=1, le=1024)


class GlowConfig(FrameConfig):
    """Multi-scale Glow of one image: per level squeeze, ``depth`` steps, split (Kingma & Dhariwal 2018)."""

    depth: tuple[Depth, ...] = (8, 8, 8)
    """Flow steps per level, fine to coarse; 0: squeeze and split alone."""
    hidden: tuple[Count, ...] = (128, 128, 128)
    """Conditioner width per level."""
    coupling: Literal["affine", "additive", "mixture"] = "affine"
    mixtures: int = Field(default=4, ge=1, le=32)
    """Components of a mixture coupling."""
    activation: Literal["relu", "gatu"] = "relu"
    start: Literal["random", "haar"] = "random"
    """1×1 convolutions: random rotations, or a Haar transform, whose means pass upward."""
    split: Literal["half", "quarter"] = "half"
    """Share of a level's channels that passes upward: the last half, or the first quarter."""
    memory: Literal["plain", "recompute"] = "plain"
    """Activations: kept for the gradient, or recomputed from outputs by inversion."""

    @property
    def levels(self) -> int:
        return len(self.depth)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 1 <= self.levels <= 8 or len(self.hidden) != self.levels:
            raise ValueError("depth and hidden need one entry per level (1 to 8 levels)")
        step = 2**self.levels
        if self.height % step or self.width % step:
            fits = [max(step, round(s / step) * step) for s in (self.height, self.width)]
            raise ValueError(
                f"{self.height}×{self.width} is not divisible by 2^levels = {step}; "
                f"use height {fits[0]} and width {fits[1]}, or fewer levels"
            )
        return self


class PriorConfig(Config):
    """Temporal prior: a 3-D residual network over the window of past frames, per level."""

    blocks: int = Field(default=1, ge=1, le=32)
    hidden: Count | tuple[Count, ...] = 32
    """Channels of the network: of all levels, or one per level, fine to coarse."""
    dilations: tuple[Count, ...] = (1, 2, 4)

    def hidden_at(self, level: int) -> int:
        """Channels of the network of one level, counted from the finest."""
        return self.hidden[level] if isinstance(self.hidden, tuple) else self.hidden


class LatentPriorConfig(PriorConfig):
    """Temporal prior over past latents, as in the paper."""

    skip: bool = True
    """True if the latent of the frame before is added to the mean."""
    mixtures: int = Field(default=1, ge=1, le=32)
    """Normals whose mixture each element of a latent has."""


def _kind(default: str) -> Discriminator:
    """Discriminator by ``kind``, which may be left out."""

    def kind(value: Any) -> str:
        return str(value.get("kind", default) if isinstance(value, dict) else getattr(value, "kind", default))

    return Discriminator(kind)


class LatticePriorConfig(Config):
    """Prior over the latents of all levels, coded on ever finer lattices given past latents."""

    kind: Literal["lattice"] = "lattice"

    hidden: int = Field(default=64, ge=1, le=2048)
    dilations: tuple[Count, ...] = (1, 2, 1, 2)
    """Dilations of the network's residual blocks."""
    cell: Literal[1, 2, 4, 8] = 4
    """Side of the cells that the network sees, in pixels."""
    step: int = Field(default=4, ge=1, le=8)
    """Pixels from one displacement of the newest latents to the next."""
    radius: int = Field(default=1, ge=0, le=8)
    """Steps by which they are displaced at most, along each axis."""
    reach: int = Field(default=6, ge=0, le=32)
    """Cells around one that vote on its displacement."""
    coarsest: Literal[8, 16, 32, 64] = 32
    """Stride of the first lattice, in pixels."""
    separate: int = Field(default=8, ge=1)
    """On lattices of larger strides the first channel is coded before the others."""

    @property
    def multiple(self) -> int:
        """Number that must divide the sides of frames."""
        return self.cell


class WaveletPriorConfig(Config):
    """Prior over integer wavelets of a frame, coded coarse to fine given past frames."""

    kind: Literal["wavelet"] = "wavelet"
    hidden: tuple[Count, ...] = Field(default=(64, 64, 96, 96, 96), min_length=1, max_length=8)
    """Channels per level, fine to coarse."""
    dilations: tuple[tuple[Count, ...], ...] = ((1, 2, 4, 1), (1, 2, 4, 1), (1, 2, 1), (1, 1), (1, 1))
    """Dilations of each level's residual blocks."""
    encoder: tuple[Count, ...] | None = None
    """Channels per level of features of past frames that all levels share, up from the finest and down again;
    none: a level sees its own wavelets of past frames alone.
    """
    step: int = Field(default=1, ge=1, le=8)
    """Pixels from one displacement of the newest frame to the next."""
    radius: int = Field(default=3, ge=0, le=8)
    """Steps by which it is displaced at most, along each axis."""
    far: tuple[Pixels, Pixels] = (0, 0)
    """Rows and columns by which it is displaced as well, beyond the radius."""
    extrapolated: bool = False
    """The newest frame, moved on along its optical flow, is among the displaced ones; needs frames of 16×16
    pixels or more.
    """
    reach: int = Field(default=2, ge=0, le=32)
    """Blocks around one that vote on its displacement."""
    parts: int = Field(default=8, ge=2)
    """Blocks of so many pixels a side and more go in four parts, as the means do."""
    unit: float = Field(default=8.0, gt=0, le=256)
    """Unit of latents in the network, in grey levels."""
    components: int = Field(default=3, ge=1, le=16)
    """Components of a mixture around the mean."""

    @property
    def levels(self) -> int:
        return len(self.hidden)

    @property
    def multiple(self) -> int:
        """Number that must divide the sides of frames."""
        return 2**self.levels

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if len(self.dilations) != self.levels:
            raise ValueError("prior.dilations needs one entry per level, as prior.hidden has")
        if self.encoder and len(self.encoder) != self.levels:
            raise ValueError("prior.encoder needs one entry per level, as prior.hidden has")
        return self


class ActionsConfig(Config):
    """Numbers that come with each frame of a clip, and the network that reads them."""

    size: int = Field(ge=1, le=1024)
    """Numbers to a frame."""
    names: tuple[str, ...] = ()
    """Their names, with their units."""
    hidden: Count = 128
    """Units of its two hidden layers."""
    channels: Count = 32
    """Features that each level sees of them."""
    grid: int = Field(default=8, ge=1, le=64)
    """Rows and columns of cells that have such features."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if len(self.names) not in (0, self.size):
            raise ValueError(f"actions.names has {len(self.names)} entries; give none, or {self.size}")
        return self


class EncoderConfig(Config):
    """Pyramid of features of an image, for couplings and priors."""

    hidden: tuple[Count, ...] = (48, 64, 96)
    """Channels per level, fine to coarse."""
    blocks: int = Field(default=2, ge=1, le=16)
    """Residual blocks per level."""


class MotionConfig(Config):
    """Reference frame: the last one, displaced as a whole."""

    kind: Literal["motion"] = "motion"
    max_displacement: int = Field(default=5, ge=1, le=8)
    """Pixels per frame along each axis."""


class AugmentationConfig(Config):
    """Augmented dimensions of a frame, from which and the past its reference frame is predicted."""

    size: int = Field(default=16, ge=1, le=256)
    """Numbers per frame that a network reads from it."""
    hidden: tuple[Count, ...] = (16, 32, 48)
    """Channels per level, fine to coarse."""
    weight: float = Field(default=0.1, gt=0)
    """Nats per grey level of the prediction's error, in training."""
    num_parts: int = Field(default=0, ge=0, le=8)
    """Parts of the last frame, each displaced as a whole."""
    max_displacement: int = Field(default=5, ge=1, le=8)
    """Pixels per frame of a part, along each axis."""

    @property
    def dimensions(self) -> int:
        """Augmented dimensions in all: velocity changes of parts, then those that a network reads."""
        return 2 * self.num_parts + self.size


class VideoConfig(Config):
    """Entries that all video models have; see its subclasses."""

    family: ClassVar[str] = "videoflow"
    leaves_parts_out: ClassVar[bool] = False
    one_group: ClassVar[bool] = False
    """True if random groups of latents stand for all of a target's in training."""
    beside_levels: ClassVar[str] = ""
    """What is drawn with a temperature of its own, beside the levels of ``glow``."""
    kind: str
    glow: GlowConfig = GlowConfig()
    prior: PriorConfig | LatticePriorConfig | WaveletPriorConfig = PriorConfig()
    context: int = Field(default=2, ge=1, le=16)
    """Window: past frames that the next one may depend on."""
    min_context: int = Field(default=1, ge=1, le=16)
    """Frames needed before the first that is predicted."""
    noise: Noise | Literal["conditional"] = "uniform"
    """Dequantisation q(u | x): uniform or Gaussian in the bin, a learned flow, or a learned Gaussian given
    the frame before as well.
    """
    pixel_map: Literal["scaled", "marginal", "conditional"] = "scaled"
    """Elementwise map: x/256 − ½, CDF of training values, or CDF given the reference pixel."""
    count_exponent: float = Field(default=0.25, gt=0, le=1)
    """Exponent of the counts that the CDF is made from."""
    fps: float = Field(default=10.0, gt=0, le=1000)
    """Frames per second; clips with a rate are resampled."""
    actions: ActionsConfig | None = None
    """Numbers that frames are drawn given; null: none (wavelet priors alone)."""
    temperature: Temperature = 1.0
    validation_bits: ValidationBits = None

    @property
    def augmented(self) -> int:
        """Augmented dimensions of a frame."""
        return 0

    def keeps_size(self, height: int, width: int) -> bool:
        """True if frames of this size are taken as they are, although the model saw others."""
        return False

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require_temperatures(self.temperature, self.glow.levels, self.beside_levels)
        widths = self.prior.hidden if isinstance(self.prior, PriorConfig) else ()
        if isinstance(widths, tuple) and len(widths) not in (0, self.glow.levels):
            raise ValueError(f"prior.hidden needs one number, or one per level: {self.glow.levels}")
        if self.min_context > self.context:
            raise ValueError(f"min_context {self.min_context} exceeds context {self.context}")
        if self.actions and not isinstance(self.prior, WaveletPriorConfig):
            raise ValueError("actions: only a wavelet prior sees them; set prior.kind to wavelet")
        return self


class ConvolutionalVideoConfig(VideoConfig):
    """Entries of video models that may take frames of any size."""

    largest_side: int = Field(default=0, ge=0, le=1024)
    """Frames from the trained size up to so many pixels a side keep their size; 0: none do."""

    def keeps_size(self, height: int, width: int) -> bool:
        sides, trained = (height, width), (self.glow.height, self.glow.width)
        return all(low <= side <= self.largest_side for low, side in zip(trained, sides, strict=True))


class VideoFlowConfig(ConvolutionalVideoConfig):
    """VideoFlow: a Glow per frame and an autoregressive prior over its latents (Kumar et al. 2020)."""

    kind: Literal["videoflow"] = "videoflow"
    prior: LatentPriorConfig = LatentPriorConfig()
    pixel_map: Literal["scaled", "marginal"] = "scaled"
    """Elementwise map: x/256 − ½, or the CDF of training values."""


class LatticeVideoFlowConfig(ConvolutionalVideoConfig):
    """A VideoFlow whose prior codes all latents group by group given past frames, with exact masses."""

    one_group: ClassVar[bool] = True
    kind: Literal["lattice_videoflow"] = "lattice_videoflow"
    glow: GlowConfig = GlowConfig(depth=(0, 0, 0, 0), hidden=(1, 1, 1, 1), split="quarter")
    prior: Annotated[
        Annotated[LatticePriorConfig, Tag("lattice")] | Annotated[WaveletPriorConfig, Tag("wavelet")],
        _kind("lattice"),
    ] = LatticePriorConfig()
    noise: Literal["uniform"] = "uniform"
    """Dequantisation where a frame is encoded with noise; the likelihood is exact without."""
    pixel_map: Literal["marginal"] = "marginal"
    """Elementwise map of a lattice prior; wavelets are of grey levels."""

    @model_validator(mode="after")
    def _check_cells(self) -> Self:
        if any(self.glow.depth):
            raise ValueError("glow.depth needs zeros: latents must be pixels for an exact likelihood")
        multiple = self.prior.multiple
        if self.glow.height % multiple or self.glow.width % multiple:
            raise ValueError(
                f"glow.height and glow.width need to be multiples of {multiple}: prior.cell, or 2 for each "
                "level of wavelets, multiplied"
            )
        return self


class FrameEncodingConfig(VideoConfig):
    """Entries of video models whose couplings and prior see features of past frames."""

    noise: Noise = "uniform"
    """Dequantisation, without what sees the frame before."""
    prior: PriorConfig = PriorConfig()
    encoder: EncoderConfig = EncoderConfig()
    """Features of past frames, one entry per level."""

    @model_validator(mode="after")
    def _check_encoder(self) -> Self:
        if len(self.encoder.hidden) != self.glow.levels:
            raise ValueError("encoder.hidden needs one entry per level")
        return self


class FrameConditionedConfig(FrameEncodingConfig):
    """A VideoFlow whose couplings and prior see past frames instead of past latents."""

    kind: Literal["frame_conditioned_videoflow"] = "frame_conditioned_videoflow"


class ReferenceVideoFlowConfig(FrameEncodingConfig):
    """A frame-conditioned VideoFlow that codes each frame against a reference frame."""

    beside_levels: ClassVar[str] = "the reference frame"
    kind: Literal["reference_videoflow"] = "reference_videoflow"
    reference: MotionConfig = MotionConfig()


class AugmentedVideoFlowConfig(FrameEncodingConfig):
    """A frame-conditioned VideoFlow with augmented dimensions, which lead to a predicted reference frame."""

    beside_levels: ClassVar[str] = "the augmented dimensions"
    kind: Literal["augmented_videoflow"] = "augmented_videoflow"
    augmentation: AugmentationConfig = AugmentationConfig()

    @property
    def augmented(self) -> int:
        return self.augmentation.dimensions

    @model_validator(mode="after")
    def _check_augmentation(self) -> Self:
        hidden = self.augmentation.hidden
        if not 1 <= len(hidden) <= self.glow.levels or max(hidden) > 512:
            raise ValueError(
                "augmentation.hidden needs 1 to 512 channels per level, and no more levels than glow"
            )
        return self


class ClassConditionalConfig(Config):
    """Entries of class-conditional flows of small grey images; see its subclasses."""

    family: ClassVar[str] = "digits"
    leaves_parts_out: ClassVar[bool] = False
    rows: ClassVar[int] = 8  # digits of a chunk
    kind: str
    glow: FrameConfig
    classes: int = Field(default=10, ge=1, le=1000)
    """Number of classes; 1: none are told apart."""
    noise: Noise = "learned"
    pixel_map: Literal["scaled", "per_pixel"] = "per_pixel"
    """Elementwise map: x/256 − ½, or the CDF of training values at each position."""
    temperature: float = Field(default=1.0, ge=0, le=2)
    """Suggested temperature of samples."""
    validation_bits: ValidationBits = None

    @property
    def uses_batch_statistics(self) -> bool:
        """True if a layer normalises by the batch, which gradient accumulation would cut in parts."""
        return False


class DigitsConfig(ClassConditionalConfig):
    """Class-conditional flow of small grey images: a Glow whose couplings and priors see the label."""

    kind: Literal["digits"] = "digits"
    glow: GlowConfig = GlowConfig(channels=1, height=28, width=28, depth=(6, 10), hidden=(64, 96))
    steps: Literal["glow", "realnvp"] = "glow"
    """Flow steps: Glow's, or Real NVP's couplings with checkerboard and channel masks, each with batch norm
    and a residual network with weight norm.
    """
    condition: tuple[Count, ...] = (16, 32)
    """Features of the label per level, fine to coarse."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.condition) != self.glow.levels or min(self.condition) < 1:
            raise ValueError("condition needs one positive entry per level")
        if self.steps == "realnvp" and (self.glow.coupling != "affine" or self.glow.memory != "plain"):
            raise ValueError("steps realnvp needs glow.coupling: affine and glow.memory: plain")
        return self

    @property
    def uses_batch_statistics(self) -> bool:
        return self.steps == "realnvp"


class BlockConfig(Config):
    """Networks of one block, and what they give parameters to."""

    layers: Depth = 2
    """Layers of the causal transformer over patches."""
    hidden: Count = 64
    """Channels of a patch."""
    heads: Count = 4
    head: Annotated[int, Field(ge=0, le=2048)] = 96
    """Units of a masked network for dependence within a patch; 0: there is none."""
    element: Literal["affine", "spline"] = "affine"
    """Function of each number, given those before it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not divisible by heads {self.heads}")
        return self


class PatchFlowConfig(FrameConfig):
    """Blocks of causal transformers over an image's patches, in alternating order."""

    channels: int = Field(default=1, ge=1, le=3)
    height: int = Field(default=28, ge=1, le=1024)
    width: int = Field(default=28, ge=1, le=1024)
    patch: int = Field(default=2, ge=1, le=64)
    """Side of a patch, in pixels."""
    window: int = Field(default=2, ge=0, le=8)
    """Patches around one, of those before it, that enter its token; 0: the last one alone."""
    blocks: tuple[BlockConfig, ...] = Field(default=(BlockConfig(),) * 4, min_length=1, max_length=64)
    """From data to latents."""

    @property
    def levels(self) -> int:
        return 1

    @property
    def depth(self) -> tuple[int, ...]:
        return (len(self.blocks),)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.height % self.patch or self.width % self.patch:
            raise ValueError(f"{self.height}×{self.width} is not divisible into patches of side {self.patch}")
        return self


class TarFlowConfig(ClassConditionalConfig):
    """Class-conditional flow of small grey images: a TarFlow (Zhai et al. 2024)."""

    rows: ClassVar[int] = 32  # a pass for each patch costs little more for many
    kind: Literal["tarflow"] = "tarflow"
    glow: PatchFlowConfig = PatchFlowConfig()
    condition: Count = 32
    """Features of the label at each patch."""
    label_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of training images without their label: for guidance."""
    augmentation: float = Field(default=0.0, ge=0, le=64)
    """Standard deviation of Gaussian noise beyond the bin, in place of noise, in grey levels."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.augmentation and self.pixel_map != "scaled":
            raise ValueError("augmentation leads beyond grey levels: it needs pixel_map: scaled")
        return self


class LevelNetConfig(Config):
    """Networks that predict a wavelet level's details given features and what coarser levels have drawn."""

    hidden: tuple[Count, ...] = (64, 96, 128, 128, 128, 128)
    """Channels per level, fine to coarse, and of the mean colour."""
    blocks: int = Field(default=1, ge=1, le=16)
    """Residual blocks per level."""
    attention: int = Field(default=8, ge=0, le=32)
    """Largest side of grids with self-attention; 0: none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(width % 4 for width in self.hidden):
            raise ValueError("level_net.hidden needs multiples of 4, the heads of attention")
        return self


class ColorizerConfig(Config):
    """Colours given lightness: a wavelet flow over the ab planes of Lab (Ardizzone et al. 2019; Yu 2020).

    ``glow`` gives size, steps and widths per wavelet level; ``condition`` the features of L, whose first
    entry is at L's half size, the planes' own, and the others at the levels below it.
    """

    family: ClassVar[str] = "colorizer"
    leaves_parts_out: ClassVar[bool] = False
    kind: Literal["colorizer"] = "colorizer"
    glow: GlowConfig = GlowConfig(
        channels=2, height=32, width=32, depth=(4, 4, 4, 4, 4), hidden=(48, 64, 64, 64, 64)
    )
    condition: EncoderConfig = EncoderConfig(hidden=(32, 48, 64, 96, 96, 96), blocks=2)
    backbone: bool = False
    """Features of a pretrained EfficientNet-Lite0 join those of L."""
    color_mean: tuple[Count, ...] | None = None
    """A predicted mean is subtracted from the colours: channels per level, fine to coarse."""
    level_net: LevelNetConfig | None = None
    """Means and scales of each level's details are predicted given the levels above."""
    flip_tta: bool = False
    """Color_mean is averaged over the photo and its mirror image (test-time augmentation)."""
    scale_tta: bool = False
    """The backbone sees the photo at twice the resolution of L as well, and the mean of both views' features
    is taken (test-time augmentation).
    """
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of L's feature maps dropped in training."""
    noise: Literal["uniform", "learned"] = "uniform"
    temperature: Temperature = 1.0
    vividness: float = Field(default=1.2, ge=0, le=10)
    """The first colouring is near the mean of all, its colours times this."""
    validation_bits: ValidationBits = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.glow.channels != 2:
            raise ValueError("glow.channels must be 2: the planes a and b")
        if len(self.condition.hidden) != self.glow.levels + 1:
            raise ValueError("condition.hidden needs an entry for the planes' size and one per level")
        _require_temperatures(self.temperature, self.glow.levels, "the mean colour")
        if self.backbone and (self.glow.height % 8 or self.glow.width % 8):
            raise ValueError("backbone needs glow.height and glow.width to be multiples of 8")
        if self.level_net and len(self.level_net.hidden) != self.glow.levels + 1:
            raise ValueError("level_net.hidden needs an entry per level and one for the mean colour")
        if self.flip_tta and self.color_mean is None:
            raise ValueError("flip_tta needs color_mean: it is what is averaged")
        if self.scale_tta and not self.backbone:
            raise ValueError("scale_tta needs backbone: its features are averaged")
        if self.color_mean is not None and not 1 <= len(self.color_mean) <= self.glow.levels:
            raise ValueError("color_mean needs channels for 1 level or more, and no more levels than glow")
        return self


class SuperResolutionConfig(Config):
    """Details of a photo given the means of its 2×2 blocks: a conditional flow (Winkler et al. 2019).

    ``glow`` gives the size of training crops and, in its one level, the flow's steps and width.
    """

    family: ClassVar[str] = "super_resolution"
    leaves_parts_out: ClassVar[bool] = False
    kind: Literal["super_resolution"] = "super_resolution"
    glow: GlowConfig = GlowConfig(height=64, width=64, depth=(4,), hidden=(32,))
    condition: EncoderConfig = EncoderConfig(hidden=(48,), blocks=4)
    """Residual network over the small photo."""
    features: Count = 16
    """Channels of the condition that couplings and prior see."""
    conditioned: bool = True
    """False: all parts see zeros in place of the small photo, to measure what it tells."""
    temperature: Temperature = 1.0
    interval: float | None = Field(default=None, gt=0)
    """R of a pixel's 90% interval m ± r s, m the mean of eight variants, s their deviation."""
    validation_bits: ValidationBits = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.glow.channels != 3:
            raise ValueError("glow.channels must be 3: red, green and blue")
        if self.glow.levels != 1 or len(self.condition.hidden) != 1:
            raise ValueError("glow.depth, glow.hidden and condition.hidden need one entry: the model doubles")
        if isinstance(self.temperature, tuple) and len(self.temperature) != 1:
            raise ValueError("temperature needs one number")
        return self


RAIN_LOG_MAXIMUM = math.log(101.0)
"""ln(1 + R) at grey level 255 of a radar frame: R = 100 mm/h."""


class FrameStackConfig(GlowConfig):
    """Multi-scale flow of several grey frames, which are the channels of one picture."""

    channels: int = Field(default=6, ge=2, le=32)
    height: int = Field(default=128, ge=1, le=1024)
    width: int = Field(default=128, ge=1, le=1024)
    depth: tuple[Count, ...] = (1, 2, 2, 3, 3)
    """Flow steps per level, fine to coarse."""
    hidden: tuple[Count, ...] = (24, 32, 48, 48, 48)
    """Conditioner width per level."""


class NowcastConfig(Config):
    """Flow over the next frames of a rain radar, given the last ones; they are channels of one picture.

    ``glow`` gives frames ahead (channels), training window, steps and widths per wavelet level; the model
    takes any size that 2^levels divides.
    """

    family: ClassVar[str] = "nowcast"
    leaves_parts_out: ClassVar[bool] = False
    kind: Literal["nowcast"] = "nowcast"
    glow: FrameStackConfig = FrameStackConfig()
    context: int = Field(default=4, ge=2, le=16)
    """Given frames."""
    minutes: float = Field(default=5.0, gt=0)
    """Between frames."""
    fps: float = Field(default=4.0, gt=0, le=1000)
    """Frames per second of previews."""
    condition: EncoderConfig = EncoderConfig(hidden=(32, 48, 64, 64, 64), blocks=1)
    features: tuple[Count, ...] = (16, 24, 32, 32, 32)
    """Channels that couplings and priors see of the condition, per level."""
    noise_hidden: Count = 32
    bound_radius: int = Field(default=0, ge=0, le=256)
    """Pixels around one within which the given frames' highest rate bounds that of samples; 0: there is no
    bound.
    """
    temperature: Temperature = 1.0
    validation_bits: ValidationBits = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if {len(self.condition.hidden), len(self.features)} != {self.glow.levels}:
            raise ValueError("condition.hidden and features need one entry per level")
        _require_temperatures(self.temperature, self.glow.levels, "the coarsest mean")
        return self


ModelConfig = Annotated[
    Annotated[VideoFlowConfig, Tag("videoflow")]
    | Annotated[LatticeVideoFlowConfig, Tag("lattice_videoflow")]
    | Annotated[FrameConditionedConfig, Tag("frame_conditioned_videoflow")]
    | Annotated[ReferenceVideoFlowConfig, Tag("reference_videoflow")]
    | Annotated[AugmentedVideoFlowConfig, Tag("augmented_videoflow")]
    | Annotated[DigitsConfig, Tag("digits")]
    | Annotated[TarFlowConfig, Tag("tarflow")]
    | Annotated[ColorizerConfig, Tag("colorizer")]
    | Annotated[SuperResolutionConfig, Tag("super_resolution")]
    | Annotated[NowcastConfig, Tag("nowcast")]
    | Annotated[DensityConfig, Tag("density")]
    | Annotated[PhotoCodecConfig, Tag("photo_codec")]
    | Annotated[ClipCodecConfig, Tag("clip_codec")],
    _kind("videoflow"),
]
"""Configurations of models. Each has ``family``, and ``leaves_parts_out``: True if a process's share of a
batch may give no gradient to some weights."""
