"""``vflow benchmark``: one published benchmark, one table."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vflow.commands.common import NONE_GIVEN, CommonFlags, note
from vflow.errors import ConfigError
from vflow.flags import Text


@dataclass(frozen=True, kw_only=True)
class RunBenchmark:
    """Measure vflow on a published benchmark, beside published figures; reads test data."""

    name: tyro.conf.Positional[Text] = None
    """earth: places on the Earth. set5, set14: photos enlarged four times. kodak: lossless photos."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR", constructor=Path, help_behavior_hint="")] = None
    """Folder of its files; NAME in VFLOW_DATA when not given. They are checked by SHA-256."""
    splits: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Random splits, or seeds, that the spread is over."""
    json: bool = False
    """Print one JSON object: rows, and the protocol."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0."""
        from vflow.benchmarks.registry import MODULES

        if self.name not in MODULES:
            raise ConfigError(f"name a benchmark: {', '.join(MODULES)}")
        from vflow.benchmarks.base import data_folder, table
        from vflow.benchmarks.registry import benchmark
        from vflow.config.ranges import check_range
        from vflow.devices import machine
        from vflow.pipelines.common import set_threads, versions

        check_range("splits", self.splits, 1, 100)
        seed = self.common.seed or 0
        found, begun = benchmark(self.name), time.process_time()
        set_threads(self.common.threads)
        rows = []
        for row in found.run(data_folder(self.data, found.folder), range(seed, seed + self.splits)):
            rows.append(row)
            note(" ".join(f"{value}" for value in row.values() if value is not None))
        if not self.json:
            print(table(found, rows))
            return 0
        protocol = {
            "command": f"vflow benchmark {self.name} --splits {self.splits} --seed {seed} --json",
            "machine": machine(),
            "processor_seconds": round(time.process_time() - begun),
            "versions": versions(),
        }
        print(json.dumps({"benchmark": self.name, "rows": rows, "protocol": protocol}, ensure_ascii=False))
        return 0
