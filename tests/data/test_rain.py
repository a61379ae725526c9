"""Reading rain radar."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vflow.data.media import Limits, read_members, write_png
from vflow.data.rain import (
    DRY_COLOR,
    RATE_COLORS,
    UNKNOWN_COLOR,
    PixelScale,
    RainSequence,
    color_rain,
    least_level,
    read_geotiff,
    read_npz,
    read_rain,
    read_with_pysteps,
    to_levels,
    to_rate,
)
from vflow.errors import ConfigError, InputError


def test_levels_and_rates_are_inverse_and_follow_the_scale() -> None:
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_levels(to_rate(levels)), levels)
    assert to_rate(np.uint8(255)) == pytest.approx(100, rel=1e-5)
    assert to_rate(np.uint8(least_level(1.0))) >= 1.0 > to_rate(np.uint8(least_level(1.0) - 1))
    assert [least_level(rate) for rate in (0.0, 1000.0)] == [0, 256]
    assert to_levels(np.array([np.nan, -1.0, 1e6])).tolist() == [0, 0, 255]


@pytest.mark.parametrize("trailing", [(), (1,)])
def test_frames_may_have_a_channel(tmp_path: Path, trailing: tuple[int, ...]) -> None:
    frames = np.full((3, 4, 5, *trailing), 7, np.uint8)
    np.savez(tmp_path / "a.npz", frames=frames)
    found = read_npz(tmp_path / "a.npz")
    assert found.frames.shape == (3, 4, 5) and found.valid.all()


def test_unknown_pixels_are_masked(tmp_path: Path) -> None:
    valid = np.ones((4, 5), bool)
    valid[0] = False
    np.savez(tmp_path / "a.npz", frames=np.full((3, 4, 5), 7, np.uint8), valid=valid)
    found = read_npz(tmp_path / "a.npz")
    assert not found.frames[:, 0].any() and (found.frames[:, 1:] == 7).all()


def test_unusable_files_are_one_line_that_names_them(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"^a\.npz: "):
        read_npz(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(InputError, match=r"a\.npz: no array 'frames'"):
        read_npz(path)
    np.savez(path, frames=np.zeros((3, 4, 5)))
    with pytest.raises(InputError, match=r"a\.npz: .*float64"):
        read_npz(path)
    np.savez(path, frames=np.zeros((3, 4, 5), np.uint8), valid=np.ones((2, 2), bool))
    with pytest.raises(InputError, match="do not fit"):
        read_npz(path)


def test_a_sequence_needs_frames_and_valid_of_one_size() -> None:
    with pytest.raises(InputError, match=r"frames have shape \(3, 4\); use \(T, H, W\)"):
        RainSequence.of(np.zeros((3, 4), np.uint8), None)
    with pytest.raises(InputError, match="do not fit"):
        RainSequence(np.zeros((3, 4, 5), np.uint8), np.ones((5, 4), bool))


@pytest.mark.parametrize("stored", [lambda text: text, lambda text: text.astype("datetime64[ns]")])
def test_times_of_frames_are_read_and_must_be_equal_apart(tmp_path: Path, stored: object) -> None:
    path, frames = tmp_path / "a.npz", np.zeros((5, 4, 6), np.uint8)
    times = [
        f"2017-01-31T09:{minute:02d}:{second:02d}" for minute, second in ((0, 0), (10, 9), (20, 0), (30, 0))
    ]

    def save(*more: str) -> None:
        time = np.array([*times, *more])
        np.savez(path, frames=frames[: len(time)], time=stored(time))  # type: ignore[operator]

    save("2017-01-31T09:40:00")
    assert read_npz(path).minutes == pytest.approx(10, abs=0.2)
    read_npz(path).check_minutes(10.0, "a")
    with pytest.raises(InputError, match=r"^a: frames 10 minutes apart; this model knows steps of 5: "):
        read_npz(path).check_minutes(5.0, "a")
    save("2017-01-31T09:50:00")
    with pytest.raises(
        InputError, match=r"^a\.npz: .*frames 4 and 5 are 20 minutes apart, others 10.1; where"
    ):
        read_npz(path)
    save("2017-01-31T09:30:00")
    with pytest.raises(InputError, match="frames 4 and 5 are 0 minutes apart"):
        read_npz(path)


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (np.arange(3), r"time is int64 \(3,\); use datetime64 or ISO 8601, \(3,\), or leave it out"),
        (np.array(["2017-01-31"]), r"time is <U10 \(1,\); use"),
        (np.array(["noon", "1 pm", "2 pm"]), "time is not ISO 8601"),
        (np.array(["2017-01-31", "2017-02-01", "NaT"], "M8[s]"), "time of frame 3 is NaT; state it, or"),
    ],
)
def test_times_that_are_none_are_refused(tmp_path: Path, time: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "a.npz", frames=np.zeros((3, 4, 6), np.uint8), time=time)
    with pytest.raises(InputError, match=rf"^a\.npz: rain: {message}"):
        read_npz(tmp_path / "a.npz")


def test_times_as_python_objects_are_refused_by_name(tmp_path: Path) -> None:
    time = np.array([datetime(2017, 1, 31)] * 3, object)
    np.savez(tmp_path / "a.npz", frames=np.zeros((3, 4, 6), np.uint8), time=time)
    with pytest.raises(InputError, match=r"^a\.npz: time: holds Python objects"):
        read_npz(tmp_path / "a.npz")


def test_one_number_in_place_of_frames_with_times_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=np.uint8(3), time=np.array(["2017-01-31"]))
    with pytest.raises(InputError, match=r"^a\.npz: rain: frames have shape \(\); use \(T, H, W\)$"):
        read_npz(tmp_path / "a.npz")


def test_frames_without_times_suit_any_model() -> None:
    frames = np.zeros((1, 4, 6), np.uint8)
    RainSequence.of(frames, None).check_minutes(5.0, "a")


def test_a_missing_scan_is_named() -> None:
    rates = np.ones((3, 4, 6))
    rates[1] = np.nan
    with pytest.raises(InputError, match="nothing is known in frame 2 of 3; where a scan is missing"):
        RainSequence.of_rates(rates)


def test_coverage_is_boolean_and_somewhere() -> None:
    frames = np.ones((3, 4, 6), np.uint8)
    assert RainSequence.of(frames, np.full((4, 6), 255, np.uint8)).valid.all()
    with pytest.raises(InputError, match="valid is float64; use bool"):
        RainSequence.of(frames, np.full((4, 6), np.nan))
    with pytest.raises(InputError, match="valid is False everywhere"):
        RainSequence.of(frames, np.zeros((4, 6), bool))


def test_scales_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="unit 'dbz'; use mm/h, dBZ, log"):
        PixelScale("dbz", gain=0.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="log takes neither gain nor offset"):
        PixelScale(gain=0.5, offset=-32)


def pictures(folder: Path, color: bool = False) -> Path:
    for number in (2, 10):
        frame = np.full((4, 6, 3), number, np.uint8)
        frame[0, 0] = 255
        if color:
            frame[1, 1, 0] = 9
        write_png(folder / f"f{number}.png", frame)
    return folder


def test_pictures_are_rain_by_their_scale_in_natural_order(tmp_path: Path) -> None:
    scale = PixelScale("mm/h", gain=0.5, offset=-1.0, unknown=255, dry=2)
    found = read_rain(pictures(tmp_path), scale)
    assert found.frames.shape == (2, 4, 6) and not found.valid[0, 0] and found.valid[1:].all()
    np.testing.assert_array_equal(found.frames[:, 2, 2], [0, to_levels(np.array(4.0))])


def test_a_missing_picture_is_named_with_its_folder(tmp_path: Path) -> None:
    write_png(pictures(tmp_path) / "f3.png", np.full((4, 6, 3), 255, np.uint8))
    with pytest.raises(InputError, match=rf"^{tmp_path}: rain: nothing is known in frame 2 of 3"):
        read_rain(tmp_path, PixelScale("mm/h", unknown=255))


def test_pictures_without_a_scale_or_in_colour_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="what their grey levels mean; give an npz"):
        read_rain(pictures(tmp_path))
    with pytest.raises(InputError, match=r"f2\.png: an image in colour"):
        read_rain(pictures(tmp_path, color=True), PixelScale())
    with pytest.raises(InputError, match="no such file"):
        read_rain(tmp_path / "none")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (
            np.full((4, 6), 500, np.uint16),
            "16-bit samples scaled to 8 bits would change its numbers; give 8-bit",
        ),
        (np.full((4, 6, 2), 10, np.uint8), "transparency laid on white would change its numbers; give 8-bit"),
    ],
)
def test_pictures_whose_numbers_would_change_are_refused(
    tmp_path: Path, stored: np.ndarray, message: str
) -> None:
    Image.fromarray(stored).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=rf"a\.png: {message}"):
        read_rain(tmp_path, PixelScale("mm/h", gain=0.01))


def test_reflectivity_follows_marshall_and_palmer() -> None:
    rate = PixelScale("dBZ", gain=0.5).rate(np.array([46, 80]))
    np.testing.assert_allclose(rate, [1.0, 11.53], rtol=0.01)


def test_unknown_importers_are_named() -> None:
    pytest.importorskip("pysteps")
    with pytest.raises(ConfigError, match="no importer nowhere"):
        read_with_pysteps(["a"], "nowhere")


def test_what_an_importer_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    io = pytest.importorskip("pysteps.io")
    from pysteps.exceptions import MissingOptionalDependency

    def importer(path: str, product: str) -> None:
        raise MissingOptionalDependency(f"pyproj package is required to import {product}")

    monkeypatch.setattr(io, "get_method", lambda name, kind: importer)
    with pytest.raises(
        ConfigError, match="pysteps: pyproj package is required to import radar; install that"
    ):
        read_with_pysteps(["a"], "any", {"product": "radar"})
    with pytest.raises(ConfigError, match=r"importer any: .* missing .*'product'; give them as options"):
        read_with_pysteps(["a"], "any")


def test_no_files_are_refused() -> None:
    pytest.importorskip("pysteps")
    for read in (lambda: read_geotiff([], PixelScale()), lambda: read_with_pysteps([], "fmi_pgm")):
        with pytest.raises(InputError, match="no files; give those of the radar frames"):
            read()


def test_geotiff_masks_are_unknown(tmp_path: Path) -> None:
    import rasterio

    values = np.array([[[0.0, 2.0], [-1.0, 8.0]]], np.float32)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=2, width=2, count=1, dtype="float32", nodata=-1
    ) as file:
        file.write(values)
    found = read_rain(tmp_path / "a.tif", PixelScale("mm/h"))
    np.testing.assert_array_equal(found.valid, [[True, True], [False, True]])
    np.testing.assert_allclose(to_rate(found.frames)[0, 1, 1], 8.0, rtol=0.02)


def test_colours_follow_rates_and_mark_the_unknown() -> None:
    levels = to_levels(np.array([[0.0, 0.05, 0.2, 60.0]]))
    colored = color_rain(levels, np.array([[True, True, True, False]]))
    assert colored.shape == (1, 4, 3)
    expected = [DRY_COLOR, DRY_COLOR, RATE_COLORS[0][1], UNKNOWN_COLOR]
    np.testing.assert_array_equal(colored[0], np.array(expected))


def test_archives_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", frames=np.zeros((3, 400, 500), np.uint8))
    with pytest.raises(InputError, match=r"^a\.npz: decodes to more than 0 MiB"):
        read_members(tmp_path / "a.npz", ("frames",), Limits(memory_bytes=1000))
