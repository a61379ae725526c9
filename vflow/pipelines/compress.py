"""Lossless compression of photos and clips with a codec's likelihood, and of files and folders of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from vflow.catalog import superseded_codec
from vflow.checkpoint import checkpoint_folder, find_checkpoints, load, read_config
from vflow.compression.codec import (
    Compressed,
    Decompressed,
    Progress,
    check_codec,
    compress_frames,
    decompress_frames,
    made_with,
)
from vflow.compression.container import SUFFIX, checksum, unpack
from vflow.config import ClipCodecConfig, Config, LatticeVideoFlowConfig, PhotoCodecConfig
from vflow.data import media
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.pipelines.batch.inputs import name_items
from vflow.pipelines.common import as_array

DEFAULTS = {"picture": "codec-photo", "clip": "codec-clip"}
"""Shipped checkpoints that files are coded with where none is named."""
CODEC_CONFIGS: dict[str, tuple[type[Config], ...]] = {
    "picture": (PhotoCodecConfig,),
    "clip": (ClipCodecConfig, LatticeVideoFlowConfig),
}
"""Configurations of codecs of each kind of file, the usual one first."""


def compress(model: nn.Module, frames: np.ndarray | torch.Tensor, *, fps: float | None = None) -> bytes:
    """Bytes of a .vflow file, from which ``decompress`` gives back ``frames`` exactly.

    Args:
        model: a codec, as of ``vflow.load("codec-photo")``.
        frames: a photo, uint8 (H, W, C), or a clip, uint8 (T, H, W, C); C is 3, or 1 for grey. Arrays of
            other types are refused.
        fps: frames per second, kept in the file.

    Raises:
        CheckpointError: ``model`` does not compress. ConfigError: it codes other data.
        InputError: ``frames`` is no such array.

    Examples:
        >>> photo = read_image("apps/examples/photo-camera.png").frames[0, :64, :64]
        >>> data = vflow.compress(vflow.load("codec-photo"), photo)
        >>> len(data) < photo.size
        True
    """
    return compress_frames(_codec(model), as_array(frames, "frames"), fps=fps).data


def decompress(model: nn.Module, data: bytes) -> np.ndarray:
    """The photo, uint8 (H, W, C), or clip, uint8 (T, H, W, C), that ``compress`` was given.

    Args:
        model: the codec that made ``data``.
        data: bytes of a .vflow file.

    Raises:
        CheckpointError: coded with another checkpoint. InputError: not a whole .vflow file.

    Examples:
        >>> photo = read_image("apps/examples/photo-camera.png").frames[0, :64, :64]
        >>> codec = vflow.load("codec-photo")
        >>> np.array_equal(vflow.decompress(codec, vflow.compress(codec, photo)), photo)
        True
    """
    found = decompress_frames(_codec(model), data)
    return found.frames[0] if found.kind == "picture" else found.frames


def _codec(model: nn.Module) -> Any:
    """``model``; ``check_codec`` refuses what is none."""
    return model


class WouldLose(InputError):
    """A file whose pixels of 8 bits are not all that it holds.

    Attributes:
        loss: what would become of the rest, such as ``transparency laid on white``.
    """

    def __init__(self, message: str, loss: str) -> None:
        super().__init__(message)
        self.loss = loss


class Source(NamedTuple):
    """Pixels of a file: a photo, uint8 (H, W, C), or a clip, uint8 (T, H, W, C); C is 3, or 1 for grey.

    ``profile`` is the ICC profile of a photo's colours, b"" where they are sRGB.
    """

    frames: np.ndarray
    fps: float | None
    notes: tuple[str, ...]
    profile: bytes = b""

    @property
    def kind(self) -> str:
        """picture or clip."""
        return "picture" if self.frames.ndim == 3 else "clip"


def read_source(path: Path) -> Source:
    """Pixels of a photo, video, animated picture or array of frames, at their own size.

    Of a video these are its frames as decoded to 8-bit RGB, each once, whatever it is made of.

    Raises:
        InputError: not readable, or beyond the limits.
        WouldLose: a picture or an array that its pixels of 8 bits would not give back: of more bits, CMYK,
            several pages, or with transparency; or an animated picture of another colour space than sRGB.
    """
    suffix = path.suffix.lower()
    if suffix in media.ARRAY_SUFFIXES:
        clip = media.read_clip(path)
        _refuse_losses(path, clip.losses)
        return Source(_stored(clip.frames, clip.grey), clip.fps, clip.notes)
    if suffix in media.VIDEO_SUFFIXES or media.probe(path).frames > 1:
        stream = media.stream_frames(path)
        frames = np.stack(list(stream.frames))
        _refuse_losses(path, stream.losses)
        notes = stream.notes
        if stream.times is not None:
            notes += (f"variable frame rate made constant, the mean of {stream.fps or 0:.3g} a second",)
        return Source(_stored(frames, stream.grey), stream.fps, notes)
    photo, opacity = media.read_photo(path, convert=False)
    if opacity is not None and opacity.min() < 255:
        message = f"{path.name}: has transparent pixels, which {SUFFIX} does not keep; flatten it first"
        raise WouldLose(message, "transparency laid on white")
    _refuse_losses(path, photo.losses)
    return Source(_stored(photo.frames, photo.grey)[0], None, photo.notes, photo.profile)


def _refuse_losses(path: Path, losses: Sequence[media.Loss]) -> None:
    """Refuse a file whose pixels as read are not all that it holds."""
    for loss in losses[:1]:
        message = f"{path.name}: would lose information ({loss.text}); {loss.remedy} first"
        raise WouldLose(message, loss.text)


def _stored(frames: np.ndarray, grey: bool) -> np.ndarray:
    """Frames with as many channels as their file has."""
    return frames[..., :1] if grey else frames


class Task(NamedTuple):
    """A file to read, and the name of what is made of it, without a suffix."""

    path: Path
    name: str


def media_tasks(paths: Sequence[Path]) -> list[Task]:
    """Tasks of files, and of the media directly in folders, each with a name of its own.

    Raises:
        ConfigError: no paths. InputError: a folder without media, or a path given twice.
    """
    files = []
    for path in paths:
        inside = media.list_media(path) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: holds no images, videos or arrays; put some directly in it")
        files += inside
    return _named(files, "give photos, videos, npz files, or folders of them")


def coded_tasks(paths: Sequence[Path]) -> list[Task]:
    """Tasks of .vflow files, and of those directly in folders.

    Raises:
        ConfigError: no paths. InputError: a folder without any, or a path given twice.
    """
    files = []
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}"), key=media.natural_key) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: holds no {SUFFIX} files; give a folder that 'vflow compress' wrote to")
        files += inside
    return _named(files, f"give {SUFFIX} files, or folders of them")


def _named(files: list[Path], remedy: str) -> list[Task]:
    if not files:
        raise ConfigError(f"no input: {remedy}")
    return [Task(path, name) for path, name in zip(files, name_items(files), strict=True)]


class Codecs:
    """Codecs loaded once each: a named checkpoint, or the shipped ones by what they are needed for.

    Raises:
        CheckpointError: the named one cannot be loaded, or is no codec.
    """

    def __init__(self, checkpoint: str | None = None) -> None:
        self._checkpoint = checkpoint
        self._loaded: dict[str, nn.Module] = {}
        if checkpoint:
            check_codec(self._load(checkpoint))

    def for_kind(self, kind: str) -> Any:
        """The codec that compresses a picture or a clip.

        Raises:
            CheckpointError: there is no such checkpoint, or it is no codec of this kind.
        """
        name = self._checkpoint or DEFAULTS[kind]
        model = self._load(name)
        wanted = CODEC_CONFIGS[kind]
        if not isinstance(model.config, wanted):
            raise CheckpointError(f"{name} does not compress a {kind}; choose one such as {DEFAULTS[kind]}")
        return model

    def for_data(self, data: bytes, source: str) -> Any:
        """The codec that a .vflow file's bytes were coded with.

        Raises:
            InputError: not a .vflow file. CheckpointError: the checkpoint is not among those at hand.
        """
        header, _ = unpack(data, source)
        names = [self._checkpoint] if self._checkpoint else self._shipped()
        for name in names:
            if made_with(self._load(name), header):
                return self._load(name)
        tried = ", ".join(names) or "none"
        unknown = (
            f"coded with checkpoint {header.checkpoint[:12]}…, which is not among those at hand ({tried}); "
            "give it by --checkpoint"
        )
        raise CheckpointError(f"{source}: {superseded_codec(header.checkpoint) or unknown}")

    def _load(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load(checkpoint_folder(name, allow_hub=True))
        return self._loaded[name]

    def _shipped(self) -> Iterable[str]:
        codecs = {config for some in CODEC_CONFIGS.values() for config in some}
        return [name for name, folder in find_checkpoints().items() if type(read_config(folder)) in codecs]


def _holds(data: bytes, source: Source) -> bool:
    """True if the bytes of a .vflow file are those of ``source``: its size, its clock, all of its pixels."""
    try:
        header, coded = unpack(data, "")
    except InputError:
        return False
    frames = source.frames[None] if source.kind == "picture" else source.frames
    shape = (header.frames, header.height, header.width, header.channels)
    if (header.kind, header.fps, header.profile) != (source.kind, source.fps, source.profile):
        return False
    return shape == frames.shape and all(
        checksum(pixels) == frame.checksum for pixels, frame in zip(frames, coded, strict=True)
    )


def compress_file(
    codecs: Codecs,
    task: Task,
    output: Path,
    progress: Progress,
    *,
    replace: bool = False,
    skip: bool = False,
) -> dict[str, Any] | None:
    """Write ``output``/NAME.vflow; returns its sizes, with those of the pixels and of the file given.

    Args:
        replace: a file of that name and other bytes is replaced, and not refused.
        skip: nothing is done, and None returned, where a file of that name holds the same pixels.

    Raises:
        InputError: the source cannot be read, the codec does not suit it, or the file cannot be written.
    """
    try:
        source, input_bytes = read_source(task.path), task.path.stat().st_size
    except OSError as error:  # such as a file that has gone since it was listed
        fault = f"cannot be read ({error.strerror}); check that it is still there"
        raise InputError(f"{task.path}: {fault}") from error
    path = output / f"{task.name}{SUFFIX}"
    if skip and path.is_file() and _holds(path.read_bytes(), source):
        return None
    try:
        model = codecs.for_kind(source.kind)
        coded: Compressed = compress_frames(
            model, source.frames, fps=source.fps, profile=source.profile, progress=progress
        )
    except (CheckpointError, ConfigError, InputError) as error:
        raise InputError(f"{task.path.name}: {error}") from error
    with media.atomic_write(path, replace=replace) as temporary:
        temporary.write_bytes(coded.data)
    return {
        "item": task.name,
        "file": str(path),
        "kind": source.kind,
        "bytes": len(coded.data),
        "raw_bytes": coded.values,
        "channels": source.frames.shape[-1],
        "input_bytes": input_bytes,
        "bits_per_dim": coded.bits_per_dim,
        "model_bits_per_dim": coded.information / coded.values,
        "notes": list(source.notes),
    }


def decompress_file(
    codecs: Codecs,
    task: Task,
    output: Path,
    progress: Progress,
    *,
    replace: bool = False,
    skip: bool = False,
) -> dict[str, Any] | None:
    """Write ``output``/NAME.png, or NAME.npz (``frames``, ``fps``) of a clip; returns what it wrote.

    Args:
        replace: a file of that name and other bytes is replaced, and not refused.
        skip: nothing is done, and None returned, where a file of that name holds the same pixels.

    Raises:
        InputError: not a whole .vflow file, or the output cannot be written. CheckpointError: no codec.
    """
    try:
        data = task.path.read_bytes()
    except OSError as error:
        raise InputError(f"{task.path}: cannot be read ({error.strerror}); give a {SUFFIX} file") from error
    name = task.path.name
    if skip and _is_decoded(data, name, output / task.name):
        return None
    found = decompress_frames(codecs.for_data(data, name), data, source=name, progress=progress)
    path = write_pixels(found, output, task.name, replace=replace)
    return {"item": task.name, "file": str(path), "kind": found.kind, "bytes": len(data)}


def _is_decoded(data: bytes, name: str, stem: Path) -> bool:
    """True if the png or npz beside ``stem`` holds the pixels of a .vflow file's bytes."""
    path = _pixels_path(unpack(data, name)[0].kind, stem.parent, stem.name)
    try:
        return path.is_file() and _holds(data, read_source(path))
    except InputError:
        return False


def _pixels_path(kind: str, folder: Path, name: str) -> Path:
    return folder / (f"{name}.png" if kind == "picture" else f"{name}.npz")


def write_pixels(found: Decompressed, folder: Path, name: str, *, replace: bool = False) -> Path:
    """Write ``folder``/NAME.png, or NAME.npz (``frames``, ``fps``) of a clip; returns its path.

    Raises:
        InputError: it cannot be written.
    """
    path = _pixels_path(found.kind, folder, name)
    with media.atomic_write(path, replace=replace) as draft:
        if found.kind == "picture":
            draft.write_bytes(media.encode_png(found.frames[0], found.profile))
        else:
            clock: dict[str, Any] = {} if found.fps is None else {"fps": np.float64(found.fps)}
            np.savez_compressed(draft, frames=found.frames, **clock)
    return path
