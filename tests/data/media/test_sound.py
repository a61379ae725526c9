"""Sound of a film, copied beside other pictures."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vflow.data import media

RATE = 16_000


def _film(path: Path, codec: str | None) -> Path:
    """Half a second of grey at 10 frames per second, and a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        tone = container.add_stream(codec, rate=RATE, layout="mono") if codec else None
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if tone:
            wave = (8000 * np.sin(np.arange(RATE // 2) * 0.2)).astype(np.int16)[None]
            sound = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            sound.sample_rate = RATE
            container.mux(tone.encode(sound))
            container.mux(tone.encode(None))
    return path


def _tracks(path: Path) -> tuple[int, list[str]]:
    """Frames, and codecs of sound."""
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(container.streams.video[0]))
    with av.open(str(path)) as container:
        return frames, [s.codec_context.name for s in container.streams.audio]


def test_sound_is_copied_and_pictures_stay(tmp_path: Path) -> None:
    source = _film(tmp_path / "film.mp4", "aac")
    frames = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)
    media.write_video(tmp_path / "s000.mp4", frames, 10)
    before = media.read_clip(tmp_path / "s000.mp4").frames
    assert media.copy_sound(source, tmp_path / "s000.mp4") == ""
    assert _tracks(tmp_path / "s000.mp4") == (5, ["aac"])
    assert np.array_equal(media.read_clip(tmp_path / "s000.mp4").frames, before)
    assert len(list(tmp_path.iterdir())) == 2


def _gap(path: Path) -> float:
    """Seconds from the first sound to the first picture."""
    with av.open(str(path)) as film:
        (picture,), (sound,) = film.streams.video, film.streams.audio
        return float(picture.start_time * picture.time_base - sound.start_time * sound.time_base)


@pytest.mark.parametrize(("pictures", "sound"), [(0.3, 0), (0, 0.3), (5, 5)])
def test_what_begins_later_still_does(tmp_path: Path, pictures: float, sound: float) -> None:
    begin = {"video": pictures, "audio": sound}
    with (
        av.open(str(_film(tmp_path / "film.mp4", "aac"))) as film,
        av.open(str(tmp_path / "v.mkv"), "w") as out,
    ):
        tracks = {stream.index: out.add_stream_from_template(stream) for stream in film.streams}
        for packet in film.demux():
            if packet.dts is not None and packet.pts is not None:
                later = round(begin[packet.stream.type] / packet.time_base)
                packet.pts, packet.dts = packet.pts + later, packet.dts + later
                packet.stream = tracks[packet.stream_index]
                out.mux(packet)
    target = _film(tmp_path / "s000.mp4", None)
    assert media.copy_sound(tmp_path / "v.mkv", target) == ""
    assert _gap(target) == pytest.approx(_gap(tmp_path / "v.mkv"), abs=0.002)
    with av.open(str(target)) as film:
        assert film.duration < 1e6, "begins at once"
    assert _tracks(target) == (5, ["aac"])


def test_films_without_sound_stay_as_they_are(tmp_path: Path) -> None:
    source = _film(tmp_path / "film.mp4", None)
    target = _film(tmp_path / "s000.mp4", None)
    content = target.read_bytes()
    assert media.copy_sound(source, target) == ""
    assert target.read_bytes() == content


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animated_pictures_have_no_sound(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert media.copy_sound(tmp_path / name, _film(tmp_path / "s000.mp4", None)) == ""


@pytest.mark.parametrize("codec", ["pcm_s16le"])
def test_sound_that_the_container_does_not_carry_is_left_out(tmp_path: Path, codec: str) -> None:
    source, target = _film(tmp_path / "film.mkv", codec), _film(tmp_path / "s000.mp4", None)
    content = target.read_bytes()
    assert "sound is left out" in media.copy_sound(source, target)
    assert target.read_bytes() == content
