"""Checkpoints on the Hugging Face hub: publishing, and the names that the hub's libraries use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from vflow.card import CURVE, SAMPLES, model_card
from vflow.catalog import (
    CARD,
    CONFIG,
    DIRECTIONS,
    STATISTICS,
    WEIGHTS,
    checkpoint_folder,
    hub_error_type,
    pickled_files,
)
from vflow.checkpoint import load, read_config, read_statistics
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.pipelines.video.stats import load_clip_statistics
from vflow.pipelines.walk.directions import load_directions

if TYPE_CHECKING:
    from torch import nn

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def from_pretrained(name: str, *, device: str = "cpu") -> nn.Module:
    """Model of a checkpoint: ``user/name`` on the hub, ``user/name@revision``, a shipped name or a folder.

    The same as ``vflow.load``, under the name that the hub's libraries use.

    Args:
        name: of these.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        CheckpointError: as ``vflow.load``.

    Examples:
        >>> model = vflow.from_pretrained("digits")
        >>> model.training
        False
    """
    return load(name, device=device)


def push_to_hub(name: str | Path, repo_id: str, *, private: bool = False) -> str:
    """Upload all files of a checkpoint in one commit; returns its address.

    Args:
        name: a folder, a training run (its last commit), or a shipped name.
        repo_id: ``user/name``; made when it is not there. Its other files are left alone.
        private: only those with access see it. An existing public repository is refused then.

    Raises:
        CheckpointError: the checkpoint does not load, or holds pickled files.
        ConfigError: ``repo_id`` is no ``user/name``. InputError: the hub refuses or cannot be reached.

    Examples:
        >>> address = vflow.push_to_hub("digits", "ada/digits")  # logged in, or with HF_TOKEN
        >>> "ada/digits" in address
        True
    """
    if not REPOSITORY.fullmatch(repo_id):
        raise ConfigError(f"--repo {repo_id}: give user/name, e.g. ada/shapes")
    folder = checkpoint_folder(name)
    files = checked_files(folder, repo_id)

    import huggingface_hub

    api = huggingface_hub.HfApi(library_name="vflow")
    operations = [huggingface_hub.CommitOperationAdd(path, content) for path, content in files.items()]
    try:
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        if private and not api.model_info(repo_id).private:
            raise InputError(
                f"{repo_id}: is public already; make it private on the hub, or leave out --private"
            )
        commit = api.create_commit(repo_id, operations, commit_message="Upload with vflow")
    except (hub_error_type(), OSError, ValueError) as error:
        raise InputError(f"{repo_id}: {_why(error)}") from error
    return str(commit.commit_url)


def checked_files(folder: Path, title: str) -> dict[str, str | bytes]:
    """Name on the hub → local path, or content where the card had to be written.

    Raises:
        CheckpointError: the checkpoint does not load as it stands, or pickled files lie beside it.
    """
    if pickles := pickled_files(folder):
        raise CheckpointError(f"{folder}: holds {pickles[0]}; pickled files are not published, move it away")
    model = load(folder)
    files: dict[str, str | bytes] = {name: str(folder / name) for name in (CONFIG, WEIGHTS)}
    for name, check in ((DIRECTIONS, load_directions), (STATISTICS, load_clip_statistics)):
        if (folder / name).is_file():
            check(folder, model)
            files[name] = str(folder / name)
    files |= {name: str(folder / name) for name in (CURVE, SAMPLES) if (folder / name).is_file()}
    if (folder / CARD).is_file():
        files[CARD] = str(folder / CARD)
    else:
        files[CARD] = model_card(title, read_config(folder), read_statistics(folder), {}).encode()
    return files


def _why(error: Exception) -> str:
    """One line: what the hub answered, and the remedy where it is known."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return (
            f"the hub does not let you write there ({status}); log in with 'hf auth login', or set HF_TOKEN"
        )
    text = str(error).strip() or type(error).__name__
    return f"not uploaded ({text.splitlines()[0]}); nothing was changed, try again"
