"""Settings as a file: enough to draw the same pixels again. Written by the app and the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field

from vflow.config import Config, parse
from vflow.errors import ConfigError, InputError
from vflow.pipelines.compute import versions
from vflow.pipelines.predict import PredictSettings

Format = Literal["mp4", "webm", "gif", "png", "npz"]


class Drawn(Config):
    """With what samples were drawn; threads and versions are this process's unless given."""

    checkpoint: str
    checkpoint_hash: str
    num_samples: int = 8
    temperature: float | tuple[float, ...] = 1.0
    seed: int = 0
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int = Field(default_factory=torch.get_num_threads)
    versions: dict[str, str] = Field(default_factory=versions)

    def fields(self) -> dict[str, Any]:
        """All settings that are given, as JSON takes them."""
        return self.model_dump(mode="json", exclude_none=True)

    def identity(self) -> dict[str, Any]:
        """Those on which an item's bytes depend, whatever its checkpoint is called; for manifests."""
        fields = {key: value for key, value in self.fields().items() if key not in ("checkpoint", "versions")}
        return fields | {"torch": self.versions["torch"]}

    def to_json(self) -> str:
        """Text of a settings file."""
        return json.dumps(self.fields(), indent=2) + "\n"

    def differences(self) -> list[str]:
        """Remarks where this process differs from the one recorded, so that bytes may differ."""
        here = versions()
        return [
            f"made with {name} {value}, here {here[name]}: pixels may differ"
            for name, value in self.versions.items()
            if name in ("torch", "machine") and name in here and here[name] != value
        ]


class Record(Drawn):
    """Futures: what was drawn, with what.

    ``context_sha`` is the content hash of the prepared context, where the record is of one item.
    """

    num_frames: int = 10
    context_sha: str | None = None
    format: Format | None = None
    fps: float | None = Field(None, gt=0, le=1000)

    def settings(self) -> PredictSettings:
        """The part that decides what is drawn."""
        return PredictSettings(self.num_frames, self.num_samples, self.temperature, self.seed)


R = TypeVar("R", bound=Drawn)


def read_record(path: Path, kind: type[R]) -> R:
    """Read a settings file that holds a ``kind``.

    Raises:
        InputError: no such file, or not JSON. ConfigError: unknown or missing key, or a value out of range.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; give the settings.json of a download or a run.json"
        ) from error
    except ValueError as error:
        raise InputError(
            f"{path}: not valid JSON; give the settings.json of a download or a run.json"
        ) from error
    try:
        return parse(kind, data, str(path))
    except ConfigError as error:
        raise ConfigError(str(error).replace(" (see 'vflow config NAME' for the known ones)", "")) from error
