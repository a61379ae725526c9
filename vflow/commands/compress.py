"""``vflow compress`` and ``vflow decompress``: photos and videos to lossless files, and back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from vflow.commands.common import note
from vflow.errors import VflowError, counted, naming_memory
from vflow.flags import Inputs, Text, Whole

if TYPE_CHECKING:
    from vflow.pipelines.compress import Task

Existing = Literal["error", "overwrite", "skip"]
Work = Callable[["Task", Path, Callable[[int, int], None]], dict[str, Any] | None]


@dataclass(frozen=True, kw_only=True)
class Compress:
    """Write photos and videos to lossless files NAME.vflow.

    A photo must be 8-bit RGB or grey; its colour profile is kept. Of a video its frames are kept, decoded to
    8-bit RGB, without sound.
    """

    input: tyro.conf.Positional[Inputs]
    """Photos, videos, npz files, or folders of them."""
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the files."""
    checkpoint: Text = None
    """A codec, or a video model with exact likelihood such as grasp: folder, shipped name or hub id;
    codec-photo or codec-clip when not given."""
    on_existing: Existing = "error"
    """If a file of that name has other content: refuse, or overwrite it. skip refuses, too, but where
    the file holds the same pixels nothing is computed, so that a run that was interrupted goes on."""
    json: bool = False
    """Print one JSON object per file: bytes, raw_bytes, channels, input_bytes, bits_per_dim,
    model_bits_per_dim."""
    threads: Whole = None
    """CPU threads; torch's choice when not given."""
    debug: bool = False
    """Show tracebacks."""

    unused: ClassVar[tuple[str, ...]] = ("--device", "--dtype", "--seed")

    def run(self) -> int:
        """Returns 0, or 1 when some files failed."""
        from vflow.compression.entropy import require_coder
        from vflow.pipelines import compress
        from vflow.pipelines.common import set_threads

        require_coder()
        set_threads(self.threads)
        codecs = compress.Codecs(self.checkpoint)
        return _each(
            compress.media_tasks(self.input),
            partial(
                compress.compress_file,
                codecs,
                replace=self.on_existing == "overwrite",
                skip=self.on_existing == "skip",
            ),
            self.output,
            self._report,
        )

    def _report(self, entry: dict[str, Any]) -> None:
        for text in entry.pop("notes"):
            note(f"{entry['item']}: {text}")
        if self.json:
            print(json.dumps(entry), flush=True)
        else:
            size, channels = entry["bytes"], counted(entry["channels"], "channel")
            share = f"{size / entry['raw_bytes']:.1%} of the raw pixels ({channels})"
            given = f"{size / entry['input_bytes']:,.0%} of the file given"
            bits = f"{entry['bits_per_dim']:.3f} bits/dim"
            print(f"{entry['file']}: {size:,} bytes, {share}, {given}, {bits}", flush=True)


@dataclass(frozen=True, kw_only=True)
class Decompress:
    """Give back the pixels of files NAME.vflow: NAME.png, or NAME.npz of a clip."""

    input: tyro.conf.Positional[Inputs]
    """Files NAME.vflow, or folders of them."""
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the pixels."""
    checkpoint: Text = None
    """The codec they were made with; found among the shipped ones when not given."""
    on_existing: Existing = "error"
    """If a file of that name has other content: refuse, or overwrite it. skip refuses, too, but where
    the file holds the same pixels nothing is computed, so that a run that was interrupted goes on."""
    json: bool = False
    """Print one JSON object per file."""
    threads: Whole = None
    """CPU threads; torch's choice when not given."""
    debug: bool = False
    """Show tracebacks."""

    unused: ClassVar[tuple[str, ...]] = ("--device", "--dtype", "--seed")

    def run(self) -> int:
        """Returns 0, or 1 when some files failed."""
        from vflow.compression.entropy import require_coder
        from vflow.pipelines import compress
        from vflow.pipelines.common import set_threads

        require_coder()
        set_threads(self.threads)
        codecs = compress.Codecs(self.checkpoint)
        return _each(
            compress.coded_tasks(self.input),
            partial(
                compress.decompress_file,
                codecs,
                replace=self.on_existing == "overwrite",
                skip=self.on_existing == "skip",
            ),
            self.output,
            lambda entry: print(json.dumps(entry) if self.json else entry["file"], flush=True),
        )


def _each(tasks: Sequence[Task], work: Work, output: Path, report: Callable[[dict[str, Any]], None]) -> int:
    """Do ``work`` on each task, files that fail apart; the exit code."""
    from tqdm import tqdm

    from vflow.data import media

    media.check_folder(output)
    failed = 0
    with tqdm(tasks, unit="file", disable=None, leave=False) as bar:
        for task in bar:
            try:
                with naming_memory(
                    f"{task.path.name} does not fit; free some memory, or give a smaller file"
                ):
                    entry = work(task, output, lambda done, total: bar.set_postfix_str(f"{done / total:.0%}"))
                if entry is None:
                    note(f"{task.path.name}: done before")
                else:
                    report(entry)
            except VflowError as error:
                failed += 1
                print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1 if failed else 0
