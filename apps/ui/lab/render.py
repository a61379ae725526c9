"""Pictures of densities, samples and bent grids on the plane, the torus and the sphere."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vflow.models import DensityModel
from vflow.pipelines.video.export import heat_ramp
from vflow.randomness import normal

LogProb = Callable[[Tensor], Tensor]
"""Points (B, D) → log-densities (B,)."""
SIDE = 160  # pixels of a picture's height
LINES, PER_LINE, REACH = 17, 49, 2.6  # of a grid: lines each way, points of each, and how far they go
DOTS = 300
UNIT = 1000  # coordinates of drawings: a square has this side
HIDDEN = -1
CHUNK = 4096


class Drawing(NamedTuple):
    """Grid and dots of all stages, for the page's script.

    stages: int (S, N, 2), coordinates in units of 1/1000 of the height, −1 where hidden; the last ``dots`` of
        the N points are dots, those before are lines of ``per_line`` points.
    layers: how many layers lead to each of the stages, (S,); 0 at the base space.
    cut: segments longer than this are not drawn, since they jump.
    """

    stages: np.ndarray
    layers: Sequence[int]
    per_line: int
    dots: int
    width: int
    cut: int


def evaluate(log_prob: LogProb, points: np.ndarray) -> np.ndarray:
    """Densities, float64 (N,), of points (N, D); 0 where they are not finite."""
    with torch.no_grad():
        parts = [log_prob(part).double() for part in torch.from_numpy(points).float().split(CHUNK)]
    return np.nan_to_num(torch.cat(parts).exp().numpy(), nan=0.0, posinf=0.0)


class Space(ABC):
    """A space, its picture's size (side 1 in height), and how points of it are drawn."""

    width: int = UNIT
    cut: int = 10 * UNIT
    scale: int = 1  # pixels of a picture of samples for one of a density, along a side

    @abstractmethod
    def nodes(self) -> np.ndarray:
        """Points (N, D) at which densities are evaluated for a picture."""

    @abstractmethod
    def paint(self, levels: np.ndarray) -> np.ndarray:
        """Picture, uint8 (H, W, 4), of levels 0 … 255 (N,) at ``nodes``."""

    @abstractmethod
    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (N, D) to coordinates of drawings, int (N, 2); −1 where hidden."""

    @abstractmethod
    def grid_noise(self, model: DensityModel) -> Tensor:
        """Noise (2 · LINES · PER_LINE, noise_dim) of a grid's lines in the base space."""

    def density_picture(self, log_prob: LogProb, top: float | None = None) -> tuple[np.ndarray, float]:
        """Picture of a density, and the value that is brightest: ``top``, or the density's own 99.5%."""
        values = evaluate(log_prob, self.nodes())
        top = float(np.quantile(values, 0.995)) if top is None else top
        return self.paint(_levels(values, top)), top

    def samples_picture(self, points: np.ndarray) -> np.ndarray:
        """Picture of points, uint8 (H, W, 4): dots over the dark of the ramp."""
        picture = self.paint(np.zeros(len(self.nodes()), np.uint8))
        picture = picture.repeat(self.scale, 0).repeat(self.scale, 1)
        places = self.project(points) * picture.shape[0] // UNIT
        x, y = places[(places >= 0).all(1)].T
        inside = (x < picture.shape[1] - 1) & (y < picture.shape[0] - 1)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            picture[y[inside] + dy, x[inside] + dx] = (*heat_ramp(8)[6], 255)
        return picture

    def drawing(self, model: DensityModel, most: int = 24) -> Drawing:
        """Grid of the base space and samples, bent layer by layer; at most about ``most`` stages."""
        dots = normal((DOTS, model.noise_dim), "lab-dots")
        stages = model.stages(torch.cat([self.grid_noise(model), dots]))
        keep = sorted({round(i) for i in np.linspace(0, len(stages) - 1, min(most, len(stages)))})
        shown = [np.nan_to_num(stages[i].numpy(), nan=0.0, posinf=1e6, neginf=-1e6) for i in keep]
        places = [*(self.place_stage(stage) for stage in shown[:-1]), self.project(shown[-1])]
        return Drawing(np.stack(places), keep, PER_LINE, DOTS, self.width, self.cut)

    def place_stage(self, points: np.ndarray) -> np.ndarray:
        """Coordinates of a stage before the last, which may need a scale of its own."""
        return self.project(points)


def _levels(values: np.ndarray, top: float) -> np.ndarray:
    return (255 * np.sqrt(np.clip(values / max(top, 1e-12), 0, 1))).astype(np.uint8)


def _colored(levels: np.ndarray) -> np.ndarray:
    return np.concatenate([heat_ramp(256)[levels], np.full((*levels.shape, 1), 255, np.uint8)], axis=-1)


class Plane(Space):
    """The square ±extent around a centre; the browser smooths its pictures."""

    scale = 2

    def __init__(self, extent: float, centre: tuple[float, float] = (0.0, 0.0)) -> None:
        self.extent, self.centre = extent, np.array(centre)

    def nodes(self) -> np.ndarray:
        cells = SIDE // 2
        axis = self.extent * (2 * (np.arange(cells) + 0.5) / cells - 1)
        x, y = np.meshgrid(axis, axis[::-1])
        return np.stack([x.ravel(), y.ravel()], 1) + self.centre

    def paint(self, levels: np.ndarray) -> np.ndarray:
        cells = SIDE // 2
        return _colored(levels.reshape(cells, cells))

    def project(self, points: np.ndarray) -> np.ndarray:
        share = (points[:, :2] - self.centre) / (2 * self.extent)
        return (
            (UNIT * np.stack([0.5 + share[:, 0], 0.5 - share[:, 1]], 1)).clip(-2 * UNIT, 3 * UNIT).astype(int)
        )

    def place_stage(self, points: np.ndarray) -> np.ndarray:
        dots = points[-DOTS:]
        low, high = np.quantile(dots, (0.01, 0.99), axis=0)
        extent = max(1e-6, 0.65 * float((high - low).max()))
        return Plane(extent, tuple((low + high) / 2)).project(points)

    def grid_noise(self, model: DensityModel) -> Tensor:
        near = model.config.base == "normal"
        level = torch.linspace(0.01, 0.99, PER_LINE, dtype=torch.float64)
        along = torch.linspace(-REACH, REACH, PER_LINE) if near else torch.special.ndtri(level).float()
        across = along[:: (PER_LINE - 1) // (LINES - 1)]
        first = torch.stack([across.repeat_interleave(PER_LINE), along.repeat(LINES)], 1)
        noise = torch.cat([first, first.flip(1)])
        sides = torch.full((len(noise), model.noise_dim - 2), -8.0)  # of folds: one of both
        return torch.cat([noise, sides], 1)


class Sphere(Space):
    """The unit sphere: the half in front and, seen from behind, the other."""

    width, cut = 2 * UNIT, UNIT // 2
    RADIUS = 0.47

    def nodes(self) -> np.ndarray:
        return _sphere_pixels()[0]

    def paint(self, levels: np.ndarray) -> np.ndarray:
        _, place, shade = _sphere_pixels()
        picture = np.zeros((SIDE, 2 * SIDE, 4), np.uint8)
        colored = _colored(levels)
        colored[:, :3] = colored[:, :3] * shade[:, None]
        picture.reshape(-1, 4)[place] = colored
        return picture

    def project(self, points: np.ndarray) -> np.ndarray:
        seen = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9) @ VIEW.T
        front = seen[:, 2] >= 0
        x = np.where(front, 0.5 + self.RADIUS * seen[:, 0], 1.5 - self.RADIUS * seen[:, 0])
        return (UNIT * np.stack([x, 0.5 - self.RADIUS * seen[:, 1]], 1)).astype(int)

    def grid_noise(self, model: DensityModel) -> Tensor:
        along = torch.linspace(-1, 1, PER_LINE, dtype=torch.float64)
        across = torch.linspace(-1, 1, LINES + 2, dtype=torch.float64)[1:-1]
        parallel = _on_sphere(math.pi * along.repeat(LINES), across.repeat_interleave(PER_LINE))
        angle = math.pi * torch.linspace(-1, 1, LINES + 1, dtype=torch.float64)[:-1]
        meridian = _on_sphere(angle.repeat_interleave(PER_LINE), (0.5 * math.pi * along).sin().repeat(LINES))
        return torch.cat([parallel, meridian]).float()


def _on_sphere(angle: Tensor, height: Tensor) -> Tensor:
    radius = (1 - height.square()).clamp_min(0).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)


def _view(tilt: float, turn: float) -> np.ndarray:
    """Rotation (3, 3) whose rows are right, up and towards the eye."""
    c, s, a, b = math.cos(turn), math.sin(turn), math.cos(tilt), math.sin(tilt)
    return np.array([[c, s, 0.0], [-s * b, c * b, a], [s * a, -c * a, b]])


VIEW = _view(0.4, 0.6)
TORUS_VIEW = _view(0.75, 0.0)


@lru_cache(maxsize=1)
def _sphere_pixels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 3) of the pixels of both discs, their places in the picture (N,), and shades (N,)."""
    axis = (np.arange(SIDE) + 0.5) / SIDE
    x, y = np.meshgrid((axis - 0.5) / Sphere.RADIUS, (0.5 - axis) / Sphere.RADIUS)
    inside = np.flatnonzero((x**2 + y**2).ravel() < 1)
    x, y = x.ravel()[inside], y.ravel()[inside]
    z = np.sqrt(1 - x**2 - y**2)
    points = np.concatenate([np.stack([x, y, z], 1), np.stack([-x, y, -z], 1)]) @ VIEW
    row, column = np.divmod(inside, SIDE)
    place = np.concatenate([row * 2 * SIDE + column, row * 2 * SIDE + SIDE + column])
    return points, place, np.tile(0.7 + 0.3 * z, 2)


class Torus(Space):
    """Two angles as a torus, seen from above."""

    width = UNIT * 3 // 2
    RING, TUBE, SCALE = 1.0, 0.48, 0.48
    CELLS = 96

    def nodes(self) -> np.ndarray:
        axis = 2 * math.pi * (np.arange(self.CELLS) + 0.5) / self.CELLS - math.pi
        u, v = np.meshgrid(axis, axis, indexing="ij")
        return np.stack([u.ravel(), v.ravel()], 1)

    def paint(self, levels: np.ndarray) -> np.ndarray:
        index, shade, _ = _torus_pixels()
        picture = np.zeros((*index.shape, 4), np.uint8)
        seen = index >= 0
        picture[seen] = _colored(levels[index[seen]])
        picture[seen, :3] = picture[seen, :3] * shade[seen, None]
        return picture

    def project(self, points: np.ndarray) -> np.ndarray:
        seen, _ = _on_torus(points)
        place = _torus_places(seen)
        depth = _torus_pixels()[2]
        row = (place[:, 1] * SIDE // UNIT).clip(0, depth.shape[0] - 1)
        column = (place[:, 0] * SIDE // UNIT).clip(0, depth.shape[1] - 1)
        place[seen[:, 2] < depth[row, column] - 0.12] = HIDDEN
        return place

    def grid_noise(self, model: DensityModel) -> Tensor:
        along = torch.linspace(0.0005, 0.9995, PER_LINE, dtype=torch.float64)
        across = (torch.arange(LINES, dtype=torch.float64) + 0.5) / LINES
        level = torch.stack([across.repeat_interleave(PER_LINE), along.repeat(LINES)], 1)
        return torch.special.ndtri(torch.cat([level, level.flip(1)])).float()


def _on_torus(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals of the torus, (N, 3), as the eye sees them."""
    u, v = angles[:, 0], angles[:, 1]
    normal_ = np.stack([np.cos(u) * np.cos(v), np.sin(u) * np.cos(v), np.sin(v)], 1)
    ring = np.stack([np.cos(u), np.sin(u), np.zeros_like(u)], 1)
    return (Torus.RING * ring + Torus.TUBE * normal_) @ TORUS_VIEW.T, normal_ @ TORUS_VIEW.T


def _torus_places(seen: np.ndarray) -> np.ndarray:
    scale = Torus.SCALE / (Torus.RING + Torus.TUBE) * 1.2
    x, y = 0.5 * Torus.width / UNIT + scale * seen[:, 0], 0.5 - scale * seen[:, 1]
    return (UNIT * np.stack([x, y], 1)).astype(int)


@lru_cache(maxsize=1)
def _torus_pixels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Node, shade and depth of each pixel, (H, W); node −1 beside the torus."""
    u, v = np.meshgrid(
        *(2 * math.pi * (np.arange(n) + 0.5) / n - math.pi for n in (1400, 700)), indexing="ij"
    )
    angles = np.stack([u.ravel(), v.ravel()], 1)
    seen, normals = _on_torus(angles)
    order = np.argsort(seen[:, 2])  # the nearest comes last and stays
    angles, seen, normals = angles[order], seen[order], normals[order]
    width = SIDE * Torus.width // UNIT
    place = _torus_places(seen) * SIDE // UNIT
    flat = place[:, 1].clip(0, SIDE - 1) * width + place[:, 0].clip(0, width - 1)
    cell = ((angles + math.pi) / (2 * math.pi) * Torus.CELLS).astype(int).clip(0, Torus.CELLS - 1)
    index, shade, depth = np.full(SIDE * width, -1), np.zeros(SIDE * width), np.full(SIDE * width, -9.0)
    index[flat] = cell[:, 0] * Torus.CELLS + cell[:, 1]
    shade[flat] = 0.45 + 0.55 * np.clip(0.35 * normals[:, 1] + 0.85 * normals[:, 2], 0, 1)
    depth[flat] = seen[:, 2]
    return index.reshape(SIDE, width), shade.reshape(SIDE, width), depth.reshape(SIDE, width)
