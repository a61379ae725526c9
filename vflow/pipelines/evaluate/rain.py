"""Rain nowcasts verified beside persistence and pysteps' methods, all in one run on the same squares."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from importlib.util import find_spec
from itertools import product
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from vflow.data.datasets.rain import event_names, read_folder
from vflow.data.rain import RainSequence, to_rate
from vflow.errors import ConfigError, InputError, counted
from vflow.metrics.ensemble import (
    Contingency,
    Fractions,
    Reliability,
    crps,
    outer_share,
    power_spectrum,
    rank_histogram,
)
from vflow.models import Nowcast
from vflow.pipelines.common import Temperature
from vflow.pipelines.evaluate.data import locate
from vflow.pipelines.evaluate.latents import PROTOCOL, nowcast_latent_share
from vflow.pipelines.evaluate.pysteps_peers import pysteps_methods
from vflow.pipelines.evaluate.report import Evaluation, Progress, Settings, Stage, mean_of_known
from vflow.pipelines.nowcast import draw_ensemble, nowcast_config
from vflow.randomness import generator
from vflow.tasks.video.settings import PredictSettings

Method = Callable[[np.ndarray, int], np.ndarray]
"""(given grey levels uint8 (n, H, W), seed) → members in mm/h, float (N, T, H, W); NaN counts as dry."""
TEST_SQUARE, TEST_STARTS = (150, 200), (8, 14, 20, 26, 32)
VALIDATION_EVENT, VALIDATION_SQUARES = "fmi_20170509", ((704, 160), (448, 352))
PEERS = ("persistence", "extrapolation", "sprog", "steps")
WAVELENGTHS = (2, 4, 8, 16, 32, 64)
"""Shortest of bands that end at twice that, in pixels."""
TEMPERATURES = (0.8, 0.9, 1.0, 1.1, 1.2)


@dataclass(frozen=True)
class Protocol:
    """Protocol of a verification: what is forecast, and how it is judged.

    Attributes:
        squares: top-left corners of the squares, (row, column); forecasts see nothing outside.
        side: of a square in pixels (km).
        starts: numbers of the first frame ahead in the sequence.
        thresholds: mm/h, of CSI and FSS; the first is where ranks count, ``probable`` where probabilities do.
        window: side of the squares that FSS compares fractions in.
        minutes: between frames.
    """

    squares: tuple[tuple[int, int], ...] = (TEST_SQUARE,)
    side: int = 256
    starts: tuple[int, ...] = TEST_STARTS
    given: int = 4
    leads: int = 6
    members: int = 20
    thresholds: tuple[float, ...] = (0.1, 1.0, 5.0)
    probable: float = 1.0
    window: int = 16
    minutes: float = 5.0
    seed: int = 0


@dataclass
class Verification:
    """Scores and counts of the cases of one method; series are by lead."""

    protocol: Protocol
    crps: list[np.ndarray] = field(default_factory=list)
    tables: dict[float, list[list[Contingency]]] = field(default_factory=dict)
    fractions: dict[float, list[list[Fractions]]] = field(default_factory=dict)
    ranks: list[np.ndarray] = field(default_factory=list)
    reliability: list[Reliability] = field(default_factory=list)
    squared_errors: list[np.ndarray] = field(default_factory=list)
    variances: list[np.ndarray] = field(default_factory=list)
    spectra: list[np.ndarray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(
        self, members: np.ndarray, truth: np.ndarray, valid: np.ndarray, random: np.random.Generator
    ) -> None:
        """One case: members (N, T, H, W) and truth (T, H, W) in mm/h."""
        leads = range(len(truth))
        mean = members.mean(0)
        self.crps.append(np.array([_mean(crps(members[:, k], truth[k])[valid]) for k in leads]))
        self.squared_errors.append(np.array([_mean(np.square(mean - truth)[k, valid]) for k in leads]))
        for threshold in self.protocol.thresholds:
            table = [Contingency.of(mean[k], truth[k], threshold, valid) for k in leads]
            self.tables.setdefault(threshold, []).append(table)
            size = self.protocol.window
            fractions = [Fractions.of(members[:, k], truth[k], threshold, size, valid) for k in leads]
            self.fractions.setdefault(threshold, []).append(fractions)
        self.spectra.append(np.mean([power_spectrum(member * valid) for member in members[:, -1]], axis=0))
        if len(members) > 1:
            self.variances.append(np.array([_mean(members[:, k, valid].var(0, ddof=1)) for k in leads]))
            least = self.protocol.thresholds[0]
            active = valid & ((truth[-1] >= least) | (members[:, -1] >= least).any(0))
            self.ranks.append(rank_histogram(members[:, -1], truth[-1], random, active))
            self.reliability.append(Reliability.of(members[:, -1], truth[-1], self.protocol.probable, valid))

    def figures(self) -> dict[str, Any]:
        """A figure per key; series by lead end in ``_per_lead``.

        Scores of an event are those of counts summed over cases, and over leads where there is one figure of
        all; NaN where no case has the event, forecast or real. ``rmse`` is that of the ensemble mean, and
        ``spread`` the root of the members' mean variance (divisor N − 1), mm/h.
        """
        by_lead = mean_of_known(self.crps)
        found: dict[str, Any] = {"crps": float(mean_of_known(by_lead)), "crps_per_lead": by_lead}
        found["crps_per_case"] = np.mean(self.crps, 1)
        for name, squares in {"rmse": self.squared_errors, "spread": self.variances}.items():
            if squares:
                series = np.sqrt(mean_of_known(squares))
                found |= {name: float(np.sqrt(mean_of_known(series**2))), f"{name}_per_lead": series}
        if "spread" in found:
            found["spread_over_rmse"] = found["spread"] / found["rmse"] if found["rmse"] else np.nan
        for threshold in self.protocol.thresholds:
            tables, fractions = self.tables[threshold], self.fractions[threshold]
            found |= _pooled(f"csi_{threshold:g}", tables, lambda sums: Contingency(*sums).csi)
            found |= _pooled(f"bias_{threshold:g}", tables, lambda sums: Contingency(*sums).bias)
            found |= _pooled(f"fss_{threshold:g}", fractions, lambda sums: Fractions(*sums).fss)
        found["spectrum_last_lead"] = np.mean(self.spectra, 0)
        found["seconds"] = float(np.median(self.seconds))
        if self.ranks:
            ranks = np.sum(self.ranks, 0)
            both = reduce(add, self.reliability)
            found["rank_histogram"] = ranks / (ranks.sum() or np.nan)
            found["outer_ranks"] = outer_share(ranks)
            found["reliability_forecasts"], found["reliability_events"] = both.forecasts, both.events
            found["brier"] = both.brier
        return found


def _mean(values: np.ndarray) -> float:
    """Mean of all ``values``; NaN of none."""
    return float(values.mean()) if values.size else float("nan")


def _pooled(
    name: str, cases: Sequence[Sequence[tuple[float, ...]]], score: Callable[[np.ndarray], float]
) -> dict[str, Any]:
    """``score`` of counts (case, lead) summed over cases and leads, and by lead."""
    sums = np.sum(cases, axis=0)
    return {name: score(sums.sum(0)), f"{name}_per_lead": np.array([score(lead) for lead in sums])}


def verify(
    methods: Mapping[str, Method],
    sequences: Mapping[str, RainSequence],
    protocol: Protocol,
    progress: Progress = lambda done, total: None,
) -> dict[str, dict[str, Any]]:
    """Figures of each method, and of the truth (``observed``: its spectrum), over all squares and starts.

    Raises:
        InputError: a sequence too short or too small for the protocol.
    """
    totals = {name: Verification(protocol) for name in methods}
    observed: list[np.ndarray] = []
    cases = open_cases(sequences, protocol)
    for number, case in enumerate(cases):
        truth = to_rate(case.ahead).astype(np.float64)
        observed.append(power_spectrum(truth[-1]))
        for method, total in totals.items():
            began = time.perf_counter()
            members = methods[method](case.given, protocol.seed)
            total.seconds.append(time.perf_counter() - began)
            members = np.nan_to_num(members[:, : protocol.leads]).astype(np.float64)
            total.add(members, truth, case.valid, generator("ties", protocol.seed, *case.name))
        progress(number + 1, len(cases))
    found = {method: total.figures() for method, total in totals.items()}
    spectrum = np.mean(observed, 0)
    for figures in found.values():
        figures["power_over_observed"] = power_ratios(figures["spectrum_last_lead"], spectrum)
    return found | {"observed": {"spectrum_last_lead": spectrum}}


def power_ratios(power: np.ndarray, observed: np.ndarray) -> dict[str, float]:
    """Power over that of the truth, by wavelength in pixels (km): spectra as ``power_spectrum`` has them."""
    length = 2 * len(power) / np.maximum(np.arange(len(power)), 0.5)
    ratios = {}
    for shortest in WAVELENGTHS:
        band = (length > shortest) & (length <= 2 * shortest)
        if band.any() and observed[band].any():
            ratios[f"{shortest}-{2 * shortest}"] = float(power[band].sum() / observed[band].sum())
    return ratios


class Case(NamedTuple):
    """One forecast of a protocol, in one square."""

    name: tuple[str | int, ...]  # sequence, row, column, number of the first frame ahead
    given: np.ndarray  # grey levels uint8 (n, H, W)
    ahead: np.ndarray  # the same (T, H, W)
    valid: np.ndarray  # bool (H, W)


def open_cases(sequences: Mapping[str, RainSequence], protocol: Protocol) -> list[Case]:
    """All cases of a protocol.

    Raises:
        InputError: a sequence too short or too small for it, at other times apart, or unknown in a square.
    """
    side, cases = protocol.side, []
    for name, sequence in sequences.items():
        sequence.check_minutes(protocol.minutes, name)
    for name, (row, column), start in product(sequences, protocol.squares, protocol.starts):
        sequence, stop = sequences[name], start + protocol.leads
        area = (slice(row, row + side), slice(column, column + side))
        frames = sequence.frames[(slice(None), *area)]
        if frames.shape[1:] != (side, side) or len(frames) < stop:
            height, width = sequence.valid.shape
            raise InputError(
                f"{name}: {counted(len(sequence.frames), 'frame')} of {width}×{height} pixels; too small for "
                f"the protocol, whose square ends at column {column + side} and row {row + side}, and which "
                f"needs {max(protocol.starts) + protocol.leads} frames"
            )
        if not sequence.valid[area].any():
            place = f"rows {row} to {row + side}, columns {column} to {column + side}"
            raise InputError(f"{name}: no radar sees any of the protocol's square, {place}; move the frames")
        given, ahead = frames[start - protocol.given : start], frames[start:stop]
        cases.append(Case((name, row, column, start), given, ahead, sequence.valid[area]))
    return cases


def flow_method(
    model: nn.Module, protocol: Protocol, temperature: Temperature = 1.0, *, pairs: bool = False
) -> Method:
    """The nowcasting flow ``model`` as a method: independent members, or as ``vflow.nowcast`` draws them."""

    def forecast(given: np.ndarray, seed: int) -> np.ndarray:
        settings = PredictSettings(
            num_frames=protocol.leads, num_samples=protocol.members, temperature=temperature, seed=seed
        )
        return draw_ensemble(model, given, settings, pairs=pairs).rates

    return forecast


def persistence(protocol: Protocol) -> Method:
    """The newest frame, as it is."""
    return lambda given, seed: np.repeat(to_rate(given[-1:])[None], protocol.leads, 1)


def evaluate_rain(model: Nowcast, settings: Settings, stage: Stage) -> Evaluation:
    """Figures of ``model``, and of its peers as ``NAME_…``, on the test events or on the validation event.

    Members are independent, as STEPS' are; ``antithetic_…`` are figures of pairs of opposite noise. Peers are
    persistence and, with pysteps installed (the extra ``rain``), extrapolation, S-PROG and STEPS.

    Raises:
        CheckpointError: another kind of model. ConfigError, InputError: no such data.
    """
    folder, protocol, names = _data(model, settings)
    temperature = settings.temperature
    forecast = {
        "flow": flow_method(model, protocol, temperature),
        "antithetic": flow_method(model, protocol, temperature, pairs=True),
    }
    sequences = read_folder(folder, names)
    found = verify({**forecast, **_peers(protocol)}, sequences, protocol, stage("nowcasts"))
    figures = dict(found.pop("flow"))
    stage("latents")
    given = [case.given for case in open_cases(sequences, protocol)]
    figures |= nowcast_latent_share(model, given, temperature)
    for name, values in found.items():
        figures |= {f"{name}_{key}": value for key, value in values.items()}
    if "steps" in found:
        for key in ("crps", "csi_1", "seconds"):
            figures[f"{key}_over_steps"] = figures[key] / figures[f"steps_{key}"]
    about = {
        "data": settings.data, "split": settings.split, "events": names or event_names(folder),
        "latent_share": PROTOCOL,
    }  # fmt: skip
    sheets = {"nowcasts": draw_figures(figures, protocol)} if find_spec("matplotlib") else {}
    return Evaluation(figures, {**about, **asdict(protocol), "temperature": temperature}, sheets)


def draw_figures(figures: Mapping[str, Any], protocol: Protocol) -> np.ndarray:
    """CRPS by lead, ranks, reliability and spectra of all methods in ``figures``: uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    (crps_axes, ranks_axes), (reliability_axes, spectra_axes) = figure.subplots(2, 2)
    prefixes = {"flow": "", **{name: f"{name}_" for name in (*PEERS, "observed")}}
    probabilities = np.arange(protocol.members + 1) / protocol.members
    for name, prefix in prefixes.items():
        if f"{prefix}crps_per_lead" in figures:
            series = figures[f"{prefix}crps_per_lead"]
            crps_axes.plot(protocol.minutes * np.arange(1, len(series) + 1), series, marker=".", label=name)
        if f"{prefix}rank_histogram" in figures:
            ranks_axes.step(
                range(protocol.members + 1), figures[f"{prefix}rank_histogram"], where="mid", label=name
            )
            forecasts = figures[f"{prefix}reliability_forecasts"]
            shares = figures[f"{prefix}reliability_events"] / np.maximum(forecasts, 1)
            reliability_axes.plot(probabilities[forecasts > 0], shares[forecasts > 0], marker=".", label=name)
        if f"{prefix}spectrum_last_lead" in figures:
            power = figures[f"{prefix}spectrum_last_lead"][1:]
            spectra_axes.loglog(protocol.side / np.arange(1, len(power) + 1), power, label=name)
    ranks_axes.axhline(1 / (protocol.members + 1), color="grey", linewidth=1)
    reliability_axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    spectra_axes.invert_xaxis()
    labels = {
        crps_axes: ("minutes ahead", "CRPS (mm/h)"),
        ranks_axes: ("rank of the truth at the last lead", "share"),
        reliability_axes: (f"forecast probability of {protocol.probable:g} mm/h", "how often it happened"),
        spectra_axes: ("wavelength (km), last lead", "power"),
    }
    for axes, (x, y) in labels.items():
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(alpha=0.3)
        axes.legend()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def tune_rain(model: nn.Module, settings: Settings, stage: Stage) -> dict[float, float]:
    """Temperature → minus the mean CRPS on the validation event."""
    folder, protocol, names = _data(model, replace(settings, split="validation"))
    methods = {f"{t:g}": flow_method(model, protocol, t) for t in TEMPERATURES}
    found = verify(methods, read_folder(folder, names), protocol, stage("temperature"))
    return {temperature: -float(found[f"{temperature:g}"]["crps"]) for temperature in TEMPERATURES}


def _data(model: nn.Module, settings: Settings) -> tuple[Path, Protocol, list[str] | None]:
    """Folder, protocol and names of events; None: all in the folder."""
    places = locate(settings, "nowcast")
    protocol = replace(_protocol(settings), minutes=nowcast_config(model).minutes)
    if settings.split == "test":
        return Path(str(places.test)), protocol, None
    if places.train is None:
        raise ConfigError("--split validation needs training data; name its folder with --train")
    return Path(places.train), replace(protocol, squares=VALIDATION_SQUARES), [VALIDATION_EVENT]


def _protocol(settings: Settings) -> Protocol:
    members, leads = settings.num_samples or Protocol.members, settings.num_frames or Protocol.leads
    return Protocol(members=members, leads=leads, seed=settings.seed)


def _peers(protocol: Protocol) -> dict[str, Method]:
    peers = {"persistence": persistence(protocol)}
    if find_spec("pysteps") is None:
        return peers
    return {**peers, **pysteps_methods(protocol.leads, protocol.members, protocol.minutes)}
