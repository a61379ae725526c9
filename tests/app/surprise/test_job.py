"""The command in a record makes the figures of the page again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.ui.shared.context import AppContext
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from apps.ui.surprise.html import _findings
from apps.ui.surprise.job import FACE, MAX_FRAMES, clock_name, expected_seconds
from tests.app.conftest import save_untrained, tiny
from vflow.checkpoint import save_checkpoint
from vflow.cli import main as vflow_command
from vflow.data import media
from vflow.errors import InputError
from vflow.models import build_model
from vflow.pipelines.video.stats import ClipStatistics
from vflow.pipelines.video.surprisal import Surprisal
from vflow.tasks.video.settings import ScoreSettings

SETTINGS = ScoreSettings(seed=3, num_frames=MAX_FRAMES)


@pytest.mark.parametrize("count", [MAX_FRAMES + 5, 6])
def test_the_command_scores_the_frames_that_the_page_scored(
    tmp_path: Path, count: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_untrained(tmp_path / "models" / "mine", tiny(), stirred=True)
    (tmp_path / "runs").mkdir()
    app = AppContext(ModelStore([tmp_path / "models"]), RunStore(tmp_path / "runs"), Jobs(), tmp_path)
    clip = tmp_path / "clip.npz"
    media.write_npz(
        clip, frames=np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8), fps=10.0
    )
    job = FACE.begin(app, "mine", SETTINGS, [str(clip)])
    for _ in job.advance(lambda: False):
        pass
    assert job.summary().endswith(" s · mine, seed 3")
    record = json.loads((job.save(app, app.runs.new_folder()).folder / "settings.json").read_text())
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    try:
        assert vflow_command([*shlex.split(record["command"])[1:], "--json"]) == 0
    finally:
        torch.set_num_threads(threads)
    again = json.loads(capsys.readouterr().out)
    assert len(again["per_frame"]) == min(count, MAX_FRAMES)
    np.testing.assert_allclose(again["per_frame"][1:], record["per_frame"][1:], rtol=1e-6)
    assert again["frame_swap"] == pytest.approx(record["frame_swap"], rel=1e-4)
    assert (tmp_path / "maps" / "clip.npz").is_file()


def test_a_model_that_diverged_is_named(tmp_path: Path) -> None:
    """Every weight is finite, the likelihood is not."""
    model = build_model(tiny())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(900)
    save_checkpoint(tmp_path / "models" / "mine", model, config=tiny())
    app = AppContext(ModelStore([tmp_path / "models"]), RunStore(tmp_path), Jobs(), tmp_path)
    media.write_npz(tmp_path / "clip.npz", frames=np.zeros((6, 32, 32, 3), np.uint8), fps=10.0)
    job = FACE.begin(app, "mine", SETTINGS, [str(tmp_path / "clip.npz")])
    with pytest.raises(InputError, match="mine: gives this clip no finite bits/dim, as after training that"):
        list(job.advance(lambda: False))


def test_longer_clips_say_how_long_before_they_begin(tmp_path: Path) -> None:
    save_untrained(tmp_path / "models" / "mine", tiny())
    app = AppContext(ModelStore([tmp_path / "models"]), RunStore(tmp_path), Jobs(), tmp_path)
    clips = {count: str(tmp_path / f"{count}.npz") for count in (1, 6, MAX_FRAMES + 5)}
    for count, path in clips.items():
        media.write_npz(Path(path), frames=np.zeros((count, 32, 32, 3), np.uint8), fps=10.0)
    assert expected_seconds(app, "mine", [clips[6]]) is None, "nothing is known yet"
    app.jobs.clock(clock_name("mine"), 1).frame_done()
    second = app.jobs.expected(clock_name("mine"), 1)
    assert second is not None
    assert expected_seconds(app, "mine", [clips[6]]) == pytest.approx(5 * second)
    assert expected_seconds(app, "mine", [clips[MAX_FRAMES + 5]]) == pytest.approx((MAX_FRAMES - 1) * second)
    for paths in (None, [], [clips[1]], [str(tmp_path / "gone.npz")]):
        assert expected_seconds(app, "mine", paths) is None


@pytest.mark.parametrize(
    ("loud", "said"), [(range(1, 5), "finds every frame surprising"), ((2, 4), "finds frames 3 and 5 surp")]
)
def test_frames_that_are_all_surprising_are_not_listed(loud: Sequence[int], said: str) -> None:
    maps = np.full((5, 2, 2), 0.5, np.float32)
    maps[list(loud)] = 9
    maps[0] = np.nan
    usual = ClipStatistics(np.zeros((2, 2), np.float32), np.float32([0, 1]), np.float32([1e6]), "made up")
    assert said in _findings(Surprisal(np.zeros((5, 2, 2, 3), np.uint8), maps, None, usual))
