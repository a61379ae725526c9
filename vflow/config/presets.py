"""Configurations of data and training, and presets: all that one run needs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from vflow.config.base import Config, Decay, Seed, parse
from vflow.config.density import DensityConfig
from vflow.config.models import ClassConditionalConfig, ModelConfig, NowcastConfig, VideoFlowConfig
from vflow.disk import parse_yaml
from vflow.errors import ConfigError

_log = logging.getLogger(__name__)


class DataConfig(Config):
    """Data set of the training examples."""

    name: Literal[
        "shapes", "moving-digits", "moving-photos", "video-folder", "bair", "digits", "photos", "rain",
        "points",
    ] = "shapes"  # fmt: skip
    path: str | None = None
    """Folder; points: a file, or a density's or an energy's name."""
    frames: int = Field(default=5, ge=2, le=64)
    """Frames per training example, context included."""
    corruption: float = Field(default=0.0, ge=0, le=1)
    """Share of training examples whose past frames get stray pixels."""
    action_dropout: float = Field(default=0.25, ge=0, le=1)
    """Share of the examples that come without their actions."""
    drop_missing: bool = False
    """Points: True if rows with missing cells are left out."""
    held_out_files: int | None = Field(default=None, ge=1)
    """Clips kept for validation; null: 5%."""
    held_out_events: tuple[str, ...] = ()
    """Rain: files kept for validation, without .npz."""
    crop: bool = True
    """Photos are cut at random in training; false: their central squares, as they are."""
    shift: int = Field(default=0, ge=0, le=4)
    """Digits are moved by up to so many pixels in training."""


class AuxiliaryLossConfig(Config):
    """Settings common to the losses beside the likelihood, which are for models of one family."""

    family: ClassVar[str]
    models: ClassVar[str]
    """Models that it is for, in words."""

    start: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps before it counts: at first it may outweigh bits/dim."""

    def suits(self, model: ModelConfig) -> bool:
        """True if the model can be trained with it."""
        return model.family == self.family


class BestOfConfig(AuxiliaryLossConfig):
    """Best-of-N loss: the nearest of N samples of an example is pulled to the truth (Fan et al. 2017, 4.3).

    Likelihood hardly weighs the coarse levels, a few hundredths of all latents, where people look most.
    """

    family: ClassVar[str] = "colorizer"
    models: ClassVar[str] = "a colorizer"
    kind: Literal["best_of"] = "best_of"
    num_samples: int = Field(default=8, ge=2, le=64)
    """Samples per example."""
    subsample: int = Field(default=4, ge=1)
    """One in so many examples takes part."""
    weight: float = Field(default=0.5, gt=0)
    """Weight of the best sample's error (grey levels) beside bits/dim."""
    std_bounds: tuple[float, float] = (0.6, 1.5)
    """Spread of samples: at least, and each at most, so much of the photos' own."""


class ColorMeanLossConfig(AuxiliaryLossConfig):
    """Error of the colour mean (``model.color_mean``): root mean square in grey levels."""

    family: ClassVar[str] = "colorizer"
    models: ClassVar[str] = "a colorizer with color_mean"
    kind: Literal["color_mean"] = "color_mean"
    weight: float = Field(default=0.5, gt=0)
    """Weight of the error beside bits/dim."""
    mean_noise: float = Field(default=4.0, ge=0)
    """Units of a and b of the noise on the mean colour it is given."""
    pretrain_only: bool = False
    """True to train on this error alone, without the likelihood."""

    def suits(self, model: ModelConfig) -> bool:
        return model.kind == "colorizer" and model.color_mean is not None


class DetailMeanConfig(AuxiliaryLossConfig):
    """Error of the predicted details (super-resolution): root mean square in grey levels.

    Likelihood weighs errors by their certainty, so it hardly asks for the mean where there is texture.
    """

    family: ClassVar[str] = "super_resolution"
    models: ClassVar[str] = "super_resolution"
    kind: Literal["detail_mean"] = "detail_mean"
    weight: float = Field(default=0.1, gt=0)
    """Weight of the error beside bits/dim."""


class ClassificationConfig(AuxiliaryLossConfig):
    """Cross-entropy of the Bayes classifier p(y | x) ∝ p(x | y) (Ardizzone et al. 2020, IB-INN).

    Likelihood alone hardly weighs which class a digit is of: 3.3 bits of the hundreds it costs.
    """

    family: ClassVar[str] = "digits"
    models: ClassVar[str] = "digits"
    kind: Literal["classification"] = "classification"
    subsample: int = Field(default=16, ge=1)
    """One in so many examples is scored under all classes."""
    weight: float = Field(default=0.02, gt=0)
    """Weight of the cross-entropy (nats) beside bits/dim."""


class EnergyScoreConfig(AuxiliaryLossConfig):
    """Energy score of sampled frames (Gneiting & Raftery 2007, 4.3): least where they are like real ones."""

    family: ClassVar[str] = "videoflow"
    models: ClassVar[str] = "a video model other than lattice_videoflow, whose draws have no gradient"
    kind: Literal["energy_score"] = "energy_score"
    num_samples: int = Field(default=2, ge=2, le=16)
    """Samples of each clip's last frame."""
    weight: float = Field(default=0.05, gt=0)
    """Weight of the score (grey levels) beside bits/dim."""

    def suits(self, model: ModelConfig) -> bool:
        return model.family == "videoflow" and model.kind != "lattice_videoflow"


class CrpsConfig(AuxiliaryLossConfig):
    """CRPS, the continuous ranked probability score, of sampled rain (Gneiting & Raftery 2007, 4.2)."""

    family: ClassVar[str] = "nowcast"
    models: ClassVar[str] = "a nowcast"
    kind: Literal["crps"] = "crps"
    num_samples: int = Field(default=2, ge=2, le=16)
    """Members per example."""
    weight: float = Field(default=8.0, gt=0)
    """Weight of the score (mm/h) beside bits/dim."""
    log_weight: float = Field(default=0.2, ge=0)
    """Weight of the score of log rain beside that of mm/h."""
    scales: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 4, 16, 64), min_length=1)
    """Sides of squares whose means are scored."""
    subsample: int = Field(default=4, ge=1)
    """Bits/dim are those of one in so many examples: it costs less."""


LossConfig = Annotated[
    BestOfConfig
    | ColorMeanLossConfig
    | DetailMeanConfig
    | ClassificationConfig
    | EnergyScoreConfig
    | CrpsConfig,
    Field(discriminator="kind"),
]


class TrainingConfig(Config):
    """Optimisation. Every random choice is a function of (seed, epoch, example)."""

    batch_size: int = Field(default=8, ge=1)
    """Examples per step over all processes and accumulation."""
    accumulate: int = Field(default=1, ge=1)
    max_steps: int = Field(default=10_000, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    min_lr_ratio: float = Field(default=0.03, ge=0, le=1)
    """Share of the rate at which the cosine ends."""
    warmup_steps: int = Field(default=100, ge=0)
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    adam_eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decoupled weight decay (AdamW)."""
    grad_clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient; None: no clipping."""
    ema: float = Field(default=0.998, ge=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    """True for ``torch.compile``; does not pay on CPUs (docs/PERFORMANCE.md)."""
    actnorm_batch: int = Field(default=64, ge=1)
    """Examples for the data-dependent initialisation."""
    log_every: int = Field(default=20, ge=1)
    validate_every: int = Field(default=500, ge=1)
    validation_examples: int = Field(default=64, ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    seed: Seed = 0
    cache_features: bool = False
    """A frozen backbone sees each image once; its features are kept in VFLOW_CACHE."""
    backbone_weights: str | None = None
    """Safetensors file of the backbone's weights (scripts/convert_backbone.py)."""
    patience: int | None = Field(default=None, ge=1)
    """Validations without a better one after which a run ends, with its best weights; null: it ends at
    max_steps, with the last.
    """
    input_noise: float = Field(default=0.0, ge=0, le=1)
    """Points: noise on training rows, as a share of their covariance's root."""
    refit: bool = False
    """Points: once patience has found the best step, train as long again on all rows."""
    trainable: tuple[str, ...] = ()
    """Parts to train, such as 'dequantizer'; none: all but a backbone."""
    losses: tuple[LossConfig, ...] = ()
    """Auxiliary losses, added to bits/dim."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [loss.kind for loss in self.losses]
        if len(set(kinds)) < len(kinds):
            raise ValueError("losses: list each kind once only")
        if any(loss.kind == "color_mean" and loss.pretrain_only for loss in self.losses):
            if len(kinds) > 1:
                raise ValueError("losses: color_mean with pretrain_only must be the only one")
            if self.losses[0].start:
                raise ValueError(
                    "losses: color_mean with pretrain_only counts from the first step; remove start"
                )
        return self


DENSITY_DEFAULTS: dict[str, dict[str, Any]] = {
    "data": {"name": "points", "path": "two-moons"},
    "training": {
        "batch_size": 512,
        "max_steps": 4000,
        "learning_rate": 2e-3,
        "grad_clip_norm": 5.0,
        "actnorm_batch": 2000,
        "precision": "float32",
        "log_every": 50,
        "checkpoint_every": 1000,
        "validation_examples": 20_000,
    },
}


class Preset(Config):
    """Everything one training run needs: model, data, optimisation, and the result to expect."""

    note: str = ""
    model: ModelConfig = VideoFlowConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="before")
    @classmethod
    def _density_defaults(cls, data: Any) -> Any:
        """Defaults of data and training that suit a density of vectors, where its preset says nothing."""
        model = data.get("model") if isinstance(data, dict) else None
        kind = model.get("kind") if isinstance(model, dict) else getattr(model, "kind", None)
        if kind != "density":
            return data
        for section, defaults in DENSITY_DEFAULTS.items():
            if isinstance(given := data.get(section, {}), dict):
                data = {**data, section: defaults | given}
        return data

    @model_validator(mode="after")
    def _check_losses(self) -> Self:
        for loss in self.training.losses:
            if not loss.suits(self.model):
                raise ValueError(f"training.losses: {loss.kind} is for {loss.models}; remove it")
            if isinstance(loss, CrpsConfig) and isinstance(self.model, NowcastConfig):
                side = min(self.model.glow.height, self.model.glow.width)
                if max(loss.scales) > side:
                    raise ValueError(
                        f"training.losses: scales of crps exceed the window's side {side}; lower them"
                    )
        return self

    @model_validator(mode="after")
    def _check_backbone(self) -> Self:
        """Settings of a frozen backbone, its weights and the cache of its features."""
        training, model = self.training, self.model
        has_backbone = model.kind == "colorizer" and model.backbone
        if training.cache_features:
            if not has_backbone or self.data.crop:
                raise ValueError(
                    "training.cache_features needs a colorizer with backbone, and data.crop: false"
                )
            if model.kind == "colorizer" and model.flip_tta:
                raise ValueError(
                    "training.cache_features keeps no mirror images; train without model.flip_tta, "
                    "which a recipe's export.set adds"
                )
            if trained := [part for part in training.trainable if part.split(".")[0] == "backbone"]:
                raise ValueError(
                    "training.cache_features is for a frozen backbone; "
                    f"take {trained[0]} out of training.trainable"
                )
        if training.backbone_weights and not has_backbone:
            raise ValueError("training.backbone_weights needs a colorizer with backbone")
        return self

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        model = self.model
        if self.data.corruption and (model.family != "videoflow" or model.kind == "videoflow"):
            raise ValueError(f"data.corruption is of past frames, and {model.kind} sees none; set it to 0")
        has_batch_norm = (
            isinstance(model, DensityConfig | ClassConditionalConfig) and model.uses_batch_statistics
        )
        if has_batch_norm and self.training.accumulate > 1:
            raise ValueError("training.accumulate: batch norm needs the whole batch at once; set it to 1")
        return self


KNOWN_KEYS = "see 'vflow config NAME' for the known ones"


RENAMED = {"shapes-lattice": "shapes", "shapes-small": "shapes-guided", "push-small": "push"}
"""Earlier name of a preset → its name, that of the checkpoint it trains."""


def preset_names() -> list[str]:
    """Names of the presets that ship with vflow."""
    return sorted(named_files("presets"))


def load_preset(
    name_or_file: str, overrides: dict[str, Any] | None = None, settings: Mapping[str, str] | None = None
) -> Preset:
    """Preset by name, or from a YAML file; ``overrides`` maps dotted keys to values.

    ``settings`` maps their keys to what the user wrote, for errors: see ``parse``.

    Raises:
        ConfigError: unknown name or key, or values out of range; the message names key and fix.
    """
    data = read_yaml(name_or_file, "presets", "sections model, data and training")
    for key, value in (overrides or {}).items():
        try:
            _set(data, key, value)
        except ConfigError as error:
            raise ConfigError(f"{(settings or {}).get(key, key)}: {error}") from error
    return parse(Preset, data, name_or_file, KNOWN_KEYS, settings)


def named_files(kind: Literal["presets", "recipes"]) -> dict[str, resources.abc.Traversable]:
    """YAML files of ``kind`` that ship with vflow, by name."""
    root = resources.files("vflow") / kind
    folders = [folder for folder in (root, root / "density") if folder.is_dir()]
    files = [file for folder in folders for file in folder.iterdir()]
    return {f.name.removesuffix(".yaml"): f for f in files if f.name.endswith(".yaml")}


def read_yaml(name_or_file: str, kind: Literal["presets", "recipes"], content: str) -> dict[str, Any]:
    """Mapping in a YAML file, shipped or the user's own.

    Raises:
        ConfigError: no such name or file, or not a YAML mapping of ``content``.
    """
    named = named_files(kind)
    if kind == "presets" and name_or_file in RENAMED:
        _log.warning("preset %s is now called %s", name_or_file, RENAMED[name_or_file])
        name_or_file = RENAMED[name_or_file]
    source = named.get(name_or_file) or Path(name_or_file)
    if not source.is_file():
        known = ", ".join(sorted(named))
        raise ConfigError(f"{name_or_file}: no such {kind.removesuffix('s')} or file; {kind}: {known}")
    try:
        data = parse_yaml(source.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{name_or_file}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{name_or_file}: expected {content}")
    return data


def _set(data: Any, dotted: str, value: Any) -> None:
    """Set ``data[a][b]…`` for the dotted key ``a.b…``; an entry of a list is named by its number."""
    key, _, rest = dotted.partition(".")
    place = _place(data, key)
    if not rest:
        data[place] = value
        return
    if not isinstance(data.get(key) if isinstance(data, dict) else data[place], dict | list):
        data[place] = {}
    _set(data[place], rest, value)


def _place(node: Any, key: str) -> Any:
    if not isinstance(node, list):
        return key
    if not key.isdigit() or int(key) >= len(node):
        entries = "entry" if len(node) == 1 else "entries"
        raise ConfigError(f"'{key}' names none of the list's {len(node)} {entries}; give its number, from 0")
    return int(key)
