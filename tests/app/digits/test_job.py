"""The sheet of digits, and the line on them."""

from __future__ import annotations

import numpy as np

from apps.ui.digits.job import FACE, sheet
from apps.ui.shared.faces import Job, checked
from vflow.pipelines.common import Counts
from vflow.pipelines.digits.digits import Chunk


def test_digits_of_several_classes_make_one_sheet() -> None:
    images = np.full((11, 28, 28), 7, np.uint8)
    page = sheet(images, [3] * 9 + [4] * 2)[..., 0]
    assert page.shape == ((3 * 30 + 2) * 4, (8 * 30 + 2) * 4)
    assert page[8, 8] == 7 and page[0, 0] == 255
    assert (page[240:360, 8 * 4 + 60 * 4 :] == 255).all(), "a new class begins a new row"
    assert sheet(images[:2], [3, 4]).shape[:2] == ((2 * 30 + 2) * 4, 32 * 4)


def test_the_summary_tells_the_settings() -> None:
    settings = checked(FACE.kind, {"label": "3", "num_samples": 2, "temperature": 0.7, "seed": 5})
    chunk = Chunk(3, 0, np.zeros((2, 28, 28), np.uint8), Counts())
    job = Job(FACE, "mine", settings, None, "digits", (), (3,), [chunk], seconds=1.25)
    assert job.summary() == "2 digits in 1.2 s · mine, temperature 0.7, seed 5"
