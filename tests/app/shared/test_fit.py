"""Fit of uploads to the shipped models, told by the app's own examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apps.ui.shared.context import AppContext
from apps.ui.shared.examples import DIGITS, FOLDER, PHOTOS, ClipExample, all_clips
from apps.ui.shared.fit import (
    UNKNOWN_CLIP,
    Selection,
    Verdict,
    arrival,
    banner,
    judge,
    judge_files,
    judged_upload,
    sentence,
)
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from vflow.data import media
from vflow.pipelines.selection import unlikeness


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> AppContext:
    """The app with the shipped models alone."""
    folder = tmp_path_factory.mktemp("fit")
    return AppContext(ModelStore(), RunStore(folder), Jobs(), folder)


@pytest.mark.parametrize("clip", all_clips(), ids=lambda clip: clip.title)
def test_clips_fit_their_model_and_no_other(app: AppContext, clip: ClipExample) -> None:
    frames = media.read_frames(clip.files).frames
    several = len(frames) > 1
    assert judge(app, clip.checkpoint, frames) == Verdict(clip.checkpoint, True, clip.checkpoint, several)
    others = {"push", "shapes", "digits", "colorizer"} - {clip.checkpoint}
    if clip.checkpoint in ("any", "grasp"):  # a camera's frames are photos
        others.remove("colorizer")
    for other in others:
        of_frames = several and other in ("push", "shapes")
        best = "colorizer" if clip.checkpoint == "any" and not of_frames else clip.checkpoint
        assert judge(app, other, frames) == Verdict(other, False, best, of_frames)


@pytest.mark.parametrize("name", PHOTOS.values())
def test_photos_fit_the_colouriser_alone(app: AppContext, name: str) -> None:
    frames = media.read_image(FOLDER / name).frames
    assert judge(app, "colorizer", frames).fits
    for other in ("push", "shapes", "digits"):
        assert judge(app, other, frames) == Verdict(other, False, "colorizer")


@pytest.mark.parametrize("name", DIGITS.values())
def test_pen_on_paper_fits_digits(app: AppContext, name: str) -> None:
    assert judge(app, "digits", media.read_image(FOLDER / name).frames).fits


@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_noise_and_blank_frames_fit_nothing(app: AppContext, side: int) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (2, side, side, 3), np.uint8)
    blank = np.full((1, side, side, 3), random.integers(0, 256), np.uint8)
    for frames in (noise, blank):
        for name in ("push", "shapes", "digits", "colorizer"):
            of_frames = len(frames) > 1 and name in ("push", "shapes")
            assert judge(app, name, frames) == Verdict(name, False, "any" if of_frames else None, of_frames)


def test_a_clip_of_photos_is_not_sent_to_a_tab_that_takes_none(app: AppContext, tmp_path: Path) -> None:
    photo = media.read_image(FOLDER / "photo-chelsea.png").frames[0]
    frames = np.stack([photo[:160, start : start + 160] for start in range(0, 48, 4)])
    verdict = judge(app, "shapes", frames)
    assert verdict == Verdict("shapes", False, "any", clip=True)
    assert "any predicts film of any kind" in sentence(verdict)
    assert "See the tab" not in banner(verdict, ["any", "shapes"])
    assert sentence(Verdict("shapes", False, None, clip=True)) == UNKNOWN_CLIP
    assert judge(app, "shapes", frames[:1]).best == "colorizer", "one photo is sent there"
    media.write_video(tmp_path / "cat.mp4", frames, 10)
    assert judge_files(app, "colorizer", [str(tmp_path / "cat.mp4")]) is None, "which says so itself"


def test_a_model_of_the_same_data_fits_as_well(app: AppContext) -> None:
    frames = media.read_frames(next(clip for clip in all_clips() if clip.checkpoint == "shapes").files).frames
    several = len(frames) > 1
    assert judge(app, "shapes-guided", frames) == Verdict("shapes-guided", True, "shapes", several)


def test_models_of_ones_own_are_not_judged(app: AppContext) -> None:
    assert judge(app, "mine", np.zeros((1, 64, 64, 3), np.uint8)) == Verdict("mine", None, None)
    assert banner(Verdict("mine", None, None), ["mine"]) == ""


def test_the_best_model_is_offered_by_a_click_where_the_tab_has_it() -> None:
    verdict = Verdict("shapes", False, "push")
    assert "Use push" in banner(verdict, ["push", "shapes"]) and "vf-amber" in banner(verdict, ["push"])
    elsewhere = banner(Verdict("shapes", False, "colorizer"), ["push", "shapes"])
    assert 'data-tab="colorize"' in elsewhere and 'data-tab="enlarge"' in elsewhere
    assert 'data-tab="predict"' in banner(Verdict("enlarge", False, "push"), ["enlarge"])
    assert "vf-amber" not in banner(Verdict("push", True, "push"), ["push"])
    assert sentence(verdict) == "This looks like robot-arm video. shapes has seen nothing like it."
    assert "This looks like robot-arm video. &lt;b&gt; has" in banner(Verdict("<b>", False, "push"), [])


def test_an_upload_switches_what_nobody_chose(app: AppContext) -> None:
    clip, names = [str(FOLDER / "push-00056.mp4")], ["shapes", "grasp", "push"]
    text, chosen, selection = arrival(app, clip, "shapes", names, Selection())
    assert chosen == "push" and selection == Selection(before="shapes")
    assert "Switched to push" in text and 'data-index="0"' in text and "Undo" in text
    assert arrival(app, clip, "push", names, selection)[1:] == ("push", Selection())
    assert arrival(app, clip, "any", ["any", *names], Selection())[1] == "push"
    text, chosen, selection = arrival(app, clip, "shapes", names, Selection(by_hand=True))
    assert chosen == "shapes" and selection.by_hand and "Use push" in text
    assert arrival(app, clip, "mine", [*names, "mine"], Selection())[1] == "mine"
    assert arrival(app, [], "shapes", names, selection) == ("", "shapes", selection)


def test_a_photo_leads_to_the_tabs_of_photos() -> None:
    told = banner(Verdict("push", False, "colorizer-regions"), ["push"])
    assert "Open in Colourise" in told and "Open in Predict" not in told


def test_too_few_frames_are_told_at_upload(app: AppContext, tmp_path: Path) -> None:
    names = app.models.names("videoflow")
    media.write_npz(
        tmp_path / "two.npz", frames=media.read_clip(FOLDER / "push-00056.mp4").frames[:2], fps=10.0
    )
    photo, two = str(FOLDER / "photo-chelsea.png"), str(tmp_path / "two.npz")
    told = judged_upload(app, "push", [photo], names)
    assert "photo-chelsea.png is one picture: push predicts from clips of at least 2 frames." in told
    assert "Open in Colourise" in told and "Open in Enlarge" in told and "vf-refused" in told
    assert "vf-refused" not in judged_upload(app, "shapes", [photo], names), "it takes one frame"
    assert "vf-refused" not in judged_upload(app, "push", [two], names)
    told = judged_upload(app, "push", [two], names, scores=True)
    assert "two.npz is 2 frames at 10 per second: push finds surprises in clips of at least 3 frames." in told
    assert "Open in" not in told
    still = str(FOLDER / "shapes-circle.png")
    assert "Use shapes" in judged_upload(app, "push", [still], names), "which takes it"
    assert "vf-refused" in judged_upload(app, "push", [still], names, scores=True), "none scores it"


def test_only_radar_passes_for_rain() -> None:
    pictures = [clip.last_frame() for clip in all_clips() if not clip.is_rain]
    pictures += [media.read_image(FOLDER / name).frames[0] for name in (*PHOTOS.values(), *DIGITS.values())]
    for picture in pictures:
        assert unlikeness("rain", picture) > 1
