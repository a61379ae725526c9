"""Session state of the Colourise tab, and names in the archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.ui.colorize.job import FACE, archive
from apps.ui.colorize.state import SessionState
from apps.ui.shared.context import AppContext
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from tests.app.conftest import save_untrained, tiny_colorizer
from vflow.errors import ConfigError
from vflow.tasks.colorize.settings import ColorSettings


def test_what_is_known_of_a_photo_stays() -> None:
    state = SessionState()
    assert state.set_paths(["/a.png", "/b.png"])
    assert not state.set_paths(["/a.png", "/b.png", "/a.png"]), "the same"
    state.update("/b.png", lambda photo: photo.with_hint(0.5, 0.25, "#C03020"))
    state.set_paths(["/b.png", "/c.png"])
    assert [photo.path for photo in state.photos] == ["/b.png", "/c.png"]
    assert state.photo is not None and state.photo.path == "/c.png", "the new one is shown"
    state.select("/a.png")
    assert state.photo.path == "/c.png", "gone"
    state.select("/b.png")
    state.set_paths(["/b.png"])
    assert tuple(state.photo.hints[0])[2] == (192, 48, 32)
    with pytest.raises(ConfigError, match="hint"):
        state.photo.with_hint(2, 0, "#000000")
    assert state.photo.with_hint(0, 0, "#000000").without_hints().hints == ()
    two = state.photo.with_hint(0.1, 0.9, "#102030")
    first = two.without_hint("0.5000,0.2500,#c03020")
    assert first.hints == two.hints[1:] and first.without_hint("0.5000,0.2500,#c03020") == first, "once"
    assert two.without_last_hint().hints == two.hints[:1]


def test_no_name_leads_out_of_the_archive(tmp_path: Path) -> None:
    save_untrained(tmp_path / "models" / "mine", tiny_colorizer())
    app = AppContext(ModelStore([tmp_path / "models"]), RunStore(tmp_path), Jobs(), tmp_path)
    photos = []
    with app.runs.job_folder() as folder:
        for number, name in enumerate(("...png", "..png", "...jpg", "bay.png")):
            path = tmp_path / name
            Image.fromarray(np.full((12, 16), 90 + number, np.uint8)).save(path, "PNG")
            job = FACE.begin(app, "mine", ColorSettings(num_samples=1), [str(path)])
            assert list(job.advance(lambda: False)) == [None]
            photos.append(job.save(app, folder / str(number)))
    zipped = tmp_path / "all.zip"
    written = list(archive(zipped, photos, 1.0))
    assert written == sorted(written)
    assert [count for count in written if count % 1 == 0] == [1, 2, 3, 4]
    names = zipfile.ZipFile(zipped).namelist()
    assert names == ["item/s000.png", "item-2/s000.png", "item-3/s000.png", "bay/s000.png"]
