"""Rain radar sequences: rates in mm/h, their grey levels, and where the radars see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np

from vflow.config.models import RAIN_LOG_MAXIMUM
from vflow.data.media import list_media, natural_key, read_image, read_members
from vflow.errors import ConfigError, InputError


def to_levels(rate: np.ndarray) -> np.ndarray:
    """uint8 round(255 · ln(1 + R) / ln 101) of rates R in mm/h, cut at 100; NaN becomes 0."""
    clean = np.clip(np.nan_to_num(np.asarray(rate, dtype=np.float64)), 0, 100)
    levels: np.ndarray = np.rint(np.log1p(clean) * (255 / RAIN_LOG_MAXIMUM)).astype(np.uint8)
    return levels


def to_rate(levels: np.ndarray) -> np.ndarray:
    """mm/h, float32, of grey levels: the inverse of ``to_levels``."""
    table: np.ndarray = np.expm1(np.arange(256) * (RAIN_LOG_MAXIMUM / 255)).astype(np.float32)
    return table[levels]


def least_level(rate: float) -> int:
    """Least grey level of ``rate`` mm/h or more; 256 where none is."""
    return int(np.searchsorted(to_rate(np.arange(256, dtype=np.uint8)), rate))


RATE_COLORS: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (0.1, (190, 222, 246)),
    (0.5, (120, 182, 232)),
    (1.0, (54, 130, 205)),
    (2.0, (22, 92, 150)),
    (5.0, (250, 214, 62)),
    (10.0, (245, 150, 32)),
    (20.0, (224, 60, 42)),
    (50.0, (150, 30, 130)),
)
"""Rates in mm/h from which a colour holds, and the colour (R, G, B)."""
DRY_COLOR, UNKNOWN_COLOR = (248, 248, 246), (196, 196, 192)


def color_rain(levels: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """RGB uint8 (…, H, W, 3) of grey levels uint8 (…, H, W), grey where ``valid`` (H, W) is False."""
    table = np.tile(np.array(DRY_COLOR, np.uint8), (256, 1))
    rates = to_rate(np.arange(256, dtype=np.uint8))
    for least, color in RATE_COLORS:
        table[rates >= least] = color
    colored: np.ndarray = table[levels]
    if valid is not None:
        colored[..., ~valid, :] = UNKNOWN_COLOR
    return colored


Unit = Literal["mm/h", "dBZ", "log"]
JITTER = 0.5  # minutes by which steps of time may differ


@dataclass(frozen=True)
class PixelScale:
    """Rain of the numbers in a picture: gain · number + offset, in ``unit``.

    Attributes:
        unit: ``mm/h``; ``dBZ``, turned into mm/h by Z = a · R^b (by default Marshall & Palmer 1948); or
            ``log``, grey levels round(255 · ln(1 + R) / ln 101), which take neither gain nor offset.
        unknown: the number of pixels that no radar sees; None: there are none.
        dry: numbers up to this one are dry; None: what the formula says.

    Raises:
        ConfigError: another unit, or a gain or offset of ``log``.
    """

    unit: Unit = "log"
    gain: float = 1.0
    offset: float = 0.0
    unknown: float | None = None
    dry: float | None = None
    a: float = 200.0
    b: float = 1.6

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise ConfigError(f"PixelScale: unit {self.unit!r}; use {', '.join(get_args(Unit))}")
        if self.unit == "log" and (self.gain, self.offset) != (1.0, 0.0):
            raise ConfigError(
                "PixelScale: unit log takes neither gain nor offset; state mm/h or dBZ with them"
            )

    def rate(self, numbers: np.ndarray) -> np.ndarray:
        """mm/h, float32, NaN where unknown."""
        value = numbers.astype(np.float64)
        if self.unit == "log":
            rate = np.expm1(value * (RAIN_LOG_MAXIMUM / 255))
        else:
            rate = self.gain * value + self.offset
            if self.unit == "dBZ":
                rate = (10 ** (rate / 10) / self.a) ** (1 / self.b)
        if self.dry is not None:
            rate[value <= self.dry] = 0
        if self.unknown is not None:
            rate[value == self.unknown] = np.nan
        return rate.astype(np.float32)


@dataclass(frozen=True)
class RainSequence:
    """Radar frames at equal times apart.

    frames: uint8 (T, H, W), grey levels of ``to_levels``; 0 where nothing is known.
    valid: bool (H, W): where the radars see. minutes: between frames; None: not stated.
    """

    frames: np.ndarray
    valid: np.ndarray
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.frames.ndim != 3 or self.frames.shape[1:] != self.valid.shape:
            raise InputError(
                f"rain: frames {self.frames.shape} and valid {self.valid.shape} do not fit; "
                "use (T, H, W) and (H, W)"
            )

    @classmethod
    def of_rates(cls, rates: np.ndarray) -> Self:
        """From mm/h (T, H, W), NaN where unknown; what is unknown once counts as unknown throughout.

        Raises:
            InputError: a frame of which nothing is known: it would make all pixels unknown.
        """
        known = np.isfinite(rates)
        missing = np.flatnonzero(~known.any((1, 2)))
        if missing.size:
            raise InputError(
                f"rain: nothing is known in frame {missing[0] + 1} of {len(rates)}; where a scan is missing, "
                "give the frames before or after it, or fill it in"
            )
        return cls.of(to_levels(rates), known.all(0))

    @classmethod
    def of(cls, frames: np.ndarray, valid: np.ndarray | None) -> Self:
        """From uint8 frames (T, H, W) or (T, H, W, 1) and a boolean (H, W); None: all is seen.

        Raises:
            InputError: other types or shapes, or no pixel that is seen.
        """
        if frames.dtype != np.uint8:
            raise InputError(
                f"rain: frames are {frames.dtype}; use uint8 grey levels, round(255 ln(1+R)/ln 101): "
                "vflow.data.rain.to_levels makes them of mm/h"
            )
        if frames.ndim == 4 and frames.shape[-1] == 1:
            frames = frames[..., 0]
        if frames.ndim != 3:
            raise InputError(f"rain: frames have shape {frames.shape}; use (T, H, W)")
        seen = np.ones(frames.shape[1:], bool) if valid is None else np.asarray(valid)
        if seen.dtype.kind not in "bui":
            raise InputError(f"rain: valid is {seen.dtype}; use bool (H, W), True where the radars see")
        seen = seen.astype(bool)
        if frames.shape[1:] != seen.shape:
            return cls(frames, seen)  # refused, with both shapes
        if not seen.any():
            raise InputError("rain: valid is False everywhere; use True where the radars see")
        return cls(frames * seen, seen)

    def check_minutes(self, minutes: float, source: str) -> None:
        """Refuse frames that are known to be other than ``minutes`` apart.

        Raises:
            InputError: naming ``source``.
        """
        if self.minutes is not None and abs(self.minutes - minutes) > JITTER:
            raise InputError(
                f"{source}: frames {self.minutes:.3g} minutes apart; this model knows steps of {minutes:g}: "
                f"give such frames, or train on these with --set model.minutes={self.minutes:.3g}"
            )


def _minutes_apart(time: np.ndarray, count: int) -> float | None:
    """Minutes between ``count`` frames at ``time``, datetime64 or ISO 8601 (T,); None of fewer than two."""
    if time.dtype.kind not in "MU" or time.shape != (count,):
        raise InputError(
            f"rain: time is {time.dtype} {time.shape}; use datetime64 or ISO 8601, ({count},), or leave it "
            "out"
        )
    try:
        stamps = time.astype("datetime64[s]")
    except ValueError as error:
        raise InputError(f"rain: time is not ISO 8601 ({error}); write 2017-01-31T09:45:00") from error
    unknown = np.flatnonzero(np.isnat(stamps))
    if unknown.size:
        raise InputError(f"rain: time of frame {unknown[0] + 1} is NaT; state it, or leave time out")
    if count < 2:
        return None
    seconds: np.ndarray = stamps.astype(np.int64)
    steps = np.diff(seconds) / 60
    usual = float(np.median(steps))
    odd = np.flatnonzero((np.abs(steps - usual) > JITTER) | (steps <= 0))
    if odd.size:
        first = odd[0] + 1
        raise InputError(
            f"rain: frames {first} and {first + 1} are {steps[odd[0]]:.3g} minutes apart, others "
            f"{usual:.3g}; where a scan is missing, give the frames before or after it, or fill it in"
        )
    return usual


def read_npz(path: str | Path) -> RainSequence:
    """The arrays ``frames`` and, where present, ``valid`` and ``time`` of an npz file.

    Of what ``vflow predict`` wrote ``context`` is taken, which gives the same members again.

    Raises:
        InputError: not such a file, frames at unequal times apart, or absurdly large.
    """
    path = Path(path)
    arrays = read_members(path, ("frames", "valid", "time"))
    if "frames" not in arrays:
        raise InputError(f"{path.name}: no array 'frames'; save uint8 (T, H, W) under that name")
    try:
        sequence = RainSequence.of(arrays["frames"], arrays.get("valid"))
        if "time" not in arrays:
            return sequence
        return replace(sequence, minutes=_minutes_apart(arrays["time"], len(sequence.frames)))
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error


def read_pictures(path: str | Path, scale: PixelScale) -> RainSequence:
    """A GIF, or a folder of grey pictures in natural order of their names, by the stated ``scale``.

    Raises:
        InputError: pictures in colour, of more than 8 bits, with transparent pixels or a colour profile, of
            different sizes, or unreadable.
    """
    path = Path(path)
    files = list_media(path) if path.is_dir() else [path]
    frames: list[np.ndarray] = []
    for file in files:
        picture = read_image(file)
        for loss in picture.losses[:1]:
            raise InputError(
                f"{file}: {loss.text} would change its numbers; give 8-bit grey levels without transparency "
                "whose scale is stated, a GeoTIFF, or an npz with frames and valid"
            )
        found = picture.frames
        if (found != found[..., :1]).any():
            raise InputError(f"{file}: an image in colour; rain needs grey levels whose scale is stated")
        frames += list(found[..., 0])
    return _sequence(path, [scale.rate(frame) for frame in frames])


def read_geotiff(paths: Sequence[str | Path], scale: PixelScale) -> RainSequence:
    """GeoTIFF files in that order, all bands of each, by the stated ``scale``; needs rasterio.

    What the files mask (nodata) is unknown.

    Raises:
        ConfigError: rasterio is not installed. InputError: no or unreadable files, or different sizes.
    """
    try:
        import rasterio
    except ImportError as error:
        raise ConfigError("GeoTIFF needs rasterio; install vflow-torch's extra 'rain'") from error
    _check_given(paths)
    rates: list[np.ndarray] = []
    for path in paths:
        try:
            with rasterio.open(path) as file:
                bands = file.read(masked=True)
        except rasterio.errors.RasterioIOError as error:
            raise InputError(f"{path}: not a readable GeoTIFF ({error}); export it again") from error
        rates += list(np.where(np.ma.getmaskarray(bands), np.nan, scale.rate(np.ma.getdata(bands))))
    return _sequence(_common(paths), rates)


def read_with_pysteps(
    paths: Sequence[str | Path], importer: str, options: Mapping[str, Any] | None = None
) -> RainSequence:
    """Files in that order by one of pysteps' importers (``fmi_pgm``, ``knmi_hdf5``, ``mch_gif``, …).

    Args:
        options: what that importer takes beside the file name.

    Raises:
        ConfigError: pysteps or what the importer needs is not installed, no such importer, or other options.
            InputError: no or unreadable files.
    """
    try:
        from pysteps import io
        from pysteps.exceptions import MissingOptionalDependency
        from pysteps.utils import conversion
    except ImportError as error:
        raise ConfigError("pysteps is not installed; run pip install 'vflow-torch[rain]'") from error
    _check_given(paths)
    try:
        read = io.get_method(importer, "importer")
    except ValueError as error:
        raise ConfigError(
            f"pysteps has no importer {importer}; see pysteps.io.interface.discover_importers"
        ) from error
    rates: list[np.ndarray] = []
    for path in paths:
        try:
            field, _, metadata = read(str(path), **(options or {}))
        except MissingOptionalDependency as error:
            raise ConfigError(f"pysteps: {error}; install that package") from error
        except TypeError as error:  # an importer's own arguments
            raise ConfigError(f"importer {importer}: {error}; give them as options") from error
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: importer {importer} cannot read it ({error})") from error
        rates.append(conversion.to_rainrate(field, metadata)[0])
    return _sequence(_common(paths), rates)


def read_rain(path: str | Path, scale: PixelScale | None = None) -> RainSequence:
    """An npz file, a GIF, a GeoTIFF, or a folder of GeoTIFFs or grey pictures.

    Args:
        scale: of everything but npz files, whose grey levels have the scale of ``to_levels``.

    Raises:
        InputError: nothing there, no scale where one is needed, or as the readers above.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give radar frames as npz, GIF, PNG or GeoTIFF")
    if path.suffix.lower() == ".npz":
        return read_npz(path)
    if scale is None:
        raise InputError(
            f"{path}: images do not say what their grey levels mean; give an npz as docs/RAIN.md has it "
            "(vflow.data.rain.read_rain takes the scale of images)"
        )
    files = sorted(path.iterdir(), key=lambda file: natural_key(file.name)) if path.is_dir() else [path]
    tiffs = [file for file in files if file.suffix.lower() in (".tif", ".tiff")]
    return read_geotiff(tiffs, scale) if tiffs else read_pictures(path, scale)


def _check_given(paths: Sequence[str | Path]) -> None:
    """InputError if there are no ``paths``."""
    if not len(paths):
        raise InputError("rain: no files; give those of the radar frames, in order")


def _common(paths: Sequence[str | Path]) -> Path:
    """The only path, or the folder of the first."""
    return Path(paths[0]) if len(paths) == 1 else Path(paths[0]).parent


def _sequence(path: Path, rates: Sequence[np.ndarray]) -> RainSequence:
    """Frames in mm/h, NaN where unknown; InputError if there are none, one is missing, or sizes differ."""
    if len({frame.shape for frame in rates}) != 1:
        sizes = ", ".join(sorted({"×".join(map(str, frame.shape)) for frame in rates})) or "none"
        raise InputError(f"{path}: radar frames need one size, found {sizes}")
    try:
        return RainSequence.of_rates(np.stack(rates))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
