"""Photographs set in motion: clips of any kind, rendered as training goes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, final

import cv2
import numpy as np

from vflow.data import media
from vflow.data.datasets.cache import CACHE_BYTES
from vflow.data.datasets.folder import VideoFolder
from vflow.data.datasets.photos import PhotoSet
from vflow.data.datasets.splits import Split
from vflow.randomness import generator

CLIP_SHARE = 0.4  # of the examples, where the folder holds clips as well as photographs
SUPERSAMPLING = 2  # frames are drawn at so many times their size and averaged
KEPT_SIDE = 320  # pixels: shorter side of the photographs in memory
BLOCK = 8  # pixels: side of a codec's blocks
MAX_LAYERS, MAX_OBJECTS, MAX_LINKS = 2, 3, 3

Paths = np.ndarray
"""float (T, 4): x, y (in frame sides), log scale and angle (radians) at each moment."""


class Layer(NamedTuple):
    """A thing in front of the background."""

    texture: np.ndarray
    """float32 (h, w, 4): colours 0 … 255 and opacity 0 … 1."""
    path: Paths
    """Of its centre on the frame; scale 1 gives ``texture`` its own pixels."""


@final
class MovingPhotos(PhotoSet[np.ndarray]):
    """Clips rendered from photographs, and clips cut from films where the folder has some.

    A camera pans, zooms, turns, shakes, stops or stands still over a photograph; parts of other photographs
    move before it: some fixed to the scene at another depth (parallax), some on their own, which bounce,
    swing, turn, grow and pass behind one another, and jointed arms. Light changes, shutters blur, sensors
    add noise, codecs leave blocks or repeat them. Each clip is a function of (key, index).

    Args:
        path: folder (searched) or zip with photographs.
        frames: per example.
        size: (height, width).
        channels: 1 (grey) or 3.
        split: "train" and "validation" divide the photographs 95 : 5 by hash of their names.
        films: of the same frames and size, one folder a source; a part of the examples is cut from them, as
            many from each source.

    Raises:
        InputError: no photograph; the message says what to change.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        frames: int,
        size: tuple[int, int],
        channels: int,
        split: Split,
        films: Sequence[VideoFolder] = (),
    ) -> None:
        super().__init__(path, kept_side=KEPT_SIDE, split=split, cache_bytes=CACHE_BYTES // 2)
        self.frames, self.size, self.channels, self.films = frames, size, channels, films

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Example ``index`` as ``key`` says: uint8 (frames, height, width, channels).

        Raises:
            InputError: no photograph, or no film, can be used.
        """
        random = generator("film or photo", *key, index)
        if self.films and random.random() < CLIP_SHARE:
            source = self.films[int(random.integers(len(self.films)))]
            return source.example(int(random.integers(len(source))), (*key, index))
        return super().example(index, key)

    def _unfit(self, photo: np.ndarray) -> str:
        side = max(self.size)
        height, width = photo.shape[:2]
        return "" if min(height, width) >= side else f"smaller than {side} pixels ({width}×{height})"

    def _vary(self, photo: np.ndarray, random: np.random.Generator) -> np.ndarray:
        height, width = (SUPERSAMPLING * side for side in self.size)
        substeps = int(random.choice([1, 1, 3]))
        steps = substeps * self.frames
        camera = camera_path(steps, substeps, random)
        layers = [
            Layer(self._cutout(random, height), _at_depth(camera, random))
            for _ in range(random.integers(MAX_LAYERS + 1))
        ]
        for _ in range(random.integers(MAX_OBJECTS + 1)):
            layers += self._object(random, steps, substeps, height)
        background = photo[:, ::-1] if random.random() < 0.5 else photo
        scale = float(np.exp(random.uniform(np.log(0.4), 0)))  # share of the photograph that is seen
        shots = [_draw(background, camera[t], scale, layers, t, (height, width)) for t in range(steps)]
        frames = np.stack(shots).reshape(self.frames, substeps, height, width, 3).mean(1)
        small = np.stack([cv2.resize(f, self.size[::-1], interpolation=cv2.INTER_AREA) for f in frames])
        return media.resize(record(small, random), *self.size, self.channels)

    def _texture(self, random: np.random.Generator) -> np.ndarray:
        """Some other photograph, uint8 (H, W, 3); a plain colour where the one that was drawn is unusable."""
        photo = self._photo(self.names[int(random.integers(len(self.names)))])
        return np.full((8, 8, 3), random.integers(256, size=3), np.uint8) if photo is None else photo

    def _cutout(self, random: np.random.Generator, side: int) -> np.ndarray:
        """Part of a photograph in the form of a blob, ellipse, box or polygon; see ``Layer.texture``."""
        radius = side * float(np.exp(random.uniform(np.log(0.06), np.log(0.35))))
        aspect = float(np.exp(random.normal(0, 0.4)))
        height, width = (max(6, round(2 * radius * factor)) for factor in (aspect**0.5, aspect**-0.5))
        return np.dstack([_patch(self._texture(random), height, width, random), _mask(height, width, random)])

    def _object(self, random: np.random.Generator, steps: int, substeps: int, side: int) -> list[Layer]:
        if random.random() < 0.3:
            return self._arm(random, steps, substeps, side)
        return [Layer(self._cutout(random, side), object_path(steps, substeps, random))]

    def _arm(self, random: np.random.Generator, steps: int, substeps: int, side: int) -> list[Layer]:
        """Jointed links, from a foot at or beyond the border: an arm, a leg, a crane."""
        edge, along = random.uniform(-0.1, 0.1), random.random()
        foot = np.array(
            [(edge, along), (1 - edge, along), (along, edge), (along, 1 - edge)][random.integers(4)]
        )
        joint = np.tile(foot, (steps, 1)) + _smooth(steps, substeps, 0.01, random, 2)
        angle = np.arctan2(*(0.5 - foot)[::-1]) + random.normal(0, 0.5)
        texture, layers = self._texture(random), []
        for _ in range(random.integers(1, MAX_LINKS + 1)):
            length, breadth = random.uniform(0.2, 0.5), random.uniform(0.06, 0.2)
            angles = angle + _smooth(steps, substeps, 0.08, random, 1)[:, 0]
            tip = joint + length * np.stack([np.cos(angles), np.sin(angles)], 1)
            shape = max(4, round(side * breadth)), max(6, round(side * (length + breadth)))
            link = np.dstack([_patch(texture, *shape, random), _capsule(*shape)])
            centre = (joint + tip) / 2
            layers.append(Layer(link, np.column_stack([centre, np.zeros(steps), angles])))
            joint, angle = tip, angle + random.normal(0, 0.7)
        return layers


def open_moving_photos(root: Path, folder: partial[VideoFolder], split: Split) -> MovingPhotos | VideoFolder:
    """Photographs under ``root``/photos (or ``root``), and films under the folders of ``root``/clips, if any.

    Validation is on the films under ``root``/validation, where there are some.

    Args:
        folder: opens a folder of films, given its path and split.

    Raises:
        InputError: no photograph, or no film in a folder that is there.
    """
    if split != "train" and (root / "validation").is_dir():
        return folder(root / "validation", split="test")
    photos, clips = root / "photos", root / "clips"
    sources = sorted(source for source in clips.iterdir() if source.is_dir()) if clips.is_dir() else []
    height, width, channels = folder.keywords["size"]
    return MovingPhotos(
        photos if photos.is_dir() else root,
        frames=folder.keywords["frames"],
        size=(height, width),
        channels=channels,
        split=split,
        films=[folder(source, split=split) for source in sources],
    )


def camera_path(steps: int, substeps: int, random: np.random.Generator) -> Paths:
    """Path of a camera that starts at 0: at rest, drifting, in and out of motion, or held by hand."""
    kind = random.choice(["rest", "drift", "stops", "hand"], p=[0.35, 0.35, 0.15, 0.15])
    if kind == "rest":
        return np.zeros((steps, 4))
    speeds = np.array([0.03, 0.03, 0.012, 0.012]) * random.exponential(1)
    chosen = random.random(4) < (0.8, 0.6, 0.5, 0.4)
    velocity = random.normal(0, 1, 4) * speeds * chosen / substeps
    pace = np.ones(steps)
    if kind == "stops":
        at = np.sort(random.uniform(0, steps, 2))
        pace = np.clip((np.arange(steps) - at[0]) / (2 * substeps), 0, 1) * (np.arange(steps) < at[1])
    path = np.cumsum(velocity * pace[:, None], 0)
    if kind == "hand":
        path += _smooth(steps, substeps, 0.012, random, 4) * (1, 1, 0.3, 0.5)
    return path - path[0]


def object_path(steps: int, substeps: int, random: np.random.Generator) -> Paths:
    """Path of a thing that moves on its own: straight, falling, swinging, or in and out of rest."""
    time = np.arange(steps) / substeps
    start = random.uniform(0.1, 0.9, 2)
    speed = random.exponential(0.035) if random.random() < 0.85 else 0.0
    heading = random.uniform(0, 2 * np.pi)
    velocity = speed * np.array([np.cos(heading), np.sin(heading)])
    place = start + time[:, None] * velocity
    kind = random.choice(
        ["straight", "falls", "swings", "starts", "wanders"], p=[0.35, 0.15, 0.2, 0.15, 0.15]
    )
    if kind == "falls":
        place[:, 1] += 0.5 * random.uniform(0.003, 0.02) * time**2
    elif kind == "swings":
        reach = random.uniform(0.03, 0.3) * np.array([np.cos(heading), np.sin(heading)])
        phase = 2 * np.pi * (time / random.uniform(4, 24) + random.random())
        place = start + np.sin(phase)[:, None] * reach
    elif kind == "starts":
        place = start + np.clip(time - random.uniform(0, time[-1] + 1), 0, None)[:, None] * velocity
    elif kind == "wanders":
        place += _smooth(steps, substeps, 0.03, random, 2)
    if random.random() < 0.5:  # bounces off the border
        place = np.abs((place + 1) % 2 - 1) if random.random() < 0.5 else 1 - np.abs((place % 2) - 1)
    growth = random.normal(0, 0.02) if random.random() < 0.3 else 0.0
    turn = random.normal(0, 0.08) if random.random() < 0.5 else 0.0
    return np.column_stack([place, growth * time, random.uniform(-0.5, 0.5) + turn * time])


def record(frames: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Frames as a camera and a codec give them: light, sensor noise, blocks. float (T, H, W, 3) → uint8."""
    steps = len(frames)
    if random.random() < 0.35:
        gain = np.exp(_smooth(steps, 1, 0.03, random, 1) + random.normal(0, 0.15))
        frames = frames * gain[..., None, None]
    if random.random() < 0.06:
        frames = np.repeat(frames.mean(-1, keepdims=True), 3, -1)
    noise = random.exponential(1.5) if random.random() < 0.7 else 0.0
    frames = frames + noise * random.standard_normal(frames.shape, dtype=np.float32)
    taken = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    return _compress(taken, random) if random.random() < 0.5 else taken


def _compress(frames: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """JPEG's losses in each frame; blocks that hardly change are those of the frame before, as in films."""
    quality, still = int(random.integers(40, 96)), random.uniform(0, 3)
    made = [_through_jpeg(frames[0], quality)]
    for frame in frames[1:]:
        change = np.abs(frame.astype(np.float32) - made[-1]).mean(-1)
        coarse = cv2.resize(change, None, fx=1 / BLOCK, fy=1 / BLOCK, interpolation=cv2.INTER_AREA)
        blocks = cv2.resize(coarse, change.shape[::-1], interpolation=cv2.INTER_NEAREST)
        made.append(np.where((blocks < still)[..., None], made[-1], _through_jpeg(frame, quality)))
    return np.stack(made)


def _through_jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def _draw(
    photo: np.ndarray,
    camera: np.ndarray,
    scale: float,
    layers: list[Layer],
    step: int,
    size: tuple[int, int],
) -> np.ndarray:
    """One moment, float32 (height, width, 3)."""
    height, width = size
    zoom = min(photo.shape[0] / height, photo.shape[1] / width) * scale * np.exp(camera[2])
    matrix = _similarity(zoom, camera[3], photo.shape[1] / 2, photo.shape[0] / 2, width / 2, height / 2)
    matrix[:, 2] += camera[:2] * min(size) * zoom
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    frame = cv2.warpAffine(photo, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    frame = frame.astype(np.float32)
    for texture, path in layers:
        x, y, growth, angle = path[step]
        rows, columns = texture.shape[:2]
        onto = _similarity(np.exp(growth), angle, x * width, y * height, columns / 2, rows / 2)
        patch = cv2.warpAffine(texture, onto, (width, height), flags=cv2.INTER_LINEAR)
        opacity = patch[..., 3:]
        frame += opacity * (patch[..., :3] - frame)
    return frame


def _similarity(scale: float, angle: float, x: float, y: float, from_x: float, from_y: float) -> np.ndarray:
    """Matrix (2, 3) that turns and scales about (from_x, from_y) and takes that point to (x, y)."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([turn, np.array([x, y]) - turn @ np.array([from_x, from_y])])


def _at_depth(camera: Paths, random: np.random.Generator) -> Paths:
    """Path on the frame of a thing that is fixed in the scene, nearer than the background."""
    nearness = random.uniform(1.2, 3)
    place = random.uniform(0.05, 0.95, 2) - nearness * camera[:, :2]
    return np.column_stack([place, -camera[:, 2], -camera[:, 3] + random.uniform(-0.5, 0.5)])


def _smooth(steps: int, substeps: int, spread: float, random: np.random.Generator, width: int) -> np.ndarray:
    """Smooth random walks (steps, width) from 0; ``spread`` is a typical step in one frame."""
    knots = random.normal(0, spread, (steps // (2 * substeps) + 3, width)).cumsum(0)
    at = np.linspace(0, len(knots) - 1.01, steps)
    low, part = at.astype(int), (at % 1)[:, None]
    part = part * part * (3 - 2 * part)
    walk = knots[low] * (1 - part) + knots[low + 1] * part
    return np.asarray((walk - walk[0]) * random.exponential(1))


def _patch(photo: np.ndarray, height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """A part of ``photo``, float32 (height, width, 3), enlarged where it is smaller."""
    rows, columns = photo.shape[:2]
    part = random.uniform(0.3, 1) * min(rows / height, columns / width)
    high, wide = max(1, int(part * height)), max(1, int(part * width))
    top, left = random.integers(rows - high + 1), random.integers(columns - wide + 1)
    cut = photo[top : top + high, left : left + wide]
    return cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _mask(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Opacity, float32 (height, width), of a blob, polygon or box, its edges one pixel soft."""
    kind = random.choice(["blob", "polygon", "box"], p=[0.6, 0.25, 0.15])
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = np.ones(64)
    if kind == "blob":
        for wave in range(1, 6):
            radius += random.normal(0, 0.25 / wave) * np.cos(wave * turn + random.uniform(0, 2 * np.pi))
        radius = np.clip(radius, 0.2, None) / radius.max()
    elif kind == "polygon":
        turn = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 8))))
        radius = random.uniform(0.5, 1, len(turn))
    else:
        turn, radius = np.array([0.25, 0.75, 1.25, 1.75]) * np.pi, np.full(4, 2**0.5)
    corners = np.stack([np.cos(turn), np.sin(turn)], 1) * radius[:, None]
    points = (corners + 1) / 2 * (width - 3, height - 3) + 1
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def _capsule(height: int, width: int) -> np.ndarray:
    """Opacity, float32 (height, width), of a bar with round ends."""
    canvas = np.zeros((height, width), np.uint8)
    radius = max(1, height // 2 - 1)
    ends = (radius + 1, height // 2), (width - radius - 2, height // 2)
    cv2.line(canvas, *ends, 255, 2 * radius, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255
