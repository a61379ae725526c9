"""Lists of public clips: complete, checked before anything is decoded."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from scripts.data import fetch
from vflow.data.datasets.splits import choose_split
from vflow.data.media import read_clip, read_image, write_npz, write_png
from vflow.errors import InputError

LISTS = Path(fetch.__file__).parent


def test_the_validation_films_are_of_many_sources() -> None:
    sources = json.loads((LISTS / "any_validation.json").read_text())
    clips = [(source, row) for source in sources for row in source["files"]]
    assert len(sources) >= 6 and len(clips) >= 60
    assert 2 * sum(source["moving_camera"] for source, _ in clips) >= len(clips)
    assert all(source["license"] and len(source["commit"]) == 40 for source in sources)
    assert all(len(row["sha256"]) == 64 and row["start"] >= 0 for _, row in clips)


def test_the_photographs_are_many_and_have_licences() -> None:
    sources = json.loads((LISTS / "photographs.json").read_text())
    assert all(source["license"] and len(source["commit"]) == 40 for source in sources)
    rows = [row for source in sources for row in source["files"]]
    assert len({row["sha256"] for row in rows}) == len(rows) >= 150


def listing(tmp_path: Path, files: Sequence[tuple[Path, dict[str, object]]]) -> list[str]:
    """Arguments for a list of ``files``, committed to a repository in ``tmp_path``."""
    repository = tmp_path / "mirror" / "someone+some" / "repo"
    repository.mkdir(parents=True)
    rows = []
    for path, row in files:
        path.rename(repository / path.name)
        data = (repository / path.name).read_bytes()
        rows.append({"path": path.name, "sha256": hashlib.sha256(data).hexdigest(), **row})
    run = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "files"]):
        subprocess.run([*run, *command], check=True)
    head = subprocess.run([*run, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    source = {"repository": "https://example.org/someone/some", "commit": head.stdout.strip(), "files": rows}
    (tmp_path / "list.json").write_text(json.dumps([source]))
    return [
        str(tmp_path / "list.json"),
        "--output",
        str(tmp_path / "out"),
        "--mirror",
        str(tmp_path / "mirror"),
    ]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["fetch", *arguments])
    fetch.main()


def test_clips_are_cut_at_their_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.arange(60, dtype=np.uint8)[:, None, None, None].repeat(64, 1).repeat(96, 2).repeat(3, 3)
    write_npz(tmp_path / "film.npz", frames=frames, fps=20.0)
    run(monkeypatch, *listing(tmp_path, [(tmp_path / "film.npz", {"start": 0.5})]), "--frames", "4")
    made = read_clip(tmp_path / "out" / "000-someone-some-film.npz")
    assert made.frames.shape == (4, 64, 64, 3) and list(made.frames[:, 0, 0, 0]) == [10, 12, 14, 16]


@pytest.mark.parametrize(
    "row, said", [({"sha256": "0" * 64, "start": 0}, "not the file"), ({"start": 9}, "ends before")]
)
def test_other_files_and_short_films_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: dict[str, object], said: str
) -> None:
    write_npz(tmp_path / "film.npz", frames=np.zeros((30, 64, 64, 3), np.uint8), fps=10.0)
    with pytest.raises(InputError, match=said):
        run(monkeypatch, *listing(tmp_path, [(tmp_path / "film.npz", row)]))
    assert not list((tmp_path / "out").iterdir())


def test_photographs_are_reduced_to_tiles_that_stay_on_one_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (300, 1800, 3), dtype=np.uint8)
    write_png(tmp_path / "a b.png", photo)
    run(monkeypatch, *listing(tmp_path, [(tmp_path / "a b.png", {})]))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"000-someone-some-a b@{tile}.png" for tile in ("3-0-0", "3-0-1", "4.5-0-0")]
    tile = read_image(tmp_path / "out" / names[1]).frames[0]
    means = photo.reshape(100, 3, 600, 3, 3).mean((1, 3))
    assert tile.shape == (100, 300, 3) and np.abs(tile - means[:, 300:]).max() <= 0.5 + 1e-6
    both = [f"{kind}-{name}" for kind in ("x", *"abcdefghijklmnop") for name in names]
    held = {name.partition("@")[0] for name in choose_split(both, "validation", "")}
    assert held and not held & {name.partition("@")[0] for name in choose_split(both, "train", "")}
