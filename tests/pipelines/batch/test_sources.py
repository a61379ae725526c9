"""What a batch works on: folders, globs and manifests, and the name each input gets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vflow.errors import ConfigError, InputError
from vflow.pipelines.batch.inputs import Item, sources

TREE = (
    "photo.jpg", "photo.png", "photo10.png", "photo2.png", "clip.mp4", "array.npz", "notes.txt",
    ".hidden.png", "deep/frames/0.png", "deep/frames/1.png", "deep/clip.mp4", ".git/0.png",
    "out/photo/s000.png",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "inputs"
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def _names(items: list[Item]) -> list[str]:
    return [item.name for item in items]


def test_a_folder_is_all_that_is_in_it(tree: Path) -> None:
    found = sources([tree], "picture", tree / "out")
    expected = ["clip", "photo2", "photo10", "photo-jpg", "photo-png", "deep/clip", "0", "1"]
    assert _names(found) == expected
    assert all(item.paths[0].is_file() for item in found)
    assert "s000" in _names(sources([tree], "picture"))


def test_inner_folders_of_pictures_are_clips(tree: Path) -> None:
    found = sources([tree], "clip", tree / "out")
    assert _names(found)[0] == "array"
    assert _names(found)[-2:] == ["deep/clip", "frames"]
    frames = next(item for item in found if item.name == "frames")
    assert frames.paths == (tree / "deep" / "frames",)
    assert len(found) == 8


def test_outputs_among_the_inputs_are_refused(tree: Path) -> None:
    (tree.parent / "link").symlink_to(tree)
    for given in (tree, tree.parent / "link"):
        with pytest.raises(InputError, match=r"outputs would lie among the inputs, .*; choose another"):
            sources([given], "picture", tree)
    assert len(sources([tree], "clip", tree.parent)) == len(sources([tree], "clip"))


def test_globs(tree: Path) -> None:
    assert _names(sources([tree / "photo*.png"], "clip")) == ["photo2", "photo10", "photo"]
    assert _names(sources([tree / "**" / "clip.mp4"], "clip")) == ["clip", "deep/clip"]
    assert sources([tree / "d*" / "f*"], "clip") == [Item("frames", (tree / "deep" / "frames",))]
    with pytest.raises(InputError, match="matches nothing; check the pattern"):
        sources([tree / "*.webm"], "clip")
    made = tree / "out" / "photo" / "s000.png"
    for pattern in ("*/*", "*/*/*.png", "**/*.png"):
        assert made in (item.paths[0] for item in sources([tree / pattern], "picture"))
        found = sources([tree / pattern], "picture", tree / "out")
        assert made not in (item.paths[0] for item in found), "outputs are no inputs of the next run"
    for pattern, output in (("out/*", tree / "out"), ("photo*", tree), ("photo*", tree.parent)):
        with pytest.raises(InputError, match=r"matches only what lies in .*, which outputs go to"):
            sources([tree / pattern], "picture", output)
    odd = tree / "odd[1].png"
    odd.write_text("x")
    assert sources([odd], "picture") == [Item("odd[1]", (odd,))]


def _manifest(folder: Path, *lines: object) -> Path:
    path = folder / "list.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_manifests_name_items_and_order_frames(tree: Path) -> None:
    lines = [
        {"input": ["photo2.png", "photo.png"], "name": "a/b"},
        {"input": "deep/frames"},
        {"input": str(tree / "photo.jpg")},
        {"input": "gone.mp4"},
    ]
    found = sources([_manifest(tree, *lines, "")], "clip")
    assert found == [
        Item("a/b", (tree / "photo2.png", tree / "photo.png")),
        Item("frames", (tree / "deep/frames",)),
        Item("photo", (tree / "photo.jpg",)),
        Item("gone", (tree / "gone.mp4",)),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"list\.jsonl, line 2: not valid JSON"),
        ({"inptu": "a"}, r"line 2: input: Field required; unknown key 'inptu' \(known: input, name\)"),
        ({"input": []}, "line 2: no input"),
        ({"input": "a", "name": "../a"}, "line 2: name '../a' must be a relative path"),
        ({"input": "a", "name": "/a"}, "line 2: name '/a' must be a relative path"),
        ({"input": "a", "name": "One"}, "line 2: name 'One' is that of line 1; give another"),
        ({"input": ["a.png", "b.png"]}, r"a\.png with others; give one image or video a line"),
    ],
)
def test_manifests_that_cannot_be_used(tree: Path, line: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sources([_manifest(tree, {"input": "photo.png", "name": "one"}, line)], "picture")


def test_what_cannot_be_told_apart_or_found(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="given twice"):
        sources([tree / "photo.png", tree / "photo.png"], "picture")
    named = _manifest(tree, {"input": "photo.jpg", "name": "Photo"})
    with pytest.raises(InputError, match=r"photo\.jpg: two inputs are called 'Photo'; name them in a"):
        sources([tree / "photo.png", named], "picture")
    with pytest.raises(ConfigError, match=r"^--input: give files"):
        sources([], "picture")
    with pytest.raises(ConfigError, match="cannot be read"):
        sources([tree / "absent.jsonl"], "picture")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no media"):
        sources([tmp_path / "empty"], "picture")


def test_a_manifest_with_a_byte_order_mark(tree: Path) -> None:
    (tree / "list.jsonl").write_bytes('{"input": "clip.mp4", "name": "é"}\r\n'.encode("utf-8-sig"))
    assert sources([tree / "list.jsonl"], "clip") == [Item("é", (tree / "clip.mp4",))]


def test_a_manifest_with_line_separators_in_names(tree: Path) -> None:
    (tree / "list.jsonl").write_text('{"input": "clip.mp4", "name": "a\u2028b\x85c"}\n', encoding="utf-8")
    assert sources([tree / "list.jsonl"], "clip") == [Item("a\u2028b\x85c", (tree / "clip.mp4",))]


def test_a_manifest_that_is_a_pipe_or_nested_too_deeply(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "deep.jsonl").write_text('{"input": ' + "[" * 100_000)
    for name, message in (("pipe", "Not a regular file"), ("deep", "not valid JSON")):
        with pytest.raises(ConfigError, match=message):
            sources([tmp_path / f"{name}.jsonl"], "clip")
