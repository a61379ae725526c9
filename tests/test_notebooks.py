"""The notebooks run from top to bottom, and are stored without results."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells), "clear its outputs"
    resources = {"metadata": {"path": FOLDER}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    assert all(cell.execution_count for cell in cells)


def test_both_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["colors_and_digits", "predict_and_walk"]
