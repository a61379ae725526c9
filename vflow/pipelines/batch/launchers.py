"""Launchers of jobs on many processes: Ray, and arrays of Slurm by submitit. Each starts again what died."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vflow.errors import ConfigError, require

RETRIES = 3
"""How often a job whose process died is started again."""
LONGEST = 24 * 60  # minutes that a job of Slurm's may take, unless SBATCH_TIMELIMIT says otherwise

Work = Callable[[str], str]
Results = Iterator[tuple[int, str | None]]
"""Number of a job and what its work returned, as they end; None: its process died each time."""


@dataclass(frozen=True)
class Launcher:
    """Settings of jobs on many processes.

    Attributes:
        kind: Ray on this machine, or on the cluster that ``RAY_ADDRESS`` names; or Slurm.
        workers: processes at once; on a cluster of Ray's, as many as it has processors for.
        threads: processors of each.
        memory: GB of each: what is reserved for it.
        folder: for Slurm's scripts and logs, which all machines see.
        slurm: submitit's executor; ``local`` runs the jobs on this machine.
    """

    kind: Literal["ray", "slurm"]
    workers: int
    threads: int
    memory: float | None
    folder: Path
    slurm: str = "slurm"

    def check(self) -> None:
        """Refuse what is not there.

        Raises:
            ConfigError: an extra is missing, or this machine submits no jobs to Slurm.
        """
        require("ray" if self.kind == "ray" else "submitit", f"--engine {self.kind}", "cluster")
        if self.kind == "slurm" and self.slurm == "slurm" and shutil.which("sbatch") is None:
            raise ConfigError(
                "--engine slurm: no sbatch here; run on a machine that submits jobs, or use ray"
            )

    def run(self, work: Work, jobs: Sequence[str]) -> Results:
        """Results of ``work``, a function of a module, on each of the jobs."""
        return self._ray(work, jobs) if self.kind == "ray" else self._slurm(work, jobs)

    def _ray(self, work: Work, jobs: Sequence[str]) -> Results:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        # Sockets of Ray's lie there, whose paths may have 107 characters.
        folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp" if os.path.isdir("/tmp") else None)
        here = {
            "num_cpus": self.workers * self.threads, "include_dashboard": False, "_temp_dir": folder,
        }  # fmt: skip
        try:
            ray.init(
                log_to_driver=False, logging_level="warning", **({} if "RAY_ADDRESS" in os.environ else here)
            )
            memory = {} if self.memory is None else {"memory": int(self.memory * 1e9)}
            remote = ray.remote(work).options(num_cpus=self.threads, max_retries=RETRIES, **memory)
            waiting = {remote.remote(job): number for number, job in enumerate(jobs)}
            while waiting:
                with redirect_stdout(sys.stderr):  # Ray tells there of processes that died
                    ended = ray.wait(list(waiting))[0]
                for done in ended:
                    number = waiting.pop(done)
                    try:
                        yield number, ray.get(done)
                    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                        yield number, None
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)

    def _slurm(self, work: Work, jobs: Sequence[str]) -> Results:
        from submitit import AutoExecutor
        from submitit.core.utils import UncompletedJobError

        executor = AutoExecutor(folder=self.folder, cluster=self.slurm)
        memory = {} if self.memory is None else {"mem_gb": self.memory}
        executor.update_parameters(
            name="vflow", timeout_min=LONGEST, cpus_per_task=self.threads,
            slurm_array_parallelism=self.workers, **memory,
        )  # fmt: skip
        waiting = list(range(len(jobs)))
        for _ in range(RETRIES + 1):
            running = dict(zip(waiting, executor.map_array(work, [jobs[n] for n in waiting]), strict=True))
            waiting = []
            try:
                for number, job in running.items():
                    try:
                        yield number, job.result()
                    except UncompletedJobError:
                        waiting.append(number)
            finally:
                for job in running.values():
                    if not job.done():
                        job.cancel()
            if not waiting:
                break
        yield from ((number, None) for number in waiting)
        shutil.rmtree(self.folder, ignore_errors=True)
