"""``vflow compress`` and ``vflow decompress``: photos and videos to lossless files, and back."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from vflow.commands.common import note
from vflow.commands.draw import TaskFlags
from vflow.errors import CheckpointError, InputError, VflowError, counted, naming_memory
from vflow.flags import Inputs, Text, Whole

if TYPE_CHECKING:
    from vflow.pipelines.batch.inputs import Item
    from vflow.pipelines.batch.tasks import RunnerTask

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
    def work(self) -> tuple[Sequence[Item], Work]:
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
        items, work = self.work()
        existing = {"replace": self.on_existing == "overwrite", "skip": self.on_existing == "skip"}
        media.check_folder(self.output)
        with tqdm(items, unit="file", disable=None, leave=False) as bar:

            def progress(done: int, total: int) -> None:
                bar.set_postfix_str(f"{done / total:.0%}")

            for item in bar:
                name = item.paths[0].name
                try:
                    with naming_memory(f"{name} does not fit; free some memory, or give a smaller file"):
                        entry = work(codecs, item, self.output, progress, **existing)
                    self.report(name, entry)
                except VflowError as error:
                    failed += 1
                    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if failed else 0

    def report(self, name: str, entry: dict[str, Any] | None) -> None:
        """Print what was written of the file ``name``; None: it was there."""
        if entry is None:
            note(f"{name}: done before")
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

    def work(self) -> tuple[Sequence[Item], Work]:
        from vflow.pipelines.compress import compress_file, media_items

        return media_items(self.input), compress_file

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

    def work(self) -> tuple[Sequence[Item], Work]:
        from vflow.pipelines.compress import coded_items, decompress_file

        return coded_items(self.input), decompress_file


@dataclass(frozen=True, kw_only=True)
class CodingFlags(TaskFlags):
    """Flags of ``vflow generate`` with either: the codec of each file by what it holds, on the CPU alone."""

    unused: ClassVar[tuple[str, ...]] = FilesFlags.unused

    def task(self) -> RunnerTask:
        from vflow.compression.codec import check_codec
        from vflow.compression.entropy import require_coder

        require_coder()
        own = replace(self, common=replace(self.common, device="cpu"))
        check_codec((task := super(CodingFlags, own).task()).model)
        return task

    def choose(self, items: Sequence[Item]) -> dict[str, list[Item]]:
        from vflow.pipelines.compress import DEFAULTS, Codecs, codec_of

        codecs = Codecs()
        found: dict[str, list[Item]] = {}
        for item in items:
            try:
                name = codec_of(item, codecs, coded=self.about.item == "coded")
            except (CheckpointError, InputError):
                name = next(iter(found), DEFAULTS["picture"])  # it fails alone, later, and says why
            found.setdefault(name, []).append(item)
        return found
