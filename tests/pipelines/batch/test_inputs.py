"""Grouping of inputs into items, and their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vflow.data import media
from vflow.errors import ConfigError, InputError
from vflow.pipelines.batch.inputs import Item, clips, name_items


def _still(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    media.write_png(path, np.zeros((8, 8, 3), np.uint8))
    return path


def _array(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    media.write_npz(path, frames=np.zeros((3, 8, 8, 3), np.uint8))
    return path


def test_stills_are_one_clip_in_the_given_order(tmp_path: Path) -> None:
    paths = [_still(tmp_path / f"f{i}.png") for i in (2, 1, 10)]
    assert clips(paths) == [Item("f2", tuple(paths))]


def test_every_clip_is_an_item(tmp_path: Path) -> None:
    first, second = _array(tmp_path / "a.npz"), _array(tmp_path / "b.npz")
    _still(tmp_path / "frames" / "0.png")
    found = clips([first, second, tmp_path / "frames"])
    assert found == [Item("a", (first,)), Item("b", (second,)), Item("frames", (tmp_path / "frames",))]


def test_a_folder_of_clips_stands_for_them(tmp_path: Path) -> None:
    second, tenth = _array(tmp_path / "a2.npz"), _array(tmp_path / "a10.npz")
    assert clips([tmp_path]) == [Item("a2", (second,)), Item("a10", (tenth,))]


def test_a_folder_of_folders_of_frames_stands_for_them(tmp_path: Path) -> None:
    for name in ("a10/0.png", "a2/0.png", "a2/1.png", ".hidden/0.png"):
        _still(tmp_path / "root" / name)
    (tmp_path / "root" / "empty").mkdir()
    expected = [Item("a2", (tmp_path / "root/a2",)), Item("a10", (tmp_path / "root/a10",))]
    assert clips([tmp_path / "root"]) == expected
    assert clips([tmp_path / "root" / "empty"]) == [Item("empty", (tmp_path / "root/empty",))]
    clip = _array(tmp_path / "root" / "clip.npz")
    assert clips([tmp_path / "root"]) == [Item("clip", (clip,))]


def test_mixtures_are_refused(tmp_path: Path) -> None:
    array, still = _array(tmp_path / "a.npz"), _still(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"a\.npz: given together with single images"):
        clips([array, still])
    with pytest.raises(InputError, match=r"holds clips \(a\.npz, …\) and single images; give one kind"):
        clips([tmp_path])
    with pytest.raises(ConfigError, match=r"^--input: give a video"):
        clips([])


def test_names_differ_where_stems_do_not() -> None:
    paths = [Path(p) for p in ("x/photo.jpg", "x/photo.png", "x/other.png")]
    assert name_items(paths) == ["photo-jpg", "photo-png", "other"]
    paths = [Path(p) for p in ("x/a/f.mp4", "x/b/f.mp4", "x/b/g.mp4")]
    assert name_items(paths) == ["a/f", "b/f", "g"]
    paths = [Path(p) for p in ("x/a/f.mp4", "x/a/f.mkv", "x/b/f.mp4", "x/b/f.mkv")]
    assert name_items(paths) == ["a/f-mp4", "a/f-mkv", "b/f-mp4", "b/f-mkv"]
    paths = [Path(p) for p in ("x/v.mp4", "x/v.mkv", "x/v-mp4.png")]
    assert name_items(paths) == ["v", "v-mkv", "v-mp4"]
    assert name_items([Path("x/.v.mp4"), Path("x/.v.mkv")]) == ["v-mp4", "v-mkv"]
    assert name_items([]) == []
    assert name_items([Path("...png"), Path(".hidden.png")]) == ["item", "hidden"]
    with pytest.raises(InputError, match="given twice"):
        name_items([Path("a.mp4"), Path("a.mp4")])


def test_a_link_has_its_own_name(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / "3f2a9c"
    _still(tmp_path / "blobs" / "x.png").rename(blob)
    links = [tmp_path / "photos" / name for name in ("cat.png", "dog.png")]
    for link in links:
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(blob)
    assert name_items(links) == ["cat", "dog"]
    latest = tmp_path / "latest"
    latest.symlink_to(tmp_path / "photos", target_is_directory=True)
    assert name_items([latest]) == ["latest"]
    assert name_items([links[0], latest / "cat.png"]) == ["photos/cat", "latest/cat"]


def test_parents_of_links_are_those_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y" / "inside" / "b").mkdir(parents=True)
    (tmp_path / "x" / "link").symlink_to(tmp_path / "y" / "inside", target_is_directory=True)
    above = Path("x/link/../a.png")  # y/a.png
    monkeypatch.chdir(tmp_path)
    assert name_items([Path("x/a.png"), above]) == ["x/a", "y/a"]
    assert name_items([Path("x/link/..")]) == ["y"]
    assert name_items([Path("x/a.png"), Path("x/link/b/../../a.png")]) == ["x/a", "y/a"]
    monkeypatch.chdir("y")
    assert name_items([Path("."), Path("..")]) == ["y", tmp_path.name]
    with pytest.raises(InputError, match="given twice"):
        name_items([tmp_path / "y" / "a.png", tmp_path / above])


def test_hash_depends_on_bytes_and_order_only(tmp_path: Path) -> None:
    first, second = _still(tmp_path / "a" / "0.png"), _array(tmp_path / "a" / "1.npz")
    both = Item("x", (first, second)).sha256()
    assert both != Item("x", (second, first)).sha256()
    assert both == Item("y", (tmp_path / "a",)).sha256()
    (tmp_path / "a").rename(tmp_path / "b")
    assert both == Item("x", (tmp_path / "b",)).sha256()
