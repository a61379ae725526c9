"""The engine: whole files or none, one manifest, nothing redone that is already there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vflow import locks
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.pipelines.batch import engine
from vflow.pipelines.batch.engine import Options, Summary
from vflow.pipelines.batch.inputs import Item


class Copy:
    """Writes an item's bytes, times ``times``; refuses those that say "bad"."""

    def __init__(self, times: int = 1, files: tuple[str, ...] = ("s000.txt", "deep/s001.txt")) -> None:
        self.times, self.files, self.ran = times, files, list[str]()

    def run_record(self) -> dict[str, Any]:
        return {"times": self.times, "versions": {"x": "1"}}

    def cache_key(self) -> dict[str, Any]:
        return {"times": self.times}

    def run(self, item: Item, folder: Path) -> dict[str, Any]:
        self.ran.append(item.name)
        text = item.paths[0].read_text()
        for name in self.files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text * self.times)
        if text == "bad":
            raise InputError(f"{item.name}: bad; give another")
        if text == "killed":
            raise KeyboardInterrupt
        return {"length": len(text)}


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    found = []
    for name, text in (("a", "one"), ("b", "bad"), ("c", "three")):
        path = tmp_path / "inputs" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        found.append(Item(name, (path,)))
    return found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def _counts(summary: Summary) -> tuple[int, int, int]:
    return len(summary.done), len(summary.skipped), len(summary.failed)


def test_outputs_manifest_and_record(items: list[Item], out: Path) -> None:
    told: list[dict[str, Any]] = []
    summary = engine.run(items, Copy(), Options(out), report=told.append)
    assert _counts(summary) == (2, 0, 1)
    assert _files(out) == {
        "run.json", "manifest.jsonl", "a/s000.txt", "a/deep/s001.txt", "c/s000.txt", "c/deep/s001.txt",
    }  # fmt: skip
    lines = _lines(out / "manifest.jsonl")
    assert lines == told
    assert [(line["item"], line["status"], line["error"]) for line in lines] == [
        ("a", "done", None),
        ("b", "failed", "b: bad; give another"),
        ("c", "done", None),
    ]
    assert lines[0]["length"] == 3
    assert set(lines[0]["outputs"]) == {"a/s000.txt", "a/deep/s001.txt"}
    assert json.loads((out / "run.json").read_text()) == {"times": 1, "versions": {"x": "1"}}


def test_nothing_is_redone(items: list[Item], out: Path) -> None:
    engine.run(items, Copy(), Options(out))
    before = (out / "manifest.jsonl").read_text().splitlines()
    again = Copy()
    assert _counts(engine.run(items, again, Options(out))) == (2, 2, 1)
    assert again.ran == ["b"]  # what failed is tried again
    after = (out / "manifest.jsonl").read_text().splitlines()
    assert (after[0], after[2]) == (before[0], before[2])


def test_outputs_under_an_earlier_name_stay(items: list[Item], out: Path) -> None:
    """Versions before called the folder of a.mp4 beside a.mkv a.mp4."""
    engine.run([Item("a.mp4", items[0].paths)], Copy(), Options(out))
    for skipped in (0, 1):
        found = _counts(engine.run([Item("a-mp4", items[0].paths)], Copy(), Options(out)))
        assert found == (1, skipped, 0)
    assert {"a.mp4/s000.txt", "a-mp4/s000.txt"} <= _files(out)
    assert [line["item"] for line in _lines(out / "manifest.jsonl")] == ["a.mp4", "a-mp4"]


def test_earlier_outputs_that_are_not_the_items_own_any_more_stay(items: list[Item], out: Path) -> None:
    """b's array took the place of a's; and a file was edited."""
    flat = Options(out, flat=True, on_existing="overwrite")
    one, other = Copy(files=("array.txt", "edited.txt")), Copy(times=2, files=("new.txt",))
    engine.run(items[:1], one, flat)
    engine.run(items[2:], Copy(files=("array.txt",)), flat)
    (out / "edited.txt").write_text("mine")
    engine.run(items[:1], other, flat)
    texts = {name: (out / name).read_text() for name in ("array.txt", "edited.txt", "new.txt")}
    assert texts == {"array.txt": "three", "edited.txt": "mine", "new.txt": "oneone"}


def test_the_plan_knows_what_a_run_would_skip(items: list[Item], out: Path) -> None:
    """The own shard's manifest counts before others, in both."""
    engine.run(items[:1], Copy(), Options(out))
    shard = Options(out, shard=(1, 2))
    engine.run(items[:1], Copy(times=2), replace(shard, on_existing="overwrite"))
    (_, done), *_ = engine.plan(items[:1], Copy(times=2), shard)
    assert done and _counts(engine.run(items[:1], Copy(times=2), shard)) == (1, 1, 0)


@pytest.mark.parametrize("change", ["damage", "missing", "overwrite"])
def test_what_does_not_match_is_redone(items: list[Item], out: Path, change: str) -> None:
    engine.run(items, Copy(), Options(out))
    task, options = Copy(), Options(out)
    if change == "damage":
        (out / "a/s000.txt").write_text("on")
    elif change == "missing":
        (out / "a/s000.txt").unlink()
    else:
        task, options = Copy(times=2), Options(out, on_existing="overwrite")
    engine.run(items, task, options)
    assert "a" in task.ran
    assert ("c" in task.ran) == (change == "overwrite")
    assert (out / "a/s000.txt").read_text() == "one" * task.times


@pytest.mark.parametrize("begin", [engine.run, engine.plan])
def test_other_settings_replace_nothing_unless_asked(
    items: list[Item], out: Path, begin: Callable[..., object]
) -> None:
    engine.run(items[:1], Copy(), Options(out))
    before = {name: (out / name).read_bytes() for name in _files(out)}
    task = Copy(times=2)
    with pytest.raises(InputError, match=re.escape(f"{out}: has a with other settings (times 1, now 2); ")):
        begin([items[2], items[0]], task, Options(out))
    assert task.ran == [], "not even the item that was new"
    assert {name: (out / name).read_bytes() for name in _files(out)} == before
    begin([items[2], items[0]], task, Options(out, on_existing="overwrite"))


def test_other_settings_are_no_matter_where_nothing_is_left(items: list[Item], out: Path) -> None:
    engine.run(items[:2], Copy(files=("s000.txt",)), Options(out))
    (out / "a/s000.txt").unlink()  # and b failed
    assert _counts(engine.run(items[:2], Copy(times=2), Options(out))) == (1, 0, 1)
    assert _counts(engine.run(items[2:], Copy(times=3), Options(out))) == (1, 0, 0), "another item's are kept"


def test_another_input_of_the_same_name_replaces_nothing_unless_asked(items: list[Item], out: Path) -> None:
    engine.run(items[:1], Copy(), Options(out))
    items[0].paths[0].write_text("new")
    for _ in range(2):
        summary = engine.run([items[0], items[2]], Copy(), Options(out))
        assert summary.failed[0]["error"].startswith(f"{out}: has a of another input; ")
        assert [entry["item"] for entry in summary.done] == ["c"]
        assert (out / "a/s000.txt").read_text() == "one"
    engine.run(items[:1], Copy(), Options(out, on_existing="overwrite"))
    assert (out / "a/s000.txt").read_text() == "new"


def test_a_failure_leaves_what_is_known_of_the_outputs_that_stay(items: list[Item], out: Path) -> None:
    """An input that is away for a run, and back for the next; then one with other settings that fails."""
    engine.run(items[:1], Copy(), Options(out))
    away = items[0].paths[0].rename(out.parent / "away.txt")
    assert engine.run(items[:1], Copy(), Options(out)).failed
    away.rename(items[0].paths[0])
    assert _counts(engine.run(items[:1], Copy(), Options(out))) == (1, 0, 0)
    items[0].paths[0].write_text("bad")
    assert engine.run(items[:1], Copy(times=2), Options(out, on_existing="overwrite")).failed
    items[0].paths[0].write_text("one")
    with pytest.raises(InputError):
        engine.run(items[:1], Copy(times=2), Options(out))
    assert (out / "a/s000.txt").read_text() == "one"


def test_existing_outputs_can_be_an_error(items: list[Item], out: Path) -> None:
    engine.run(items, Copy(), Options(out))
    summary = engine.run(items[:1], Copy(), Options(out, on_existing="error"))
    assert "s001.txt: exists; " in summary.failed[0]["error"]
    assert (out / "a/s000.txt").read_text() == "one"


@pytest.mark.parametrize("flat", [False, True])
def test_files_that_no_run_wrote_are_existing_outputs_too(items: list[Item], out: Path, flat: bool) -> None:
    mine = out / ("s000.txt" if flat else "a/s000.txt")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    summary = engine.run(items[:1], Copy(), Options(out, flat=flat, on_existing="error"))
    assert summary.failed[0]["error"].startswith(f"{mine}: exists; ")
    assert mine.read_text() == "mine"


def test_a_refusal_or_failure_leaves_what_is_known_of_earlier_outputs(items: list[Item], out: Path) -> None:
    engine.run(items, Copy(), Options(out))
    before = {line["item"]: line for line in _lines(out / "manifest.jsonl")}
    for _ in range(2):  # the first refusal must not open the way for a second run
        summary = engine.run(items[:1], Copy(), Options(out, on_existing="error"))
        assert "s001.txt: exists; " in summary.failed[0]["error"]
        assert {line["item"]: line for line in _lines(out / "manifest.jsonl")} == before
    assert (out / "a/s000.txt").read_text() == "one"
    overwrite = Options(out, on_existing="overwrite")
    items[0].paths[0].write_text("bad")
    assert engine.run(items[:1], Copy(), overwrite).failed
    assert _lines(out / "manifest.jsonl")[0]["outputs"] == before["a"]["outputs"]
    items[0].paths[0].write_text("new")
    engine.run(items[:1], Copy(files=("s000.txt",)), overwrite)
    assert _files(out / "a") == {"s000.txt"}, "what the first run wrote is known to be stale"


def test_the_run_record_is_of_the_run_that_made_the_outputs(items: list[Item], out: Path) -> None:
    engine.run(items[:1], Copy(), Options(out))
    first = (out / "run.json").read_text()
    with pytest.raises(InputError):
        engine.run(items[:1], Copy(times=2), Options(out, on_existing="error"))
    engine.run(items[1:2], Copy(times=3), Options(out))
    assert (out / "run.json").read_text() == first
    engine.run(items[:2], Copy(times=2), Options(out, on_existing="overwrite"))
    assert json.loads((out / "run.json").read_text())["times"] == 2


def test_names_of_files_need_not_be_text(tmp_path: Path, out: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    path = tmp_path / f"{name}.txt"
    path.write_text("one")
    for done in (0, 1):
        summary = engine.run([Item(name, (path,))], Copy(), Options(out))
        assert _counts(summary) == (1, done, 0)
    assert (out / name / "s000.txt").read_text() == "one"


def test_stale_outputs_of_an_item_go_and_nothing_else(items: list[Item], out: Path) -> None:
    engine.run(items, Copy(), Options(out))
    (out / "a" / "mine.txt").write_text("mine")
    engine.run(items, Copy(times=2, files=("s000.txt",)), Options(out, on_existing="overwrite"))
    assert {name for name in _files(out) if name.startswith("a/")} == {"a/s000.txt", "a/mine.txt"}
    assert not (out / "a/deep").exists()


@pytest.mark.parametrize("place", ["..", "absolute", "link"])
def test_a_manifest_names_nothing_outside_its_folder(items: list[Item], out: Path, place: str) -> None:
    victim = out.parent / "elsewhere" / "victim.txt"
    victim.parent.mkdir()
    victim.write_text("x")
    out.mkdir()
    (out / "link").symlink_to(victim.parent)
    name = {"..": "../elsewhere/victim.txt", "absolute": str(victim), "link": "link/victim.txt"}[place]
    line = {"item": "a", "status": "done", "outputs": {name: "x"}}
    (out / "manifest.jsonl").write_text(json.dumps(line) + "\n" + '{"item": "b", "outputs": 3}\n')
    assert _counts(engine.run(items[:1], Copy(), Options(out))) == (1, 0, 0)
    assert victim.read_text() == "x"


def test_an_item_is_written_inside_the_output_folder_only(items: list[Item], out: Path) -> None:
    for name in ("..", "a/../..", "."):
        summary = engine.run([Item(name, items[0].paths)], Copy(), Options(out / "deep"))
        assert summary.failed[0]["error"] == (
            f"{name}: outputs would lie outside {out / 'deep'}; choose another name"
        )
    assert _files(out) == {"deep/run.json", "deep/manifest.jsonl"}


def test_fail_at_the_first_error(items: list[Item], out: Path) -> None:
    task = Copy()
    with pytest.raises(InputError, match="b: bad"):
        engine.run(items, task, Options(out, on_error="fail"))
    assert task.ran == ["a", "b"]


def test_errors_that_concern_all_items_end_the_run(items: list[Item], out: Path) -> None:
    class Broken(Copy):
        def run(self, item: Item, folder: Path) -> dict[str, Any]:
            raise CheckpointError("x: gone")

    with pytest.raises(CheckpointError):
        engine.run(items, Broken(), Options(out))


def test_interrupted_and_run_again(items: list[Item], out: Path) -> None:
    items[1].paths[0].write_text("killed")
    with pytest.raises(KeyboardInterrupt):
        engine.run(items, Copy(), Options(out))
    assert _files(out) == {"run.json", "manifest.jsonl", "a/s000.txt", "a/deep/s001.txt"}
    with open(out / "manifest.jsonl", "a") as file:
        file.write('{"item": "b", "sta')  # half a line
    left = out / ".partial-1-of-1"
    left.mkdir()
    (left / "s000.txt").write_text("half")
    items[1].paths[0].write_text("two")
    assert _counts(engine.run(items, Copy(), Options(out))) == (3, 1, 0)
    assert [line["item"] for line in _lines(out / "manifest.jsonl")] == ["a", "b", "c"]
    assert not left.exists()


def test_half_a_line_alone_does_not_spoil_the_next(items: list[Item], out: Path) -> None:
    out.mkdir()
    (out / "manifest.jsonl").write_text('{"item": "a", "sta')
    items[1].paths[0].write_text("killed")
    with pytest.raises(KeyboardInterrupt):
        engine.run(items, Copy(), Options(out))
    assert [line["item"] for line in _lines(out / "manifest.jsonl")] == ["a"]


def test_shards_cover_all_items_and_know_each_other(items: list[Item], out: Path) -> None:
    items[1].paths[0].write_text("two")
    for index in (1, 2):
        engine.run(items, Copy(), Options(out, shard=(index, 2)))
    assert [line["item"] for line in _lines(out / "manifest-1-of-2.jsonl")] == ["a", "c"]
    assert [line["item"] for line in _lines(out / "manifest-2-of-2.jsonl")] == ["b"]
    assert _counts(engine.run(items, Copy(), Options(out))) == (3, 3, 0)


def test_the_manifest_of_a_whole_run_has_what_shards_left(items: list[Item], out: Path) -> None:
    items[1].paths[0].write_text("two")
    engine.run(items, Copy(), Options(out, shard=(1, 2)))
    summary = engine.run(items, Copy(), Options(out))
    assert _counts(summary) == (3, 2, 0)
    lines = {line["item"]: line for line in _lines(out / "manifest.jsonl")}
    assert lines.keys() == {"a", "b", "c"} and all(line["status"] == "done" for line in lines.values())
    assert _lines(out / "manifest-1-of-2.jsonl") == [lines["a"], lines["c"]]


def test_outputs_never_go_into_the_folder_of_the_input(items: list[Item], tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    summary = engine.run([Item("inputs", (folder,))], Copy(), Options(tmp_path))
    assert "outputs would go into the input's own folder" in summary.failed[0]["error"]
    assert _files(folder) == {"a.txt", "b.txt", "c.txt"}


def test_outputs_never_replace_the_input(items: list[Item], tmp_path: Path) -> None:
    task = Copy(times=2, files=("a.txt",))
    summary = engine.run(items[:1], task, Options(tmp_path / "inputs", flat=True))
    assert "the output would replace the input; choose another --output" in summary.failed[0]["error"]
    assert items[0].paths[0].read_text() == "one"


def test_output_that_cannot_be_written(items: list[Item], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        InputError, match=r"file/out: cannot write \(Not a directory\); choose another --output"
    ):
        engine.run(items, Copy(), Options(tmp_path / "file" / "out"))


def test_a_missing_input_fails_alone(items: list[Item], out: Path) -> None:
    items[0].paths[0].unlink()
    summary = engine.run(items, Copy(), Options(out))
    assert summary.failed[0]["error"].endswith("a.txt: No such file or directory")
    assert _counts(summary) == (1, 0, 2)


def test_a_reader_that_is_gone_is_no_fault_of_the_item(items: list[Item], out: Path) -> None:
    class Unheard(Copy):
        def run(self, item: Item, folder: Path) -> dict[str, Any]:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        engine.run(items, Unheard(), Options(out))
    assert not (out / "manifest.jsonl").exists()


def test_an_item_too_large_for_the_memory_fails_alone(items: list[Item], out: Path) -> None:
    class Large(Copy):
        def run(self, item: Item, folder: Path) -> dict[str, Any]:
            if item.name == "a":
                raise MemoryError
            return super().run(item, folder)

    summary = engine.run(items, Large(), Options(out))
    error = summary.failed[0]["error"]
    assert error.startswith("out of memory; a does not fit; use a smaller input or draw fewer samples")
    assert _counts(summary) == (1, 0, 2)


def test_two_runs_into_one_folder_take_turns(
    items: list[Item], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks.FolderLock.__init__, "__defaults__", (".lock", 0.0))

    class Meanwhile(Copy):
        def run(self, item: Item, folder: Path) -> dict[str, Any]:
            with pytest.raises(ConfigError, match="another process is writing here"):
                engine.run(items[2:], Copy(), Options(out))
            engine.run(items[2:], Copy(), Options(out, shard=(2, 2)))
            return super().run(item, folder)

    assert len(engine.run(items[:1], Meanwhile(), Options(out)).done) == 1
    assert (out / "a" / "s000.txt").read_text() == "one"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_one_input_does_not_replace_the_result_of_another(items: list[Item], out: Path) -> None:
    alone = Options(out, flat=True)
    engine.run(items[:1], Copy(), alone)
    failed = engine.run(items[2:], Copy(), alone).failed
    assert failed[0]["error"] == "c: would replace the result of a; choose another --output"
    assert (out / "s000.txt").read_text() == "one"
    assert engine.run(items[:1], Copy(), alone).skipped
    assert engine.run(items[2:], Copy(), Options(out, flat=True, on_existing="overwrite")).done
    assert (out / "s000.txt").read_text() == "three"
