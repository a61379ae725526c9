"""Walks and their records without a browser: the command in a record makes the walk again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vflow
from apps.examples import make_effects
from apps.ui.shared.context import AppContext
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from apps.ui.walk import html, kinds
from apps.ui.walk.job import NO_COMMAND, Job, Request, clock_name, expected_seconds, save_pictures
from tests.data.sample_media import write_lossless
from vflow.checkpoint import find_checkpoints
from vflow.cli import main as vflow_command
from vflow.data import media
from vflow.pipelines.walk.effects import effect
from vflow.pipelines.walk.space import KINDS
from vflow.pipelines.walk.walk import Walk
from vflow.registry import walks


@dataclass(frozen=True)
class Here:
    """Walks as the app does them, with video models of these checkpoints, in this folder."""

    context: AppContext
    folder: Path

    def walk(self, kind: str, levels: str = "", **boxes: list[Path]) -> tuple[dict[str, Any], np.ndarray]:
        """The record of a walk of two steps with these files in its boxes, and its frames."""
        paths = {name: [str(path) for path in box] for name, box in boxes.items()}
        request = Request("calm", kind, **paths, steps=2, num_frames=1, level_temperatures=levels)  # type: ignore[arg-type]
        job = Job.begin(self.context, request)
        for _ in job.advance(self.context, lambda: False):
            pass
        result = job.save(self.context)
        with np.load(result.native) as saved:
            return json.loads(result.settings.read_text()), saved["frames"]

    def again(self, *words: str) -> np.ndarray:
        """Frames of what ``vflow walk`` makes of these words, in this folder."""
        threads, before = torch.get_num_threads(), Path.cwd()
        os.chdir(self.folder)
        try:
            assert vflow_command([*words, "--format", "npz"]) == 0
        finally:
            os.chdir(before)
            torch.set_num_threads(threads)
        with np.load(self.folder / "walk" / "walk.npz") as saved:
            return np.asarray(saved["frames"])


@pytest.fixture
def here(tmp_path: Path, checkpoints: Path, square: np.ndarray) -> Here:
    """Stills a0 … a5, clips of them all and of them backwards, and nothing else."""
    write_lossless(tmp_path / "on.mp4", square)
    write_lossless(tmp_path / "back.mp4", square[::-1].copy())
    for number, frame in enumerate(square):
        media.write_png(tmp_path / f"a{number}.png", frame)
    (tmp_path / "runs").mkdir()
    return Here(
        AppContext(ModelStore([checkpoints]), RunStore(tmp_path / "runs"), Jobs(), tmp_path), tmp_path
    )


def test_the_summary_tells_the_settings(here: Here) -> None:
    def summary(kind: str, level: str = "0") -> str:
        paths = [str(here.folder / "on.mp4")]
        groups = {"negatives": paths, "positives": [str(here.folder / "back.mp4")]}
        job = Job.begin(
            here.context, Request("lively", kind, paths, steps=2, num_frames=1, level=level, seed=4, **groups)
        )
        for _ in job.advance(here.context, lambda: False):
            pass
        return job.summary(1.5)

    assert summary("temperature") == "Temperature: 2 steps in 1.5 s · lively, seed 4"
    level, key = kinds.level_names(here.context.models.load("lively").latent_shapes)[0]
    made = "2 steps in 1.5 s · lively, temperature 1, seed 4"
    assert summary("semantic", key) == f"Semantic ({level[0].lower()}{level[1:]}): {made}"
    assert summary("semantic", "all").startswith("Semantic (all levels together): 2 steps")


def test_the_command_of_a_record_makes_the_walk_again(here: Here) -> None:
    stills, clips = sorted(here.folder.glob("a*.png")), [here.folder / "on.mp4", here.folder / "back.mp4"]
    for kind, boxes in (
        ("temperature", {"files": stills[:3]}),
        ("blend", {"files": clips[:1]}),
        ("interpolate", {"files": clips[:1], "to": clips[1:]}),
        ("semantic", {"files": stills[:2], "negatives": clips[:1], "positives": clips[1:]}),
        ("semantic", {"files": stills[:3], "negatives": stills[:1], "positives": stills[1:2]}),
        (
            "temperature",
            {"files": stills[:2], "to": stills[2:4], "negatives": stills[4:], "positives": stills[4:]},
        ),
    ):
        record, frames = here.walk(kind, **boxes)
        assert np.array_equal(frames, here.again(*shlex.split(record["command"])[1:])), (kind, boxes)
    assert {"files", "to", "negatives", "positives"} & set(record) == {"files"}, "of boxes that were read"
    drawn = [here.walk("blend", levels, files=clips[:1]) for levels in ("", "0.4, 1", "0.8765432 1.2")]
    assert [record["temperature"] for record, _ in drawn] == [[0.4, 1.0], [0.4, 1.0], [0.8765432, 1.2]]
    assert "--temperature 0.8765432,1.2 " in drawn[2][0]["command"]
    assert np.array_equal(drawn[0][1], drawn[1][1]) and not np.array_equal(drawn[0][1], drawn[2][1])
    assert np.array_equal(drawn[2][1], here.again(*shlex.split(drawn[2][0]["command"])[1:]))


def test_no_command_where_the_command_line_would_take_files_for_other_inputs(here: Here) -> None:
    stills, clips = sorted(here.folder.glob("a*.png")), [here.folder / "on.mp4", here.folder / "back.mp4"]
    namesake, hyphen = here.folder / "more" / "on.mp4", here.folder / "-on.mp4"
    namesake.parent.mkdir()
    shutil.copy(clips[1], namesake)
    shutil.copy(clips[1], hyphen)
    for kind, boxes in (
        ("interpolate", {"files": stills[:2], "to": stills[2:4]}),
        ("interpolate", {"files": stills[:2], "to": clips[1:]}),
        ("interpolate", {"files": clips[:1], "to": [namesake]}),
        ("interpolate", {"files": clips[:1], "to": [hyphen]}),
        ("semantic", {"files": clips[:1], "negatives": stills[:2], "positives": clips[1:]}),
        ("semantic", {"negatives": clips[:1], "positives": [namesake]}),
    ):
        record, _ = here.walk(kind, **boxes)
        assert "command" not in record, (kind, boxes)
        assert record["no_command"] == NO_COMMAND


def test_what_is_said_in_place_of_a_command_makes_the_walk_again(here: Here) -> None:
    stills = sorted(here.folder.glob("a*.png"))
    _, frames = here.walk("interpolate", files=stills[:2], to=stills[2:4])
    for name, paths in (("from", stills[:2]), ("to", stills[2:4])):
        (here.folder / name).mkdir()
        for path in paths:
            path.rename(here.folder / name / path.name)
    words = f"walk --checkpoint {here.context.models.folder('calm')} --kind interpolate --steps 2"
    words += " --num-frames 1 --input from to --output walk"
    assert np.array_equal(frames, here.again(*words.split()))


def test_what_a_walk_does_is_said_before_its_direction(here: Here) -> None:
    """A digit that grows wider, whatever the model: the words are of the pictures."""
    request = Request("digits", "direction", steps=5, label="3", level="0")
    job, still = (Job.begin(here.context, request) for _ in range(2))
    wide = np.zeros((5, 28, 28, 1), np.uint8)
    for step in range(5):
        wide[step, 4:24, 12 - step : 16 + step] = 255
    job.walk = Walk(wide, (-3, -1.5, 0, 1.5, 3), "direction")
    assert job.summary(1.0).startswith("Narrow ↔ wide, direction 1 (")
    made = html.player(job.save(here.context), (28, 28))
    assert '<p class="vf-ends"><span>narrow</span><span>wide</span></p>' in made
    still.walk = Walk(wide[[2] * 5], (-3, -1.5, 0, 1.5, 3), "direction")
    assert still.summary(1.0).startswith("Direction 1 (")
    assert "vf-ends" not in html.player(still.save(here.context), (28, 28))


def test_directions_go_by_their_effects() -> None:
    made = html.directions([0.2, 0.1, 0.05], ["bold ↔ thin", "", ""], 1)
    assert 'aria-label="Direction 1: bold ↔ thin, 20.0% of how data vary"' in made
    assert [part.split("<")[0] for part in made.split('data vary">')[1:]] == [
        "Bold ↔ thin",
        "Direction 2",
        "Direction 3",
    ]


def test_effects_of_a_shipped_model_are_what_its_pictures_show() -> None:
    name, level = "digits", "1"
    folder = find_checkpoints()[name]
    model = vflow.load(name)
    directions = vflow.load_directions(folder, model)
    made = make_effects.walks(model, directions, make_effects.INPUTS[name], level, 0)
    told = kinds.measured_effects(folder)[level]["effects"][0]
    assert str(effect(made)) == told
    assert all(each[-1].sum() < each[0].sum() for each in made) and "bold ↔ narrow and thin" in told


def test_words_of_positions() -> None:
    assert kinds.step_names("digits", "direction", [-1.5, 0, 1.5]) == ["−1.5 σ", "start", "+1.5 σ"]
    assert kinds.step_names("digits", "transfer", [0, 9]) == ["as 0", "as 9"]
    assert kinds.step_names("colorizer", "transfer", [0, 1]) == ["0%", "100%"]
    assert kinds.step_names("videoflow", "semantic", [-3, 0, 1.5]) == ["−100%", "start", "+50%"]
    assert kinds.initial_step("temperature", [0, 0.5, 1.0, 1.5]) == 2
    assert kinds.initial_step("direction", [-1, 0, 1]) == 1
    names = kinds.level_names([(6, 16, 16), (24, 8, 8), (1, 1, 1)])
    layout, detail = "Coarsest layout, 8×8 grid", "Finest detail, 16×16 grid"
    assert [name for name, _ in names] == ["Motion of the frame", layout, detail, "All levels together"]
    assert [key for _, key in names] == ["2", "1", "0", "all"]
    assert kinds.level_names([(6, 32, 32), (16, 1, 1)])[0] == ("Whole image", "1")


def test_the_strongest_level_comes_first_and_one_without_effect_is_left_out() -> None:
    explained = {"2": (0.1,), "1": (0.2,), "0": (0.3,), "all": (0.4,)}
    assert list(kinds.by_effect(explained, {"0": 9.0, "1": 20.0, "2": 0.5, "all": 15.0})) == ["1", "all", "0"]
    assert list(kinds.by_effect(explained, {"0": 9.0, "1": 20.0, "2": 3.0, "all": 20.0})) == ["1", "0", "2"]
    assert kinds.by_effect(explained, {}) == explained


def test_large_pictures_are_reduced_and_names_escaped(tmp_path: Path) -> None:
    strip = np.zeros((2, 1, 300, 1200, 3), np.uint8)
    strip[1] = 200
    run = save_pictures(tmp_path, strip, ["<i>a", "b"], [("<b>", strip[0])], start=0, fps=5)
    assert media.read_image(run.steps[0].path).frames.shape[1:3] == (128, 512)
    assert run.top == 100
    page = html.player(run, (300, 1200))
    assert "<i>a" not in page and "<b>" not in page


def test_longer_walks_say_how_long_before_they_begin(here: Here) -> None:
    jobs = here.context.jobs
    assert expected_seconds(here.context, "lively", "blend", 9, 8) is None, "nothing is known yet"
    jobs.clock("lively", 1).frame_done()
    assert expected_seconds(here.context, "lively", "blend", 9, 8) == jobs.expected("lively", 72)
    jobs.clock(clock_name("digits", "transfer"), 1).frame_done()
    known = jobs.expected(clock_name("digits", "transfer"), 9)
    assert expected_seconds(here.context, "digits", "transfer", 9, 8) == known
    for wrong in (1, None, "a", 2.5):
        assert expected_seconds(here.context, "lively", "blend", wrong, 8) is None
    assert expected_seconds(here.context, None, None, 9, 8) is None


def test_kinds_have_the_same_names_on_the_page_as_on_the_command_line() -> None:
    titles = {kind.title for family in walks() for kind in kinds.kinds(family)}
    assert titles == {name.capitalize() for name in KINDS}
