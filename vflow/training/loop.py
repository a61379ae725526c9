"""Training loop: steps, log, validation, samples, commits, roll-backs, and stops by signal."""

from __future__ import annotations

import copy
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Self

import torch
from accelerate import Accelerator
from torch import Tensor

from vflow.config import Preset, to_yaml
from vflow.data.media import atomic_write
from vflow.errors import CheckpointError, InputError, VflowError, counted
from vflow.locks import FolderLock
from vflow.models import Model
from vflow.pipelines.common import set_threads
from vflow.randomness import generator
from vflow.training.args import TrainOptions, resolve
from vflow.training.commit import (
    Outcome,
    agreed_commit,
    check_output,
    choose_commit,
    disk_fault,
    load_commit,
    make_room,
    save_commit,
)
from vflow.training.curve import run_pictures
from vflow.training.data import DataModule, Prefetcher, micro_batches
from vflow.training.distributed import fixed_order, make_accelerator, naming_lost_peers
from vflow.training.logging import (
    LOG,
    SHEETS,
    RunLog,
    announce,
    command_line,
    rewind_log,
    run_card,
    unit_of,
    write_samples,
)
from vflow.training.points import refit
from vflow.training.schedule import learning_rate
from vflow.training.setup import (
    check_memory,
    check_preset,
    naming_batch_memory,
    new_model,
    open_data,
    prepare,
    start_model,
)
from vflow.training.state import Progress, gather, restore
from vflow.training.step import BACKOFF, PATIENCE, ROLLBACKS, StepResult, advice
from vflow.training.validate import EXPLODED, Best, Validation, largest_log_scale, round_trip, validate

EARLY = 10
"""Step after which a run has a first commit and sheet of samples, however rare the others are."""
RISING = 3  # validations without a better one, before a warning
LAUNCHER_MARKS = ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")


class Stop:
    """Request to stop, set by a signal or by the death of the launcher; the loop polls it.

    Launchers may send a signal twice (the terminal to the group, then the launcher to its workers), so
    further signals change nothing: the step is finished and committed. Handlers are put back on exit.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._launcher = os.getppid() if any(mark in os.environ for mark in LAUNCHER_MARKS) else None
        self._previous: dict[int, signal.Handlers] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.reason is None:
            self.reason = signal.Signals(number).name
            print(f"\n{self.reason}: finishing this step and saving", file=sys.stderr)

    def requested(self) -> bool:
        """True once this process should stop after the present step."""
        if self.reason is None and self._launcher is not None and os.getppid() != self._launcher:
            self.reason = "launcher died"
        return self.reason is not None


FINISHED, INTERRUPTED = 0, 130
Ending = Literal["finished", "interrupted", "diverged"]


class DivergedError(VflowError):
    """Training kept producing non-finite numbers or exploding gradients."""


def train(options: TrainOptions) -> int:
    """Train as ``options`` say; returns the exit code: 0, or 130 after SIGINT, SIGTERM or a lost launcher.

    Raises:
        VflowError: a setting, the data or a commit cannot be used, or training diverged; one line each.
    """
    preset = resolve(options)
    if not options.dry_run:
        check_output(options.output, preset.data)
    set_threads(options.threads)
    accelerator = make_accelerator(options.device, [preset.model])
    try:
        check_preset(preset, accelerator)
        if options.dry_run:
            from vflow.training.dry_run import dry_run

            with naming_batch_memory(preset.training):
                return dry_run(preset, accelerator, options.init_from)
        return run(options, preset, accelerator)
    finally:
        accelerator.end_training()


def run(
    options: TrainOptions, preset: Preset, accelerator: Accelerator, make: Callable[[], Run] | None = None
) -> int:
    """One run among those of the processes of ``accelerator``, which stay together; as ``train``.

    ``make`` makes another kind of run than ``Run``.
    """
    with (
        naming_batch_memory(preset.training),
        fixed_order(accelerator.device),
        naming_lost_peers(options.output),
        FolderLock(options.output if accelerator.is_main_process else None, "training"),
    ):
        return (make() if make else Run(options, preset, accelerator)).execute()


class Run:
    """One process's part in a run that lives in ``options.output``; ``data``: in place of the preset's."""

    def __init__(
        self,
        options: TrainOptions,
        preset: Preset,
        accelerator: Accelerator,
        data: DataModule[Any, Any] | None = None,
    ) -> None:
        self.options, self.preset, self.accelerator, self.stop = options, preset, accelerator, Stop()
        self.config, self.folder = preset.training, options.output
        self.progress = Progress()
        self.committed = -1
        self.refitted: Model | None = None
        self.interval_seconds, self.interval_frames = 0.0, 0
        self.nats_per_bit = math.log(2) * preset.model.dim if preset.model.kind == "density" else None
        commit = choose_commit(options, accelerator)
        if data is None:
            announce(accelerator, f"reading the data: {preset.data.path or preset.data.name}")
        self.data = open_data(preset) if data is None else data
        examples = f"{self.data.usable:,} training examples, {self.data.held_out:,} held out"
        announce(accelerator, f"{examples}; building {preset.model.kind}")
        check_memory(self.config, self.data, accelerator.num_processes)
        model = new_model(preset)
        if not commit:
            start_model(model, preset, self.data, accelerator, options.init_from)
        self.state, self.average = prepare(model, preset, self.data, accelerator)
        self.best = Best(copy.deepcopy(self.average)) if self.config.patience else None
        self.initial = None if commit else self._copies()  # to go back to while there is no commit
        self.accepted_before = 0  # steps accepted up to the newest commit
        changed: list[str] = []
        if commit:
            self.progress, changed = self._load(commit)
            self.committed, self.accepted_before = self.progress.step, self.progress.accepted
            if "training.learning_rate" in changed:  # a new rate is taken as given, not at a share of it
                self.progress.rate_scale, self.progress.rollbacks = 1.0, 0
        self.commit, self.changed = commit, changed
        self.began = False
        self.started = time.perf_counter() - self.progress.seconds

    def _load(self, commit: Path) -> tuple[Progress, list[str]]:
        """As ``load_commit``; the bits of held-out examples by the best weights are computed anew."""
        if self.best is None:
            return load_commit(commit, self.state, self.preset)
        progress, changed = load_commit(commit, self.state, self.preset, self.best.model)
        if progress.best_bits is not None and (found := self._score(self.best.model)):
            self.best.bits = found.bits
        return progress, changed

    def _score(self, model: Model) -> Validation | None:
        """Bits of the held-out examples that validation looks at."""
        count = self.config.validation_examples
        return validate(model, self.data, count, self.accelerator, self.stop.requested)

    def _copies(self) -> dict[str, Tensor]:
        """The run's tensors on the CPU, which later steps do not change."""
        state = self.state
        return {key: value.clone() for key, value in gather(state.plain, state.optimizer, state.ema).items()}

    def _open_log(self) -> RunLog:
        path = None
        if self.accelerator.is_main_process:
            path = self.folder / LOG
            if self.progress.step < self.config.max_steps:
                if self.commit:
                    make_room(self.folder, self.commit, self.options.keep)
                with atomic_write(self.folder / "preset.yaml") as draft:
                    draft.write_text(to_yaml(self.preset), encoding="utf-8")
            rewind_log(path, self.progress.step if self.committed >= 0 else -1)
        events = self.folder / "tensorboard" if self.options.tensorboard else None
        return RunLog(path, self.config.max_steps, self.progress.step, events, unit_of(self.preset.model))

    def _note_start(self) -> None:
        done, changed = self.progress.step, ", ".join(self.changed)
        unit = unit_of(self.preset.model)
        if self.preset.model.family == "density" and self.data.held_out:
            self.log.say(f"training on {self.data.length:,} {unit}, {self.data.held_out:,} held out")
        if self.commit:
            self.log.say(f"resuming from {self.commit}")
        if done >= self.config.max_steps:
            self.log.say(
                f"finished: {counted(done, 'step')} done; give --max-steps more than {done} to go on"
            )
        elif changed:
            self.log.say(f"warning: resuming with other settings than before: {changed}")
        if done < self.config.max_steps:
            compiling = "compiling; " if self.config.compile else ""
            self.log.say(f"{compiling}step {done + 1:,} of {self.config.max_steps:,} begins")

    def execute(self) -> int:
        """Train to the end, to a stop, or to an error; the last line of the log says which.

        A signal before this leaves the log as it was.
        """
        outcome: Ending | None = None
        with self.stop:
            self.log = self._open_log()
            with self.log:
                self._note_start()
                try:
                    with naming_lost_peers(self.folder):
                        outcome = self._train()
                        if outcome == "finished":
                            self._refit()
                        self._commit()
                except OSError as error:
                    raise InputError(disk_fault(self.folder, error)) from error
                finally:
                    self._note_end(outcome)
        return FINISHED if outcome == "finished" else INTERRUPTED

    def _note_end(self, outcome: Ending | None) -> None:
        line: dict[str, object] = {"step": self.progress.step, "status": outcome, "seconds": self._seconds()}
        if self.stop.requested():  # asked again: another process may have seen the launcher die first
            line["reason"] = self.stop.reason
        elif outcome == "interrupted":
            line["reason"] = "another process was asked to stop"
        error = sys.exception()
        if error is None:
            self.log.write(line)
            return
        with suppress(OSError):  # a full disk may not take even this line
            self.log.write(line | {"status": "failed", "error": str(error)})

    def _seconds(self) -> float:
        return round(time.perf_counter() - self.started, 2)

    def _train(self) -> Ending:
        while True:
            with Prefetcher(self._load_batches, self.progress.position, self.config.batch_size) as batches:
                outcome = self._advance(batches)
            if outcome != "diverged":
                return outcome
            self._roll_back()

    def _load_batches(self, start: int) -> list[Any]:
        """This process's share of the global batch that begins at stream position ``start``."""
        return micro_batches(self.data, self.config, start, self.accelerator)

    def _advance(self, batches: Prefetcher[Any]) -> Ending:
        """Steps until the end, a stop, or too many skipped steps in a row."""
        progress, config = self.progress, self.config
        if self.best and progress.step == 0:
            self._validate_start()
        while not (self._is_over() or self._exhausted()):
            began = time.perf_counter()
            progress.lr = self._rate() * progress.rate_scale
            self._seed_dropout()
            result = self.state.step(next(batches), progress, progress.lr, self.stop.requested())
            seconds = time.perf_counter() - began
            if not self.began:
                included = ", compilation included" if config.compile else ""
                self.log.say(f"first step{included}: {seconds:.1f} s")
                self.began = True
            self._account(result, seconds)
            if progress.step % config.log_every == 0:
                self._log_line()
            last = self._is_over()
            commit_due = last or self._commit_due()
            due = commit_due or result.stop
            if due and not self.state.is_finite():
                return "diverged"
            if result.stop and not last:
                return "interrupted"
            if progress.skipped_in_a_row >= PATIENCE:
                return "diverged"
            sound = self._validate() if last or self._validation_due() else True
            if self._early_due():
                self._show_early()
            if (self.best and not sound) or (last and not (sound and progress.accepted)):
                return "diverged"  # of no use, or nothing was learned
            if last or (commit_due and not progress.skipped_in_a_row):
                self._commit()  # not in a run of skipped steps: one rolls back to before it
        return "finished"

    def _rate(self) -> float:
        return learning_rate(self.config, self.progress.step)

    def _is_over(self) -> bool:
        return self.progress.step >= self.config.max_steps

    def _commit_due(self) -> bool:
        return self.progress.step == EARLY or self.progress.step % self.config.checkpoint_every == 0

    def _validation_due(self) -> bool:
        return self.progress.step % self.config.validate_every == 0

    def _early_due(self) -> bool:
        first = min(self.config.validate_every, self.config.max_steps)
        return not self.best and self.progress.step == EARLY < first

    def _validate_start(self) -> None:
        self._validate()  # the start counts: few data may allow nothing better

    def _seed_dropout(self) -> None:
        """Dropout is a function of the step, so that resuming repeats it."""
        key = self.config.seed, self.progress.step, self.accelerator.process_index
        torch.manual_seed(int(generator("dropout", *key).integers(2**63)))

    def _account(self, result: StepResult, seconds: float) -> None:
        progress, frames = self.progress, self.config.batch_size * self.data.frames
        progress.step += 1
        progress.refitted = False
        progress.position += self.config.batch_size
        progress.epoch = progress.position // self.data.length
        progress.seconds = self._seconds()
        self.interval_seconds += seconds
        self.interval_frames += frames
        objective = self.state.objective.replace("_per_", "/")
        self.log.tick(self._in_words(result.loss, objective), frames / seconds, progress.skipped)
        if result.accepted:
            progress.loss_sum += result.loss
            progress.norm_sum += result.norm
            progress.summed += 1
        else:
            values = f"loss {result.loss:.4g}, gradient norm {result.norm:.4g}"
            self.log.say(f"step {progress.step} skipped: {values}")
            self.log.write({"step": progress.step, "event": f"skipped: {values}"})

    def _nats(self, key: str, bits: float | None) -> dict[str, float | None]:
        """A figure in bits/dim as nats of a point, for densities of vectors; nothing for pictures."""
        if self.nats_per_bit is None:
            return {}
        return {key: None if bits is None else bits * self.nats_per_bit}

    def _in_words(self, value: float, unit: str) -> str:
        """The value with its unit; in place of bits/dim nats of a point, for densities of vectors."""
        if self.nats_per_bit is not None:
            return f"{value * self.nats_per_bit:.4f} nats"
        return f"{value:.4f} {unit}"

    def _log_line(self) -> None:
        progress, count = self.progress, self.progress.summed
        objective = progress.loss_sum / count if count else None
        line = {
            "step": progress.step,
            self.state.objective: objective,
            **self._nats("nats", objective),
            "lr": progress.lr,
            "frames_per_s": round(self.interval_frames / self.interval_seconds, 2),
            "grad_norm": progress.norm_sum / count if count else None,
            "seconds": progress.seconds,
            "epoch": progress.epoch,
            "skipped": progress.skipped,
        }
        self.log.write(line)
        progress.loss_sum, progress.norm_sum, progress.summed = 0.0, 0.0, 0
        self.interval_seconds, self.interval_frames = 0.0, 0

    def _exhausted(self) -> bool:
        return self.best is not None and self.progress.waited >= (self.config.patience or 0)

    def _validate(self) -> bool:
        """Score and sample with the averaged weights; abandoned when a stop is requested.

        Returns False for useless weights: the score is not finite, and the latest steps were skipped; in a
        run that keeps its best weights also where it is not finite or far above the best.
        """
        if not self.data.held_out:
            return True
        self.state.ema.copy_to(self.average, self.state.plain)
        found = self._score(self.average)
        if found is None:
            return True
        progress, bits = self.progress, found.bits_per_dim
        line: dict[str, object] = {"step": progress.step, "val_bits_per_dim": bits}
        line |= self._nats("val_nats", bits)
        if math.isfinite(bits):
            line["validation_bits"] = found.typical
        self.log.say(f"step {progress.step}: validation {self._in_words(bits, 'bits/dim')}")
        exploded = not bits <= (bits if progress.best_bits is None else progress.best_bits) + EXPLODED
        self._compare(found)
        due = self._commit_due() or self._is_over()
        if self.accelerator.is_main_process and not (self.best and (exploded or not due)):
            line |= self._inspect()
        self.log.write(line)
        if self.best:
            return not exploded
        return math.isfinite(bits) or not progress.skipped_in_a_row

    def _inspect(self) -> dict[str, object]:
        """Diagnostics of the averaged weights, for the log, and a sheet of samples."""
        line: dict[str, object] = {"largest_log_scale": largest_log_scale(self.average)}
        try:
            line["round_trip"] = round_trip(self.average, self.data, self.accelerator.device)
            line |= self._sample()
        except CheckpointError:  # these weights cannot be inverted, those to come may
            self.log.say(f"step {self.progress.step}: no samples, the model cannot be inverted")
        return line

    def _compare(self, found: Validation) -> None:
        """Count validations since the best, keep the weights of a better one, and warn where they rise."""
        progress, bits = self.progress, found.bits_per_dim
        better = math.isfinite(bits)
        if better and progress.best_bits is not None:
            better = self.best.beaten_by(found.bits) if self.best else bits < progress.best_bits
        if better or (self.best is None and math.isfinite(bits)):
            progress.val_bits_per_dim, progress.validation_bits = bits, found.typical
        if better:
            progress.best_bits, progress.best_step, progress.waited = bits, progress.step, 0
            if self.best:
                self.best.keep(self.average, found.bits)
            return
        progress.waited += 1
        if progress.waited == RISING and progress.best_bits is not None and bits > progress.best_bits:
            best = self._in_words(progress.best_bits, "bits/dim")
            what = (
                "its weights are kept" if self.best else "--patience N ends a run and keeps its best weights"
            )
            self.log.say(f"warning: validation has risen since step {progress.best_step} ({best}); {what}")

    def _refit(self) -> None:
        """Say which step was best, and train as long on all rows where the preset asks for it."""
        progress = self.progress
        if self.best is None or progress.best_bits is None or progress.refitted:
            return
        best = (
            f"step {progress.best_step} was best, validation {self._in_words(progress.best_bits, 'bits/dim')}"
        )
        self.log.say(f"{best}; its weights are kept")
        if self.config.refit:
            self.log.say(
                f"training {counted(progress.best_step, 'step')} on all rows, those held out included"
            )
            self.refitted = refit(self.preset, progress.best_step)
            progress.refitted, self.committed = True, -1

    def _show_early(self) -> None:
        """A sheet of samples long before the first validation: whether colours and sizes are right."""
        if not self.data.held_out or not self.accelerator.is_main_process:
            return
        self.state.ema.copy_to(self.average, self.state.plain)
        with suppress(CheckpointError):  # these weights cannot be inverted, those to come may
            self._sample()

    def _sample(self) -> dict[str, int]:
        """Write a sample grid; returns counts of faulty values for the log."""
        samples = self.data.draw(self.average, self.accelerator.device, self.stop.requested)
        if samples is None:
            return {}
        write_samples(self.folder / SHEETS, self.progress.step, samples)
        return {"sample_nonfinite": samples.nonfinite, "sample_out_of_range": samples.out_of_range}

    def _commit(self) -> None:
        progress = self.progress
        if self.committed != progress.step:
            progress.seconds = self._seconds()
            pictures = run_pictures(self.folder)
            card = self._card(pictures)
            self.state.ema.copy_to(self.average, self.state.plain)
            best = self.best.model if self.best and progress.best_bits is not None else None
            model = self.refitted or best or self.average
            outcome = Outcome(
                model, card, pictures, best, self.data.describe(model, refitted=progress.refitted)
            )
            save_commit(self.folder, self.state, outcome, progress, self.preset, self.options.keep)
            self.committed, self.accepted_before = progress.step, progress.accepted
            self.initial = None
        if self.state.cache is not None:
            self.state.cache.flush()

    def _card(self, pictures: Iterable[str]) -> str:
        command, usable = command_line(self.options), self.data.usable
        return run_card(self.options, command, self.preset, self.progress, usable, self.accelerator, pictures)

    def _keep_best(self) -> str:
        """Commit the best weights of a run that ends badly, if it keeps such; a remark that says so."""
        progress = self.progress
        if self.best is None or progress.best_bits is None:
            return ""
        self.state.plain.load_state_dict(self.best.model.state_dict())
        self.state.ema.load(dict(self.best.model.named_parameters()))
        self.committed = -1
        self._commit()
        value = self._in_words(progress.best_bits, "bits/dim")
        return f"; the best weights, of step {progress.best_step} (validation {value}), are kept"

    def _roll_back(self) -> None:
        """Return to the last commit, or to the initial weights if there is none, with a lower rate.

        Raises:
            DivergedError: it did not help before, or there is nothing to return to.
        """
        progress = self.progress
        commit = agreed_commit(self.folder, self.accelerator)
        if progress.rollbacks >= ROLLBACKS or not (commit or self.initial):
            peak = self.preset.training.learning_rate * progress.rate_scale
            # Where no step since the commit was accepted, resuming would fail at the next step again.
            usable = commit is not None and progress.accepted > self.accepted_before
            kept = self._keep_best()
            raise DivergedError(f"{self.folder}: {advice(progress, peak, resume=usable)}{kept}")
        scale, rollbacks = progress.rate_scale * BACKOFF, progress.rollbacks + 1
        if commit:
            self.progress = self._load(commit)[0]
        else:
            assert self.initial is not None
            restore(self.initial, self.state.plain, self.state.optimizer, self.state.ema)
            self.progress = Progress()
        self.log.rewind(self.progress.step)
        self.progress.rate_scale, self.progress.rollbacks = scale, rollbacks
        self.progress.skipped, self.progress.skipped_in_a_row = progress.skipped, 0
        where = f"rolled back to {commit.name if commit else 'the initial weights'}"
        text = f"{where} after step {progress.step}; learning rate now × {scale:g}"
        self.log.say(text)
        self.log.write({"step": self.progress.step, "event": text})
        self.committed = -1
        self._commit()  # rate and count of roll-backs outlast a kill, and damaged newer commits give way
