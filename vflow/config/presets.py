"""Configurations of data and training, and presets: all that one run needs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from vflow.config.base import Config, Decay, parse
from vflow.config.models import ModelConfig, VideoFlowConfig
from vflow.errors import ConfigError


class DataConfig(Config):
    """Where training examples come from."""

    name: Literal["shapes", "moving-digits", "video-folder", "bair", "digits", "photos"] = "shapes"
    path: str | None = None
    frames: int = Field(5, ge=2, le=64, description="frames per training example, context included")
    corruption: float = Field(
        0.0, ge=0, le=1, description="share of training examples whose past frames get stray pixels"
    )
    shift: int = Field(0, ge=0, le=4, description="digits are moved by up to so many pixels in training")

    @model_validator(mode="before")
    @classmethod
    def _rate(cls, values: Any) -> Any:
        """``fps`` was an entry here once, by default null."""
        if isinstance(values, dict) and "fps" in values:
            if values["fps"] is not None:
                raise ValueError("fps: is now model.fps; set that")
            values = {key: value for key, value in values.items() if key != "fps"}
        return values


class BestOfConfig(Config):
    """Besides the likelihood: of a few samples, the best is pulled to the truth (Fan et al. 2017).

    Likelihood hardly sees the coarse levels, a few hundredths of all latents, where people see most.
    """

    guesses: int = Field(8, ge=2, le=64, description="samples per example")
    every: int = Field(4, ge=1, description="one of so many examples is guessed at")
    weight: float = Field(0.5, gt=0, description="of the best sample's error (grey levels) beside bits/dim")
    spread: tuple[float, float] = Field(
        (0.6, 1.5), description="samples vary within at least, and each at most, so much as photos do"
    )


class OutlineConfig(Config):
    """Besides the likelihood: how far pictures are from what the model's ``outline`` expects of them."""

    weight: float = Field(0.5, gt=0, description="of that (root mean square, grey levels) beside bits/dim")
    near: float = Field(4.0, ge=0, description="ab units by which the mean colour that it is told is off")
    alone: bool = Field(False, description="in place of bits/dim: what is seen is learned before the flow is")


class ContrastConfig(Config):
    """Besides the likelihood: how well Bayes' rule tells classes apart (Ardizzone et al. 2020, IB-INN).

    Likelihood alone hardly sees which class a digit is of: 3.3 bits of the hundreds that it takes.
    """

    every: int = Field(16, ge=1, description="one of so many examples is scored under all classes")
    weight: float = Field(0.02, gt=0, description="of the cross-entropy (nats) beside bits/dim")


class EnergyConfig(Config):
    """Besides the likelihood: the energy score of sampled frames, which real samples minimise.

    Likelihood looks from real frames to noise; what noise that no frame gave leads to, it does not see.
    """

    guesses: int = Field(2, ge=2, le=16, description="samples of each clip's last frame")
    weight: float = Field(0.05, gt=0, description="of the score (grey levels) beside bits/dim")


class TrainingConfig(Config):
    """Optimisation. Every random choice is a function of (seed, epoch, example)."""

    batch_size: int = Field(8, ge=1, description="examples per step over all processes and accumulation")
    accumulate: int = Field(1, ge=1)
    max_steps: int = Field(10_000, ge=1)
    optimizer: Literal["adam", "adamax"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    final_rate: float = Field(0.03, ge=0, le=1, description="cosine decay ends at this fraction")
    warmup_steps: int = Field(100, ge=0)
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    adam_eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled, with optimizer 'adam' (AdamW)")
    clip: float | None = Field(1.0, gt=0, description="gradient norm; None: no clipping")
    ema: float = Field(0.998, ge=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = Field(False, description="torch.compile; see docs/PERFORMANCE.md for where it pays")
    actnorm_batch: int = Field(64, ge=1, description="examples for the data-dependent initialisation")
    log_every: int = Field(20, ge=1)
    validate_every: int = Field(500, ge=1)
    validation_examples: int = Field(64, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    seed: int = 0
    only: tuple[str, ...] = Field(
        (), description="parts that are trained, as 'noise' or 'foresight.prior'; none: all but a backbone"
    )
    best_of: BestOfConfig | None = Field(None, description="colorizer only: see BestOfConfig")
    outline: OutlineConfig | None = Field(None, description="colorizer with an outline: see OutlineConfig")
    energy: EnergyConfig | None = Field(None, description="videoflow only: see EnergyConfig")
    contrast: ContrastConfig | None = Field(None, description="digits only: see ContrastConfig")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weight_decay and self.optimizer != "adam":
            raise ValueError("weight_decay needs optimizer 'adam'")
        return self


class Preset(Config):
    """Everything one training run needs: model, data, optimisation, and the result to expect."""

    note: str = ""
    model: ModelConfig = VideoFlowConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.training.best_of and self.model.kind != "colorizer":
            raise ValueError("training.best_of is for models of kind colorizer; remove it")
        if self.training.outline and getattr(self.model, "outline", None) is None:
            raise ValueError("training.outline is for models of kind colorizer with an outline; remove it")
        if self.training.outline and self.training.outline.alone and self.training.best_of:
            raise ValueError("training.outline.alone leaves the flow out; set training.best_of to null")
        if self.training.energy and getattr(self.model, "history", None) is None:
            raise ValueError("training.energy is for models of kind videoflow with a history; remove it")
        if self.training.contrast and self.model.kind != "digits":
            raise ValueError("training.contrast is for models of kind digits; remove it")
        return self


def preset_names() -> list[str]:
    """Names of the presets that ship with vflow."""
    folder = resources.files("vflow") / "presets"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_preset(name_or_file: str, overrides: dict[str, Any] | None = None) -> Preset:
    """Read a preset by name or a YAML file; ``overrides`` maps dotted keys to values.

    Raises:
        ConfigError: unknown name or key, or values out of range; the message names key and fix.
    """
    if name_or_file in preset_names():
        source = resources.files("vflow") / "presets" / f"{name_or_file}.yaml"
    elif Path(name_or_file).is_file():
        source = Path(name_or_file)
    else:
        raise ConfigError(f"{name_or_file}: no such preset or file; presets: {', '.join(preset_names())}")
    try:
        data = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name_or_file}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{name_or_file}: expected sections model, data and training")
    for key, value in (overrides or {}).items():
        _set(data, key, value)
    return parse(Preset, data, name_or_file)


def _set(data: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for key in parents:
        child = data.get(key)
        data[key] = child if isinstance(child, dict) else {}
        data = data[key]
    data[last] = value
