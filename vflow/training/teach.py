"""Teaching: a video flow fine-tuned on one's own film within minutes, its best weights kept and judged."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from vflow import catalog
from vflow.checkpoint import check_place, load, read_card, read_config, read_statistics, save_checkpoint
from vflow.config import DataConfig, Preset, VideoConfig, parse
from vflow.data import media
from vflow.data.datasets.film import Pieces, divide_film, find_film, measure_film
from vflow.errors import CheckpointError, ConfigError, InputError, counted
from vflow.metrics.video import FIFTH
from vflow.pipelines.common import set_threads, temperature_or_suggested
from vflow.pipelines.evaluate.verdict import judge
from vflow.pipelines.selection import choose
from vflow.training.args import TrainOptions, parse_settings
from vflow.training.commit import check_output, newest_commit
from vflow.training.distributed import make_accelerator
from vflow.training.logging import run_card
from vflow.training.loop import FINISHED, Run, run
from vflow.training.schedule import learning_rate
from vflow.training.setup import check_preset
from vflow.training.step import StepResult
from vflow.training.videos import Videos

MOST_MINUTES = 24 * 60.0
FAMILY = "videoflow"
TARGETS = 4
"""Frames of an example that are predicted."""
TRAINING: dict[str, Any] = {
    "batch_size": 2,
    "max_steps": 10_000_000,
    "learning_rate": 1e-3,
    "min_lr_ratio": 0.02,
    "warmup_steps": 10,
    "grad_clip_norm": 10.0,
    "ema": 0.98,
    "actnorm_batch": 2,
    "log_every": 1,
    "validation_examples": 8,
    "patience": 1_000_000,
}
"""Settings of the run; it ends by the clock, not by steps or patience."""
VALIDATIONS, SHORTEST = 4, 20.0
"""Looks at held-out film in a run, and seconds between them at least."""
JUDGED, LONGEST = 8, 13
"""Held-out clips of a verdict, and their frames, at most."""
JUDGING = 0.2
"""Share of the minutes that the verdict's futures may take on top."""
LOOKED_AT = 8
"""Clips that the choice of a checkpoint looks at."""
NICE = 10


class Teaching(Run):
    """A run that ends after some minutes, its learning rate falling with the time that is left.

    Held-out film is looked at, samples drawn and weights committed by the clock as well; the untaught weights
    count among those that may be best.
    """

    def __init__(
        self,
        options: TrainOptions,
        preset: Preset,
        accelerator: Accelerator,
        data: Videos,
        *,
        minutes: float,
        command: str,
    ) -> None:
        super().__init__(options, preset, accelerator, data)
        self.budget, self.command = 60 * minutes, command
        self.period = max(SHORTEST, self.budget / VALIDATIONS)
        self.looked = self.progress.seconds
        self.due, self.over = False, self.progress.seconds >= self.budget
        self.fresh, self.before = self.progress.step, self.progress.seconds

    def _account(self, result: StepResult, seconds: float) -> None:
        super()._account(result, seconds)
        now = self._seconds()
        step = (now - self.before) / (self.progress.step - self.fresh)
        self.over = now + step / 2 >= self.budget
        self.due = now - self.looked >= self.period
        self.log.expect(self.progress.step + round((self.budget - now) / step))

    def _rate(self) -> float:
        return learning_rate(self.config, self.progress.step, min(1.0, self._seconds() / self.budget))

    def _is_over(self) -> bool:
        return self.over

    def _commit_due(self) -> bool:
        return self.due

    def _validation_due(self) -> bool:
        return self.due

    def _early_due(self) -> bool:
        return self.progress.step == 1

    def _validate_start(self) -> None:
        """Put off to the first validation, so that the first step comes soon."""

    def _validate(self) -> bool:
        if self.progress.best_bits is None and not self.commit:
            assert self.best
            if start := self._score(self.best.model):
                self.progress.best_bits, self.best.bits = start.bits_per_dim, start.bits
                self.log.write({"step": 0, "val_bits_per_dim": start.bits_per_dim})
                self.log.say(f"untaught: validation {self._in_words(start.bits_per_dim, 'bits/dim')}")
        sound = super()._validate()
        self.looked = self._seconds()
        return sound

    def _inspect(self) -> dict[str, object]:
        return dict(self._sample())

    def _note_start(self) -> None:
        if self.commit:
            self.log.say(f"resuming from {self.commit}")
        left = max(0.0, self.budget - self.progress.seconds) / 60
        self.log.say(f"{left:.1f} minutes of training, then the verdict; Ctrl-C keeps the best so far")

    def _card(self, pictures: Iterable[str]) -> str:
        usable = self.data.usable
        return run_card(
            self.options, self.command, self.preset, self.progress, usable, self.accelerator, pictures
        )


def teach(options: TrainOptions, clips: Sequence[Path], minutes: float) -> int:
    """Fine-tune a checkpoint on ``clips`` for ``minutes``; returns the exit code, 0, or 130 if interrupted.

    The run lies in ``options.output``, the taught checkpoint in ``model`` there, beside ``verdict.json``.

    Args:
        options: of them output, resume, init_from (``auto``: what suits the clips), seed, threads, device and
            set count.
        clips: files and folders of film.

    Raises:
        VflowError: a setting or the film cannot be used, or training diverged; one line each.
    """
    if not 0 < minutes <= MOST_MINUTES:
        raise ConfigError(f"minutes must be above 0, {MOST_MINUTES:.0f} at most, not {minutes:g}")
    lower_priority()
    for folder in clips:
        check_output(options.output, DataConfig(name="video-folder", path=str(folder)))
    check_place(options.output / "model")
    seconds = measure_film(find_film(clips), None)
    name = options.init_from or catalog.AUTO
    if name == catalog.AUTO:
        name = choose_start(list(seconds))
    catalog.check_family(name, [FAMILY])
    start = catalog.checkpoint_folder(name, allow_hub=True)
    preset = make_preset(read_config(start), options)
    assert isinstance(preset.model, VideoConfig)
    data = open_film(seconds, preset, preset.model)
    set_threads(options.threads)
    accelerator = make_accelerator(options.device, [preset.model])
    try:
        check_preset(preset, accelerator)
        command = f"vflow teach --checkpoint {Path(name).name} --minutes {minutes:g}"
        options = replace(options, init_from=str(start), keep=1)
        code = run(
            options,
            preset,
            accelerator,
            lambda: Teaching(options, preset, accelerator, data, minutes=minutes, command=command),
        )
    finally:
        accelerator.end_training()
    finish(options.output, name, data, seconds=JUDGING * 60 * minutes if code == FINISHED else 0)
    return code


def lower_priority() -> None:
    """Let others at the machine go first."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(NICE)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def choose_start(paths: Sequence[Path]) -> str:
    """Name of the checkpoint that ships and suits most of the first clips.

    Raises:
        InputError: none of them can be read. CheckpointError: no model suits such clips.
    """
    names, votes, fault = catalog.shipped([FAMILY]), Counter[str](), ""
    for path in paths[:LOOKED_AT]:
        try:
            clip = media.read_clip(path, media.TRAINING_LIMITS, max_frames=LONGEST)
        except InputError as error:
            fault = str(error)
            continue
        votes[choose(clip.frames, "futures", names).name] += 1
    if not votes:
        raise InputError(fault)
    name = votes.most_common(1)[0][0]
    _say(f"{name} is taught, which suits {votes[name]} of the {counted(votes.total(), 'clip')} looked at")
    return name


def make_preset(config: Any, options: TrainOptions) -> Preset:
    """Preset of the run: the checkpoint's model, and ``TRAINING`` changed as ``options`` say."""
    data = {"name": "video-folder", "frames": config.min_context + TARGETS}
    training = TRAINING | ({} if options.seed is None else {"seed": options.seed})
    for key, value in parse_settings(options.set).items():
        section, _, entry = key.partition(".")
        if section != "training":
            raise ConfigError(f"--set {key}: only entries of training, such as training.learning_rate")
        training[entry] = value
    return parse(Preset, {"model": config.model_dump(), "data": data, "training": training}, "teach")


def open_film(seconds: dict[Path, float], preset: Preset, config: VideoConfig) -> Videos:
    """Film to train on and film held out, as the model takes it.

    Raises:
        InputError: too little film, or none of it can be used.
    """
    rate = config.fps or 10.0
    least = (config.context + FIFTH) / rate
    while True:
        parts = divide_film(seconds, least)
        train, held = (Pieces(part, preset.data.frames, config) for part in parts)
        train.example(0, (0, 0))
        try:
            held.example(0, (0, 0))
        except InputError as error:  # of no use: others are held out
            bad = {piece.path for piece in held.skipped}
            seconds = {path: length for path, length in seconds.items() if path not in bad}
            if not seconds:
                raise InputError(f"{error}; give more film") from error
            continue
        break
    glow = config.glow
    film, kept = (sum(part.values()) for part in parts)
    _say(
        f"{counted(len(seconds), 'clip')}: {film:.0f} s to learn from, {kept:.0f} s held out; frames are "
        f"cut to their centre and resized to {glow.width}×{glow.height}, {rate:g} a second"
    )
    seed, temperature = preset.training.seed, temperature_or_suggested(None, config)
    return Videos(train, held, seed, config, preset.data, temperature=temperature, shown=1)


def finish(output: Path, untaught: str, data: Videos, seconds: float) -> None:
    """Export the best weights to ``output/model``, and print the verdict; no futures if ``seconds`` is 0.

    Raises:
        CheckpointError: no intact commit.
    """
    commit = newest_commit(output)
    if commit is None:
        raise CheckpointError(f"{output}: no commit; run vflow teach again")
    source, target = commit / "model", output / "model"
    card, statistics = read_card(source), read_statistics(source)
    model = load(source)
    words = "Verdict: none, the run was stopped; it holds the best weights so far."
    if seconds:
        config = data.config
        need = config.context + FIFTH
        assert isinstance(data.train, Pieces) and isinstance(data.held, Pieces)
        clips = data.held.clips(JUDGED, need, LONGEST)
        training = data.train.clips(4 * JUDGED, need, need)
        verdict = judge((model, load(untaught)), clips, training, seconds, _say)
        words = verdict.words(untaught)
        with media.atomic_write(output / "verdict.json") as draft:
            draft.write_text(json.dumps(verdict._asdict(), indent=1) + "\n", encoding="utf-8")
    save_checkpoint(
        target,
        model,
        config=read_config(source),
        card=f"{card}\n{words}\n",
        extra=statistics,
        half=True,
    )
    print(words)
