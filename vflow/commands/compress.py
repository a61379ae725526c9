"""``vflow compress`` and ``vflow decompress``: photos and videos to lossless files, and back."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from vflow.commands.common import note
from vflow.errors import VflowError, counted, naming_memory
from vflow.flags import Inputs, Text, Whole

if TYPE_CHECKING:
    from vflow.pipelines.compress import Task

Work = Callable[..., dict[str, Any] | None]
"""``compress_file`` of a pipeline, or its inverse."""


@dataclass(frozen=True, kw_only=True)
class FilesFlags(ABC):
    """Flags of both commands."""

    input: tyro.conf.Positional[Inputs]
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the files."""
    checkpoint: Text = None
    on_existing: Literal["error", "overwrite", "skip"] = "error"
    """If a file of that name has other content: refuse, or overwrite it. skip refuses, too, but where
    the file holds the same pixels nothing is computed, so that a run that was interrupted goes on."""
    json: bool = False
    """Print one JSON object per file."""
    threads: Whole = None
    """CPU threads; torch's choice when not given."""
    debug: bool = False
    """Show tracebacks."""

    unused: ClassVar[tuple[str, ...]] = ("--device", "--dtype", "--seed")

    @abstractmethod
    def work(self) -> tuple[Sequence[Task], Work]:
        """Files, and what is done with each.

        Raises:
            ConfigError, InputError: no files, or a folder without any.
        """

    def line(self, entry: dict[str, Any]) -> str:
        """Words on a file that was written."""
        return str(entry["file"])

    def run(self) -> int:
        """Returns 0, or 1 when some files failed."""
        from tqdm import tqdm

        from vflow.compression.entropy import require_coder
        from vflow.data import media
        from vflow.pipelines.common import set_threads
        from vflow.pipelines.compress import Codecs

        require_coder()
        set_threads(self.threads)
        codecs, failed = Codecs(self.checkpoint), 0
        tasks, work = self.work()
        existing = {"replace": self.on_existing == "overwrite", "skip": self.on_existing == "skip"}
        media.check_folder(self.output)
        with tqdm(tasks, unit="file", disable=None, leave=False) as bar:

            def progress(done: int, total: int) -> None:
                bar.set_postfix_str(f"{done / total:.0%}")

            for task in bar:
                try:
                    with naming_memory(
                        f"{task.path.name} does not fit; free some memory, or give a smaller file"
                    ):
                        entry = work(codecs, task, self.output, progress, **existing)
                    self.report(task, entry)
                except VflowError as error:
                    failed += 1
                    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if failed else 0

    def report(self, task: Task, entry: dict[str, Any] | None) -> None:
        """Print what was written; None: the file was there."""
        if entry is None:
            note(f"{task.path.name}: done before")
            return
        for text in entry.pop("notes", ()):
            note(f"{entry['item']}: {text}")
        print(json.dumps(entry) if self.json else self.line(entry), flush=True)


@dataclass(frozen=True, kw_only=True)
class Compress(FilesFlags):
    """Write photos and videos to lossless files NAME.vflow.

    A photo must be 8-bit RGB or grey; its colour profile is kept. Of a video its frames are kept, decoded to
    8-bit RGB, without sound.
    """

    input: tyro.conf.Positional[Inputs]
    """Photos, videos, npz files, or folders of them."""
    checkpoint: Text = None
    """A codec, or a video model with exact likelihood such as grasp: folder, shipped name or hub id;
    codec-photo or codec-clip when not given."""
    json: bool = False
    """Print one JSON object per file: bytes, raw_bytes, channels, input_bytes, bits_per_dim,
    model_bits_per_dim."""

    def work(self) -> tuple[Sequence[Task], Work]:
        from vflow.pipelines.compress import compress_file, media_tasks

        return media_tasks(self.input), compress_file

    def line(self, entry: dict[str, Any]) -> str:
        size, channels = entry["bytes"], counted(entry["channels"], "channel")
        share = f"{size / entry['raw_bytes']:.1%} of the raw pixels ({channels})"
        given = f"{size / entry['input_bytes']:,.0%} of the file given"
        return f"{entry['file']}: {size:,} bytes, {share}, {given}, {entry['bits_per_dim']:.3f} bits/dim"


@dataclass(frozen=True, kw_only=True)
class Decompress(FilesFlags):
    """Give back the pixels of files NAME.vflow: NAME.png, or NAME.npz of a clip."""

    input: tyro.conf.Positional[Inputs]
    """Files NAME.vflow, or folders of them."""
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the pixels."""
    checkpoint: Text = None
    """The codec they were made with; found among the shipped ones when not given."""

    def work(self) -> tuple[Sequence[Task], Work]:
        from vflow.pipelines.compress import coded_tasks, decompress_file

        return coded_tasks(self.input), decompress_file
