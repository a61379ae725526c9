"""What lossless codecs and lossy files spend on frames."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.data.sample_media import moving_square, write_lossless, write_stills
from vflow.data import lossless, media
from vflow.data.lossless import CODECS, bits_after, coded_bits, stored_bits
from vflow.errors import InputError


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_costs_eight_bits_and_a_flat_clip_hardly_any(codec: str, channels: int) -> None:
    shape = (6, 64, 64, channels)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert 7.9 < coded_bits(noise, codec) / noise.size < 10
    assert 7.9 < bits_after(noise, 2, codec) < 10
    flat = np.full(shape, 127, np.uint8)
    assert 0 < bits_after(flat, 1, codec) < 0.3


def test_given_frames_are_left_out() -> None:
    clip = np.concatenate([np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)] * 6)
    assert coded_bits(clip, "x264") / clip.size > 1
    assert bits_after(clip, 1, "x264") < 0.05  # what is repeated costs nothing more
    assert bits_after(clip, 1, "ffv1") > 7  # each frame of FFV1 stands alone


def test_only_lossy_videos_tell_their_size(tmp_path: Path) -> None:
    frames = moving_square(6, 32, 48)
    media.write_video(tmp_path / "lossy.mp4", frames, 10, enlarge=False)
    expected = 8 * (tmp_path / "lossy.mp4").stat().st_size / frames.size
    assert stored_bits(tmp_path / "lossy.mp4") == pytest.approx(expected)
    media.write_npz(tmp_path / "array.npz", frames=frames)
    for path in (
        write_lossless(tmp_path / "a.mp4", frames),
        write_lossless(tmp_path / "a.mkv", frames),
        write_stills(tmp_path / "stills", frames),
        tmp_path / "array.npz",
    ):
        assert stored_bits(path) is None


def test_long_recordings_are_counted_to_the_end(tmp_path: Path) -> None:
    """What training reads, evaluation reads: more frames than the app takes."""
    path, frames = tmp_path / "recorded.mkv", 3100
    with av.open(str(path), "w", container_options={"live": "1"}) as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.height = stream.width = 16
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for _ in range(frames):
            picture.pts = None
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert stored_bits(path) == pytest.approx(8 * path.stat().st_size / (frames * 16 * 16 * 3))


def test_a_codec_that_pyav_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lossless._CODECS, "x264", (("absent", "rgb24"), ("absent", "gray"), {}))
    with pytest.raises(InputError, match="x264: this PyAV has no absent; pip install av"):
        coded_bits(moving_square(2), "x264")
