"""Bad input: each case with its exact message, one line that names the file and the remedy."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.sample_media import damage, moving_square, png_header, write_lossless, write_stills
from vflow.data import media
from vflow.data.media.limits import Limits
from vflow.errors import InputError

KINDS = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, HEIC, MP4, MOV, WebM, MKV, AVI, NPZ or NPY"


def refused(path: Path | list[Path], limits: media.Limits = media.DEFAULT_LIMITS) -> str:
    """The message with which reading ``path`` fails."""
    with pytest.raises(InputError) as error:
        media.read_frames(path if isinstance(path, list) else [path], limits)
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nothing_given() -> None:
    assert refused([]) == "no input: give a video, a folder of frames, an npz file, or images"


@pytest.mark.parametrize("name", ["notes.png", "notes.mp4", "notes.npz"])
def test_text_under_another_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Dear diary, this is not an image at all.\n")
    expected = f"{name}: not an image or video (its content does not match); give {KINDS}"
    assert refused(tmp_path / name) == expected


def test_text_that_begins_like_a_bitmap(tmp_path: Path) -> None:
    (tmp_path / "cars.bmp").write_text("BMW and other cars, a list of them all\n")
    assert "not an image or video" in refused(tmp_path / "cars.bmp")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert refused(tmp_path / "empty.png") == "empty.png: the file is empty; copy or upload it again"


def test_missing_path(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.mp4"
    assert refused(path) == f"{path}: no such file or folder; check the path"
    assert refused(Path("a" * 5000)).endswith(": no such file or folder; check the path")
    assert refused(Path("zero\0byte.png")).endswith(": no such file or folder; check the path")


def test_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    expected = "frames: the folder holds no images; put frames in it (PNG, JPEG, …)"
    assert refused(folder) == expected
    (folder / "notes.txt").write_text("no frames here")
    assert refused(folder) == expected


def test_folder_of_videos(tmp_path: Path) -> None:
    write_lossless(tmp_path / "a.mp4", moving_square(2))
    assert refused(tmp_path) == f"{tmp_path.name}: a folder of videos; give one of them, for example a.mp4"


def test_folder_where_a_file_is_expected(tmp_path: Path) -> None:
    folder = write_stills(tmp_path / "stills", moving_square(2))
    with pytest.raises(InputError) as error:
        media.read_image(folder)
    assert str(error.value) == "stills: a folder where one file is expected; give the file itself"
    with pytest.raises(InputError) as error:
        media.list_media(folder / "frame0.png")
    assert str(error.value) == "frame0.png: a file where a folder is expected; give the folder that holds it"


def test_device_file() -> None:
    assert refused(Path("/dev/zero")) == f"zero: not a regular file; give {KINDS}"


def test_video_where_a_picture_is_expected(tmp_path: Path) -> None:
    path = write_lossless(tmp_path / "clip.mp4", moving_square(2))
    with pytest.raises(InputError) as error:
        media.read_image(path)
    what = "a video, but an image is expected; give PNG, JPEG, WebP, TIFF or BMP"
    assert str(error.value) == f"clip.mp4: {what}"


def test_video_among_pictures(tmp_path: Path) -> None:
    folder = write_stills(tmp_path / "stills", moving_square(2))
    video = write_lossless(tmp_path / "clip.mp4", moving_square(2))
    expected = "clip.mp4: not an image; give one video or array alone, or images only"
    assert refused([folder / "frame0.png", video]) == expected


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_truncated_video(tmp_path: Path, suffix: str) -> None:
    path = write_lossless(tmp_path / f"clip{suffix}", moving_square(20))
    data = path.read_bytes()
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        expected = f"clip{suffix}: the file is truncated (ends early); copy or upload it again"
        assert refused(path) == expected


def test_truncated_faststart_video(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    media.write_video(path, moving_square(20), 10)
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(path) == "clip.mp4: the file is truncated (ends early); copy or upload it again"


def test_unfinished_recording(tmp_path: Path) -> None:
    body = struct.pack(">I", 16) + b"ftypisom\0\0\0\0" + struct.pack(">I", 1000) + b"mdat" + bytes(992)
    (tmp_path / "clip.mp4").write_bytes(body)
    expected = "clip.mp4: has no index (the recording was not finished); export it again"
    assert refused(tmp_path / "clip.mp4") == expected


def test_video_with_damaged_data(tmp_path: Path) -> None:
    message = refused(damage(write_lossless(tmp_path / "clip.mp4", moving_square(20))))
    assert message.startswith("clip.mp4: damaged video (")
    assert message.endswith("); export or upload it again")


def test_sound_without_pictures(tmp_path: Path) -> None:
    import av

    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    expected = "song.mp4: damaged video (it has no readable video track); export or upload it again"
    assert refused(path) == expected


def test_enormous_png_is_refused_from_its_header(tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(png_header(20_000, 20_000))
    start = time.perf_counter()
    expected = "big.png: 400 megapixels; the limit is 64; reduce the image and try again"
    assert refused(tmp_path / "big.png") == expected
    for side, megapixels in ((10_000, 100), (8_100, 66)):  # beyond Pillow's warning; beyond our limit alone
        (tmp_path / "big.png").write_bytes(png_header(side, side))
        expected = f"big.png: {megapixels} megapixels; the limit is 64; reduce the image and try again"
        assert refused(tmp_path / "big.png") == expected
    assert time.perf_counter() - start < 1


def test_picture_cut_short(tmp_path: Path) -> None:
    kinds = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF"}
    for suffix, kind in kinds.items():
        path = tmp_path / f"photo{suffix}"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:600])
        expected = f"photo{suffix}: damaged or cut short {kind}; save or upload it again"
        assert refused(path) == expected


@pytest.mark.parametrize(("suffix", "kind"), [(".gif", "GIF"), (".webp", "WEBP"), (".png", "PNG")])
def test_animation_cut_short(tmp_path: Path, suffix: str, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), np.uint8)
    pictures = [Image.fromarray(f) for f in noise]
    path = tmp_path / f"moving{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    data = path.read_bytes()
    for share in (0.3, 0.6, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        expected = f"moving{suffix}: damaged or cut short {kind}; save or upload it again"
        assert refused(path) == expected


@pytest.mark.parametrize(("suffix", "kind"), [(".heic", "HEIF"), (".avif", "AVIF")])
def test_phone_pictures_cut_short(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"IMG_1{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    data = path.read_bytes()
    for share in (0.05, 0.3, 0.6, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        assert refused(path) == f"{path.name}: damaged or cut short {kind}; save or upload it again"


def test_phone_pictures_have_the_same_limits(tmp_path: Path) -> None:
    for suffix in (".heic", ".avif"):
        path = tmp_path / f"IMG_1{suffix}"
        Image.new("RGB", (400, 300)).save(path)
        with pytest.raises(InputError, match="megapixels; the limit is 0"):
            media.read_image(path, Limits(pixels=100_000))
        with pytest.raises(InputError, match="400×300; the limit is 399 pixels a side"):
            media.read_image(path, Limits(side=399))


def test_playlists_never_reach_ffmpeg(tmp_path: Path) -> None:
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    assert "not an image or video" in refused(tmp_path / "list.mp4")
    (tmp_path / "list.avi").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    assert "not an image or video" in refused(tmp_path / "list.avi")


TOO_MANY = "more than 3,000 frames, the limit; trim it"


def test_ten_thousand_frames_of_video(tmp_path: Path) -> None:
    frames = np.zeros((10_000, 16, 16, 3), np.uint8)
    path = write_lossless(tmp_path / "long.mp4", frames, fps=100)
    assert refused(path) == f"long.mp4: {TOO_MANY}"
    np.savez_compressed(tmp_path / "long.npz", frames=frames)
    assert refused(tmp_path / "long.npz") == f"long.npz: {TOO_MANY}"


def test_ten_thousand_pictures(tmp_path: Path) -> None:
    assert refused([tmp_path / f"{i}.png" for i in range(10_000)]) == f"10000 images: {TOO_MANY}"


def test_frames_are_counted_where_the_header_does_not_tell(tmp_path: Path) -> None:
    limits = media.Limits(frames=5)
    pictures = [Image.fromarray(f) for f in moving_square(6)]
    pictures[0].save(tmp_path / "six.gif", save_all=True, append_images=pictures[1:], duration=100)
    expected = "more than 5 frames, the limit; trim it"
    assert refused(tmp_path / "six.gif", limits) == f"six.gif: {expected}"
    assert refused(write_lossless(tmp_path / "six.mkv", moving_square(6)), limits) == f"six.mkv: {expected}"


def test_too_long(tmp_path: Path) -> None:
    path = write_lossless(tmp_path / "slow.mkv", moving_square(6), fps=1)
    expected = "slow.mkv: longer than 4 seconds, the limit; trim it"
    assert refused(path, media.Limits(seconds=4)) == expected
    pictures = [Image.fromarray(f) for f in moving_square(6)]
    pictures[0].save(tmp_path / "slow.gif", save_all=True, append_images=pictures[1:], duration=1000)
    assert refused(tmp_path / "slow.gif", media.Limits(seconds=4)) == expected.replace("mkv", "gif")


def test_a_frame_held_for_hours_does_not_fill_the_memory(tmp_path: Path) -> None:
    pictures = [Image.fromarray(f) for f in moving_square(6)]
    durations = [20, 20, 20, 250_000, 20, 20]
    pictures[0].save(tmp_path / "held.gif", save_all=True, append_images=pictures[1:], duration=durations)
    assert refused(tmp_path / "held.gif") == f"held.gif: {TOO_MANY}"


def test_too_much_memory(tmp_path: Path) -> None:
    path = write_lossless(tmp_path / "wide.mkv", moving_square(20, 256, 256))
    expected = "wide.mkv: decodes to more than 1 MiB, the limit; trim or shrink it"
    assert refused(path, media.Limits(memory_bytes=2**20)) == expected


def test_file_too_large(tmp_path: Path) -> None:
    path = tmp_path / "heavy.png"
    Image.new("RGB", (8, 8)).save(path)
    with path.open("r+b") as file:
        file.truncate(600 * 2**20)  # sparse
    assert refused(path) == "heavy.png: 600 MiB; the limit is 512 MiB; trim or compress it"


SHAPES = "give T×H×W×3, T×H×W×1 or T×H×W"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 4, 4, 3), np.nan), "96 of 96 values are NaN or infinite; give numbers in 0..1"),
        (np.full((2, 4, 4, 3), np.inf), "96 of 96 values are NaN or infinite; give numbers in 0..1"),
        (np.full((2, 4, 4, 3), 1.5), "floats from 1.5 to 1.5; give 0..1, or uint8 in 0..255"),
        (np.full((2, 4, 4, 3), 300), "whole numbers from 300 to 300; give 0..255"),
        (np.zeros((2, 4, 4, 3), "c8"), "values of type complex64; give uint8 in 0..255 or floats in 0..1"),
        (np.zeros((2, 4, 4, 4), np.uint8), f"an array of shape 2×4×4×4 is not frames; {SHAPES}"),
        (np.zeros((5, 2, 4, 4, 3), np.uint8), f"an array of shape 5×2×4×4×3 is not frames; {SHAPES}"),
        (np.zeros((4, 4), np.uint8), f"an array of shape 4×4 is not frames; {SHAPES}"),
        (np.zeros((0, 4, 4, 3), np.uint8), f"an array of shape 0×4×4×3 is not frames; {SHAPES}"),
    ],
)
def test_arrays(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "clip.npz", frames=array)
    assert refused(tmp_path / "clip.npz") == f"clip.npz: {message}"
    np.save(tmp_path / "clip.npy", array)
    assert refused(tmp_path / "clip.npy") == f"clip.npy: {message}"


def test_npz_without_frames(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3))
    assert refused(tmp_path / "a.npz") == "a.npz: holds x, y but no array 'frames'; rename one"
    np.savez(tmp_path / "a.npz", fps=3.0)
    expected = "a.npz: holds no array; write it with numpy.savez(file, frames=frames)"
    assert refused(tmp_path / "a.npz") == expected


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    evil = np.array([print], dtype=object)
    np.savez(tmp_path / "evil.npz", frames=evil)
    np.save(tmp_path / "evil.npy", evil)
    for name in ("evil.npz", "evil.npy"):
        assert refused(tmp_path / name) == f"{name}: holds Python objects; save a plain number array"


def test_array_that_announces_terabytes(tmp_path: Path) -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2000, 99999, 99999, 3), }".ljust(117) + "\n"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode())
    expected = "huge.npy: decodes to more than 1,024 MiB, the limit; trim or shrink it"
    assert refused(tmp_path / "huge.npy") == expected


def test_damaged_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=moving_square(3))
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: len(data) // 2])
    assert refused(tmp_path / "a.npz") == "a.npz: not a readable NPZ; write it with numpy.savez"
    np.save(tmp_path / "a.npy", moving_square(3))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:1000])
    assert refused(tmp_path / "a.npy") == "a.npy: not a readable NPY; write it with numpy.savez"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp", ".tif", ".bmp", ".mp4", ".mkv", ".npz"])
def test_random_damage_never_escapes_as_another_error(tmp_path: Path, suffix: str) -> None:
    frames = moving_square(4)
    path = tmp_path / f"file{suffix}"
    if suffix in (".mp4", ".mkv"):
        write_lossless(path, frames)
    elif suffix == ".npz":
        np.savez_compressed(path, frames=frames)
    else:
        Image.fromarray(frames[0]).save(path)
    data = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(40):
        broken = np.frombuffer(data, np.uint8).copy()
        places = random.integers(0, len(broken), size=random.integers(1, 12))
        broken[places] = random.integers(0, 256, size=len(places), dtype=np.uint8)
        path.write_bytes(broken.tobytes())
        try:
            clip = media.read_clip(path, media.Limits(pixels=10**6, frames=100, memory_bytes=2**24))
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert clip.frames.dtype == np.uint8 and clip.frames.shape[-1] == 3
