"""Examples: what they hold, and whether SOURCES.md names them."""

from __future__ import annotations

from apps.ui.shared.examples import DIGITS, FOLDER, PHOTOS, all_clips, clips_for
from vflow.data import media

SOURCES = (FOLDER / "SOURCES.md").read_text()


def test_clips_are_there_and_named_in_sources() -> None:
    clips = all_clips()
    for clip in clips:
        assert clip.files[0].stem in SOURCES or clip.files[0].name.split("-")[0] in SOURCES
        if clip.is_rain:
            continue
        assert media.read_frames(clip.files).frames.shape[1:] == (64, 64, 3)
    assert [clip.is_rain for clip in clips] == sorted(clip.is_rain for clip in clips), "rain comes last"
    assert len([path for clip in clips for path in clip.files if path.name.startswith("push")]) <= 8


def test_clips_suit_the_checkpoints_on_offer() -> None:
    assert {clip.checkpoint for clip in clips_for(["mine", "shapes"])} == {"shapes"}
    assert clips_for(["shapes-guided"]) == clips_for(["shapes"])
    assert clips_for(["mine"]) == all_clips()


def test_pictures_are_grey_and_named_in_sources() -> None:
    for name in PHOTOS.values():
        assert name in SOURCES
        frames = media.read_image(FOLDER / name).frames
        assert (frames == frames[..., :1]).all(), "grey"
    assert "digit-*.png" in SOURCES and all((FOLDER / name).is_file() for name in DIGITS.values())
