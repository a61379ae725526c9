"""Makes `density-*.png`, the pictures of the Lab's examples.

Run from the repository: python -m apps.examples.make_densities
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from apps.ui.lab.job import Job, Request
from apps.ui.lab.systems import EXAMPLES, suited
from apps.ui.shared.context import AppContext
from apps.ui.shared.jobs import Jobs
from apps.ui.shared.models import ModelStore
from apps.ui.shared.storage import RunStore
from vflow.data import media

FOLDER = Path(__file__).resolve().parent
SIDE = 80

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        app = AppContext(ModelStore(), RunStore(Path(folder)), Jobs(), Path(folder))
        for name in EXAMPLES:
            picture = Job.begin(app, Request.checked(name, suited(name)[0].preset, 10, 0)).task.picture
            width = SIDE * picture.shape[1] // picture.shape[0]
            small = media.resize(picture[None, ..., :3], SIDE, width, 3)[0]
            start = 0 if name == "sphere" else (width - SIDE) // 2  # of a sphere the half in front
            media.write_png(FOLDER / f"density-{name}.png", small[:, start : start + SIDE])
