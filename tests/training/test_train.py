"""Whole runs of the tiny preset in this process."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils import DistributedType
from PIL import Image

import vflow
from tests.data.sample_media import moving_square, write_lossless
from tests.training.support import command, lines, losses, run_here, spawn
from vflow import locks
from vflow.checkpoint import read_config
from vflow.config import ColorMeanLossConfig, Preset, TrainingConfig, load_preset
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.training import commit as resume
from vflow.training import loop, setup, videos
from vflow.training import step as guards
from vflow.training.commit import find_fault
from vflow.training.loop import DivergedError, Run
from vflow.training.setup import check_losses, load_matching, new_model
from vflow.training.step import TrainState
from vflow.training.validate import Validation


@pytest.fixture(autouse=True)
def few_clips_for_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixel maps are fitted to a few clips only."""
    monkeypatch.setattr(videos, "STATISTICS_CLIPS", 16)


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_run_leaves_log_samples_and_a_model_that_loads(tiny: str, runs: Path) -> None:
    settings = ("training.validate_every=3", "training.log_every=2")
    assert run_here(tiny, runs / "a", set=settings, keep=2, tensorboard=True) == 0
    run = runs / "a"
    assert {"last", "log.jsonl", "preset.yaml", "tensorboard"} <= tree(run)
    assert [p.name for p in sorted(run.glob("step_*"))] == ["step_0000004", "step_0000006"]
    log = lines(run)
    training = [line for line in log if "bits_per_dim" in line]
    assert [line["step"] for line in training] == [2, 4, 6]
    assert all(line.keys() >= {"lr", "frames_per_s", "seconds", "grad_norm"} for line in training)
    validation = [line for line in log if "val_bits_per_dim" in line]
    assert [line["step"] for line in validation] == [3, 6]
    assert all(line["round_trip"] < 0.1 and line["sample_nonfinite"] == 0 for line in validation)
    assert log[-1]["status"] == "finished"
    model = vflow.load(run)
    assert not model.training
    low, high = read_config(run / "last" / "model").validation_bits or (0, 0)
    assert 0 < low <= validation[-1]["val_bits_per_dim"] <= high


def test_a_run_says_what_it_does_before_its_first_step(
    tiny: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(tiny, runs / "a", max_steps=2, set=("model.pixel_map=marginal", "model.noise=gaussian"))
    said = capsys.readouterr().err
    stages = ("reading the data", "held out", "counting", "initialising", "step 1 of 2", "first step: ")
    places = [said.find(stage) for stage in stages]
    assert -1 not in places and places == sorted(places), said


def test_the_first_word_comes_before_pytorch_is_loaded(runs: Path) -> None:
    process = spawn([sys.executable, *command("none", runs / "a")])
    said = process.communicate()[0].splitlines()
    assert said[0] == "loading PyTorch" and said[-1].startswith("error: none: "), said


def test_a_run_has_a_commit_and_a_sheet_of_samples_early(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And they change nothing else: not a figure of the run."""
    rare = ("training.checkpoint_every=1000", "training.validate_every=1000")
    early = f"step_{loop.EARLY:07d}"
    assert run_here(tiny, runs / "a", max_steps=loop.EARLY + 2, set=rare, keep=0) == 0
    assert find_fault(runs / "a" / early) is None and (runs / "a" / "samples" / f"{early}.png").is_file()
    monkeypatch.setattr(loop, "EARLY", 1000)
    assert run_here(tiny, runs / "b", max_steps=12, set=rare) == 0
    assert losses(runs / "a") == losses(runs / "b")
    assert not (runs / "b" / "samples" / f"{early}.png").exists()


@pytest.mark.parametrize(
    "changes",
    [
        ("model={glow: {depth: [1, 1], hidden: [4, 4], coupling: additive}, prior: {hidden: 4}}",),
        ("model.pixel_map=marginal", "model.noise=gaussian"),
        (
            "model.kind=reference_videoflow",
            "model.reference={kind: motion, max_displacement: 2}",
            "model.pixel_map=conditional",
        ),
        ("model.kind=augmented_videoflow", "model.augmentation={size: 2, hidden: [4, 4]}"),
        ("model.pixel_map=conditional", "model.noise=learned"),
    ],
)
def test_other_models_train_and_every_parameter_has_a_gradient(
    tiny: str, runs: Path, changes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing: list[str] = []
    original = TrainState._agree

    def watch(self: TrainState, loss: float, stop: bool) -> Any:
        missing.extend(name for name, p in self.plain.named_parameters() if p.grad is None)
        return original(self, loss, stop)

    monkeypatch.setattr(TrainState, "_agree", watch)
    assert run_here(tiny, runs / "a", max_steps=2, set=changes) == 0
    assert not missing, "distributed training waits for gradients that never come"
    assert lines(runs / "a")[-2]["round_trip"] < 0.1


def test_only_the_parts_named_are_trained(tiny: str, runs: Path) -> None:
    run_here(tiny, runs / "a", max_steps=2)
    settings = ("model.noise=learned", "training.trainable=[dequantizer, priors.0]")
    assert run_here(tiny, runs / "b", init_from=str(runs / "a"), max_steps=2, set=settings) == 0
    assert run_here(tiny, runs / "b", resume=True, max_steps=3, set=settings) == 0
    before, after = (vflow.load(runs / name).state_dict() for name in "ab")
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {name for name in before if name.startswith("priors.0.")}
    assert after["dequantizer.conv_out.weight"].any()


def test_a_part_that_is_not_there_is_refused(tiny: str, runs: Path) -> None:
    with pytest.raises(ConfigError, match="no part 'prior' with weights; it has flow, frame_encoder, priors"):
        run_here(tiny, runs / "a", set=("training.trainable=[prior]",))


@pytest.mark.usefixtures("animations")
def test_sample_grids_show_the_real_clip_first(tiny: str, runs: Path) -> None:
    run_here(tiny, runs / "a", max_steps=1)
    grid = np.asarray(Image.open(runs / "a" / "samples" / "step_0000001.png").convert("RGB"))
    assert grid.shape == (10 * 66 - 2, 4 * 66 - 2, 3)
    first = grid[:64, :64]
    assert (grid[66 : 66 + 64, :64] == first).all(), "futures begin with the given frame"
    assert (grid[:64, 66 : 66 + 64] != first).any(), "the real clip moves"
    with Image.open(runs / "a" / "samples" / "step_0000001.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 4


def test_validation_and_losses_fall_while_training(tiny: str, runs: Path) -> None:
    settings = ("training.validate_every=12", "training.warmup_steps=5", "training.learning_rate=0.005")
    run_here(tiny, runs / "a", max_steps=24, set=settings)
    validation = [line["val_bits_per_dim"] for line in lines(runs / "a") if "val_bits_per_dim" in line]
    assert validation[1] < 0.97 * validation[0]


def test_resuming_in_pieces_equals_one_run(tiny: str, runs: Path) -> None:
    run_here(tiny, runs / "whole", set=("training.log_every=2",))
    halves = ("training.log_every=2", "training.checkpoint_every=3")
    original = TrainState.step

    def interrupted(self: TrainState, batches: Any, progress: Any, rate: float, stop: bool) -> Any:
        return original(self, batches, progress, rate, stop or progress.step == 2)

    with pytest.MonkeyPatch.context() as patch:  # stop after step 3, between two lines of the log
        patch.setattr(TrainState, "step", interrupted)
        assert run_here(tiny, runs / "parts", set=halves) == 130
    assert lines(runs / "parts")[-1]["status"] == "interrupted"
    assert run_here(tiny, runs / "parts", set=halves, resume=True) == 0
    assert losses(runs / "parts") == losses(runs / "whole")
    finals = [vflow.load(runs / name).state_dict() for name in ("whole", "parts")]
    assert all(torch.equal(finals[0][key], finals[1][key]) for key in finals[0])


def test_resume_starts_afresh_without_a_commit_and_ends_at_once_when_done(
    tiny: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(tiny, runs / "a", resume=True, max_steps=2) == 0
    before = losses(runs / "a")
    assert "finished" not in capsys.readouterr().err
    assert run_here(tiny, runs / "a", resume=True, max_steps=1) == 0
    assert "finished: 2 steps done; give --max-steps more than 2 to go on" in capsys.readouterr().err
    assert run_here(tiny, runs / "a", resume=True, max_steps=2) == 0
    assert losses(runs / "a") == before and lines(runs / "a")[-1]["status"] == "finished"


def test_a_finished_run_keeps_its_settings_and_says_nothing_of_others(
    tiny: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(tiny, runs / "a", max_steps=2)
    before = (runs / "a" / "preset.yaml").read_bytes()
    capsys.readouterr()
    assert run_here(tiny, runs / "a", resume=True, max_steps=2, seed=77) == 0
    messages = capsys.readouterr().err
    assert "finished: 2 steps done" in messages and "other settings" not in messages
    assert (runs / "a" / "preset.yaml").read_bytes() == before


def test_a_stop_while_starting_leaves_the_log_as_it_was(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here(tiny, runs / "a", max_steps=2)
    before = (runs / "a" / "log.jsonl").read_bytes()

    def interrupted(self: Run) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "execute", interrupted)
    for name in "ab":
        with pytest.raises(KeyboardInterrupt):
            run_here(tiny, runs / name, max_steps=4, resume=True)
    assert (runs / "a" / "log.jsonl").read_bytes() == before
    assert not (runs / "b" / "log.jsonl").exists()


def test_a_folder_with_a_run_is_not_overwritten(tiny: str, runs: Path) -> None:
    run_here(tiny, runs / "a", max_steps=1)
    with pytest.raises(ConfigError, match=r"holds a run already \(step_0000001\); add --resume"):
        run_here(tiny, runs / "a")


def test_resuming_another_model_is_refused_and_other_settings_are_named(
    tiny: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(tiny, runs / "a", max_steps=1)
    with pytest.raises(CheckpointError, match=r"another model.glow.hidden; restore that setting"):
        run_here(tiny, runs / "a", resume=True, set=("model.glow.hidden=[8, 8]",))
    text = r"another model.kind \(frame_conditioned_videoflow, not videoflow\); choose another --output$"
    model = "model={kind: videoflow, glow: {depth: [1, 1], hidden: [4, 4]}, prior: {hidden: 4}}"
    with pytest.raises(CheckpointError, match=text):
        run_here(tiny, runs / "a", resume=True, set=(model,))
    run_here(tiny, runs / "a", resume=True, max_steps=2, set=("training.learning_rate=0.01",))
    assert "other settings than before: training.learning_rate, training.max_steps" in capsys.readouterr().err


def test_a_damaged_commit_is_passed_over_when_resuming(
    tiny: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(tiny, runs / "whole")
    run_here(tiny, runs / "a")
    shard = next((runs / "a" / "step_0000006" / "state").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert run_here(tiny, runs / "a", resume=True) == 0
    messages = capsys.readouterr().err
    assert f"{shard} has" in messages and "resuming from" in messages and "step_0000004" in messages
    assert losses(runs / "a") == losses(runs / "whole")


def test_a_copied_run_resumes(tiny: str, runs: Path) -> None:
    run_here(tiny, runs / "whole")
    run_here(tiny, runs / "a", max_steps=6, set=("training.checkpoint_every=4",))
    for path in [*(runs / "a" / "step_0000006").rglob("*"), runs / "a" / "last"]:
        if path.is_file() or path.is_symlink():
            path.unlink()
    (runs / "a" / "log.jsonl").rename(runs / "log.jsonl")
    (runs / "a").rename(runs / "moved")
    (runs / "log.jsonl").rename(runs / "moved" / "log.jsonl")
    assert run_here(tiny, runs / "moved", resume=True, set=("training.checkpoint_every=4",)) == 0
    assert losses(runs / "moved") == losses(runs / "whole")


def test_accumulation_gives_the_same_training(tiny: str, runs: Path) -> None:
    run_here(tiny, runs / "one", dtype="float32")
    run_here(tiny, runs / "two", dtype="float32", set=("training.accumulate=2",))
    pairs = zip(losses(runs / "one").values(), losses(runs / "two").values(), strict=True)
    assert all(abs(a[0] - b[0]) <= 1e-4 * abs(a[0]) for a, b in pairs)


def test_a_batch_that_cannot_be_shared_is_refused(tiny: str, runs: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"= 4 is not divisible by 3 \(training.accumulate\); set it to 3 or 6$"
    ):
        run_here(tiny, runs / "a", set=("training.accumulate=3",))
    with pytest.raises(ConfigError, match=r"= 2 is not divisible by 3 \(training.accumulate\); set it to 3$"):
        run_here(tiny, runs / "a", batch_size=2, set=("training.accumulate=3",))
    with pytest.raises(ConfigError, match=r"not divisible by 3 processes × 1 \(training.accumulate\); set"):
        setup.check_batch(load_preset(tiny), 3)


def test_a_folder_that_cannot_be_made_is_refused_with_a_remedy(tiny: str, runs: Path) -> None:
    runs.mkdir(exist_ok=True)
    (runs / "file").write_text("")
    for place, why in ((runs / "file", "is a file"), (runs / "file" / "run", r"cannot write \(.*\)")):
        with pytest.raises(InputError, match=rf"file.*: {why}.*; choose another --output"):
            run_here(tiny, place)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("key", ["batch_size", "actnorm_batch"])
def test_batches_beyond_the_memory_are_refused_before_they_fill_it(
    tiny: str, runs: Path, key: str, dry_run: bool
) -> None:
    with pytest.raises(
        ConfigError, match=rf"training.{key} = 1000000000: its examples alone take .* at most"
    ):
        run_here(tiny, runs / "a", set=(f"training.{key}=1_000_000_000",), dry_run=dry_run)


def test_the_error_of_batches_beyond_a_small_container_has_decimals(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vflow.training.setup.physical_memory", lambda: 0.4 * 2**30)
    figures = r" take [\d,]+\.\d GiB, this machine or container has 0\.4; use \d+ at most"
    with pytest.raises(ConfigError, match=figures):
        run_here(tiny, runs / "a", set=("training.batch_size=1_000_000_000",))


def test_a_step_that_runs_out_of_memory_says_what_to_lower(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainState, "loss", lambda self, batch: torch.empty(2**52))
    with pytest.raises(InputError, match=r"^out of memory; lower training.batch_size \(4\) or"):
        run_here(tiny, runs / "a")
    assert lines(runs / "a")[-1]["status"] == "failed"


def test_fine_tuning_says_which_tensors_did_not_match(
    tiny: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(tiny, runs / "a", max_steps=2)
    capsys.readouterr()
    run_here(tiny, runs / "b", max_steps=1, init_from=str(runs / "a"), set=("model.glow.hidden=[4, 8]",))
    report = capsys.readouterr().err
    (line,) = [line for line in report.splitlines() if line.startswith("--init-from")]
    assert re.search(
        r"\d+ of \d+ tensors taken; \d+ start afresh, such as flow\.levels\.1\S+ \(.*\) here, \(.*\) there",
        line,
    )
    assert "not used" not in line
    run_here(tiny, runs / "c", max_steps=1, init_from=str(runs / "a"))
    end, start = lines(runs / "a")[1]["bits_per_dim"], lines(runs / "c")[0]["bits_per_dim"]
    fresh = lines(runs / "a")[0]["bits_per_dim"]
    assert abs(start - end) < abs(start - fresh) or start < fresh
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        run_here(tiny, runs / "d", init_from=str(runs / "nothing"))
    with pytest.raises(CheckpointError, match="nothing in it fits this model"):
        run_here(tiny, runs / "e", init_from="digits")


def test_weights_to_train_and_their_average_lie_on_one_device() -> None:
    """Also where a run is resumed, so that nothing moved the model before."""
    model, device = torch.nn.Conv2d(1, 1, 1), torch.device("meta")
    accelerator: Any = SimpleNamespace(
        device=device,
        distributed_type=DistributedType.NO,
        prepare=lambda *parts: parts,
        unwrap_model=lambda model: model,
    )
    data: Any = SimpleNamespace(targets=1)
    state, average = setup.prepare(model, Preset(), data, accelerator)  # type: ignore[arg-type]
    assert {p.device for m in (state.plain, average) for p in m.parameters()} == {device}


def test_actnorms_that_were_taken_by_half_are_set_from_data(tiny: str, runs: Path) -> None:
    """Fine-tuned in grey, a colour model's ActNorms do not fit; that they were set does not hold for them."""
    run_here(tiny, runs / "a", max_steps=1)
    preset = load_preset(tiny, {"model.glow.channels": 1})
    model = new_model(preset)
    taken = load_matching(model, str(runs / "a"), report=False)
    assert "flow.levels.0.layers.0.actnorm.shift" not in taken
    waiting = {key for key, value in model.state_dict().items() if key.endswith(".initialized") and not value}
    assert waiting and not waiting & taken
    assert all(f"{key.removesuffix('initialized')}shift" not in taken for key in waiting)


def test_a_validation_that_is_no_number_is_noted_and_training_goes_on(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = np.full((2, 3), np.nan, np.float32)
    monkeypatch.setattr("vflow.training.loop.validate", lambda *_: Validation(bits))
    assert run_here(tiny, runs / "a", set=("training.validate_every=2",)) == 0
    noted = [line for line in lines(runs / "a") if "val_bits_per_dim" in line]
    assert len(noted) == 3 and all(line["val_bits_per_dim"] is None for line in noted)
    assert vflow.load(runs / "a").config.validation_bits is None


def test_the_color_mean_is_pretrained_in_one_process() -> None:
    config = TrainingConfig(losses=(ColorMeanLossConfig(pretrain_only=True),))
    check_losses(config, DistributedType.NO)
    with pytest.raises(ConfigError, match=r"pretrain_only runs in one process: start it with plain"):
        check_losses(config, DistributedType.MULTI_CPU)


def test_dry_run_reports_and_writes_nothing(
    tiny: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(tiny, runs / "a", dry_run=True) == 0
    report = capsys.readouterr().out
    assert all(word in report for word in ("parameters", "memory", "frames/s", "steps take about"))
    assert not (runs / "a").exists()


def poison(monkeypatch: pytest.MonkeyPatch, when: Any) -> None:
    """Make the loss NaN on calls (counted from 1) for which ``when`` holds."""
    original, calls = TrainState.loss, iter(range(1, 10_000))

    def loss(self: TrainState, batch: Any) -> torch.Tensor:
        return original(self, batch) * (torch.nan if when(next(calls)) else 1.0)

    monkeypatch.setattr(TrainState, "loss", loss)


def test_a_nan_is_skipped_counted_and_harmless(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(tiny, runs / "clean", max_steps=14)
    poison(monkeypatch, lambda call: call == 10)
    assert run_here(tiny, runs / "poisoned", max_steps=14) == 0
    log = lines(runs / "poisoned")
    assert next(line for line in log if "event" in line)["step"] == 10
    assert [line["skipped"] for line in log if "bits_per_dim" in line][8:11] == [0, 1, 1]
    assert "step 10 skipped: loss nan" in capsys.readouterr().err
    ends = [
        next(line["val_bits_per_dim"] for line in lines(runs / name) if "val_bits_per_dim" in line)
        for name in ("clean", "poisoned")
    ]
    assert abs(ends[0] - ends[1]) < 0.05 * ends[0]


def test_a_run_of_bad_steps_rolls_back_with_a_lower_rate(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, lambda call: 5 <= call < 5 + guards.PATIENCE)
    assert run_here(tiny, runs / "a", max_steps=12) == 0
    losses(runs / "a")
    log = lines(runs / "a")
    events = [line["event"] for line in log if "event" in line]
    assert events == ["rolled back to step_0000004 after step 9; learning rate now × 0.5"]
    assert [line["step"] for line in log if "bits_per_dim" in line] == list(range(1, 13))
    state = json.loads((runs / "a" / "last" / "state" / "state.json").read_text())["progress"]
    assert state["rollbacks"] == 1 and state["rate_scale"] == 0.5


def test_a_rollback_outlasts_a_kill_before_the_next_commit(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, lambda call: 5 <= call < 5 + guards.PATIENCE)
    original = TrainState.step

    def killed(self: TrainState, batches: Any, progress: Any, rate: float, stop: bool) -> Any:
        if progress.rollbacks:
            raise KeyboardInterrupt
        return original(self, batches, progress, rate, stop)

    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run_here(tiny, runs / "a", max_steps=12)
    rates: list[float] = []

    def watched(self: TrainState, batches: Any, progress: Any, rate: float, stop: bool) -> Any:
        rates.append(progress.rate_scale)
        return original(self, batches, progress, rate, stop)

    monkeypatch.setattr(TrainState, "step", watched)
    assert run_here(tiny, runs / "a", max_steps=12, resume=True) == 0
    assert rates == [0.5] * 8, "resumed at step 4, where the roll-back went"
    state = json.loads((runs / "a" / "last" / "state" / "state.json").read_text())["progress"]
    assert state["rollbacks"] == 1


def test_commits_go_on_after_a_rollback_past_a_damaged_one(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step of the damaged commit is committed anew when training comes by again."""
    poison(monkeypatch, lambda call: 9 <= call < 9 + guards.PATIENCE)
    original = TrainState.step

    def step(self: TrainState, batches: Any, progress: Any, rate: float, stop: bool) -> Any:
        newest = runs / "a" / "step_0000008"
        if newest.exists() and not progress.rollbacks:
            (newest / "COMMIT.json").write_text("{}")
        return original(self, batches, progress, rate, stop)

    monkeypatch.setattr(TrainState, "step", step)
    assert run_here(tiny, runs / "a", max_steps=14, keep=0) == 0
    assert [line["event"] for line in lines(runs / "a") if "event" in line] == [
        "rolled back to step_0000006 after step 13; learning rate now × 0.5"
    ]
    assert find_fault(runs / "a" / "step_0000008") is None


def test_hopeless_training_stops_with_advice(tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, lambda call: call > 20)
    rate = load_preset(tiny).training.learning_rate / 2**4  # whatever the cosine has left of it
    advised = re.escape(
        f"after 3 roll-backs; run again with another --output and --set training.learning_rate={rate:.1g}, "
    )
    with pytest.raises(DivergedError, match=advised):
        run_here(tiny, runs / "a", max_steps=30)
    assert lines(runs / "a")[-1]["status"] == "failed"


def test_a_full_disk_stops_the_run_and_keeps_the_last_commit(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = resume.write_state

    def full(folder: Path, tensors: Any, progress: Any, preset: Any) -> None:
        if progress.step == 4:
            raise OSError(28, "No space left on device")
        original(folder, tensors, progress, preset)

    monkeypatch.setattr(resume, "write_state", full)
    with pytest.raises(InputError, match=r"the disk is full; step_0000002 is untouched; make room"):
        run_here(tiny, runs / "a")
    assert lines(runs / "a")[-1]["status"] == "failed"
    monkeypatch.undo()
    assert run_here(tiny, runs / "a", resume=True) == 0


def test_a_lower_keep_makes_room_on_a_full_disk(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes four commits; the error advises --keep."""
    original = resume.write_state

    def write(folder: Path, tensors: Any, progress: Any, preset: Any) -> None:
        if len(list(folder.parents[1].glob("step_*"))) == 4:
            raise OSError(28, "No space left on device")
        original(folder, tensors, progress, preset)

    monkeypatch.setattr(resume, "write_state", write)
    remedy = (
        r"step_0000008 is untouched; make room \(or keep fewer commits: --keep 1\) and run again with --res"
    )
    with pytest.raises(InputError, match=remedy):
        run_here(tiny, runs / "a", max_steps=12, keep=0)
    assert run_here(tiny, runs / "a", max_steps=12, keep=1, resume=True) == 0
    assert [path.name for path in runs.glob("a/step_*")] == ["step_0000012"]


def test_a_run_copied_without_links_resumes(tiny: str, runs: Path) -> None:
    run_here(tiny, runs / "whole")
    run_here(tiny, runs / "a", set=("training.checkpoint_every=4",), max_steps=6)
    shutil.rmtree(runs / "a" / "step_0000006")
    (runs / "a" / "last").unlink()
    (runs / "a" / "last").symlink_to("step_0000004")
    shutil.copytree(runs / "a", runs / "b")
    vflow.load(runs / "b")
    assert run_here(tiny, runs / "b", set=("training.checkpoint_every=4",), resume=True) == 0
    assert losses(runs / "b") == losses(runs / "whole")
    assert (runs / "b" / "last").resolve().name == "step_0000006"


def test_a_run_in_use_is_refused(tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks.FolderLock.__init__, "__defaults__", (".lock", 0.0))
    with (
        locks.FolderLock(runs / "a", "training"),
        pytest.raises(ConfigError, match="another process is training here"),
    ):
        run_here(tiny, runs / "a")


def test_clips_too_short_for_the_model_are_refused(tiny: str, runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.frames = 2 leaves no frame to predict .* at least 4"):
        run_here(tiny, runs / "a", set=("data.frames=2", "model.min_context=3", "model.context=3"))


def test_an_error_in_the_data_ends_the_run_with_that_error(
    tiny: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = videos.Videos.batch

    def batch(self: videos.Videos, start: int, size: int) -> Any:
        if start >= 8 and size == 4:
            raise InputError("clip.mp4: damaged")
        return original(self, start, size)

    monkeypatch.setattr(videos.Videos, "batch", batch)
    with pytest.raises(InputError, match=r"clip.mp4: damaged"):
        run_here(tiny, runs / "a")
    end = lines(runs / "a")[-1]
    assert (end["step"], end["status"], end["error"]) == (2, "failed", "clip.mp4: damaged")


def test_a_new_run_inside_its_clips_is_refused(tiny: str, runs: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (tmp_path / "link").symlink_to(clips)
    for output in (clips, clips / "run", tmp_path / "link" / "run"):
        with pytest.raises(ConfigError) as error:
            run_here(tiny, output, data=str(clips))
        assert str(error.value) == (
            f"--output {output}: lies in the data, {clips}, which the run's samples would become a part of; "
            "choose a folder outside"
        )
    assert not any(clips.iterdir())
    run_here(tiny, clips / "run", max_steps=1)  # as earlier versions left one there
    for number in range(3):
        write_lossless(clips / f"{number}.mp4", moving_square(6))
    assert run_here(tiny, clips / "run", data=str(clips), max_steps=2, resume=True) == 0
