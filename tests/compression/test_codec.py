from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.compression.support import LATTICE, clip_codec, noise, photo_codec, smooth, video_flow
from tests.compression.test_color import jpeg
from vflow.compression import container, pyramid_coder
from vflow.compression.codec import compress_frames, decompress_frames
from vflow.compression.color import COLOR_MAPS
from vflow.config import ClipCodecConfig
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import ClipCodec, CodecBatch, PhotoCodec
from vflow.models.codec import Codec

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("always_coded")


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (4, 4), (5, 5), (21, 14)])
def test_pictures_of_any_size_come_back(size: tuple[int, int]) -> None:
    model = photo_codec()
    for pixels in (jpeg(smooth(*size)), noise(*size)):
        found = decompress_frames(model, compress_frames(model, pixels).data)
        assert found.kind == "picture"
        assert np.array_equal(found.frames, pixels[None])


def test_photos_that_were_never_jpeg_files_are_coded_as_they_are() -> None:
    both, rounding = photo_codec(direct=True), photo_codec()
    rounding.load_state_dict(both.state_dict(), strict=False)
    for pixels, color_map in ((jpeg(smooth(21, 14)), "jfif"), (noise(21, 14), "rgb")):
        data = compress_frames(both, pixels).data
        assert COLOR_MAPS[data[6]] == color_map
        assert np.array_equal(decompress_frames(both, data).frames, pixels[None])
        assert (len(compress_frames(rounding, pixels).data) == len(data)) == (color_map == "jfif")
    grey = noise(21, 14)[..., :1].repeat(3, -1)
    assert np.array_equal(decompress_frames(both, compress_frames(both, grey).data).frames, grey[None])


@pytest.mark.parametrize("make", [photo_codec, clip_codec, video_flow])
def test_bytes_and_pixels_are_the_same_under_autocast(make: Callable[[], Codec]) -> None:
    model, pixels = make(), smooth(8, 8)
    given = pixels if isinstance(model, PhotoCodec) else np.stack([pixels] * 3 + [255 - pixels])
    data = compress_frames(model, given).data
    with torch.autocast("cpu", torch.bfloat16):
        assert compress_frames(model, given).data == data
        found = decompress_frames(model, data).frames
    assert np.array_equal(found.reshape(given.shape), given)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make", [photo_codec, clip_codec])
def test_grey_costs_one_channel(
    make: Callable[[], Codec], channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of before, which coded all three, are still read."""
    model, grey = make(), smooth(21, 14)[..., :1].repeat(channels, -1)
    pixels = grey if isinstance(model, PhotoCodec) else np.stack([grey, grey // 2])
    coded = compress_frames(model, pixels)
    with monkeypatch.context() as patch:
        patch.setattr(pyramid_coder, "is_grey", lambda pictures: False)
        before = compress_frames(model, pixels)
    assert (coded.values, coded.data[4], before.data[4]) == (pixels.size, 3, 2 if channels == 1 else 1)
    assert coded.information < before.information
    for data in (coded.data, before.data):
        assert np.array_equal(decompress_frames(model, data).frames.reshape(pixels.shape), pixels)


def test_a_clip_of_some_grey_frames_is_coded_in_color() -> None:
    grey = smooth(9, 12)[..., :1].repeat(3, -1)
    for clip in (np.stack([grey, smooth(9, 12)]), np.stack([smooth(9, 12), grey])):
        data = compress_frames(clip_codec(), clip).data
        assert data[4] == 1 and np.array_equal(decompress_frames(clip_codec(), data).frames, clip)


@pytest.mark.parametrize("motion", [0, 5])
@pytest.mark.parametrize("frames", [1, 3])
def test_clips_come_back_with_their_clock(frames: int, motion: int) -> None:
    model = clip_codec(max_displacement=motion)
    clip = np.stack([smooth(9, 12, seed) for seed in range(frames)])
    found = decompress_frames(model, compress_frames(model, clip, fps=12.5).data)
    assert (found.kind, found.fps) == ("clip", 12.5)
    assert np.array_equal(found.frames, clip)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (5, 5), (21, 14)])
def test_clips_of_any_size_come_back(size: tuple[int, int]) -> None:
    model = clip_codec(max_displacement=8)
    clip = np.stack([noise(*size), smooth(*size), smooth(*size)[::-1]])
    assert np.array_equal(decompress_frames(model, compress_frames(model, clip).data).frames, clip)


def test_what_moves_costs_less_when_followed() -> None:
    """Noise that moves as a whole can be told from the frame before only by a model that follows it."""
    picture = noise(40, 40)
    clip = np.stack([picture[t : t + 32, 6 - 2 * t : 38 - 2 * t] for t in range(4)])
    still, moving = (compress_frames(clip_codec(max_displacement=motion), clip).after(1) for motion in (0, 4))
    assert moving.information < 0.9 * still.information


def test_a_cut_costs_no_more_than_a_new_picture() -> None:
    """A frame that those before do not help with is coded as a first one, and the next given it alone."""
    following = LATTICE.model_copy(update={"references": 2, "max_displacement": 2})
    torch.manual_seed(0)
    model = ClipCodec(ClipCodecConfig(first=LATTICE, following=following)).eval()
    scenes = smooth(24, 24), smooth(24, 24, 5)[:, ::-1]
    clip = np.stack([scenes[0], scenes[0], scenes[1], scenes[1]])
    coded = compress_frames(model, clip)
    _, frames = container.unpack(coded.data, "a")
    assert coded.data[4] == 5 and [frame.alone for frame in frames] == [False, False, True, False]
    assert np.array_equal(decompress_frames(model, coded.data).frames, clip)
    single, first = compress_frames(model, scenes[1][None]), coded.frames[2]
    assert first == single.frames[0]._replace(bits=single.frames[0].bits + 8)
    told = list[tuple[int, int]]()
    compress_frames(model, clip, progress=lambda *at: told.append(at))
    assert told == sorted(told) and told[-1] == (clip.size, clip.size)


def test_progress_moves_within_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid_coder, "STRIP", 30)
    for model, pixels in ((photo_codec(), smooth(23, 16)), (clip_codec(), smooth(23, 16)[None].repeat(2, 0))):
        coding, decoding = list[tuple[int, int]](), list[tuple[int, int]]()
        data = compress_frames(model, pixels, progress=lambda *at, told=coding: told.append(at)).data
        decompress_frames(model, data, progress=lambda *at, told=decoding: told.append(at))
        for told in (coding, decoding):
            assert told == sorted(told) and told[-1] == (pixels.size, pixels.size)
            assert len({done for done, _ in told}) > 10


def test_bytes_are_the_likelihood_and_little_more() -> None:
    model, pixels = photo_codec(), jpeg(smooth(64, 64))
    coded = compress_frames(model, pixels)
    planes = torch.from_numpy(pyramid_coder.convert(model, pixels).planes).permute(2, 0, 1)[None]
    with torch.no_grad():
        bits = -float(model(CodecBatch(planes, planes[:0, None]))) / np.log(2)
    assert coded.information == pytest.approx(bits, rel=0.01)
    assert coded.information / 8 < len(coded.data) < 1.005 * coded.information / 8 + 80


@pytest.mark.parametrize(("height", "width"), [(23, 16), (9, 5), (3, 2)])
def test_bits_of_pixels_add_up_to_those_of_the_picture(height: int, width: int) -> None:
    color = smooth(height, width, 3)
    for pixels in (color, color[..., :1].repeat(3, -1)):
        coder = pyramid_coder.PyramidCoder(photo_codec(direct=True))
        coder.begin(pixels[None])
        _, information = coder.encode(pixels, lambda values: None)
        assert coder.costs is not None and coder.costs.shape == (height, width) and coder.costs.min() > 0
        assert coder.costs.sum() == pytest.approx(information, rel=1e-5)


def test_noise_costs_more_bits_where_it_is() -> None:
    pixels = np.full((64, 64, 3), 90, np.uint8)
    pixels[40:, 24:] = np.random.default_rng(0).integers(0, 256, (24, 40, 3))
    costs = compress_frames(photo_codec(direct=True), pixels).costs
    assert costs is not None and costs[40:, 24:].mean() > 1.5 * costs[:40].mean()
    assert compress_frames(clip_codec(), pixels[None]).costs is None


def test_strips_read_the_same_pixels_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pixels = photo_codec(), smooth(23, 16)
    whole = compress_frames(model, pixels)
    monkeypatch.setattr(pyramid_coder, "STRIP", 30)
    strips = compress_frames(model, pixels)
    assert np.array_equal(decompress_frames(model, strips.data).frames[0], pixels)
    assert strips.information == pytest.approx(whole.information, rel=1e-9)


def test_past_frames_shape_the_prediction() -> None:
    """Frame 3 is coded given 1 and 2, and not given 0."""
    model = clip_codec()
    clip = np.stack([smooth(8, 8, seed) for seed in range(4)])
    for changed, same in ((0, True), (1, False), (2, False)):
        other = clip.copy()
        other[changed] = noise(8, 8)
        last = [container.unpack(compress_frames(model, c).data, "a")[1][3] for c in (clip, other)]
        assert (last[0] == last[1]) is same


def test_a_checkpoint_that_differs_is_refused() -> None:
    model = photo_codec()
    data = compress_frames(model, smooth(8, 8)).data
    with torch.no_grad():
        next(model.parameters())[0] += 0.5
    with pytest.raises(CheckpointError, match="hill: coded with checkpoint"):
        decompress_frames(model, data, source="hill")


@pytest.mark.parametrize("place", (70, 200))
def test_forged_pixels_are_noticed(place: int) -> None:
    model = photo_codec()
    forged = bytearray(compress_frames(model, jpeg(smooth(32, 32))).data)
    forged[place] ^= 1
    forged[-4:] = struct.pack("<I", zlib.crc32(forged[:-4]))
    with pytest.raises(InputError, match=r"^hill: frame 1"):
        decompress_frames(model, bytes(forged), source="hill")


def test_what_cannot_be_coded_is_refused() -> None:
    with pytest.raises(InputError, match="give uint8"):
        compress_frames(photo_codec(), smooth(8, 8).astype(np.float32))
    with pytest.raises(InputError, match="give uint8"):
        compress_frames(photo_codec(), smooth(8, 8)[:0])
    many = np.broadcast_to(smooth(8, 8), (2**23, 8, 8, 3))
    with pytest.raises(
        InputError, match=r"^array: 8388608 frames of 8×8 are more than vflow decodes at once"
    ):
        compress_frames(clip_codec(), many)
    for fps in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ConfigError, match="fps must be a number from 0 on"):
            compress_frames(clip_codec(), smooth(8, 8)[None], fps=fps)
    with pytest.raises(CheckpointError, match="load the model with device='cpu'"):
        compress_frames(photo_codec().to("meta"), smooth(8, 8))
    with pytest.raises(CheckpointError, match=r"^Linear is not a model"):
        compress_frames(torch.nn.Linear(1, 1), smooth(8, 8))  # type: ignore[arg-type]
    model = photo_codec()
    with torch.no_grad():
        next(model.parameters()).mul_(1e9)
        dict(model.named_parameters())["lattice.levels.0.0.enter.bias"].fill_(1e6)
    with pytest.raises(CheckpointError, match="too large for exact sums"):
        compress_frames(model, smooth(8, 8))


CODE = """
import sys
import numpy as np
import torch
from safetensors.torch import load_file
from tests.compression.support import LATTICE, clip_codec, photo_codec
from vflow.compression import codec
from vflow.compression.codec import compress_frames, decompress_frames
from vflow.compression.color import COLOR_MAPS
codec._shorter = lambda frame, raw: frame
torch.set_num_threads(int(sys.argv[1]))
for name, model in (("photo", photo_codec()), ("clip", clip_codec(max_displacement=4))):
    model.load_state_dict(load_file(f"{name}.safetensors"))  # torch's noise depends on the instruction set
    stored, pixels = open(f"{name}.vflow", "rb").read(), np.load(f"{name}.npy")
    assert compress_frames(model, pixels).data == stored, "other bytes"
    assert (decompress_frames(model, stored).frames.reshape(pixels.shape) == pixels).all()
print(torch.backends.cpu.get_cpu_capability())
"""


@pytest.mark.parametrize(
    ("threads", "environment"),
    [
        (1, {}),
        (3, {}),
        (1, {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
        (2, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ],
)
def test_files_open_on_other_machines(threads: int, environment: dict[str, str], tmp_path: Path) -> None:
    """Threads and instruction sets change neither what is written nor what is read."""
    picture = jpeg(smooth(40, 50))
    small = picture[:20, :24]
    clip = np.stack([small, np.roll(small, (3, -2), (0, 1)), smooth(20, 24, 1)])
    models = {"photo": (photo_codec(), picture), "clip": (clip_codec(max_displacement=4), clip)}
    for name, (model, pixels) in models.items():
        save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
        np.save(tmp_path / f"{name}.npy", pixels)
        (tmp_path / f"{name}.vflow").write_bytes(compress_frames(model, pixels).data)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(threads)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = environment.get("ATEN_CPU_CAPABILITY")
    assert wanted is None or done.stdout.strip().lower() == wanted
