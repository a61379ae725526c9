"""State of the Colourise tab in one browser session: photos, their hints and results, and which is shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vflow.data import media
from vflow.errors import InputError, VflowError
from vflow.pipelines.color.photo import on_white
from vflow.tasks.colorize.settings import Hint, parse_hint

from ..shared.forms import thumbnail
from ..shared.html import reduced
from . import html
from .job import PREVIEW, ColorizedPhoto, check_is_photo, has_color, in_grey

MAX_HINTS = 32


@dataclass(frozen=True)
class PhotoState:
    """An upload, its hints, its variants if there are any, and which of these is compared."""

    path: str
    hints: tuple[Hint, ...] = ()
    result: ColorizedPhoto | None = None
    variant: int = 0

    @property
    def name(self) -> str:
        return Path(self.path).name

    def hints_within(self, reach: float) -> tuple[str, ...]:
        """The hints as settings have them, all of one reach."""
        return tuple(str(hint._replace(reach=reach)) for hint in self.hints)

    def with_hint(self, x: float, y: float, color: str) -> PhotoState:
        """One more hint; ``color`` is ``#rrggbb``.

        Raises:
            ConfigError: outside the photo, or no colour. InputError: too many.
        """
        if len(self.hints) >= MAX_HINTS:
            raise InputError(f"at most {MAX_HINTS} colour hints; remove one first")
        return replace(self, hints=(*self.hints, parse_hint(f"{x:.4f},{y:.4f},{color}")))

    def without_hint(self, hint: str) -> PhotoState:
        """The hints but for one, ``x,y,#rrggbb``; the same ones where it is gone."""
        removed = parse_hint(hint)
        index = self.hints.index(removed) if removed in self.hints else len(self.hints)
        return replace(self, hints=self.hints[:index] + self.hints[index + 1 :])

    def without_last_hint(self) -> PhotoState:
        """The hints but for the last."""
        return replace(self, hints=self.hints[:-1])

    def without_hints(self) -> PhotoState:
        """No hint."""
        return replace(self, hints=())

    def with_result(self, result: ColorizedPhoto, variant: int) -> PhotoState:
        """New variants; ``variant`` is compared, or the last one if there are fewer."""
        return replace(self, result=result, variant=min(variant, result.count - 1))


@dataclass
class SessionState:
    """Photos in order of upload; ``index`` is the one shown.

    Lives in ``gr.State`` and is changed in place, so that a click while a long run goes on is not undone by
    what the run knew when it began. Runs name photos by path. Whoever changes or draws it holds ``turn``: an
    answer drawn before a click would otherwise reach the page after that click's own, and undo it.
    """

    photos: list[PhotoState] = field(default_factory=list)
    index: int = 0

    def __post_init__(self) -> None:
        self.turn = threading.RLock()  # no field: gradio copies the fields of what it holds

    def __deepcopy__(self, memo: dict[int, Any]) -> SessionState:
        """The same photos in another session, which has its own ``turn``."""
        return SessionState(list(self.photos), self.index)

    @property
    def photo(self) -> PhotoState | None:
        """The one shown."""
        return self.photos[self.index] if self.photos else None

    def set_paths(self, paths: Sequence[str]) -> bool:
        """The uploads have become ``paths``; what is known of a photo stays, the first new one is shown.

        Returns:
            False if they were these before, and nothing has changed.
        """
        paths = list(dict.fromkeys(paths))
        if paths == [photo.path for photo in self.photos]:
            return False
        known = {photo.path: photo for photo in self.photos}
        shown = self.photo.path if self.photo else None
        self.photos = [known.get(path) or PhotoState(path) for path in paths]
        new = [index for index, photo in enumerate(self.photos) if photo.path not in known]
        same = [index for index, photo in enumerate(self.photos) if photo.path == shown]
        self.index = [*new, *same, 0][0]
        return True

    def select(self, path: str) -> None:
        """Show another photo, if it is still here."""
        self.index = next((i for i, photo in enumerate(self.photos) if photo.path == path), self.index)

    def update(self, path: str, change: Callable[[PhotoState], PhotoState]) -> None:
        """Change the photo of ``path``, if it is still here."""
        self.photos = [change(photo) if photo.path == path else photo for photo in self.photos]

    def find(self, path: str) -> PhotoState | None:
        """The photo of ``path``, if it is still here."""
        return next((photo for photo in self.photos if photo.path == path), None)

    def photo_list(self) -> str:
        """HTML of the thumbnails; none for a single photo, which the editor shows."""
        previews = [(photo.path, _preview(photo.path)) for photo in self.photos]
        if len(previews) == 1 and not isinstance(previews[0][1], str):
            return ""
        return html.photo_list(
            [(path, p if isinstance(p, str) else thumbnail(p)) for path, p in previews], self.index
        )

    def editor(self) -> str:
        """HTML of the photo shown with its hints; empty where it cannot be read."""
        picture = _preview(self.photo.path) if self.photo else ""
        if self.photo is None or isinstance(picture, str):
            return ""
        colorized, in_color = self.photo.result is not None, has_color(picture)
        return html.editor(in_grey(picture), self.photo.hints, colorized=colorized, in_color=in_color)


@lru_cache(maxsize=32)
def _preview(path: str) -> np.ndarray | str:
    """The photo, reduced, or what is wrong with it; gradio names uploads by their content."""
    try:
        check_is_photo(path)
        clip, alpha = media.read_photo(path)
        return reduced(on_white(clip.frames[0], alpha)[None], PREVIEW)[0]
    except VflowError as error:
        return str(error).replace(path, Path(path).name)
