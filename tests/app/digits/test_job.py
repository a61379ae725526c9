"""The sheet of digits, and the line on them."""

from __future__ import annotations

import numpy as np

from apps.ui.digits.job import Job, Request, sheet


def test_digits_of_several_classes_make_one_sheet() -> None:
    images = np.full((11, 28, 28), 7, np.uint8)
    page = sheet(images, [3] * 9 + [4] * 2)[..., 0]
    assert page.shape == ((3 * 30 + 2) * 4, (8 * 30 + 2) * 4)
    assert page[8, 8] == 7 and page[0, 0] == 255
    assert (page[240:360, 8 * 4 + 60 * 4 :] == 255).all(), "a new class begins a new row"
    assert sheet(images[:2], [3, 4]).shape[:2] == ((2 * 30 + 2) * 4, 32 * 4)


def test_the_summary_tells_the_settings() -> None:
    job = Job(Request.checked("mine", "3", 2, 0.7, 5), labels=(3, 3), seconds=1.25)
    assert job.summary() == "2 digits in 1.2 s · mine, temperature 0.7, seed 5"
