"""From points, a named density or an energy to a learned one and its files: the path of tab and endpoint."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import torch

from vflow.card import model_card
from vflow.catalog import CARD, CONFIG, WEIGHTS
from vflow.checkpoint import save_checkpoint
from vflow.config import DensityConfig, Preset, load_preset
from vflow.data.datasets.points import count_columns
from vflow.data.media import write_npz
from vflow.densities import ENERGIES, TARGETS, Energy, target, target_entropy
from vflow.errors import ConfigError, InputError, counted
from vflow.models import DensityModel, PointBatch
from vflow.pipelines.density import check_spread, draw_points, open_points
from vflow.randomness import forked_rng, generator, normal
from vflow.training.density import Progress, fit, fit_energy

from ..shared import checks
from ..shared.context import AppContext
from ..shared.pad import read_ink
from ..shared.turns import work_time
from .render import Drawing, Plane, Space, Sphere, Torus
from .systems import BY_PRESET, DRAWN, FILE, LABELS, System, suited

POINTS, HELD, SAMPLES = 100_000, 2000, 3000
STEPS, MAX_STEPS = 1000, 10_000
INTERVAL = 0.7  # seconds between pictures, at least
LEARNING_SHARE = 4.0  # learning gets this many times the time that a picture takes
REACH = 4.0  # half the side of the square that a drawing fills
DRAWN_POINTS = 20_000
DRAWING = "points.npz"
DIVERGED = "learning diverged; take fewer steps, another seed or another system"


@dataclass(frozen=True)
class Request:
    """A checked request: the system, what it is to learn, and for how long."""

    system: System
    source: str
    file: Path | None = None
    ink: np.ndarray | None = None
    steps: int = STEPS
    seed: int = 0

    @classmethod
    def checked(
        cls,
        source: Any,
        system: Any,
        steps: Any,
        seed: Any,
        *,
        file: str | None = None,
        ink: str | None = None,
    ) -> Request:
        """Check values as they come from a form or an endpoint.

        Raises:
            InputError: a value is missing or out of range, or the system does not suit the density.
        """
        source = str(source or "").strip()
        if source not in (*TARGETS, *ENERGIES, DRAWN, FILE):
            raise InputError(f"density: choose {', '.join((*TARGETS, *ENERGIES))}, or give a file of points")
        names = [each.preset for each in suited(source)]
        if not isinstance(system, str) or system not in names:
            what = LABELS.get(source, "points of the plane")
            raise InputError(f"system: for {what} choose one of {', '.join(names)}")
        if source == FILE and not file:
            raise InputError("no file of points; add a CSV or an npz with two columns")
        if source == DRAWN and not ink:
            raise InputError("nothing drawn yet; draw on the pad first")
        return cls(
            BY_PRESET[system],
            source,
            None if file is None else Path(file),
            None if source != DRAWN else read_ink(str(ink)),
            checks.whole_number("steps", steps, 10, MAX_STEPS),
            checks.seed_number(seed),
        )


def ink_points(ink: np.ndarray) -> np.ndarray:
    """Points, float32 (20000, 2), spread like ink, uint8 (n, n), over the square ±4.

    Raises:
        InputError: the pad is empty.
    """
    weights = ink.astype(np.float64).ravel()
    if not weights.sum():
        raise InputError("nothing drawn yet; draw on the pad first")
    random, side = generator("lab-ink"), len(ink)
    row, column = np.divmod(random.choice(weights.size, DRAWN_POINTS, p=weights / weights.sum()), side)
    x, y = (np.stack([column, side - 1 - row]) + random.random((2, DRAWN_POINTS))) / side
    return (REACH * (2 * np.stack([x, y], 1) - 1)).astype(np.float32)


@dataclass(frozen=True)
class Task:
    """Points or an energy to learn, points held out, and what is known of the density.

    entropy: of the density, in nats; of an energy −log Z, below which no loss lies; None: not known.
    """

    points: torch.Tensor
    held: torch.Tensor
    energy: Energy | None
    entropy: float | None
    space: Space
    picture: np.ndarray
    top: float | None


@dataclass(frozen=True)
class Snapshot:
    """Pictures of what is learned after ``step`` steps, uint8 (H, W, 4), and nats of points held out."""

    step: int
    nats: float
    density: np.ndarray
    samples: np.ndarray
    drawing: Drawing


@dataclass
class Job:
    """A request under way; ``seconds`` of learning."""

    app: AppContext
    request: Request
    preset: Preset
    folder: Path
    task: Task
    model: DensityModel
    losses: list[float] = field(default_factory=list)
    curve: list[tuple[int, float]] = field(default_factory=list)
    snapshot: Snapshot | None = None
    seconds: float = 0.0

    @classmethod
    def begin(cls, app: AppContext, request: Request) -> Job:
        """Read the points and build the model.

        Raises:
            ConfigError, InputError: with the message to show.
        """
        folder = app.runs.new_folder()
        settings = {"training.max_steps": request.steps, "training.seed": request.seed}
        preset = load_preset(request.system.preset, settings)
        assert isinstance(preset.model, DensityConfig)
        if request.ink is not None:
            write_npz(folder / DRAWING, points=ink_points(request.ink))
        with forked_rng(request.seed):
            model = DensityModel(preset.model)
        return cls(app, request, preset, folder, _task(request, model, folder), model)

    def advance(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Learn; ``snapshot``, ``losses`` and ``curve`` are new at each step of the iterator."""
        config, task = self.preset.training, self.task
        run: Iterator[Progress] = (
            fit(self.model, task.points, config)
            if task.energy is None
            else fit_energy(self.model, task.energy, config)
        )
        began = last = work_time()
        pause = 0.0
        with closing(run), _naming_divergence():  # type: ignore[type-var]
            for progress in run:
                self.losses.append(progress.nats)
                if should_stop():
                    break
                if work_time() - last > max(INTERVAL, pause):
                    seen = work_time()
                    self._take_snapshot()
                    yield
                    last = work_time()
                    pause = LEARNING_SHARE * (last - seen)
        if not any(map(math.isfinite, self.losses[-20:])):
            raise InputError(DIVERGED)
        self._take_snapshot()
        self.seconds = work_time() - began
        yield

    def _take_snapshot(self) -> None:
        """A snapshot of the model as it is; batch norm uses its running averages."""
        training, task = self.model.training, self.task
        self.model.eval()
        try:
            with torch.no_grad():
                nats = -float(self.model(PointBatch(task.held, energy=task.energy)).mean())
            picture, _ = task.space.density_picture(self.model.log_prob, task.top)
            samples = draw_points(self.model, SAMPLES, self.request.seed).points
            self.snapshot = Snapshot(
                len(self.losses),
                nats,
                picture,
                task.space.samples_picture(samples),
                task.space.drawing(self.model),
            )
            self.curve.append((len(self.losses), nats))
        except InputError:  # samples that are not finite, early on
            pass
        finally:
            self.model.train(training)

    @property
    def done(self) -> int:
        return len(self.losses)

    @property
    def points(self) -> Path | None:
        """Points that the page made: of a drawing, or a part of a file."""
        file = self.folder / DRAWING if self.request.source == DRAWN else self.request.file
        return file if file and file.name == DRAWING else None

    def command(self) -> str:
        """The command that trains the same system on the same density."""
        request = self.request
        data = request.file.name if request.file else request.source
        if self.points is not None:
            data = f"{request.system.preset}/{DRAWING}"  # where the downloaded checkpoint is unpacked
        words = ["vflow", "train", "--config", request.system.preset, "--data", data]
        words += ["--max-steps", str(self.done), "--seed", str(request.seed)]
        return shlex.join([*words, "--output", f"runs/{request.system.preset}"])

    def save(self) -> Result:
        """Write the checkpoint (zip), samples (npz), and a report (json)."""
        result, request, config = Result(self.folder), self.request, self.model.config
        nats = None if self.snapshot is None else self.snapshot.nats
        facts = {"data": f"`{request.source}`", "command": f"`{self.command()}`"}
        card = model_card(request.system.preset, config, {"step": self.done}, facts)
        save_checkpoint(result.model, self.model, config=config, card=card)
        with ZipFile(result.checkpoint, "w", ZIP_DEFLATED) as archive:
            for name in (CONFIG, WEIGHTS, CARD):
                archive.write(result.model / name, f"{request.system.preset}/{name}")
            if self.points is not None:
                archive.write(self.points, f"{request.system.preset}/{DRAWING}")
        write_npz(result.points, points=draw_points(self.model, SAMPLES, request.seed).points)
        report = {
            "density": request.source,
            "config": request.system.preset,
            "steps": self.done,
            "seed": request.seed,
            "nats": nats,
            "entropy" if self.task.energy is None else "minus_log_normalizer": self.task.entropy,
            "held_out": len(self.task.held),
            "seconds": round(self.seconds, 2),
            "command": self.command(),
            "curve": self.curve,
        }
        result.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        return result

    def summary(self) -> str:
        """One line on what was learned."""
        text = f"{counted(self.done, 'step')} in {self.seconds:.1f} s"
        if self.done < self.request.steps:
            text = f"Stopped after {text}"
        if self.snapshot is None:
            return text
        if self.task.entropy is None:
            return f"{text}: surprise {self.snapshot.nats:.3f} nats a point"
        gap = self.snapshot.nats - self.task.entropy
        if self.task.energy is not None:
            return f"{text}: {gap:.3f} nats away from the energy's density (KL divergence)"
        best = f"at best {self.task.entropy:.3f} (entropy)"
        return f"{text}: surprise {self.snapshot.nats:.3f} nats a point, {best}"


@dataclass(frozen=True)
class Result:
    """A learned density on disk."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.zip"

    @property
    def points(self) -> Path:
        return self.folder / "samples.npz"

    @property
    def report(self) -> Path:
        return self.folder / "report.json"


@contextmanager
def _naming_divergence() -> Iterator[None]:
    """Context in which training that diverges is answered with what the tab can change."""
    try:
        yield
    except ConfigError as error:
        raise InputError(DIVERGED) from error


def _task(request: Request, model: DensityModel, folder: Path) -> Task:
    if request.source in ENERGIES:
        energy = ENERGIES[request.source]
        space: Space = Plane(4.6)
        picture, top = space.density_picture(lambda points: -energy(points))
        log_z = energy.log_normalizer(cells=400)
        noise = normal((HELD, model.noise_dim), "lab-held")
        return Task(noise, noise, energy, -log_z, space, picture, top * math.exp(-log_z))
    if request.source in TARGETS:
        density = target(request.source)
        space = {"torus": Torus(), "sphere": Sphere()}.get(request.source) or Plane(
            getattr(density, "extent", REACH)
        )
        points = density.points(POINTS, request.source, "train")
        held = density.points(HELD, request.source, "validation")
        picture, top = space.density_picture(lambda points: density.log_prob(points.double()))
        return Task(points, held, None, target_entropy(request.source), space, picture, top)
    path = folder / DRAWING if request.source == DRAWN else request.file
    assert path is not None
    return _from_file(path, model.config)


def _from_file(path: Path, config: DensityConfig) -> Task:
    """Points of a file; there is no density to compare with, so the points themselves are shown."""
    if (columns := count_columns(str(path))) != config.dim:
        raise InputError(
            f"{path}: rows of {columns} numbers, and the Lab draws the plane; give two columns, or use "
            "'vflow train'"
        )
    train = open_points(str(path), "train", config).points
    check_spread(str(path), train)
    held = open_points(str(path), "validation", config).points
    low, high = np.quantile(train, (0.005, 0.995), axis=0)
    extent = 0.6 * float((high - low).max()) + 1e-6
    space = Plane(extent, tuple(((low + high) / 2).tolist()))
    shown = train[:SAMPLES]
    points = torch.from_numpy(train)
    return Task(points, torch.from_numpy(held[:HELD]), None, None, space, space.samples_picture(shown), None)
