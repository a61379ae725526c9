"""Futures of clips, and members of rain forecasts, as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vflow.data import media
from vflow.data.rain import RainSequence, color_rain, read_rain
from vflow.errors import ConfigError
from vflow.pipelines.batch.inputs import Item
from vflow.pipelines.batch.writers import future_writer
from vflow.pipelines.nowcast import Members, check_given, given_frames, iterate_members, nowcast_config
from vflow.pipelines.runner import ShouldStop, Task, never
from vflow.pipelines.video.actions import NO_ACTIONS, actions_of
from vflow.pipelines.video.predict import GROUP, iterate, prepare, sample_groups
from vflow.randomness import content_hash
from vflow.tasks.video.settings import PredictSettings

FAR_OUTSIDE = "far from what the model was trained on; expect poor futures"


def _changed(settings: PredictSettings, given: np.ndarray) -> tuple[str, ...]:
    """A remark where ``given`` frames are not those that the settings name."""
    same = settings.context_sha in (None, content_hash(given))
    return () if same else ("not the input that the settings were made with; futures will differ",)


@dataclass(frozen=True)
class Predict(Task[PredictSettings, Any, Any]):
    """Futures of a clip, frame by frame.

    Attributes:
        batch_size: samples in memory together; the bytes do not depend on it.
        actions: a file of actions, or a folder with one of each clip's name.
    """

    batch_size: int = GROUP
    actions: Path | str | None = None
    unit = "frame"

    def read(self, model: nn.Module, item: Item, settings: PredictSettings) -> Any:
        plan = None if self.actions is None else actions_of(model, Path(self.actions), item.name)
        prepared = prepare(
            model, media.read_frames(item.paths), start=settings.begins, actions=plan,
            num_frames=settings.num_frames,
        )  # fmt: skip
        far = (FAR_OUTSIDE,) if prepared.far_outside else ()
        return replace(prepared, notes=(*prepared.notes, *far, *_changed(settings, prepared.context)))

    def iterate(
        self, model: nn.Module, given: Any, settings: PredictSettings, should_stop: ShouldStop = never
    ) -> Iterator[Any]:
        for samples in sample_groups(settings, self.batch_size):
            yield from iterate(
                model,
                given.context,
                settings,
                samples=samples,
                should_stop=should_stop,
                actions=given.actions,
            )

    def write(self, folder: Path, given: Any, results: Iterable[Any], settings: PredictSettings) -> None:
        with future_writer(folder, settings, given.context) as write:
            for step in results:
                if step.index == settings.num_frames - 1:
                    write(step.first, step.frames)

    def total(self, given: Any, settings: PredictSettings) -> int:
        return settings.num_frames * len(sample_groups(settings, self.batch_size))

    def facts(self, given: Any) -> dict[str, Any]:
        return {"context_sha": content_hash(given.context), "bits_per_dim": given.bits}

    def notes(self, given: Any) -> Sequence[str]:
        notes: Sequence[str] = given.notes
        return notes


@dataclass(frozen=True)
class Radar:
    """Radar frames that a forecast starts from.

    Attributes:
        context: uint8 (n, H, W), newest last. valid: bool (H, W), where radars see.
        rest: frames that really followed, uint8 (T', H, W).
        notes: remarks for people.
    """

    context: np.ndarray
    valid: np.ndarray
    rest: np.ndarray
    notes: tuple[str, ...] = ()
    bits: None = None


class Nowcast(Predict):
    """Members of a rain forecast at the radar's own size.

    ``futures.npz`` also holds ``valid``, bool (H, W): where something is known. Previews have rain's colours.
    """

    unit = "member"

    def read(self, model: nn.Module, item: Item, settings: PredictSettings) -> Radar:
        if self.actions is not None:
            raise ConfigError(NO_ACTIONS)
        return self.start(model, read_rain(item.paths[0]), item.paths[0].name, settings)

    def start(self, model: nn.Module, sequence: RainSequence, name: str, settings: PredictSettings) -> Radar:
        """Frames of a sequence, which errors call ``name``, that a forecast starts from.

        Raises:
            InputError: too few of them, too small ones, or at other times apart.
        """
        config = nowcast_config(model)
        check_given(sequence.frames, config, name)
        sequence.check_minutes(config.minutes, name)
        given, rest = given_frames(sequence.frames, config.context, settings.begins)
        count, used = len(sequence.frames), len(given)
        notes = () if count == used else (f"used {used} of {count} frames",)
        return Radar(given, sequence.valid, rest, (*notes, *_changed(settings, given)))

    def iterate(
        self, model: nn.Module, given: Any, settings: PredictSettings, should_stop: ShouldStop = never
    ) -> Iterator[Members]:
        yield from iterate_members(model, given.context, settings, valid=given.valid, should_stop=should_stop)

    def write(self, folder: Path, given: Any, results: Iterable[Any], settings: PredictSettings) -> None:
        if settings.format == "npz":
            frames = np.concatenate([members.frames for members in results])[..., None]
            arrays = {"frames": frames, "context": given.context[..., None], "valid": given.valid}
            media.write_npz(folder / "futures.npz", **arrays)
            return
        with future_writer(folder, settings, given.context) as write:
            for members in results:
                write(members.first, color_rain(members.frames, given.valid))

    def total(self, given: Any, settings: PredictSettings) -> int:
        return settings.num_samples


PREDICT, NOWCAST = Predict(), Nowcast()
