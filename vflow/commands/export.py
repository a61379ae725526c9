"""``vflow export``: a model as ONNX graphs, and a page that draws with them in a browser alone."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from vflow.commands.common import NONE_GIVEN, CommonFlags, check_checkpoint, note, open_model
from vflow.errors import ConfigError
from vflow.flags import Text

PAGE = ("index.html", "page.css", "page.js", "digits.js", "color.js", "LICENSE-onnxruntime")
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export a model as ONNX graphs, checked against torch, and a page that draws with them in a browser.

    The page needs no server but one for files, such as 'python3 -m http.server'. It takes the models of all
    exports to its folder.
    """

    checkpoint: Text = None
    """Folder, name, or hub id of a model that draws digits, colours or enlargements. (required)"""
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the page."""
    page: bool = True
    """Write the page, too, and fetch the runtime that it needs by npm."""
    common: CommonFlags = NONE_GIVEN

    unused: ClassVar[tuple[str, ...]] = ("--device", "--dtype", "--seed")

    def run(self) -> int:
        """Returns 0.

        Raises:
            ConfigError: no ONNX packages, or no npm. CheckpointError: no model that can be exported.
        """
        from vflow import registry
        from vflow.pipelines import export

        able = [family.name for family in registry.families().values() if family.export]
        name = check_checkpoint(self.checkpoint, able, "export")
        model = open_model(name, "cpu")[0]
        for path in export.write(model, self.output):
            print(path)
        if self.page:
            write_page(self.output)
            note(f"to look at it: python3 -m http.server --bind 127.0.0.1 --directory {self.output} 8000")
        return 0


def write_page(folder: Path) -> None:
    """Copy the page to ``folder``, with onnxruntime-web of the locked version.

    Raises:
        ConfigError: npm is missing, or fails.
    """
    source = resources.files("vflow") / "browser"
    for name in PAGE:
        (folder / name).write_bytes((source / name).read_bytes())
    runtime = folder / "runtime"
    if all((runtime / name).is_file() for name in RUNTIME):
        return
    if (npm := shutil.which("npm")) is None:
        raise ConfigError(
            "export: the page's runtime comes by npm, which is not installed; or give --no-page"
        )
    with tempfile.TemporaryDirectory() as place:
        for name in ("package.json", "package-lock.json"):
            (Path(place) / name).write_bytes((source / name).read_bytes())
        words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(words, cwd=place, capture_output=True, text=True)
        if done.returncode:
            raise ConfigError(f"export: npm ci failed: {(done.stderr or done.stdout).strip()[-300:]}")
        runtime.mkdir(exist_ok=True)
        for name in RUNTIME:
            shutil.copyfile(Path(place) / "node_modules/onnxruntime-web/dist" / name, runtime / name)
