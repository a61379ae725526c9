"""Last results of browser sessions, offered after a reload of the page.

A result is the updates that put it on the page. It is kept here under an unguessable token, which the browser
keeps in its own storage, until its files are removed from disk.
"""

from __future__ import annotations

import copy
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .storage import MAX_AGE, MAX_RUNS

Updates = dict[Any, Any]  # component → new value or gr.update


class Recent:
    """Results by token, at most as many as runs are kept on disk, each for as long.

    Args:
        root: folder of all files; a result is gone as soon as one of its files below this folder is.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, str | None, Updates]] = OrderedDict()

    def keep(self, updates: Updates, session: str | None) -> str:
        """Keep a result that ``session`` shows; returns its token."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._kept[token] = time.time(), session, updates
            while len(self._kept) > MAX_RUNS:
                self._kept.popitem(last=False)
        return token

    def minutes(self, token: Any, session: str | None) -> int | None:
        """Age of a result in minutes; None where it is gone, the token is none, or ``session`` shows it."""
        with self._lock:
            kept = self._kept.get(token) if isinstance(token, str) else None
        if kept is None:
            return None
        made, shown_by, updates = kept
        if session is not None and shown_by == session:
            return None
        if time.time() - made > MAX_AGE or not all(map(self._is_there, updates.values())):
            with self._lock:
                self._kept.pop(token, None)
            return None
        return int((time.time() - made) / 60)

    def find(self, token: Any, session: str | None) -> Updates | None:
        """A copy of the updates of a result, which ``session`` shows from now on; None where it is gone."""
        if self.minutes(token, None) is None:
            return None
        with self._lock:
            made, _, updates = self._kept[token]
            self._kept[token] = made, session, updates
        return {part: copy.deepcopy(value) for part, value in updates.items()}

    def _is_there(self, value: Any) -> bool:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return all(map(self._is_there, value))
        return not (isinstance(value, str) and value.startswith(self._root)) or Path(value).exists()


def merge(shown: Updates, updates: Updates) -> None:
    """Add updates to those before; changes of a component's properties add up."""
    for part, value in updates.items():
        old = shown.get(part)
        both = isinstance(value, dict) and isinstance(old, dict) and "__type__" in value and "__type__" in old
        shown[part] = {**old, **value} if both and isinstance(old, dict) else value
