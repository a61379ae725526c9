"""Lossless compression of photos and clips with a codec's likelihood, and of files and folders of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import nn

from vflow.catalog import superseded_codec
from vflow.checkpoint import checkpoint_folder, find_checkpoints, load, read_config
from vflow.compression.codec import (
    Decompressed,
    Progress,
    check_codec,
    compress_frames,
    decompress_frames,
    made_with,
)
from vflow.compression.container import checksum, unpack
from vflow.config import ClipCodecConfig, Config, LatticeVideoFlowConfig, PhotoCodecConfig
from vflow.config.settings import Settings
from vflow.data import media
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.pipelines.batch.inputs import Item, name_items
from vflow.pipelines.common import as_array
from vflow.pipelines.runner import ShouldStop, Step, Task, never

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
        fault = f"has transparent pixels, which {media.CODED_SUFFIX} does not keep; flatten it first"
        raise WouldLose(f"{path.name}: {fault}", "transparency laid on white")
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


def media_items(paths: Sequence[Path]) -> list[Item]:
    """Items of files, and of the media directly in folders, each with a name of its own.

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


def coded_items(paths: Sequence[Path]) -> list[Item]:
    """Items of .vflow files, and of those directly in folders.

    Raises:
        ConfigError: no paths. InputError: a folder without any, or a path given twice.
    """
    files = []
    for path in paths:
        inside = media.list_media(path, [media.CODED_SUFFIX]) if path.is_dir() else [path]
        if not inside:
            fault = f"holds no {media.CODED_SUFFIX} files; give a folder that 'vflow compress' wrote to"
            raise InputError(f"{path}: {fault}")
        files += inside
    return _named(files, f"give {media.CODED_SUFFIX} files, or folders of them")


def _named(files: list[Path], remedy: str) -> list[Item]:
    if not files:
        raise ConfigError(f"no input: {remedy}")
    return [Item(name, (path,)) for path, name in zip(files, name_items(files), strict=True)]


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
        return _of_kind(self._load(name), kind, name)

    def for_data(self, data: bytes, source: str) -> Any:
        """The codec that a .vflow file's bytes were coded with; raises as ``name_for``."""
        return self._load(self.name_for(data, source))

    def name_for(self, data: bytes, source: str) -> str:
        """Name of that codec.

        Raises:
            InputError: not a .vflow file. CheckpointError: the checkpoint is not among those at hand.
        """
        header, _ = unpack(data, source)
        names = [self._checkpoint] if self._checkpoint else self._shipped()
        for name in names:
            if made_with(self._load(name), header):
                return name
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


def _of_kind(model: Any, kind: str, name: str) -> Any:
    """``model``, called ``name``, if it compresses a picture or a clip; raises as ``Codecs.for_kind``."""
    if not isinstance(model.config, CODEC_CONFIGS[kind]):
        raise CheckpointError(f"{name} does not compress a {kind}; choose one such as {DEFAULTS[kind]}")
    return model


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


@dataclass
class Coding:
    """A file at work.

    Attributes:
        path: of the file. name: of what is made of it, without folder and suffix.
        size: bytes of the file. data: they themselves, of one that is decompressed.
        source: pixels of one that is compressed.
        facts: what manifests tell about it once it is done.
    """

    path: Path
    name: str
    size: int
    data: bytes = b""
    source: Any = None
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Item, *, coded: bool) -> Self:
        """The file of an item, which is ``coded`` or holds pixels.

        Raises:
            InputError: it cannot be read.
        """
        path, name = item.paths[0], PurePosixPath(item.name).name
        try:
            if coded:
                return cls(path, name, len(data := path.read_bytes()), data)
            source = read_source(path)
            return cls(path, name, path.stat().st_size, source=source)
        except OSError as error:  # such as a file that has gone since it was listed
            remedy = f"give a {media.CODED_SUFFIX} file" if coded else "check that it is still there"
            raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error

    def encoded(self, codec: Callable[[str], Any], progress: Progress = lambda done, total: None) -> bytes:
        """Bytes of a .vflow file; ``codec`` gives that of a picture or a clip.

        Raises:
            InputError: the codec does not suit it.
        """
        source = self.source
        try:
            coded = compress_frames(
                codec(source.kind), source.frames, fps=source.fps, profile=source.profile, progress=progress
            )
        except (CheckpointError, ConfigError, InputError) as error:
            raise InputError(f"{self.path.name}: {error}") from error
        self.facts |= {
            "kind": source.kind,
            "bytes": len(coded.data),
            "raw_bytes": coded.values,
            "channels": source.frames.shape[-1],
            "input_bytes": self.size,
            "bits_per_dim": coded.bits_per_dim,
            "model_bits_per_dim": coded.information / coded.values,
        }
        return coded.data

    def decoded(
        self, codec: Callable[[bytes, str], Any], progress: Progress = lambda done, total: None
    ) -> Decompressed:
        """Pixels of a .vflow file; ``codec`` gives that of its bytes, which errors name.

        Raises:
            InputError: not a whole .vflow file. CheckpointError: coded with another codec.
        """
        name = self.path.name
        found = decompress_frames(codec(self.data, name), self.data, source=name, progress=progress)
        self.facts |= {"kind": found.kind, "bytes": self.size}
        return found


def compress_file(
    codecs: Codecs,
    item: Item,
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
    given = Coding.of(item, coded=False)
    path = output / f"{item.name}{media.CODED_SUFFIX}"
    if skip and path.is_file() and _holds(path.read_bytes(), given.source):
        return None
    data = given.encoded(codecs.for_kind, progress)
    with media.atomic_write(path, replace=replace) as temporary:
        temporary.write_bytes(data)
    return {"item": item.name, "file": str(path), **given.facts, "notes": list(given.source.notes)}


def decompress_file(
    codecs: Codecs,
    item: Item,
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
    given = Coding.of(item, coded=True)
    if skip and _is_decoded(given.data, given.path.name, output / item.name):
        return None
    path = write_pixels(given.decoded(codecs.for_data, progress), output, item.name, replace=replace)
    return {"item": item.name, "file": str(path), **given.facts}


class CompressFile(Task[Settings, Coding, Step]):
    """A lossless file of a photo or a clip: NAME.vflow."""

    unit = "file"

    def read(self, model: nn.Module, item: Item, settings: Settings) -> Coding:
        return Coding.of(item, coded=False)

    def iterate(
        self, model: nn.Module, given: Coding, settings: Settings, should_stop: ShouldStop = never
    ) -> Iterator[Step]:
        """Its bytes, all at once."""
        check_codec(model)
        yield Step(given.encoded(partial(_of_kind, model, name="the checkpoint")))

    def write(self, folder: Path, given: Coding, results: Iterable[Step], settings: Settings) -> None:
        for step in results:
            (folder / f"{given.name}{media.CODED_SUFFIX}").write_bytes(step.value)

    def facts(self, given: Coding) -> dict[str, Any]:
        return given.facts

    def notes(self, given: Coding) -> Sequence[str]:
        return () if given.source is None else tuple(given.source.notes)


class DecompressFile(CompressFile):
    """The pixels of such a file: NAME.png, or NAME.npz of a clip."""

    def read(self, model: nn.Module, item: Item, settings: Settings) -> Coding:
        return Coding.of(item, coded=True)

    def iterate(
        self, model: nn.Module, given: Coding, settings: Settings, should_stop: ShouldStop = never
    ) -> Iterator[Step]:
        """Its pixels, all at once."""
        check_codec(model)
        try:
            yield Step(given.decoded(lambda data, source: model))
        except CheckpointError as error:
            raise InputError(str(error)) from error

    def write(self, folder: Path, given: Coding, results: Iterable[Step], settings: Settings) -> None:
        for step in results:
            write_pixels(step.value, folder, given.name)


COMPRESS, DECOMPRESS = CompressFile(), DecompressFile()


def codec_of(item: Item, codecs: Codecs, *, coded: bool) -> str:
    """Name of the checkpoint that ships and codes an item's file, or coded it.

    Raises:
        InputError: it cannot be read. CheckpointError: none is at hand that coded it.
    """
    path = item.paths[0]
    if coded:
        with item.fetched():
            given = Coding.of(item, coded=True)
        return codecs.name_for(given.data, path.name)
    suffix = path.suffix.lower()
    if suffix in media.VIDEO_SUFFIXES + media.ARRAY_SUFFIXES:
        return DEFAULTS["clip"]
    with item.fetched():
        return DEFAULTS["clip" if media.probe(path).frames > 1 else "picture"]


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
