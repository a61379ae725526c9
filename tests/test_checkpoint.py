"""Checkpoints: what is saved comes back; whatever is damaged, foreign, unsafe or absurd is one line."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from vflow import catalog
from vflow.checkpoint import (
    _AllocationLimit,
    _AllocationLimitError,
    checkpoint_folder,
    checkpoint_hash,
    find_checkpoints,
    load,
    read_card,
    read_config,
    read_statistics,
    save_checkpoint,
)
from vflow.config import VideoFlowConfig
from vflow.errors import CheckpointError, ConfigError
from vflow.models import VideoFlow, build_model

ROOT = Path(__file__).parents[1]
TINY = {
    "glow": {"height": 16, "width": 16, "depth": [1, 1], "hidden": [4, 4]},
    "prior": {"hidden": 4, "dilations": [1]},
}
CONFIG = VideoFlowConfig.model_validate(TINY)


@pytest.fixture
def model() -> VideoFlow:
    return build_model(CONFIG)


@pytest.fixture
def folder(tmp_path: Path, model: VideoFlow) -> Path:
    path = tmp_path / "tiny"
    save_checkpoint(path, model, config=CONFIG, card="# tiny\n", extra={"clips": 3})
    return path


@pytest.fixture(autouse=True)
def nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for shipped checkpoints, so that tests do not depend on what ships."""
    root = tmp_path / "shipped"
    root.mkdir()
    monkeypatch.setattr(catalog, "_shipped_root", lambda: root)
    return root


def test_models_in_float64_are_refused_before_anything_is_written(tmp_path: Path, model: VideoFlow) -> None:
    with pytest.raises(ConfigError, match="float64, checkpoints hold float32"):
        save_checkpoint(tmp_path / "wide", model.double(), config=CONFIG)
    assert not (tmp_path / "wide").exists()


def test_round_trip(folder: Path, model: VideoFlow) -> None:
    loaded = load(folder)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    assert loaded.config == CONFIG == read_config(folder)
    assert not loaded.training
    assert not any(p.requires_grad or p.dtype != torch.float32 for p in loaded.parameters())


def test_half_precision_halves_the_file_and_is_computed_with_in_full(tmp_path: Path) -> None:
    counted = CONFIG.model_copy(update={"pixel_map": "marginal"})
    model = build_model(counted)
    for name, half in (("whole", False), ("half", True)):
        save_checkpoint(tmp_path / name, model, config=counted, half=half)
    loaded, learned = load(tmp_path / "half"), dict(model.named_parameters())
    for key, value in model.state_dict().items():
        wanted = value.half().float() if key in learned else value
        assert torch.equal(loaded.state_dict()[key], wanted), key
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.75 * sizes[1]


def test_int8_kernels_are_within_half_a_step_and_computed_with_in_full(
    tmp_path: Path, model: VideoFlow
) -> None:
    save_checkpoint(tmp_path / "half", model, config=CONFIG, half=True)
    save_checkpoint(tmp_path / "int8", model, config=CONFIG, half=True, int8=["flow", "priors.0"])
    stored, loaded = load_file(tmp_path / "int8" / "model.safetensors"), load(tmp_path / "int8").state_dict()
    rounded = {name for name, value in stored.items() if value.dtype == torch.int8}
    assert rounded and all(name.startswith(("flow.", "priors.0.")) for name in rounded)
    for name, value in model.state_dict().items():
        assert loaded[name].dtype == value.dtype
        if name in rounded:
            step = value.flatten(1).abs().amax(1) / 127
            assert bool(((loaded[name] - value).flatten(1).abs() <= 0.501 * step[:, None]).all()), name
    kernels = {name for name, p in model.named_parameters() if p.dim() > 1 and name.startswith("flow.")}
    assert kernels <= rounded
    others = load(tmp_path / "half").state_dict()
    assert all(torch.equal(loaded[name], others[name]) for name in others.keys() - rounded)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("int8", "half")]
    assert sizes[0] < sizes[1]


def test_saving_what_was_loaded_from_int8_changes_nothing(tmp_path: Path, model: VideoFlow) -> None:
    save_checkpoint(tmp_path / "a", model, config=CONFIG, int8=["flow"])
    save_checkpoint(tmp_path / "b", load(tmp_path / "a"), config=CONFIG, int8=["flow"])
    first, second = (load(tmp_path / name).state_dict() for name in "ab")
    assert all(torch.allclose(first[name], second[name], rtol=1e-6, atol=0) for name in first)


def test_parts_for_int8_that_the_model_lacks_are_refused(tmp_path: Path, model: VideoFlow) -> None:
    with pytest.raises(ConfigError, match=r"^int8: the model has no part 'flo' with kernels; it has flow"):
        save_checkpoint(tmp_path / "a", model, config=CONFIG, int8=["flo"])
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, k: s.pop(k), "tensor '{key}' is missing; "),
        (lambda s, k: s.update({k: s[k] * float("nan")}), "tensor '{key}' has NaN or infinite values; "),
        (lambda s, k: s.update({k: s[k][:1].clone()}), "tensor '{key}' has shape (1,), config.json needs ("),
        (lambda s, k: s.update({f"{k}s": s[k].clone()}), "tensor '{key}s' is unknown; "),
    ],
)
def test_scales_of_int8_that_miss_or_are_broken_are_refused(
    change: Callable[[dict[str, torch.Tensor], str], object], message: str, tmp_path: Path, model: VideoFlow
) -> None:
    save_checkpoint(tmp_path / "a", model, config=CONFIG, int8=["flow"])
    state = load_file(tmp_path / "a" / "model.safetensors")
    key = next(name for name in sorted(state) if name.endswith(".int8_scale") and len(state[name]) > 1)
    change(state, key)
    save_file(state, tmp_path / "a" / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "a")
    assert message.replace("{key}", key) in str(caught.value) and "\n" not in str(caught.value)


def test_load_leaves_the_global_generator_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load(folder)
    assert torch.equal(before, torch.random.get_rng_state())


def test_threads_that_load_at_once_leave_the_global_generator_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(config: Any) -> Any:
        model = build_model(config)
        time.sleep(0.05)
        return model

    monkeypatch.setattr("vflow.checkpoint.build_model", slow)
    before = torch.random.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(load, [folder] * 3))
    assert torch.equal(before, torch.random.get_rng_state())


def test_folder_holds_three_readable_files_and_no_leftovers(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert {p.name for p in folder.parent.iterdir()} == {"tiny", "shipped"}
    assert (folder / "model.safetensors").stat().st_mode == (folder / "config.json").stat().st_mode
    data = json.loads((folder / "config.json").read_text())
    assert data["schema"] == 1
    assert data["statistics"] == {"clips": 3}


def test_saving_again_replaces_the_weights_and_keeps_the_card(folder: Path, model: VideoFlow) -> None:
    before = checkpoint_hash(folder)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    save_checkpoint(folder, model, config=CONFIG)
    assert checkpoint_hash(folder) != before
    assert (folder / "README.md").read_text() == "# tiny\n"
    assert torch.equal(next(load(folder).parameters()), next(model.parameters()))


def test_sidecars_stay_with_the_weights_they_belong_to(folder: Path, model: VideoFlow) -> None:
    for name in ("directions.safetensors", "statistics.safetensors"):
        (folder / name).write_bytes(b"of these weights")
    save_checkpoint(folder, model, config=CONFIG, extra={"clips": 3})
    assert len(list(folder.glob("*.safetensors"))) == 3
    save_checkpoint(folder, model, config=CONFIG, extra={"clips": 4})
    assert [path.name for path in folder.glob("*.safetensors")] == ["model.safetensors"]


def test_only_a_checkpoint_is_replaced(folder: Path, model: VideoFlow) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(
        ConfigError, match=r"holds notes\.txt, which is no part of a checkpoint and would be del"
    ):
        save_checkpoint(folder, model, config=CONFIG)
    with pytest.raises(ConfigError, match=r"notes\.txt: is a file; name a folder for the checkpoint"):
        save_checkpoint(folder / "notes.txt", model, config=CONFIG)
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_interrupt_between_the_renames_keeps_the_old_checkpoint(
    folder: Path, model: VideoFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, before = os.rename, (folder / "model.safetensors").read_bytes()

    def interrupted(source: Path, target: Path) -> None:
        if Path(source).name == "new":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, model, config=CONFIG)
    assert (folder / "model.safetensors").read_bytes() == before
    assert not list(folder.parent.glob(f".{folder.name}.*"))


@pytest.mark.parametrize("replaces", [False, True])
def test_the_disk_has_a_checkpoint_under_its_name_before_the_old_one_is_deleted(
    folder: Path, model: VideoFlow, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    place = folder if replaces else folder.with_name("fresh")
    done = list[tuple[str, str]]()
    rename, fsync, rmtree = os.rename, os.fsync, shutil.rmtree

    def renamed(source: Path, target: Path) -> None:
        rename(source, target)
        done.append(("rename", Path(target).name))

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))

    def deleted(path: Path, **options: Any) -> None:
        done.append(("delete", Path(path).suffix))
        rmtree(path, **options)

    monkeypatch.setattr(os, "rename", renamed)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr("vflow.checkpoint.shutil.rmtree", deleted)
    save_checkpoint(place, model, config=CONFIG)
    named = done.index(("rename", place.name))
    assert {("sync", name) for name in ("config.json", "model.safetensors", "new")} <= set(done[:named])
    assert ("sync", place.parent.name) in done[named:]
    if replaces:
        assert done.index(("sync", place.parent.name)) < done.index(("delete", ".old"))


def test_a_checkpoint_that_a_kill_left_without_its_name_gets_it_back(folder: Path, model: VideoFlow) -> None:
    left = folder.parent / f".{folder.name}.abc.old"
    left.mkdir()
    folder.rename(left / folder.name)
    (left / folder.name / "directions.safetensors").write_bytes(b"of these weights")
    save_checkpoint(folder, model, config=CONFIG, extra={"clips": 3})
    assert (folder / "directions.safetensors").is_file() and not left.exists()
    other = folder.parent / f".{folder.name}.v2.abc.old" / f"{folder.name}.v2"  # left by another's kill
    other.mkdir(parents=True)
    save_checkpoint(folder, model, config=CONFIG)
    assert other.is_dir()


def test_a_folder_that_cannot_be_renamed_leaves_nothing_behind(
    folder: Path, model: VideoFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "rename", Mock(side_effect=PermissionError))
    with pytest.raises(PermissionError):
        save_checkpoint(folder, model, config=CONFIG)
    assert not list(folder.parent.glob(f".{folder.name}.*"))


@pytest.mark.parametrize(
    ("value", "half", "message"),
    [
        (1e5, True, "has values beyond what half precision holds"),
        (float("nan"), False, "has NaN or infinite values"),
    ],
)
def test_values_that_load_would_refuse_are_not_saved(
    tmp_path: Path, model: VideoFlow, value: float, half: bool, message: str
) -> None:
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = value
    with pytest.raises(ConfigError, match=message):
        save_checkpoint(tmp_path / "a", model, config=CONFIG, half=half)
    assert not (tmp_path / "a").exists()


def test_statistics_may_have_whole_numbers_for_keys(tmp_path: Path, model: VideoFlow) -> None:
    save_checkpoint(tmp_path / "a", model, config=CONFIG, extra={"counts": {1: 0.1, 2: 0.2, 10: 0.3}})
    load(tmp_path / "a")
    assert read_statistics(tmp_path / "a") == {"counts": {"1": 0.1, "2": 0.2, "10": 0.3}}


def test_loading_does_not_depend_on_the_default_type(folder: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert {value.dtype for value in load(folder).parameters()} == {torch.float32}
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_family_of_a_hostile_config_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert catalog.family_of(tmp_path) is None


def test_names(tmp_path: Path, folder: Path, model: VideoFlow, nothing_ships: Path) -> None:
    save_checkpoint(nothing_ships / "shapes", model, config=CONFIG)
    save_checkpoint(tmp_path / "runs" / "mine" / "step_0000010" / "model", model, config=CONFIG)
    (tmp_path / "runs" / "mine" / "last").symlink_to("step_0000010")
    assert list(find_checkpoints()) == ["shapes"]
    assert checkpoint_folder("shapes") == nothing_ships / "shapes"
    assert list(find_checkpoints([tmp_path / "runs"])) == ["mine", "shapes"]
    assert find_checkpoints([folder])["tiny"] == folder
    assert load(tmp_path / "runs" / "mine").config == CONFIG
    assert load(tmp_path / "runs" / "mine" / "step_0000010").config == CONFIG
    found = checkpoint_folder(tmp_path / "runs" / "mine")
    assert found == tmp_path / "runs" / "mine" / "step_0000010" / "model", "the link moves on, a folder stays"


def test_a_run_without_a_link_is_its_highest_step_that_holds_a_model(
    tmp_path: Path, model: VideoFlow
) -> None:
    for step in ("step_0000009", "step_0000010", "step_0000011", "step_0000012"):
        save_checkpoint(tmp_path / step / "model", model, config=CONFIG)
    (tmp_path / "step_0000011" / "model" / "model.safetensors").unlink()
    shutil.rmtree(tmp_path / "step_0000012" / "model")
    assert checkpoint_folder(tmp_path) == tmp_path / "step_0000010" / "model"


def test_own_folder_wins_over_what_ships(folder: Path, model: VideoFlow, nothing_ships: Path) -> None:
    save_checkpoint(nothing_ships / "tiny", model, config=CONFIG)
    assert find_checkpoints([folder.parent])["tiny"] == folder


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = json.loads((folder / "config.json").read_text())
        change(data)
        (folder / "config.json").write_text(json.dumps(data))

    return damage


def _weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return damage


def _raw(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def _pickle_instead(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _first(state: dict[str, torch.Tensor]) -> str:
    return next(key for key in sorted(state) if state[key].is_floating_point() and state[key].numel() > 1)


def _nan(state: dict[str, torch.Tensor]) -> None:
    state[_first(state)].view(-1)[0] = float("nan")


def _reshape(state: dict[str, torch.Tensor]) -> None:
    state[_first(state)] = torch.zeros(7, 7)


def _double(state: dict[str, torch.Tensor]) -> None:
    state[_first(state)] = state[_first(state)].double()


WHOLE = "is a folder with config.json and model.safetensors"
DAMAGES = {
    "no config": (
        lambda f: (f / "config.json").unlink(),
        f"tiny: no config.json in it; a checkpoint {WHOLE}",
    ),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        f"tiny: no model.safetensors in it; a checkpoint {WHOLE}",
    ),
    "pickle": (
        _pickle_instead,
        "tiny: holds pytorch_model.bin, but pickled weights are refused (they can run code); "
        "convert to model.safetensors",
    ),
    "json garbage": (_raw("config.json", lambda b: b"\0{"), "config.json: not valid JSON ("),
    "json list": (
        _raw("config.json", lambda b: b"[1]"),
        "config.json: not a JSON object; save the checkpoint again",
    ),
    "json nested": (_raw("config.json", lambda b: b"[" * 100_000), "config.json: not valid JSON ("),
    "json huge": (
        _raw("config.json", lambda b: b + b" " * (1 << 20)),
        "config.json: larger than 1 MiB; this is no model config",
    ),
    "schema": (
        _edit(lambda d: d.update(schema=2)),
        "config.json: schema 2, this vflow reads 1; update vflow",
    ),
    "unknown key": (
        _edit(lambda d: d.update(extra=1)),
        "config.json: unknown key 'extra'; known: schema, model, statistics",
    ),
    "unknown model key": (_edit(lambda d: d["model"].update(deep=1)), "config.json: unknown key 'deep'"),
    "unknown nested key": (
        _edit(lambda d: d["model"]["glow"].update(x=1)),
        "config.json: unknown key 'glow.x'",
    ),
    "kind": (
        _edit(lambda d: d["model"].update(kind="gan")),
        "config.json: model kind 'gan' is unknown; known: ",
    ),
    "kind list": (_edit(lambda d: d["model"].update(kind=[])), "config.json: model kind '[]' is unknown"),
    "model missing": (
        _edit(lambda d: d.pop("model")),
        "config.json: 'model' and 'statistics' must be objects; save the checkpoint again",
    ),
    "value": (_edit(lambda d: d["model"].update(context=99)), "config.json: context: "),
    "absurd config": (
        _edit(lambda d: d["model"]["prior"].update(hidden=2048, blocks=32)),
        "config.json: describes a model far larger than the ",
    ),
    "missing tensor": (
        _weights(lambda s: s.pop(_first(s))),
        "model.safetensors: tensor '{first}' is missing; ",
    ),
    "unknown tensor": (
        _weights(lambda s: s.update(extra=torch.zeros(2))),
        "model.safetensors: tensor 'extra' is unknown; ",
    ),
    "shape": (
        _weights(_reshape),
        "model.safetensors: tensor '{first}' has shape (7, 7), config.json needs (",
    ),
    "type": (
        _weights(_double),
        "model.safetensors: tensor '{first}' has type float64, config.json needs float32; ",
    ),
    "other config": (_edit(lambda d: d["model"]["glow"].update(hidden=[4, 5])), "has shape "),
    "nan": (
        _weights(_nan),
        "model.safetensors: tensor '{first}' has NaN or infinite values; use an earlier checkpoint",
    ),
    "truncated": (
        _raw("model.safetensors", lambda b: b[:-10]),
        "model.safetensors: not a whole safetensors file (",
    ),
    "cut header": (
        _raw("model.safetensors", lambda b: b[:100]),
        "model.safetensors: not a whole safetensors file (",
    ),
    "empty": (_raw("model.safetensors", lambda b: b""), "model.safetensors: not a whole safetensors file ("),
    "garbage": (
        _raw("model.safetensors", lambda b: b"\x80\x04garbage" * 99),
        "not a whole safetensors file (",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged(folder: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    first = _first(load_file(folder / "model.safetensors"))
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    text = str(caught.value)
    assert message.replace("{first}", first) in text
    assert str(folder) in text
    assert "\n" not in text
    assert caught.value.exit_code == 3


def test_absurd_tensor_is_refused_before_allocation(folder: Path) -> None:
    header = {"w": {"dtype": "F32", "shape": [600_000, 1000], "data_offsets": [0, 2_400_000_000]}}
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 2_400_000_000)  # sparse: takes no room on disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="600,000,000 parameters; vflow refuses more than 500,000,000"):
        load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_limit_of_allocations_counts_arguments_by_name() -> None:
    with _AllocationLimit(1000) as limit:
        torch.randn(3, generator=torch.Generator())
        torch.full(size=(2, 3), fill_value=1.0)
        torch.eye(n=4), torch.eye(3, m=4)
        torch.arange(end=5), torch.arange(2, end=9), torch.arange(0, 9, step=3)
    assert limit.left == 1000 - 3 - 6 - 16 - 12 - 5 - 7 - 3
    with pytest.raises(_AllocationLimitError), _AllocationLimit(100):
        torch.eye(n=11)


def test_loading_imports_no_compiler_and_no_opencv() -> None:
    """The compiler takes longer than loading does, and changes environment and filters of warnings."""
    code = (
        "import os, sys, warnings, torch\n"
        "from vflow.checkpoint import _AllocationLimit, load\n"
        "before = dict(os.environ), list(warnings.filters)\n"
        "with _AllocationLimit(100) as limit:\n"
        "    torch.zeros(2, 3), torch.full((2, 2), 1.0), torch.arange(-3.0, 4.0, 2.0), torch.arange(1, 4)\n"
        "    torch.arange(5), torch.eye(3), torch.eye(2, 3)\n"
        "assert limit.left == 100 - 6 - 4 - 4 - 3 - 5 - 9 - 6, limit.left\n"
        "for name in sys.argv[1:]:\n"
        "    load(name)\n"
        "assert not {'sympy', 'torch._dynamo', 'cv2'} & set(sys.modules)\n"
        "assert (dict(os.environ), list(warnings.filters)) == before\n"
    )
    shipped = [str(folder) for folder in sorted((ROOT / "checkpoints").iterdir())]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, *shipped], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_file_instead_of_directory(folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: a checkpoint is a folder .*; give the folder"
    ):
        load(folder / "model.safetensors")
    pickle = folder / "weights.pt"
    pickle.write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"weights\.pt: pickled weights are refused"):
        load(pickle)


def test_unknown_name_lists_the_known(nothing_ships: Path, model: VideoFlow) -> None:
    save_checkpoint(nothing_ships / "tiny", model, config=CONFIG)
    with pytest.raises(CheckpointError, match=r"^nope: no such checkpoint; give a .* known name \(tiny\)$"):
        checkpoint_folder("nope")


@pytest.mark.parametrize("name", catalog.SUPERSEDED)
def test_names_that_no_longer_ship_say_what_does(name: str) -> None:
    hint = f"{name}: no longer ships; {catalog.SUPERSEDED[name]}"
    with pytest.raises(CheckpointError) as refused:
        load(name)
    assert str(refused.value) == hint
    ships = {path.name for path in (Path(__file__).parents[1] / "checkpoints").iterdir()}
    assert ships & set(catalog.SUPERSEDED[name].split()) and name not in ships


def test_folders_without_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none: no such folder"):
        find_checkpoints([tmp_path / "none"])
    (tmp_path / "void").mkdir()
    with pytest.raises(CheckpointError, match="void: holds no checkpoint"):
        find_checkpoints([tmp_path / "void"])


def test_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def snapshot(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert load("owner/name").config == CONFIG
    assert load("owner/name@v1").config == CONFIG
    files = [
        "config.json",
        "model.safetensors",
        "README.md",
        "directions.safetensors",
        "statistics.safetensors",
    ]
    assert asked == [("owner/name", None, files), ("owner/name", "v1", files)]
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load("owner/name", allow_hub=False)
    assert len(asked) == 2


def test_a_local_directory_is_never_taken_for_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    with pytest.raises(CheckpointError, match="runs/none: no such checkpoint"):
        load("runs/none")


@pytest.mark.parametrize("kind", [LocalEntryNotFoundError, catalog.hub_error_type(), OSError])
def test_hub_out_of_reach(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(*args: Any, **kwargs: Any) -> str:
        raise kind("cannot reach the hub\nmore detail")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(CheckpointError, match=r"^owner/name: neither .* hub \(cannot reach the hub\)$"):
        load("owner/name")


def test_a_run_whose_last_step_points_to_itself(tmp_path: Path) -> None:
    (tmp_path / "last").symlink_to(tmp_path / "last")
    with pytest.raises(CheckpointError, match=r"no config.json in it"):
        load(tmp_path)


def test_a_card_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    assert read_card(tmp_path) is None
    (tmp_path / "README.md").write_bytes(b"# caf\xe9")
    assert read_card(tmp_path) == "# caf\ufffd"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("preset.yaml", "a run without a commit so far; continue it with vflow train --resume"),
        (
            "recipe.yaml",
            "a recipe's run without its export so far; name a stage's folder, or continue it with --resume",
        ),
    ],
)
def test_runs_that_have_no_checkpoint_yet_are_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CheckpointError) as error:
        load(tmp_path)
    assert str(error.value) == f"{tmp_path}: {message}"
