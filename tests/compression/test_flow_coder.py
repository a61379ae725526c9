from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch

from tests.compression.support import clip_codec, noise, smooth, video_flow
from vflow.compression import container, flow_coder
from vflow.compression.codec import compress_frames, decompress_frames
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.models import LatticeVideoFlow
from vflow.pipelines.video.score import score

pytest.importorskip("constriction")
pytestmark = pytest.mark.usefixtures("always_coded")


def clip(frames: int = 4, height: int = 8, width: int = 8) -> np.ndarray:
    return np.stack([smooth(height, width, seed) for seed in range(frames)])


@pytest.mark.parametrize("size", [(8, 8), (16, 8)])
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_clips_come_back(frames: int, size: tuple[int, int]) -> None:
    model, pixels = video_flow(), clip(frames, *size)
    found = decompress_frames(model, compress_frames(model, pixels, fps=10).data)
    assert (found.kind, found.fps) == ("clip", 10)
    assert np.array_equal(found.frames, pixels)


@pytest.mark.parametrize("wavelets", [False, True])
def test_any_pixels_come_back(wavelets: bool) -> None:
    model, pixels = (
        video_flow(wavelets=wavelets),
        np.concatenate([clip(2), noise(8, 8)[None], np.full((1, 8, 8, 3), 255, np.uint8)]),
    )
    assert np.array_equal(decompress_frames(model, compress_frames(model, pixels).data).frames, pixels)


@pytest.mark.parametrize("wavelets", [False, True])
def test_bytes_and_bits_are_the_same_whatever_torchs_default_type(
    wavelets: bool, float64_by_default: Callable[[], AbstractContextManager[None]]
) -> None:
    model, pixels = video_flow(wavelets=wavelets), clip(4)
    data, bits = compress_frames(model, pixels).data, score(model, pixels)
    with float64_by_default():
        assert compress_frames(model, pixels).data == data
        assert score(model, pixels) == bits


@pytest.mark.parametrize("wavelets", [False, True])
def test_bytes_are_the_exact_likelihood_and_little_more(wavelets: bool) -> None:
    model, pixels = video_flow(wavelets=wavelets), clip(6)
    given, whole = (compress_frames(model, pixels[:count]) for count in (2, 6))
    bits = score(model, pixels, context=2).bits_per_dim * pixels[2:].size
    used, information = whole.after(2)
    assert used == 8 * (len(whole.data) - len(given.data))
    assert information == pytest.approx(whole.information - given.information, rel=1e-9)
    assert 0.97 * bits < information < bits + 1, "what is all but impossible costs less than it should"
    assert information < used < information + 4 * 8 * 20, (
        "of each frame: lengths, checksum and a word of the coder"
    )


def test_threads_change_nothing() -> None:
    model, before = video_flow(), torch.get_num_threads()
    one = compress_frames(model, clip()).data
    try:
        torch.set_num_threads(before + 2)
        assert compress_frames(model, clip()).data == one
        assert torch.get_num_threads() == before + 2
    finally:
        torch.set_num_threads(before)


def test_files_of_other_arithmetic_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = video_flow()
    data = compress_frames(model, clip()).data
    monkeypatch.setattr(flow_coder, "_arithmetic", lambda: "torch 9, ABACUS")
    with pytest.raises(
        InputError, match=r"a\.vflow: coded with the arithmetic of torch .* that of torch 9, ABACUS"
    ):
        decompress_frames(model, data, source="a.vflow")


def test_what_is_not_coded_is_refused() -> None:
    with pytest.raises(CheckpointError, match="grey frames does not compress"):
        compress_frames(video_flow(channels=1), clip())
    with pytest.raises(ConfigError, match="frames of 12×9, the checkpoint codes 8×8"):
        compress_frames(video_flow(), clip(3, 9, 12))


def resealed(data: bytearray) -> bytes:
    data[-4:] = struct.pack("<I", zlib.crc32(data[:-4]))
    return bytes(data)


def test_forged_frames_are_noticed() -> None:
    model = video_flow()
    data = compress_frames(model, clip()).data
    _, frames = container.unpack(data, "a")
    for index in (0, 3):
        forged = bytearray(data)
        forged[data.index(frames[index].data) + 20] ^= 1
        with pytest.raises(InputError, match=f"^a: frame {index + 1}"):
            decompress_frames(model, resealed(forged), source="a")


def test_frames_that_claim_to_be_coded_alone_are_refused() -> None:
    model = video_flow()
    header, frames = container.unpack(compress_frames(model, clip()).data, "a")
    forged = container.pack(header, [*frames[:-1], frames[-1]._replace(alone=True)])
    with pytest.raises(InputError, match=r"^a: frame 4: coded without the frames before"):
        decompress_frames(model, forged, source="a")


def test_a_description_that_is_no_text_is_refused() -> None:
    data = bytearray(compress_frames(video_flow(), clip()).data)
    data[data.index(b"torch")] = 255
    with pytest.raises(InputError, match="header makes no sense"):
        container.unpack(resealed(data), "a")


def test_exact_codecs_write_no_description() -> None:
    header, frames = container.unpack(compress_frames(clip_codec(), clip()).data, "a")
    assert (header.arithmetic, len(frames)) == ("", 4)


def test_frames_depend_on_the_window_alone() -> None:
    """Frame 3 is coded given 1 and 2."""
    model: LatticeVideoFlow = video_flow()
    for changed, same in ((0, True), (1, False), (2, False)):
        other = clip()
        other[changed] = noise(8, 8)
        last = [container.unpack(compress_frames(model, c).data, "a")[1][3] for c in (clip(), other)]
        assert (last[0] == last[1]) is same
