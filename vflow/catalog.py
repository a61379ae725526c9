"""Catalog of checkpoints: folders, training runs, those that ship with vflow, the Hugging Face hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vflow import registry
from vflow.disk import parse_json
from vflow.errors import CheckpointError

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
DIRECTIONS, STATISTICS = "directions.safetensors", "statistics.safetensors"
FILES = (CONFIG, WEIGHTS, CARD, DIRECTIONS, STATISTICS)
"""Names of all that a checkpoint's folder may hold."""
MAX_CONFIG_BYTES = 1 << 20
AUTO = "auto"
"""Name that stands for the checkpoint that suits the input."""
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


SUPERSEDED = {"push-wavelet": "use push for futures, any for few bits"}
"""Checkpoints that no longer ship, and what to use in their place."""


class OldWeights(NamedTuple):
    """Name of weights that .vflow files were written with before, and a commit that has them."""

    name: str
    commit: str


OLD_WEIGHTS = {
    "917aeb2127105d06a9039ca369aedfbd": OldWeights("push-wavelet", "5b8d01ce"),
    "5ef2cdc51b0094827cf4c3751a769d28": OldWeights("codec-photo", "5b8d01ce"),
}
"""By what the headers of those files name them by, 32 hexadecimal digits."""


def find_checkpoints(folders: Iterable[str | Path] = ()) -> dict[str, Path]:
    """Name → folder of every checkpoint that ships or lies in ``folders``, by name.

    Each of ``folders`` is a checkpoint itself or holds checkpoints (or training runs). Where two have the
    same name, the later folder wins over the earlier, and all of them over what ships.

    Raises:
        CheckpointError: one of ``folders`` is not a folder, or holds no checkpoint.
    """
    found = _children(_shipped_root())
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: no such folder; --checkpoints takes folders of models")
        own = _resolve(folder)
        here = {folder.resolve().name: own} if own else _children(folder)
        if not here:
            raise CheckpointError(f"{folder}: holds no checkpoint (a folder with {CONFIG} and {WEIGHTS})")
        found |= here
    return dict(sorted(found.items()))


def checkpoint_folder(name: str | Path, *, allow_hub: bool = False) -> Path:
    """Folder of a checkpoint: ``name`` is a folder, a training run, a zip, a shipped name or a hub id.

    Raises:
        CheckpointError: there is no such checkpoint; the message lists the names that exist.
    """
    path, text = Path(name), str(name)
    if path.is_dir() and (own := _resolve(path)):
        return own
    found = find_checkpoints()
    if text in found:
        return found[text]
    if path.is_file():
        if path.suffix.lower() == ".zip":
            from vflow.packed import unpacked

            return unpacked(path, (CONFIG, WEIGHTS), FILES)
        raise CheckpointError(_file_message(path))
    if path.is_dir():
        raise CheckpointError(f"{path}: {missing_message(path, CONFIG)}")
    if allow_hub and _HUB_ID.fullmatch(text) and not Path(text.split("/")[0]).is_dir():
        return _download(text)
    if hint := superseded(text):
        raise CheckpointError(hint)
    known = ", ".join(found) or "none ships with this copy"
    raise CheckpointError(f"{text}: no such checkpoint; give a folder or a known name ({known})")


def superseded(name: str) -> str | None:
    """Message on a checkpoint that no longer ships: what to use in its place. None of others."""
    return f"{name}: no longer ships; {SUPERSEDED[name]}" if name in SUPERSEDED else None


def superseded_codec(digest: str, flag: str = "--checkpoint") -> str | None:
    """Message on weights of a .vflow file that no longer ship: where they are, which ``flag`` takes them.

    None where ``digest``, that of the header, is of none such.
    """
    if (old := OLD_WEIGHTS.get(digest)) is None:
        return None
    folder = f"checkpoints/{old.name}"
    fetched = f"run 'git archive {old.commit} {folder} | tar x -C /tmp', then give {flag} /tmp/{folder}"
    clone = "in a clone of vflow (if shallow, after git fetch --unshallow)"
    return f"coded with weights of {old.name} that no longer ship; {clone} {fetched}"


def shipped(families: Iterable[str]) -> list[str]:
    """Names of the checkpoints that ship and are of one of ``families``."""
    wanted = set(families)
    return [name for name, folder in find_checkpoints().items() if family_of(folder) in wanted]


def family_of(folder: Path) -> str | None:
    """Family of the model in ``folder``, by its config alone; None where that does not tell."""
    try:
        with open(folder / CONFIG, "rb") as file:
            kind = parse_json(file.read(MAX_CONFIG_BYTES))["model"]["kind"]
        return registry.family_of(kind)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def check_family(name: str, families: Sequence[str], does: str | None = None) -> None:
    """Refuse a checkpoint that does something else, by its config alone; one on the hub is not fetched.

    Args:
        does: what models of ``families`` do, for the error; that of the first when not given.

    Raises:
        CheckpointError: there is no such checkpoint, or it is of another family.
    """
    if _HUB_ID.fullmatch(name) and not Path(name).exists():
        return
    wanted = set(families)
    family = family_of(checkpoint_folder(name))
    if family not in wanted | {None}:
        names = shipped(families[:1])[:3]
        such = f", such as {' or '.join(names)}" if names else ""
        remedy = f"choose a checkpoint of kind {' or '.join(families)}{such}"
        raise CheckpointError(f"{name}: does not {does or registry.families()[families[0]].does}; {remedy}")


def _shipped_root() -> Path:
    package = Path(__file__).resolve().parent
    inside = package / "_checkpoints"  # the wheel's place; a checkout has them beside the package
    return inside if inside.is_dir() else package.parent / "checkpoints"


def _resolve(path: Path) -> Path | None:
    """Folder of the config: ``path``, its ``model/``, or the model of a run's last step.

    Of the latter the step's own folder, since ``last`` moves on; in a run without that link, the highest step
    that holds a model.
    """
    last = Path(os.path.realpath(path / "last"))  # Path.resolve raises where links go round in circles
    for folder in (path, path / "model", last / "model"):
        if (folder / CONFIG).is_file():
            return folder
    steps = [step for step in path.glob("step_*") if step.name[5:].isdecimal()]
    for step in sorted(steps, key=lambda step: int(step.name[5:]), reverse=True):
        if all((step / "model" / name).is_file() for name in (CONFIG, WEIGHTS)):
            return step / "model"
    return None


def _children(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        return {}
    found = {child.name: _resolve(child) for child in root.iterdir() if not child.name.startswith(".")}
    return {name: folder for name, folder in found.items() if folder}


def _file_message(path: Path) -> str:
    if path.suffix.lower() in _PICKLES:
        return f"{path}: pickled weights are refused (they can run code); convert them to {WEIGHTS}"
    return f"{path}: a checkpoint is a folder with {CONFIG} and {WEIGHTS}; give the folder"


def missing_message(folder: Path, name: str) -> str:
    """Message that ``folder`` lacks the file ``name``, without which it is no checkpoint."""
    if (folder / "recipe.yaml").is_file():
        return "a recipe's run without its export so far; name a stage's folder, or continue it with --resume"
    if (folder / "preset.yaml").is_file():
        return "a run without a commit so far; continue it with vflow train --resume"
    return _lacks(name, [] if (folder / WEIGHTS).is_file() else pickled_files(folder))


def pickled_files(folder: Path) -> list[str]:
    """Names of pickled files in ``folder``, which might run code when they are read."""
    inside = folder.iterdir() if folder.is_dir() else []
    return sorted(path.name for path in inside if path.suffix.lower() in _PICKLES)


def _lacks(name: str, pickles: list[str]) -> str:
    if pickles:
        return (
            f"holds {pickles[0]}, but pickled weights are refused (they can run code); convert to {WEIGHTS}"
        )
    return f"no {name} in it; a checkpoint is a folder with {CONFIG} and {WEIGHTS}"


def hub_error_type() -> Any:
    """HTTPError of whichever httpx the hub's package has: the hub refuses or cannot be reached."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0]


def _download(name: str) -> Path:
    """Snapshot of a hub repository: config, safetensors and card only, whatever else it holds."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=[CONFIG, WEIGHTS, CARD, DIRECTIONS, STATISTICS],
        )
        missing = [part for part in (CONFIG, WEIGHTS) if not (Path(folder) / part).is_file()]
        if missing:
            listed = huggingface_hub.HfApi().list_repo_files(repository, revision=revision or None)
            pickles = sorted(file for file in listed if Path(file).suffix.lower() in _PICKLES)
            raise CheckpointError(f"{name}: {_lacks(missing[0], [] if WEIGHTS in listed else pickles)}")
    except (hub_error_type(), HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{name}: neither a folder nor a model on the hub ({reason})") from error
    return Path(folder)
