"""Remote stores, here in memory: the same outputs as in a folder, without renaming and locks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from vflow.errors import ConfigError, InputError
from vflow.pipelines.batch import engine
from vflow.pipelines.batch.engine import Options
from vflow.pipelines.batch.inputs import Item, sources
from vflow.pipelines.batch.stores import Bucket, open_store

from .test_engine import Copy

INPUTS, OUTPUTS = Path("memory://bucket/in"), Path("memory://bucket/out")


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's memory, which all of a process share."""
    found = fsspec.filesystem("memory")
    yield found
    found.store.clear()


@pytest.fixture
def items(memory: Any) -> list[Item]:
    for name, text in (("a", "one"), ("b", "bad"), ("c", "three")):
        memory.pipe_file(f"bucket/in/deep/{name}.png", text.encode())
    return sources([INPUTS], "picture", OUTPUTS)


def files(memory: Any, below: str = "/bucket/out/") -> dict[str, bytes]:
    return {name.removeprefix(below): memory.cat_file(name) for name in memory.find(below)}


def manifest(memory: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files(memory)["manifest.jsonl"].splitlines()]


def test_outputs_are_those_of_a_folder(items: list[Item], memory: Any, tmp_path: Path) -> None:
    engine.run(items, Copy(), Options(OUTPUTS))
    engine.run(items, Copy(), Options(tmp_path))
    local = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(files(memory)) == set(local)
    for name in set(local) - {"manifest.jsonl"}:
        assert files(memory)[name] == local[name].read_bytes()
    lines = manifest(memory)
    expected = [json.loads(line) for line in local["manifest.jsonl"].read_text().splitlines()]
    for line in (*lines, *expected):
        del line["duration_s"]
    assert lines == expected
    assert lines[0]["inputs"] == ["memory://bucket/in/deep/a.png"]


def test_nothing_is_redone_and_damage_is(items: list[Item], memory: Any) -> None:
    engine.run(items, Copy(), Options(OUTPUTS))
    memory.pipe_file("bucket/out/c/s000.txt", b"thr")
    again = Copy()
    summary = engine.run(sources([INPUTS], "picture", OUTPUTS), again, Options(OUTPUTS))
    assert again.ran == ["b", "c"] and [entry["item"] for entry in summary.skipped] == ["a"]
    assert files(memory)["c/s000.txt"] == b"three"
    plan = engine.plan(items, Copy(), Options(OUTPUTS))
    assert [done for _, done in plan] == [True, False, True]


class Killed(Copy):
    """Is interrupted at its second item."""

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        if self.ran:
            raise KeyboardInterrupt
        return super().run(item, folder)


def test_a_killed_run_goes_on(items: list[Item], memory: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        engine.run(items, Killed(), Options(OUTPUTS))
    assert "manifest.jsonl" not in files(memory)
    again = Copy()
    engine.run(items, again, Options(OUTPUTS))
    assert again.ran == ["b", "c"]
    assert [line["item"] for line in manifest(memory)] == ["a", "b", "c"]
    assert not [name for name in files(memory) if ".lines" in name]


def test_a_writer_of_other_settings_is_kept_out(items: list[Item], memory: Any) -> None:
    engine.run(items[:1], Copy(), Options(OUTPUTS))
    with pytest.raises(InputError, match=r"memory://bucket/out/run\.json: .*times"):
        engine.run(items[2:], Copy(times=2), Options(OUTPUTS))
    assert "c/s000.txt" not in files(memory)
    engine.run(items[2:], Copy(times=2), Options(OUTPUTS, on_existing="overwrite"))
    assert files(memory)["c/s000.txt"] == b"threethree"
    assert json.loads(files(memory)["run.json"])["times"] == 2


def test_of_two_writers_of_the_same_the_first_line_stays(memory: Any) -> None:
    store = Bucket("memory://bucket/out")
    line = {"item": "a", "status": "done", "outputs": {"a/0": "sha"}}
    for seconds in (1, 2):
        store.append("manifest.jsonl", "a", json.dumps(line | {"duration_s": seconds}) + "\n")
    assert [json.loads(each)["duration_s"] for each in store.lines("manifest.jsonl")] == [1]
    store.append("manifest.jsonl", "a", json.dumps(line | {"outputs": {"a/0": "other"}}) + "\n")
    assert [json.loads(each)["outputs"]["a/0"] for each in store.lines("manifest.jsonl")] == ["other"]


def test_shards_and_their_lines_are_known(items: list[Item], memory: Any) -> None:
    for index in (1, 2):
        engine.run(items, Copy(), Options(OUTPUTS, shard=(index, 2)))
    assert {"manifest-1-of-2.jsonl", "manifest-2-of-2.jsonl"} < set(files(memory))
    again = Copy()
    engine.run(items, again, Options(OUTPUTS))
    assert again.ran == ["b"]


def test_outputs_do_not_replace_inputs(items: list[Item], memory: Any) -> None:
    class Same(Copy):
        def run(self, item: Item, folder: Path) -> dict[str, Any]:
            (folder / "a.png").write_text("new")
            return {}

    memory.pipe_file("bucket/a/a.png", b"one")
    own = sources([Path("memory://bucket/a/a.png")], "picture")
    summary = engine.run(own, Same(), Options(Path("memory://bucket")))
    assert "memory://bucket/a/a.png: " in summary.failed[0]["error"]
    assert memory.cat_file("bucket/a/a.png") == b"one"
    with pytest.raises(InputError, match="outputs would lie among the inputs"):
        sources([INPUTS], "picture", INPUTS)


def test_private_copies_hold_one_item_and_go(memory: Any, items: list[Item]) -> None:
    held = []

    class Watch(Copy):
        def run(self, item: Item, folder: Path) -> dict[str, Any]:
            held.append([other.paths[0].stat().st_size for other in items])
            return super().run(item, folder)

    engine.run(items, Watch(), Options(OUTPUTS))
    assert held == [[3, 0, 0], [0, 3, 0], [0, 0, 5]]
    folder = items[0].staging.folder if items[0].staging else Path()
    assert folder.stat().st_mode & 0o077 == 0
    items.clear()
    assert not folder.exists()


def test_globs_manifests_and_folders_of_frames(memory: Any) -> None:
    for name in ("x1.png", "x10.png", "x2.png", "y.png", "clip/0.png", "clip/1.png"):
        memory.pipe_file(f"bucket/in/{name}", name.encode())
    found = sources([Path("memory://bucket/in/x*.png")], "picture")
    assert [item.name for item in found] == ["x1", "x2", "x10"]
    frames = sources([INPUTS], "clip")[-1]
    with frames.fetched():
        assert [path.read_text() for path in sorted(frames.paths[0].iterdir())] == [
            "clip/0.png",
            "clip/1.png",
        ]
    lines = [{"input": "y.png", "name": "own"}, {"input": "memory://bucket/in/x1.png"}, {"input": "none.png"}]
    memory.pipe_file("bucket/in/list.jsonl", "\n".join(map(json.dumps, lines)).encode())
    listed = sources([Path("memory://bucket/in/list.jsonl")], "picture")
    assert [item.name for item in listed] == ["own", "x1", "none"]
    summary = engine.run(listed, Copy(), Options(OUTPUTS))
    assert [entry["item"] for entry in summary.done] == ["own", "x1"]
    assert "memory://bucket/in/none.png" in summary.failed[0]["error"]


@pytest.mark.parametrize("key", ["../../outside.png", "a//b.png", "./c.png"])
def test_keys_that_are_no_names_of_files_are_refused(memory: Any, key: str) -> None:
    memory.store[f"/bucket/in/{key}"] = memory.open("/bucket/x", "wb")
    with pytest.raises(InputError, match="no name of a file"):
        sources([INPUTS], "picture")


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("ftp://host/folder", "ftp://host"),
        ("s3://key:secret@bucket/folder", "s3://…"),
    ],
)
def test_other_addresses_are_refused(address: str, named: str) -> None:
    with pytest.raises(ConfigError, match=r"BUCKET/KEY|no known store") as refusal:
        open_store(Path(address))
    assert str(refusal.value).startswith(named) and "secret" not in str(refusal.value)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"s3fs.*\[cluster\]"):
        engine.run([], Copy(), Options(Path("s3://bucket/out")))
