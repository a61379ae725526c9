"""Trees whose pins are collected: a commit checked out beside this one, and the cache of its pins."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[2]
SECTIONS = sorted(path.stem for path in (Path(__file__).parent / "sections").glob("[a-z]*.py"))


class PinsError(Exception):
    """The comparison cannot be made; one line that says why."""


def git(*words: str) -> str:
    """Output of git in this tree.

    Raises:
        PinsError: git refuses.
    """
    try:
        ended = subprocess.run(["git", "-C", HOME, *words], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise PinsError(f"git {words[0]}: {error.stderr.strip()}") from error
    return ended.stdout.strip()


def resolve(commit: str) -> str:
    """Full name of a commit.

    Raises:
        PinsError: this clone does not have it.
    """
    try:
        return git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except PinsError:
        remedy = "in a shallow clone, git fetch --unshallow brings it"
        raise PinsError(f"{commit}: no such commit here; {remedy}") from None


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A folder with the files of ``commit``, gone after the block."""
    with tempfile.TemporaryDirectory(prefix="vflow-pins-") as folder:
        tree = Path(folder).resolve() / "tree"
        git("worktree", "add", "--detach", "--quiet", "--force", str(tree), commit)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def cache_folder(commit: str) -> Path:
    """Folder for the pins of ``commit`` on this machine, with these packages and collectors."""
    packages = sorted({f"{found.name}=={found.version}" for found in distributions() if found.name})
    here = [commit, platform.platform(), _processor(), sys.version, *packages]
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    digest = hashlib.sha256("\n".join(here).encode())
    for source in sources:
        digest.update(source.read_bytes())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "vflow" / "pins" / f"{commit[:12]}-{digest.hexdigest()[:16]}"


def _processor() -> str:
    """Model and features of the processor, on which the last bits depend."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def collect(section: str, tree: Path, made: Path, base: Path) -> dict[str, Any]:
    """Pins of a section in ``tree``, computed in a process and an empty folder of their own.

    Args:
        made: folder for what later trees read.
        base: such a folder that BASE made.

    Raises:
        PinsError: the collector failed; with the end of what it printed.
    """
    made.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "VFLOW_CACHE": "cache",
        "HF_HUB_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
    script = Path(__file__).with_name("collect.py")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"vflow-pins-{section}-") as folder:
        output, log = Path(folder, "pins.json"), Path(folder, "log.txt")
        work = Path(folder, "work")
        work.mkdir()
        with log.open("w") as printed:
            ended = subprocess.run(
                [sys.executable, script, section, tree, made, base, output],
                cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
                check=False,
            )  # fmt: skip
        said = log.read_text(errors="replace")
        if ended.returncode:
            raise PinsError(f"{section} of {tree}: exit {ended.returncode}\n{said[-3000:]}")
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    print(f"{time.monotonic() - began:6.1f} s  {section} of {tree.name}: {len(found)} pins", file=sys.stderr)
    return found


def collect_once(section: str, tree: Path, cache: Path) -> dict[str, Any]:
    """The same of BASE, from the cache if it is there; ``cache``/section has what BASE made."""
    kept = cache / f"{section}.json"
    if kept.is_file():
        cached: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return cached
    shutil.rmtree(cache / section, ignore_errors=True)
    found = collect(section, tree, cache / section, cache / section)
    draft = kept.with_suffix(".draft")
    draft.write_text(json.dumps(found), encoding="utf-8")
    draft.replace(kept)
    return found
