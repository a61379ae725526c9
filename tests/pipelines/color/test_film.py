"""Films in colour: one noise for all frames, little flicker, few frames in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch

from vflow.metrics.color import flicker as flicker_along_motion
from vflow.metrics.color import planes
from vflow.models import Colorizer
from vflow.pipelines.color import film as module
from vflow.pipelines.color.colorize import colorize
from vflow.pipelines.color.film import colorize_film, smooth_in_time
from vflow.tasks.colorize.settings import ColorSettings, Hint

from ..colorizers import lightness_error, make_colorizer, picture


def flicker(frames: np.ndarray) -> float:
    """Mean |Δa| and |Δb| from frame to frame of uint8 (T, H, W, 3), over pixels whose lightness stays."""
    changes = np.stack([np.diff(planes(np.stack(pair)), axis=0)[0] for pair in pairwise(frames)])
    still = np.abs(changes[:, 0]) <= 1.0
    return float(np.abs(changes[:, 1:]).mean(1)[still].mean()) if still.any() else 0.0


@pytest.fixture(scope="module")
def model() -> Colorizer:
    return make_colorizer()


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """Something dark that moves over a noisy, still picture: uint8 (6, 48, 72, 3)."""
    random = np.random.default_rng(0)
    frames = np.repeat(picture()[None], 6, 0).astype(float)
    for t in range(6):
        frames[t, 10:25, 8 * t : 8 * t + 15] = 20
    return np.clip(frames + random.normal(0, 1.5, frames.shape), 0, 255).astype(np.uint8)


def colorized(model: Colorizer, film: np.ndarray, settings: ColorSettings, **options: object) -> np.ndarray:
    """uint8 (N, T, H, W, 3)."""
    frames = [frame.images for frame in colorize_film(model, film, settings, **options)]  # type: ignore[arg-type]
    return np.stack(frames, 1)


def test_frames_keep_size_and_lightness_and_the_first_is_the_photo(
    model: Colorizer, film: np.ndarray
) -> None:
    made = colorized(model, film, ColorSettings(num_samples=2))
    assert made.shape == (2, *film.shape)
    assert np.array_equal(made[:, 0], colorize(model, film[0], num_samples=2))
    assert max(lightness_error(made[:, t], film[t]) for t in range(6)) < 0.5


def test_one_noise_and_smoothing_keep_flicker_low(
    model: Colorizer, film: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = np.stack([colorize(model, frame, num_samples=1)[0] for frame in film])
    smooth = flicker(colorized(model, film, ColorSettings(num_samples=1))[0])
    monkeypatch.setattr(module, "KEPT_SHARE", 0.0)
    plain = flicker(colorized(model, film, ColorSettings(num_samples=1))[0])
    assert plain < 0.2 * flicker(apart)
    assert smooth < 0.6 * plain


def test_still_films_do_not_flicker(model: Colorizer, film: np.ndarray) -> None:
    made = colorized(model, film[:1].repeat(3, 0), ColorSettings(num_samples=1))[0]
    assert np.array_equal(made[0], made[2])


def test_colours_are_held_where_lightness_is() -> None:
    old, new = torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2, 2), 10.0)
    lightness = torch.tensor([[50.0, 50], [50, 50]])
    moved = torch.tensor([[50.0, 53], [90, 50]])
    held = smooth_in_time(new, moved, old, lightness)[0, 0]
    assert held[0, 0] == pytest.approx(10 * (1 - module.KEPT_SHARE))
    assert held[0, 0] < held[0, 1] < held[1, 0] == pytest.approx(10)


def test_later_chunks_and_steps_are_those_of_photos(model: Colorizer, film: np.ndarray) -> None:
    many = colorized(model, film[:2], ColorSettings(num_samples=10), first=8)
    assert many.shape[0] == 2
    assert np.array_equal(many[:, 0], colorize(model, film[0], num_samples=10)[8:])
    near = colorized(model, film[:1], ColorSettings(num_samples=2, near=(3,)))
    assert np.array_equal(near[:, 0], colorize(model, film[0], near=(3,), num_samples=2))


def test_hints_hold_where_the_picture_moves(model: Colorizer) -> None:
    """A pan brings colours of other places to the hint's, where lightness may be the same."""
    wide = np.concatenate([picture(), picture()[:, ::-1]], 1)
    film = np.stack([wide[:, 6 * t : 6 * t + 72] for t in range(4)])
    hints = (Hint(0.5, 0.5, (170, 90, 90)),)
    made = colorized(model, film, ColorSettings(num_samples=1, hints=hints))[0, :, 24, 36]
    photos = np.stack([colorize(model, frame, num_samples=1, hints=hints)[0, 24, 36] for frame in film])
    assert np.abs(made.astype(int) - photos).max() <= 1


def test_hints_hold_in_every_frame(model: Colorizer, film: np.ndarray) -> None:
    hint = (Hint(0.9, 0.9, (170, 90, 90)),)
    made, free = (
        colorized(model, film, ColorSettings(num_samples=1, hints=h))[0, :, 43, 64] for h in (hint, ())
    )
    assert (made[:, 0].astype(int) - made[:, 2] > 30).all()
    assert np.abs(made.astype(int) - free).max() > 10


def test_frames_are_taken_as_they_are_wanted(model: Colorizer, film: np.ndarray) -> None:
    taken = []

    def source() -> Iterator[np.ndarray]:
        for t, frame in enumerate(film):
            taken.append(t)
            yield frame

    made = colorize_film(model, source(), ColorSettings(num_samples=1))
    first = next(made)
    assert (taken, first.images.shape, first.counts.values) == ([0], (1, 48, 72, 3), 2 * 16 * 16)
    next(made)
    assert taken == [0, 1]
    stopped = colorize_film(
        model, film, ColorSettings(num_samples=1), should_stop=iter([False, True]).__next__
    )
    assert len(list(stopped)) == 1


@pytest.fixture(scope="module")
def pan() -> np.ndarray:
    """A camera that moves over a picture, three pixels a frame: uint8 (5, 64, 96, 3)."""
    wide = picture(64, 120)
    return np.stack([wide[:, 3 * t : 3 * t + 96] for t in range(5)])


def test_colours_move_with_the_picture(
    model: Colorizer, pan: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried = flicker_along_motion(colorized(model, pan, ColorSettings(num_samples=1))[0], pan)
    monkeypatch.setattr(module, "KEPT_SHARE", 0.0)
    drawn = flicker_along_motion(colorized(model, pan, ColorSettings(num_samples=1))[0], pan)
    assert carried < 0.8 * drawn
    monkeypatch.setattr(module, "KEPT_SHARE", 0.9)
    monkeypatch.setattr(module, "carry", lambda before, grey: (before.ab, before.lightness))
    assert carried < flicker_along_motion(colorized(model, pan, ColorSettings(num_samples=1))[0], pan)
    assert flicker_along_motion(pan, pan) == pytest.approx(1)


def test_a_cut_begins_anew(model: Colorizer) -> None:
    scenes = [picture(seed=1), 255 - picture(seed=2)]
    film = np.stack([scenes[0], scenes[0], scenes[1], scenes[1]])
    frames = list(colorize_film(model, film, ColorSettings(num_samples=2)))
    assert np.array_equal(frames[2].images, colorize(model, scenes[1], num_samples=2))
    assert frames[0].content == frames[1].content != frames[2].content == frames[3].content
