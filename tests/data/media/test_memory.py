"""Memory of inputs that are decoded at once: large ones come one at a time, and small ones do not wait."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from vflow.data import media
from vflow.data.media import limits
from vflow.data.media.limits import Budget
from vflow.errors import InputError


@pytest.mark.parametrize("suffix", [".png", ".npz"])
def test_a_large_input_waits_for_another_and_a_small_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(limits, "LARGE", 4000)
    sizes = {"large": 40, "small": 8}
    for name, side in sizes.items():
        frame = np.full((side, side, 3), 7, np.uint8)
        if suffix == ".png":
            media.write_png(tmp_path / f"{name}.png", frame)
        else:
            media.write_npz(tmp_path / f"{name}.npz", frames=frame)
    read = {name: threading.Event() for name in sizes}

    def reader(name: str) -> None:
        media.read_clip(tmp_path / f"{name}{suffix}")
        read[name].set()

    threads = [threading.Thread(target=reader, args=(name,), daemon=True) for name in sizes]
    with Budget(media.DEFAULT_LIMITS) as other:
        other.take_memory(4001)
        for thread in threads:
            thread.start()
        assert read["small"].wait(30)
        assert not read["large"].wait(0.2)
    assert read["large"].wait(30)


def test_a_large_input_that_fails_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGE", 10)
    media.write_png(tmp_path / "frame.png", np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "frame.png").read_bytes()[:60])
    with pytest.raises(InputError, match="damaged"):
        media.read_image(tmp_path / "cut.png")
    assert media.read_image(tmp_path / "frame.png").frames.shape == (1, 40, 40, 3)
