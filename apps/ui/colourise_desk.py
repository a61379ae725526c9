"""What lies on the Colourise tab: photos, colour points, what was made of them, and which is on show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from vflow.data import media
from vflow.errors import InputError, VflowError
from vflow.pipelines.color.hints import Hint, parse_hint
from vflow.pipelines.color.photo import on_white

from . import colourise_view as view
from .colourise_files import PREVIEW, Coloured, reduced

MAX_POINTS = 32
THUMB = 144  # pixels a side


@dataclass(frozen=True)
class Photo:
    """An upload, its colour points, its variants if there are any, and which of these is compared."""

    path: str
    points: tuple[Hint, ...] = ()
    made: Coloured | None = None
    chosen: int = 0

    @property
    def name(self) -> str:
        return Path(self.path).name

    def with_point(self, x: float, y: float, colour: str) -> Photo:
        """A colour point more; ``colour`` is ``#rrggbb``.

        Raises:
            ConfigError: outside the photo, or no colour. InputError: too many.
        """
        if len(self.points) >= MAX_POINTS:
            raise InputError(f"at most {MAX_POINTS} colour points; remove one first")
        return replace(self, points=(*self.points, parse_hint(f"{x:.4f},{y:.4f},{colour}")))

    def without_point(self, index: int) -> Photo:
        """The colour points but for one."""
        return replace(self, points=tuple(p for i, p in enumerate(self.points) if i != index))


@dataclass
class Desk:
    """Photos in order of upload; ``at`` is the one on show.

    Lives in ``gr.State`` and is changed in place, so that a click while a long run goes on is not undone by
    what the run knew when it began. Runs name photos by path.
    """

    photos: list[Photo] = field(default_factory=list)
    at: int = 0

    @property
    def photo(self) -> Photo | None:
        """The one on show."""
        return self.photos[self.at] if self.photos else None

    def hold(self, paths: Sequence[str]) -> None:
        """The uploads have become ``paths``; what is known of a photo stays, the first new one is shown."""
        known = {photo.path: photo for photo in self.photos}
        shown = self.photo.path if self.photo else None
        self.photos = [known.get(path) or Photo(path) for path in dict.fromkeys(paths)]
        new = [index for index, photo in enumerate(self.photos) if photo.path not in known]
        same = [index for index, photo in enumerate(self.photos) if photo.path == shown]
        self.at = [*new, *same, 0][0]

    def show(self, index: int) -> None:
        """Put another photo on show."""
        if 0 <= index < len(self.photos):
            self.at = index

    def change(self, path: str, change: Callable[[Photo], Photo]) -> None:
        """Replace the photo of ``path``, if it is still here."""
        self.photos = [change(photo) if photo.path == path else photo for photo in self.photos]

    def made(self, path: str) -> Coloured | None:
        """Variants of the photo of ``path``, if there are any."""
        return next((photo.made for photo in self.photos if photo.path == path), None)

    def chosen(self, path: str) -> int:
        """The variant of the photo of ``path`` that is compared."""
        return next((photo.chosen for photo in self.photos if photo.path == path), 0)

    def chooser(self) -> str:
        """HTML of the thumbnails; none for a single photo, which the editor shows."""
        seen = [(photo.name, _preview(photo.path)) for photo in self.photos]
        if len(seen) == 1 and not isinstance(seen[0][1], str):
            return ""
        return view.chooser([(name, _thumb(picture)) for name, picture in seen], self.at)

    def editor(self) -> str:
        """HTML of the photo on show with its colour points; empty where it cannot be read."""
        picture = _preview(self.photo.path) if self.photo else ""
        if self.photo is None or isinstance(picture, str):
            return ""
        return view.editor(picture, self.photo.points, coloured=self.photo.made is not None)


@lru_cache(maxsize=32)
def _preview(path: str) -> np.ndarray | str:
    """The photo, reduced, or what is wrong with it; gradio names uploads by their content."""
    try:
        clip, alpha = media.read_photo(path)
        return reduced(on_white(clip.frames[0], alpha), PREVIEW)
    except VflowError as error:
        return str(error).replace(path, Path(path).name)


def _thumb(picture: np.ndarray | str) -> np.ndarray | str:
    if isinstance(picture, str):
        return picture
    side = min(THUMB, *picture.shape[:2])
    return media.resize(picture[None], side, side, picture.shape[-1])[0]
