"""The command line: exit codes, one-line errors, files as promised, and quick help."""

from __future__ import annotations

import gc
import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vflow import cli
from vflow.checkpoint import checkpoint_hash, load, save_checkpoint
from vflow.commands import app as app_command
from vflow.commands import train as train_command
from vflow.config import FrameConditionedConfig
from vflow.data import media
from vflow.models import build_model
from vflow.pipelines.batch.records import record_class
from vflow.pipelines.video.predict import predict, prepare
from vflow.randomness import content_hash
from vflow.tasks.video.settings import PredictSettings
from vflow.training.args import resolve

SIZE: dict[str, Any] = {
    "glow": {"height": 16, "width": 16, "depth": [1, 1], "hidden": [4, 4]},
    "prior": {"hidden": 4, "dilations": [1]},
    "encoder": {"hidden": [4, 4], "blocks": 1},
    "fps": 5,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights that needs two frames."""
    config = FrameConditionedConfig.model_validate(SIZE | {"min_context": 2})
    torch.manual_seed(0)
    model = build_model(config)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, model, config=config)
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    media.write_npz(tmp_path / "clip.npz", frames=frames)
    return tmp_path / "clip.npz"


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--device auto`` means the CPU, so that results compare with those of models loaded here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


class Vflow:
    """Calls the command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.out, self.err = "", ""

    def __call__(self, *arguments: object) -> int:
        self.capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        self.out, self.err = self.capsys.readouterr()
        return code


@pytest.fixture
def vflow(capsys: pytest.CaptureFixture[str]) -> Vflow:
    return Vflow(capsys)


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def _stdout(monkeypatch: pytest.MonkeyPatch, encoding: str) -> tuple[io.TextIOWrapper, io.BytesIO]:
    """A pipe in place of stdout, and what has come through."""
    through = io.BytesIO()
    pipe = io.TextIOWrapper(through, encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", pipe)
    return pipe, through


@pytest.mark.parametrize(("encoding", "times"), [("ascii", b"64\\xd764"), ("cp1252", b"64\xd764")])
def test_stdout_that_lacks_a_character(monkeypatch: pytest.MonkeyPatch, encoding: str, times: bytes) -> None:
    pipe, through = _stdout(monkeypatch, encoding)
    assert cli.main(["config", "push"]) == 0 and times in through.getvalue()
    pipe.write("\udcff.png ← \udcfe")
    assert through.getvalue().endswith(b"\xff.png \\u2190 \xfe")
    pipe.write("←\udcff\ud800\udcfe")
    assert through.getvalue().endswith(b"\\u2190\xff\\ud800\xfe"), "each character on its own"


def test_stdout_is_utf8_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, through = _stdout(monkeypatch, "cp1252")
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        assert cli.main(["--help"]) == 0
    pipe.write("64×64 ←")
    assert through.getvalue().decode().endswith("64×64 ←")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_is_quick_and_light() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = _python(
        "import sys; from vflow.cli import main; main(['--help']); "
        "print([m for m in ('torch', 'numpy', 'pydantic', 'tyro', 'av') if m in sys.modules])"
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in cli.all_commands())
    # processor time, since wall-clock time would also measure what else the machine is doing
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.4


def test_help_of_every_command_needs_no_torch() -> None:
    done = _python(
        "import sys; from vflow.cli import all_commands, main\n"
        "for name in all_commands(): main([name, *(['video'] if name == 'generate' else []), '-h'])\n"
        "assert 'torch' not in sys.modules"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("--debug ") == len(cli.all_commands())


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        ("predict", ""),
        ("sample", ""),
        ("train", ""),
        ("generate video", ""),
        ("generate colorize", "--batch-size"),
        ("generate digits", "--batch-size"),
        ("generate upscale", "--batch-size"),
        ("compress", "--device --dtype --seed"),
        ("decompress", "--device --dtype --seed"),
        ("app", "--dtype --seed"),
        ("config", "--device --dtype --threads --seed"),
        ("push", "--device --dtype --threads --seed"),
    ],
)
def test_help_shows_the_flags_that_act(vflow: Vflow, command: str, unused: str) -> None:
    assert vflow(*command.split(), "--help") == 0
    for flag in ("--device", "--dtype", "--threads", "--seed", "--debug"):
        assert (f" {flag} " in vflow.out) == (flag not in unused.split()), flag
    assert (" --batch-size " in vflow.out) == (command in ("train", "generate video"))


def test_flags_without_a_use_are_taken_and_named(vflow: Vflow) -> None:
    assert vflow("config", "--device", "cpu", "shapes-guided", "--seed=3") == 0
    assert vflow.err == (
        "note: --device does nothing for vflow config\nnote: --seed does nothing for vflow config\n"
    )
    assert vflow("generate", "digits", "--batch_size", 4) == 2
    assert vflow.err == (
        "note: --batch-size does nothing for vflow generate digits\n"
        "error: --output: give a folder for what is drawn\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prdict", "error: unknown command 'prdict'; did you mean 'predict'?"),
        ("zzz", "error: unknown command 'zzz'; commands: {commands}"),
        ("predict --inptu x", "error: Unrecognized options: --inptu, x; see 'vflow predict --help'"),
        (
            "predict --seed x",
            "error: Error parsing --seed: invalid literal for int() with base 10: 'x'; "
            "see 'vflow predict --help'",
        ),
        (
            "score --device gpu",
            "error: invalid choice 'gpu' for argument '--device'. "
            "Expected one of ('auto', 'cpu', 'cuda'); see 'vflow score --help'",
        ),
        ("predict --input a.mp4", "error: --output: give a folder for what is drawn"),
        (
            "predict --output o --checkpoint shapes",
            "error: --input: give a video, a folder of frames, an npz, or images in order",
        ),
        ("config", "error: name a preset: {presets}"),
        ("config nope", "error: nope: no such preset or file; presets: {presets}"),
        ("train --output o", "error: name what to train: --config PRESET, or --recipe NAME"),
        ("train", "error: --output must be given; see 'vflow train --help'"),
        (
            "generate predict",
            "error: vflow generate: first name a task: colorize, digits, upscale, video, compress, "
            "decompress or score",
        ),
        ("predict --seed -1", "error: --seed must be between 0 and 2^63 − 1, got -1"),
        (
            "sample --output o.csv --seed 9223372036854775808",
            "error: --seed must be between 0 and 2^63 − 1, got 9223372036854775808",
        ),
        ("app --port 70000", "error: --port 70000: must be between 0 and 65535"),
    ],
)
def test_usage_errors(vflow: Vflow, arguments: str, message: str) -> None:
    from vflow.config import preset_names

    assert vflow(*arguments.split()) == 2
    message = message.replace("{presets}", ", ".join(preset_names()))
    assert vflow.err == message.replace("{commands}", ", ".join(cli.all_commands())) + "\n"
    assert vflow.out == ""


def test_out_of_memory_is_one_line(vflow: Vflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_dispatch", lambda arguments: np.empty(2**60, np.int8))
    assert vflow("score") == 1
    assert vflow.err == "error: out of memory; give smaller or fewer inputs, or draw fewer samples\n"


def test_no_command_shows_help(vflow: Vflow) -> None:
    assert vflow() == 2
    assert vflow.err.startswith("usage: vflow COMMAND")
    assert vflow("--version") == 0
    assert vflow.out.startswith("vflow ")


def test_config_prints_a_preset_that_reads_back(vflow: Vflow, tmp_path: Path) -> None:
    from vflow.config import load_preset

    assert vflow("config", "shapes-guided") == 0
    (tmp_path / "mine.yaml").write_text(vflow.out)
    assert load_preset(str(tmp_path / "mine.yaml")) == load_preset("shapes-guided")


@pytest.mark.parametrize("flags", [("--num-frames", 0), ("--temperature", "hot"), ("--temperature", "1,1,1")])
def test_settings_out_of_range(
    vflow: Vflow, tiny: Path, clip: Path, flags: tuple[Any, ...], tmp_path: Path
) -> None:
    assert vflow("predict", "--checkpoint", tiny, "--input", clip, "--output", tmp_path / "o", *flags) == 2
    assert vflow.err.count("\n") == 1
    assert vflow.err.startswith("error: ")


def test_checkpoint_errors(vflow: Vflow, clip: Path, tmp_path: Path) -> None:
    rest = ("--input", clip, "--output", tmp_path / "o")
    assert vflow("predict", "--checkpoint", "nope", *rest) == 3
    assert vflow.err.startswith("error: nope: no such checkpoint; give a folder or a known name (")
    assert vflow("evaluate", "--data", clip) == 2
    assert vflow.err.startswith("error: --checkpoint: give a folder, a hub id, or a name that ships (")
    (tmp_path / "weights.bin").write_bytes(b"x")
    assert vflow("score", "--checkpoint", tmp_path / "weights.bin", "--input", clip) == 3
    assert "pickled weights are refused" in vflow.err


def test_npz_of_one_item(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = vflow(
        "predict", "--checkpoint", tiny, "--input", clip, "--output", out, "--format", "npz",
        "--num-frames", 3, "--num-samples", 2, "--temperature", "0.5,1", "--seed", 4,
    )  # fmt: skip
    assert (code, vflow.out) == (0, f"{out / 'futures.npz'}\n")
    arrays = _read(out / "futures.npz")
    assert {k: (v.dtype, v.shape) for k, v in arrays.items()} == {
        "frames": (np.uint8, (2, 3, 16, 16, 3)),
        "context": (np.uint8, (2, 16, 16, 3)),
    }
    frames = _read(clip)["frames"]
    assert np.array_equal(arrays["context"], frames[-2:])
    expected = predict(load(tiny), frames, num_frames=3, num_samples=2, temperature=(0.5, 1), seed=4)
    assert np.array_equal(arrays["frames"], expected)
    assert sorted(p.name for p in out.iterdir()) == ["futures.npz", "manifest.jsonl", "run.json"]
    entry = json.loads((out / "manifest.jsonl").read_text())
    assert entry["context_sha"] == content_hash(frames[-2:])
    assert (entry["status"], entry["temperature"], entry["nonfinite"]) == ("done", [0.5, 1.0], 0)
    assert entry["bits_per_dim"] > 0


def test_raising_samples_and_frames_leaves_earlier_outputs_unchanged(
    vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path
) -> None:
    common = ("predict", "--checkpoint", tiny, "--input", clip, "--format", "npz")
    vflow(*common, "--output", tmp_path / "a", "--num-frames", 2, "--num-samples", 2)
    vflow(*common, "--output", tmp_path / "b", "--num-frames", 3, "--num-samples", 9)
    few, many = (_read(tmp_path / name / "futures.npz")["frames"] for name in "ab")
    assert np.array_equal(many[:2, :2], few)


@pytest.mark.parametrize("format", ["mp4", "webm", "gif", "png"])
def test_files_per_sample(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    arguments = ("--num-frames", 3, "--num-samples", 2, "--format", format)
    assert vflow("predict", "--checkpoint", tiny, "--input", clip, "--output", out, *arguments) == 0
    assert vflow.out == f"{out / 'clip'}\n"
    names = [f"s{k:03d}" if format == "png" else f"s{k:03d}.{format}" for k in range(2)]
    assert sorted(p.name for p in (out / "clip").iterdir()) == names
    futures = predict(load(tiny), _read(clip)["frames"], num_frames=3, num_samples=2)
    written = [media.read_clip(out / "clip" / name).frames for name in names]
    if format == "png":
        assert np.array_equal(np.stack(written), futures)
    else:
        assert {frames.shape for frames in written} == {(3, 256, 256, 3)}


def test_a_written_future_is_a_valid_input(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path) -> None:
    common = ("predict", "--checkpoint", tiny, "--num-frames", 2, "--num-samples", 1)
    vflow(*common, "--input", clip, "--output", tmp_path / "a", "--format", "png")
    future = tmp_path / "a" / "clip" / "s000"
    assert vflow(*common, "--input", future, "--output", tmp_path / "b", "--format", "npz") == 0
    assert np.array_equal(_read(tmp_path / "b" / "futures.npz")["context"], media.read_clip(future).frames)


def test_an_empty_value_and_an_apple_gpu_are_refused(vflow: Vflow, tiny: Path, clip: Path) -> None:
    assert vflow("predict", "--checkpoint", tiny, "--input", clip, "--output", "") == 2
    assert vflow.err == "error: --output: empty; give a value, or leave it out\n"
    for flag, value in (("--temperature", "nan"), ("--fps", 0), ("--fps", 0.001)):
        run = ("predict", "--checkpoint", tiny, "--input", clip, "--output", clip.parent / "o", flag, value)
        assert vflow(*run) == 2 and vflow.err.startswith(f"error: {flag} ")
    assert vflow("score", "--checkpoint", tiny, "--input", clip, "--device", "mps") == 2
    assert vflow.err.startswith(
        "error: invalid choice 'mps' for argument '--device'. Expected one of ('auto'"
    )


def test_other_settings_replace_what_is_there_only_when_asked(
    vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path
) -> None:
    run = ("predict", "--checkpoint", tiny, "--input", clip, "--output", tmp_path / "out", "--format", "npz")
    assert vflow(*run, "--num-samples", 3, "--num-frames", 2) == 0 and "deleted" not in vflow.err
    other = (*run, "--num-samples", 3, "--num-frames", 2, "--format", "gif")
    assert vflow(*other) == 1
    assert f"{tmp_path / 'out'}: has " in vflow.err and "(format npz, now gif); " in vflow.err
    assert (tmp_path / "out" / "futures.npz").is_file()
    assert vflow(*other, "--on-existing", "overwrite") == 0
    assert "other settings; 1 earlier file deleted" in vflow.err


def test_several_items_some_bad(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"PK\x03\x04 not really")
    common = (
        "predict",
        "--checkpoint",
        tiny,
        "--output",
        tmp_path / "o",
        "--format",
        "npz",
        "--num-samples",
        1,
    )
    code = vflow(*common, "--input", clip, "--input", bad)
    assert code == 1
    assert vflow.err.splitlines()[-1] == "2 items: 1 done (0 of them before), 1 failed"
    assert (tmp_path / "o" / "clip" / "futures.npz").is_file()
    assert vflow(*common, "--input", clip, bad, "--json") == 1
    assert [json.loads(line)["status"] for line in vflow.out.splitlines()] == ["done", "failed"]
    assert "1 done (1 of them before)" in vflow.err


def test_settings_repeat_a_run(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path) -> None:
    rest = ("--num-frames", 2, "--num-samples", 2, "--seed", 9, "--temperature", 0.7, "--format", "npz")
    vflow("predict", "--checkpoint", tiny, "--input", clip, "--output", tmp_path / "a", *rest)
    repeat = ("predict", "--settings", tmp_path / "a" / "run.json", "--input", clip)
    assert vflow(*repeat, "--output", tmp_path / "b") == 0
    assert (tmp_path / "a/futures.npz").read_bytes() == (tmp_path / "b/futures.npz").read_bytes()
    assert vflow(*repeat, "--output", tmp_path / "c", "--seed", 1) == 0
    assert (tmp_path / "a/futures.npz").read_bytes() != (tmp_path / "c/futures.npz").read_bytes()


def test_settings_of_another_machine_repeat_as_far_as_they_can(
    vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path
) -> None:
    rest = ("--num-frames", 1, "--num-samples", 1, "--format", "npz")
    vflow("predict", "--checkpoint", tiny, "--input", clip, "--output", tmp_path / "a", *rest)
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    (tmp_path / "s.json").write_text(json.dumps(record | {"threads": 4096, "device": "cuda"}))
    threads = torch.get_num_threads()
    try:
        repeat = ("predict", "--settings", tmp_path / "s.json", "--input", clip, "--output", tmp_path / "b")
        assert vflow(*repeat) == 0
    finally:
        torch.set_num_threads(threads)
    assert "4096 threads, here" in vflow.err and "cuda" in vflow.err


def test_a_device_that_is_not_here(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path) -> None:
    arguments = ("--input", clip, "--output", tmp_path / "o", "--device", "cuda")
    assert vflow("predict", "--checkpoint", tiny, *arguments) == 2
    assert vflow.err == "error: --device cuda: not available on this machine; use --device cpu or auto\n"


def test_bfloat16_and_threads(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path) -> None:
    common = ("predict", "--checkpoint", tiny, "--input", clip, "--num-frames", 1, "--format", "npz")
    threads = torch.get_num_threads()
    assert vflow(*common, "--output", tmp_path / "a", "--dtype", "bfloat16", "--threads", threads) == 0
    run = json.loads((tmp_path / "a" / "run.json").read_text())
    assert (run["dtype"], run["threads"], run["device"]) == ("bfloat16", threads, "cpu")
    assert vflow(*common, "--output", tmp_path / "b") == 0
    low, full = (_read(tmp_path / name / "futures.npz")["frames"].astype(int) for name in "ab")
    assert 0 < np.abs(low - full).mean() < 3
    assert vflow(*common, "--output", tmp_path / "c", "--threads", 0) == 2
    assert vflow.err.startswith("error: --threads 0: must be between 1 and ")


def test_settings_of_the_app(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path) -> None:
    frames, model = _read(clip)["frames"], load(tiny)
    sha = content_hash(prepare(model, frames).context)
    record = record_class(PredictSettings)(
        checkpoint=str(tiny), checkpoint_hash=checkpoint_hash(tiny), num_frames=2, num_samples=3, seed=5,
        context_sha=sha,
    )  # fmt: skip
    (tmp_path / "settings.json").write_text(record.to_json())
    repeat = ("predict", "--settings", tmp_path / "settings.json", "--format", "npz")
    assert vflow(*repeat, "--input", clip, "--output", tmp_path / "o") == 0
    assert "not the input" not in vflow.err
    expected = predict(model, frames, num_frames=2, num_samples=3, seed=5)
    assert np.array_equal(_read(tmp_path / "o/futures.npz")["frames"], expected)
    assert vflow(*repeat, "--input", tmp_path / "o/futures.npz", "--output", tmp_path / "q") == 0
    assert "not the input" not in vflow.err  # futures hold what they were drawn from
    assert (tmp_path / "q/futures.npz").read_bytes() == (tmp_path / "o/futures.npz").read_bytes()
    media.write_npz(tmp_path / "other.npz", frames=255 - frames)
    assert vflow(*repeat, "--input", tmp_path / "other.npz", "--output", tmp_path / "p") == 0
    assert "note: other: not the input that the settings were made with; futures will differ" in vflow.err


def test_after_the_first_frames(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path) -> None:
    given = ("--input", clip, "--num-frames", 2, "--num-samples", 1, "--format", "npz")
    first = (*given, "--context-at", "start", "--output", tmp_path / "a")
    assert vflow("predict", "--checkpoint", tiny, *first) == 0
    assert "note: clip: used the first 2 of 4 frames" in vflow.err
    arrays, frames = _read(tmp_path / "a/futures.npz"), _read(clip)["frames"]
    assert np.array_equal(arrays["context"], frames[:2])
    assert np.array_equal(arrays["frames"], predict(load(tiny), frames[:2], num_frames=2, num_samples=1))
    repeat = ("predict", "--settings", tmp_path / "a/run.json", "--input", clip, "--output", tmp_path / "b")
    assert vflow(*repeat) == 0
    assert (tmp_path / "a/futures.npz").read_bytes() == (tmp_path / "b/futures.npz").read_bytes()


def test_settings_of_another_model(vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(
        record_class(PredictSettings)(checkpoint=str(tiny), checkpoint_hash="00").to_json()
    )
    repeat = ("predict", "--settings", tmp_path / "s.json", "--input", clip, "--output", tmp_path / "o")
    assert vflow(*repeat) == 3
    assert "s.json: made with another version of" in vflow.err
    assert vflow(*repeat, "--checkpoint", tiny, "--num-samples", 1, "--num-frames", 1) == 0
    assert "note: " in vflow.err


def test_score(vflow: Vflow, tiny: Path, clip: Path) -> None:
    assert vflow("score", "--checkpoint", tiny, "--input", clip, "--json", "--seed", 2) == 0
    data = json.loads(vflow.out)
    assert list(data) == ["item", "bits_per_dim", "per_frame", "draws", "seed"]
    assert data["per_frame"][:2] == [None, None]
    assert data["bits_per_dim"] == pytest.approx(np.mean(data["per_frame"][2:]))
    assert (data["draws"], data["seed"]) == (1, 2)
    assert vflow("score", "--checkpoint", tiny, "--input", clip, "--json", "--context", 3) == 0
    assert json.loads(vflow.out)["bits_per_dim"] == json.loads(vflow.out)["per_frame"][3]
    assert vflow("score", "--checkpoint", tiny, "--input", clip) == 0
    assert vflow.out.startswith("clip: ")
    assert vflow("score", "--checkpoint", tiny, "--input", clip, "--context", 4) == 2
    assert vflow("score", "--checkpoint", tiny, "--input", "none.mp4") == 1
    assert vflow.err.startswith("error: none.mp4: no such file or folder; ")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _huge_png(path: Path) -> None:
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0" * 99)) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def _truncated_mp4(path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    media.write_video(path, frames, 10)
    path.write_bytes(path.read_bytes()[:-500])


def _npz(shape: tuple[int, ...], value: float = 0, dtype: str = "uint8") -> Callable[[Path], None]:
    return lambda path: media.write_npz(path, frames=np.full(shape, value, dtype))


BAD_INPUTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "text as png": ("notes.png", lambda path: path.write_text("hello"), "notes.png: not an image or video"),
    "truncated mp4": ("cut.mp4", _truncated_mp4, "cut.mp4: "),
    "huge png": (
        "huge.png",
        _huge_png,
        "huge.png: 400 megapixels; the limit is 64; reduce the image and try again",
    ),
    "1x1": (
        "dot.npz",
        _npz((3, 1, 1, 3)),
        "dot.npz: 1×1 pixels; give frames of at least 8×8",
    ),
    "10,000 frames": (
        "long.npz",
        _npz((10_000, 8, 8, 3)),
        "long.npz: more than 3,000 frames, the limit; trim it",
    ),
    "too few frames": (
        "one.png",
        lambda path: media.write_png(path, np.zeros((16, 16, 3), np.uint8)),
        "one.png: 1 frame at 5 per second, but the model needs at least 2; add frames",
    ),
    "NaN": (
        "nan.npz",
        _npz((3, 16, 16, 3), np.nan, "float32"),
        "nan.npz: 2,304 of 2,304 values are NaN or infinite",
    ),
    "empty file": ("empty.mp4", lambda path: path.write_bytes(b""), "empty.mp4: "),
    "empty folder": (
        "void",
        lambda path: path.mkdir(),
        "void: the folder holds no images; put frames in it",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input(vflow: Vflow, tiny: Path, tmp_path: Path, name: str) -> None:
    file, make, message = BAD_INPUTS[name]
    make(tmp_path / file)
    out = tmp_path / "out"
    assert vflow("predict", "--checkpoint", tiny, "--input", tmp_path / file, "--output", out) == 1
    (line,) = [line for line in vflow.err.splitlines() if not line.startswith("note: ")]
    assert line.startswith("error: ")
    assert message in line
    assert vflow.out == ""
    assert sorted(p.name for p in out.iterdir()) == ["manifest.jsonl", "run.json"]
    assert json.loads((out / "manifest.jsonl").read_text())["status"] == "failed"


def test_a_missing_file_is_told_before_anything_is_written(
    vflow: Vflow, tiny: Path, clip: Path, tmp_path: Path
) -> None:
    out, missing = tmp_path / "out", tmp_path / "none.mp4"
    call = ["predict", "--checkpoint", tiny, "--output", out, "--num-samples", 1, "--num-frames", 1]
    assert vflow(*call, "--input", missing) == 1
    assert vflow.err == f"error: {missing}: no such file or folder; check the path\n"
    assert not out.exists()
    assert vflow(*call, "--input", missing, clip) == 1  # the other one is predicted
    entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [entry["status"] for entry in entries] == ["failed", "done"]


def test_unusual_pictures_have_a_decided_outcome(vflow: Vflow, tiny: Path, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 65536, (16, 16), dtype=np.uint16)
    colour = Image.fromarray((np.stack([grey] * 3, -1) >> 8).astype(np.uint8))
    Image.fromarray(grey).save(tmp_path / "0.png")
    colour.convert("CMYK").save(tmp_path / "1.jpg")
    colour.quantize(16).save(tmp_path / "2.png")
    pictures = [tmp_path / name for name in ("0.png", "1.jpg", "2.png")]
    out = tmp_path / "out"
    assert (
        vflow("predict", "--checkpoint", tiny, "--input", *pictures, "--output", out, "--num-samples", 1) == 0
    )
    assert "note: 0: " in vflow.err
    moving = tmp_path / "moving.gif"
    media.write_video(moving, np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8), 5)
    assert vflow("predict", "--checkpoint", tiny, "--input", moving, "--output", out, "--num-samples", 1) == 0
    assert "used the last 2 of 6 frames" in vflow.err


def test_debug_shows_the_traceback(vflow: Vflow) -> None:
    assert vflow("config", "nope", "--debug") == 2
    assert vflow.err.startswith("Traceback")
    assert vflow.err.splitlines()[-1].startswith("error: nope: ")


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (["app"], "gradio", "app"),
        (["train", "--config", "shapes-guided", "--output", "o"], "accelerate", "train"),
        (["compress", "a.png", "--output", "o"], "constriction", "compress"),
        (["decompress", "a.vflow", "--output", "o"], "constriction", "compress"),
    ],
)
def test_missing_extras_are_named(arguments: list[str], module: str, extra: str) -> None:
    block = (
        "import sys, importlib.abc\n"
        "class Block(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {module!r}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"from vflow.cli import main\nsys.exit(main({arguments!r}))"
    )
    done = _python(block)
    assert done.returncode == 2
    remedy = f"install vflow-torch's extra '{extra}' (in its checkout: pip install -e '.[{extra}]')"
    builds = "; it has no builds for Linux or Windows on ARM" if extra == "compress" else ""
    assert done.stderr.endswith(f"needs {module}, which is not installed; {remedy}{builds}\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["vflow", "vflow.cli"])
def test_both_modules_run_the_command(module: str) -> None:
    command = [sys.executable, "-m", module, "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown command 'nonsense'")


def test_interrupted(tiny: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "vflow",
        "predict",
        "--checkpoint",
        tiny,
        "--input",
        clip,
        "--output",
        out,
    ]
    process = subprocess.Popen(
        [*map(str, command), "--num-frames", "1000", "--num-samples", "64", "--format", "npz"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        # Tests started in the background inherit an ignored SIGINT, which Python then leaves ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until = time.monotonic() + 120
    while not (out / "run.json").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1] == "error: interrupted"
    assert [p.name for p in out.iterdir()] == ["run.json"]


def test_app_gets_address_and_checkpoints(vflow: Vflow, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def serve(*args: Any, on_served: Callable[[], None], **kwargs: Any) -> None:
        assert not gc.isenabled(), "garbage is not collected before the page is served"
        on_served()
        assert gc.isenabled()
        gc.unfreeze()
        calls.append((args, kwargs))

    monkeypatch.setattr(app_command, "require", lambda *args: None)
    monkeypatch.setattr(app_command, "_module", lambda: SimpleNamespace(main=serve))
    flags = ("--port", 0, "--checkpoints", "a", "b", "--checkpoints", "c", "--device", "cpu")
    hosts = ("--allow-host", "a.example", "--allow-host", "b.example:8443", "--allow-host", "fd00::/8")
    assert vflow("app", *flags, *hosts, "--embed-in", "https://c.example", "https://*.d.example") == 0
    expected = {
        "device": "cpu",
        "allowed_hosts": ("a.example", "b.example:8443", "fd00::/8"),
        "embedding": ("https://c.example", "https://*.d.example"),
        "offers": [],
    }
    assert calls == [(("127.0.0.1", 0, ["a", "b", "c"]), expected)]
    assert vflow("app", "--allow-host", "https://a.example") == 2
    assert (
        vflow.err == "error: --allow-host https://a.example: give a name alone, such as flows.example.org\n"
    )
    for origin in ("c.example", "*", "https://c.example/path", "https://c.example; script-src *"):
        assert vflow("app", "--embed-in", origin) == 2
        assert vflow.err.startswith(f"error: --embed-in {origin}: ")


def test_train_gets_its_options(vflow: Vflow, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    loop = SimpleNamespace(train=lambda options: calls.append(options) or 130)
    monkeypatch.setattr(train_command, "require", lambda *args: None)
    monkeypatch.setitem(sys.modules, "vflow.training.loop", loop)
    flags = ("--set", "training.ema=0.5", "--set", "data.frames=4", "model.fps=5", "--max-steps", 3)
    assert vflow("train", "--config", "shapes-guided", "--output", "o", *flags) == 130
    preset = resolve(calls[0])
    assert (preset.training.ema, preset.data.frames, preset.model.fps) == (0.5, 4, 5.0)
    assert preset.training.max_steps == 3


def test_repeated_flags_gather_their_values() -> None:
    gather = cli._gather
    assert gather(["--set", "a=1", "--x", "y", "--set=b=-1", "--set", "c=3", "d=4"]) == [
        "--x", "y", "--set", "a=1", "b=-1", "c=3", "d=4",
    ]  # fmt: skip
    assert gather(["--input", "a", "-h"]) == ["-h", "--input", "a"]
    assert gather(["name", "--seed", "-1"]) == ["name", "--seed", "-1"]


def test_files_whose_names_begin_with_a_hyphen_are_no_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-a.png", "-h", "-1"):
        (tmp_path / name).touch()
    found = cli._gather(["--input", "-a.png", "b.png", "-h", "--input=-a.png", "--seed", "-1", "-b.png"])
    assert found == ["-h", "--seed", "-1", "-b.png", "--input", "./-a.png", "b.png", "./-a.png"]
    assert cli._gather(["-a.png", "--json"]) == ["./-a.png", "--json"]


@pytest.mark.parametrize(("own", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_openmp_threads_wait_passively_from_before_torch_is_loaded(own: str | None, expected: str) -> None:
    code = (
        "import os, sys, vflow.cli; assert 'torch' not in sys.modules; vflow.cli.main(['--version']);"
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    if own:
        environment["OMP_WAIT_POLICY"] = own
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == expected


def test_another_package_of_this_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vflow-0.1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: vflow\nVersion: 0.1.2\n", encoding="utf-8")
    assert cli.main(["config", "shapes"]) == 0
    monkeypatch.syspath_prepend(tmp_path)
    capsys.readouterr()
    assert cli.main(["config", "shapes"]) == cli.USAGE
    said = capsys.readouterr().err
    assert (
        said.startswith("error: a package vflow 0.1.2 of another project") and "pip uninstall vflow" in said
    )
