"""``vflow teach``: a video model fine-tuned on one's own clips."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vflow.catalog import AUTO
from vflow.errors import ConfigError, require
from vflow.flags import Inputs, Number, Whole

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Teach:
    """Fine-tune a video model on your own clips, and say how it does on a part that it did not see."""

    clips: tyro.conf.Positional[Inputs]
    """Videos, arrays, folders of frames, or folders of these; a part of them is held out."""
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the run; other commands take it as --checkpoint."""
    minutes: Annotated[float, tyro.conf.arg(metavar="M")] = 10.0
    """Minutes of training, over all resumes; the verdict adds one or more."""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="NAME")] = AUTO
    """Model to start from: a folder, a shipped name or a hub id; auto takes what suits the clips."""
    resume: bool = False
    """Continue from the newest intact commit in the output folder; start afresh if there is none."""
    seed: Whole = None
    """Seed of order, cuts and noise (0)."""
    threads: Whole = None
    """CPU threads; torch's choice when not given."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on."""
    max_memory: Number = None
    """GiB of memory that the run may take (on Linux)."""
    debug: bool = False
    """Show tracebacks."""

    def run(self) -> int:
        """Exit code of the run."""
        if not self.clips:
            raise ConfigError("give clips: videos, arrays, folders of frames, or folders of these")
        require("accelerate", "teaching", "train")
        if self.max_memory is not None:
            _limit_memory(self.max_memory)
        print("loading PyTorch", file=sys.stderr, flush=True)
        from vflow.training.args import TrainOptions
        from vflow.training.teach import teach

        options = TrainOptions(
            output=self.output,
            resume=self.resume,
            init_from=self.checkpoint,
            seed=self.seed,
            threads=self.threads,
            device=self.device,
        )
        return teach(options, self.clips, self.minutes)


def _limit_memory(gib: float) -> None:
    """Let allocations beyond so many GiB fail, where the system can."""
    if gib <= 0:
        raise ConfigError(f"max_memory must be above 0, not {gib:g}")
    if sys.platform == "linux":
        import resource

        resource.setrlimit(
            resource.RLIMIT_DATA, (round(gib * GIB), resource.getrlimit(resource.RLIMIT_DATA)[1])
        )
