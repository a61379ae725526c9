"""Teaching: film of one's own gathered and divided, the run by the clock, its end, kills, and bad film."""

from __future__ import annotations

import json
import logging
import math
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.sample_media import damage, write_lossless, write_stills
from tests.training.support import finish, lines, python, wait_for
from vflow.checkpoint import load, read_card, save_checkpoint
from vflow.cli import main
from vflow.config import GlowConfig, LatentPriorConfig, VideoFlowConfig
from vflow.data.datasets.film import Piece, Pieces, divide_film, find_film, measure_film, read_piece
from vflow.errors import ConfigError, InputError
from vflow.models import build_model
from vflow.pipelines.evaluate.verdict import Verdict
from vflow.training import teach as teaching
from vflow.training.args import TrainOptions
from vflow.training.commit import commits
from vflow.training.teach import teach

GLOW = GlowConfig(height=16, width=16, depth=(1, 1), hidden=(8, 8))
PRIOR = LatentPriorConfig(hidden=4, dilations=(1,))
CONFIG = VideoFlowConfig(glow=GLOW, prior=PRIOR, context=2, min_context=2, fps=10)
SECONDS = 4 / 60
"""Of a run, in minutes."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint that learns within a second."""
    folder = tmp_path_factory.mktemp("models") / "untaught"
    torch.manual_seed(0)
    save_checkpoint(folder, build_model(CONFIG), config=CONFIG, card="# untaught\n")
    return str(folder)


@pytest.fixture(autouse=True)
def polite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests keep their priority; looks at held-out film come each second."""
    monkeypatch.setattr(teaching, "lower_priority", lambda: None)
    monkeypatch.setattr(teaching, "SHORTEST", 1.0)


def pan(count: int, seed: int, side: int = 16) -> np.ndarray:
    """A camera that pans over a smooth texture: uint8 (T, side, side, 3)."""
    random = np.random.default_rng(seed)
    waves = sum(
        np.sin(np.arange(400) * random.uniform(0.1, 0.9) + random.uniform(0, 6))[None, :, None]
        * np.cos(np.arange(side) * random.uniform(0.1, 0.9))[:, None, None]
        for _ in range(4)
    )
    picture = np.repeat(128 + 28 * waves, 3, axis=-1).clip(0, 255).astype(np.uint8)
    return np.stack([picture[:, 2 * t : 2 * t + side] for t in range(count)])


def film(folder: Path, clips: int = 5, count: int = 20) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for number in range(clips):
        write_lossless(folder / f"clip{number}.mp4", pan(count, number))
    return folder


def run_here(start: str, clips: Path, output: Path, minutes: float = SECONDS, **changes: object) -> int:
    return teach(TrainOptions(output=output, init_from=start, **changes), [clips], minutes)  # type: ignore[arg-type]


def seen(parts: Mapping[Piece, float], path: Path) -> set[bytes]:
    """Frames that pieces of a clip hold."""
    return {frame.tobytes() for piece in parts if piece.path == path for frame in read_piece(piece, CONFIG)}


def test_a_run_ends_in_time_with_a_verdict_and_a_checkpoint(
    start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "mine"
    began = time.monotonic()
    assert run_here(start, film(tmp_path / "clips"), run) == 0
    spoken = capsys.readouterr().out
    found = json.loads((run / "verdict.json").read_text())
    assert found["bits"] < found["before"] and f"{found['bits']:.3f} bits/dim" in spoken
    assert {"best", "mean", "copy_last", "optical_flow", "regression"} <= found["psnr"].keys()
    assert "Verdict: it has learned" in spoken and spoken.strip() in (read_card(run / "model") or "")
    log = lines(run)
    assert (
        log[-1]["status"] == "finished" and 60 * SECONDS * 0.8 < log[-1]["seconds"] < time.monotonic() - began
    )
    rates = [line["lr"] for line in log if "lr" in line]
    assert rates[-1] < 0.5 * max(rates)  # it has fallen with the time that was left
    looks = [line["val_bits_per_dim"] for line in log if "val_bits_per_dim" in line]
    assert len(looks) >= 3 and min(looks[1:]) < looks[0]
    assert min(run.glob("samples/*.png")).name == "step_0000001.png"
    assert load(run).config.kind == "videoflow"


def command(clips: Path, run: Path, start: str) -> list[str]:
    """Words after ``python`` that teach ``start`` in one thread."""
    words = ["-m", "vflow", "teach", str(clips), "--output", str(run), "--checkpoint", start]
    return [*words, "--threads", "1"]


def test_killed_and_resumed_it_goes_on_for_the_time_that_is_left(start: str, tmp_path: Path) -> None:
    clips, run = film(tmp_path / "clips"), tmp_path / "run"
    words = command(clips, run, start)
    process = python(*words, "--minutes", "1")
    wait_for(lambda: any("val_bits_per_dim" in line for line in lines(run)) and commits(run), timeout=300)
    process.kill()
    process.wait()
    step, done = int(commits(run)[-1].name[5:]), max(line.get("seconds", 0) for line in lines(run))
    assert finish(python(*words))[0] == 2  # there is a run already
    minutes = str((done + 10) / 60)
    process = python(*words, "--resume", "--minutes", minutes)
    code, output = finish(process)
    assert code == 0 and "resuming from" in output, output
    end = lines(run)[-1]
    assert end["status"] == "finished" and end["step"] > step and end["seconds"] < done + 40
    assert (run / "verdict.json").is_file()


def test_ctrl_c_keeps_the_best_so_far(start: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    clips = film(tmp_path / "clips")
    words = command(clips, run, start)
    process = python(*words)
    wait_for(lambda: len(lines(run)) > 2)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130 and "best weights so far" in output, output
    assert load(run / "model").config.kind == "videoflow"


@pytest.mark.parametrize("clips", [1, 2, 6])
def test_no_frame_is_both_learned_from_and_held_out(tmp_path: Path, clips: int) -> None:
    folder = film(tmp_path / "clips", clips, 60)
    train, held = divide_film(measure_film(find_film([folder]), None), 0.7)
    assert held and train
    paths = {piece.path for piece in [*train, *held]}
    assert len(paths) == clips
    for path in paths:
        assert not seen(train, path) & seen(held, path)
    if clips == 6:
        assert not {piece.path for piece in train} & {piece.path for piece in held}
    else:
        assert len(seen(train, next(iter(paths)))) >= 40


def test_pieces_of_a_long_film_hold_each_of_its_frames_once(tmp_path: Path) -> None:
    path = write_lossless(tmp_path / "long.mkv", pan(150, 0))
    train, held = divide_film({path: 15.0}, 0.7)
    read = [read_piece(piece, CONFIG) for piece in sorted(train)]
    assert len(read) > 1
    assert np.array_equal(np.concatenate(read), pan(150, 0)[: sum(map(len, read))])
    assert np.array_equal(np.concatenate([read_piece(p, CONFIG) for p in sorted(held)])[-1], pan(150, 0)[-1])


def test_bad_clips_among_good_ones_are_named_and_passed_over(
    start: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = film(tmp_path / "clips", 6)
    damage(clips / "clip0.mp4")
    write_lossless(clips / "still.mp4", np.repeat(pan(1, 9), 20, axis=0))
    slides = np.concatenate([np.repeat(pan(1, seed, 16), 10, axis=0) for seed in (3, 4, 5)])
    slides[10:20] = 255 - slides[10:20]
    write_lossless(clips / "slides.mp4", slides)
    write_lossless(clips / "short.mp4", pan(4, 8))
    shutil.copy(clips / "clip2.mp4", clips / "twin.mp4")
    write_lossless(clips / "wide.mp4", pan(20, 7, 48)[:, :32])
    write_stills(clips / "frames", pan(20, 11))
    (tmp_path / "photo.png").write_bytes(b"")
    assert (
        teach(TrainOptions(output=tmp_path / "run", init_from=start), [clips, tmp_path / "photo.png"], 0.03)
        == 0
    )
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    for name in ("clip0.mp4", "still.mp4", "slides.mp4", "short.mp4", "twin.mp4", "photo.png"):
        assert sum(name in line.partition(":")[0] for line in told) == 1, (name, told)
    assert not any("wide.mp4" in line or "frames" in line.partition(":")[0] for line in told)


def test_other_clips_are_held_out_where_those_chosen_are_of_no_use(
    start: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = film(tmp_path / "clips", 6)
    _, held = divide_film(measure_film(find_film([clips]), None), 0.7)
    (chosen,) = {piece.path for piece in held}
    write_lossless(chosen, np.repeat(pan(1, 9), 20, axis=0))
    run_here(start, clips, tmp_path / "run")
    assert (tmp_path / "run" / "verdict.json").is_file()
    assert sum(chosen.name in record.message for record in caplog.records) == 1


def test_the_same_clips_are_held_out_wherever_they_lie(tmp_path: Path) -> None:
    chosen = []
    for place in ("here", "there/below"):
        (tmp_path / place).mkdir(parents=True)
        _, held = divide_film(measure_film(find_film([film(tmp_path / place / "clips", 6)]), None), 0.7)
        chosen.append({piece.path.name for piece in held})
    assert chosen[0] == chosen[1]


def test_film_of_which_nothing_can_be_used(start: str, tmp_path: Path) -> None:
    still = write_lossless(tmp_path / "still.mp4", np.repeat(pan(1, 9), 40, axis=0))
    short = write_lossless(tmp_path / "short.mp4", pan(9, 0))
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    for path in (still, short, tmp_path / "torn.mp4", tmp_path / "missing.mp4"):
        with pytest.raises(InputError, match=path.name):
            run_here(start, path, tmp_path / "run")
    with pytest.raises(ConfigError, match="minutes"):
        run_here(start, still, tmp_path / "run", 0)
    with pytest.raises(ConfigError, match="--output"):
        run_here(start, tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert main(["teach", "--output", str(tmp_path / "run")]) == 2


def test_one_clip_of_three_seconds(start: str, tmp_path: Path) -> None:
    path = write_lossless(tmp_path / "one.mp4", pan(30, 0))
    assert run_here(start, path, tmp_path / "run", 0.03) == 0
    assert json.loads((tmp_path / "run" / "verdict.json").read_text())["clips"] == 1


def test_five_hundred_clips_are_decoded_as_they_are_needed(tmp_path: Path) -> None:
    seconds = {Piece(tmp_path / f"{number}.mp4"): 2.0 for number in range(500)}
    write_lossless(tmp_path / "any.mp4", pan(20, 0))
    for piece in seconds:
        (piece.path).hardlink_to(tmp_path / "any.mp4")
    pieces = Pieces(seconds, 6, CONFIG)
    pieces.example(0, (0, 0))
    assert len(pieces) == 500 * 20 // 6 and pieces._cache.bytes == 20 * 16 * 16 * 3


def test_the_verdict_says_what_the_figures_say() -> None:
    psnr = {"best": 21.0, "mean": 19.0, "copy_last": 18.5, "optical_flow": 18.9, "regression": 17.0}
    found = Verdict(2.0, 2.5, 2.5, 7, 20, psnr, 3)
    assert "-20.0%" in found.words("any") and "even a single future" in found.words("any")
    assert "a single one does not" in found._replace(psnr=psnr | {"mean": 18.0}).words("any")
    assert "optical flow (DIS) is as near" in found._replace(psnr=psnr | {"optical_flow": 21.5}).words("any")
    assert "nothing was learned" in found._replace(bits=2.6).words("any")
    assert math.isclose(0.8, found.bits / found.x264)
