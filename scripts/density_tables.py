"""Tables of docs/results/densities.json, written by scripts/benchmarks/densities.py and examples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Data = Mapping[str, Any]
BENCHMARK = "python -m scripts.benchmarks.densities"
SYSTEMS = "python -m examples.systems"
OUTPUT = "--output docs/results/densities.json"


def density_tables(data: Data) -> dict[str, str]:
    """Kind → table of its rows, with machine and command."""
    made = {
        "plane": plane_table,
        "speed": speed_table,
        "energies": energies_table,
        "manifolds": manifolds_table,
        "rings": rings_table,
        "bits": bits_table,
        "tails": tails_table,
        "posterior": posterior_table,
    }
    return {kind: table(data[kind]) for kind, table in made.items() if data.get(kind)}


def plane_table(rows: list[Data]) -> str:
    """Nats above the true density, best model of each density first."""
    order = {row["density"]: place for place, row in reversed(list(enumerate(rows)))}
    ordered = sorted(rows, key=lambda row: (order[row["density"]], row["above"]))
    heads = ("density", "model", "nats above the true density", "steps", "parameters")
    cells = [
        (f"`{r['density']}`", f"`{r['model']}`", f"{r['above']:.4f}", r["steps"], f"{r['parameters']:,}")
        for r in ordered
    ]
    first = rows[0]
    text = (
        f"{first['seconds']:g} s of processor time each, not counting data generation, one thread, "
        f"seed {first['seed']}; {first['test_points']:,} test points. `zuko-` and `normflows-` are models of "
        f"those libraries, with the presets' sizes and learning rates, in the same training loop"
    )
    return _table(heads, cells, text, f"{BENCHMARK} plane DENSITY --models … {OUTPUT}", rows)


SLOW = "MAF samples"


def speed_table(rows: list[Data]) -> str:
    """Rows per second compared with zuko."""
    heads = ("D, hidden, layers", "MAF density", "zuko", "ratio", "IAF samples", "zuko", "ratio", SLOW)
    cells = [
        (
            f"{r['dim']}, {r['hidden']}, {r['layers']}",
            *(f"{r[key]:,}" for key in ("density", "density_zuko")),
            r["density_ratio"],
            *(f"{r[key]:,}" for key in ("iaf_samples", "iaf_samples_zuko")),
            r["iaf_ratio"],
            f"{r['maf_samples']:,}",
        )
        for r in rows
    ]
    text = (
        "Rows per second, one thread, without gradients, best of 100 alternating timings by processor "
        "time. The IAF figure of zuko excludes the log-det; that of vflow includes it. In the slow direction "
        "a layer takes D passes: MAF samples (last column) are as fast as IAF densities"
    )
    return _table(heads, cells, text, f"{BENCHMARK} speed {OUTPUT}", rows)


def posterior_table(rows: list[Data]) -> str:
    """Bounds of variational autoencoders in nats."""
    heads = ("posterior", "ELBO (nats)", "importance-weighted, 20 draws", "seconds", "parameters")
    cells = [
        (r["posterior"], r["elbo"], r["importance_bound_20"], r["seconds"], f"{r['parameters']:,}")
        for r in rows
    ]
    first = rows[0]
    text = (
        f"MNIST digits binarised at ½, {first['digits']:,} of the {first['split']} split, after "
        f"{first['steps']:,} steps with batches of 128; seconds of processor time"
    )
    names, steps = ",".join(r["posterior"] for r in rows), f"--steps {first['steps']}"
    command = f"python -m examples.vae {names} --data MNIST {steps} {OUTPUT}"
    return _table(heads, cells, text, command, rows)


def energies_table(rows: list[Data]) -> str:
    """KL to each energy by number of layers."""
    lengths = list(dict.fromkeys(r["layers"] for r in rows))
    found = {(r["energy"], r["layers"]): r for r in rows}
    cells = [
        (
            f"`{energy}`",
            *(f"{found[energy, length]['kl']:.3f}" for length in lengths),
            *(f"{found[energy, length]['effective']:.0%}" for length in lengths),
        )
        for energy in dict.fromkeys(r["energy"] for r in rows)
    ]
    heads = (
        "energy",
        *(f"KL(q ∥ p), {length} layers" for length in lengths),
        *(f"effective samples, {length}" for length in lengths),
    )
    first, longest = rows[0], max(r["seconds"] for r in rows)
    text = (
        f"Planar layers, nats, {first['steps']:,} steps of 512 samples each, up to {longest:g} s on one "
        f"core; 50,000 samples, seed {first['seed']}"
    )
    command = f"{SYSTEMS} energies --steps {first['steps']} {OUTPUT}"
    return _table(heads, cells, text, command, rows)


def manifolds_table(rows: list[Data]) -> str:
    """Divergences, effective samples, and the integral of each density over its manifold."""
    heads = ("density", "model", "KL(p ∥ q)", "KL(q ∥ p)", "effective samples", "∫ q", "steps", "parameters")
    cells = [
        (
            f"`{r['density']}`",
            *_divergences(r, 4),
            f"{r['integral']:.5f}",
            r["steps"],
            f"{r['parameters']:,}",
        )
        for r in rows
    ]
    text = f"Nats, {_budget(rows[0])}; 20,000 test points and 20,000 samples, ∫ q by quadrature"
    return _table(heads, cells, text, _systems("manifolds", rows[0]), rows)


def rings_table(rows: list[Data]) -> str:
    """RAD compared with Real NVP."""
    heads = ("model", "KL(p ∥ q)", "KL(q ∥ p)", "effective samples", "steps", "parameters")
    cells = [(*_divergences(r, 3), r["steps"], f"{r['parameters']:,}") for r in rows]
    text = f"`rings`, nats, {_budget(rows[0])}; 20,000 test points and 20,000 samples"
    return _table(heads, cells, text, _systems("rings", rows[0]), rows)


def _divergences(row: Data, decimals: int) -> tuple[str, ...]:
    """Cells of a model: name, both divergences, effective samples."""
    kl, reverse = (f"{row[name]:.{decimals}f}" for name in ("kl", "reverse_kl"))
    return f"`{row['model']}`", kl, reverse, f"{row['effective']:.1%}"


def bits_table(rows: list[Data]) -> str:
    """Nats per binarised digit."""
    heads = ("masks", "hidden units", "nats per digit", "steps", "parameters")
    cells = [
        (r["masks"], ", ".join(map(str, r["hidden"])), r["nats"], r["steps"], f"{r['parameters']:,}")
        for r in rows
    ]
    first = rows[0]
    text = f"MNIST digits binarised at ½, {first['digits']:,} of the {first['split']} split; {_budget(first)}"
    command = f"python -m examples.made_bits --data MNIST --seconds {first['seconds']:g} {OUTPUT}"
    return _table(heads, cells, text, command, rows)


def tails_table(rows: list[Data]) -> str:
    """Tail indices, true and learned."""
    heads = ("density", "tail index", "learned, lower tail", "learned, upper tail")
    names = {"Pareto": "two-sided Pareto", "Student": "Student's t"}
    cells = [(names[r["density"]], r["index"], f"{r['lower']:.2f}", f"{r['upper']:.2f}") for r in rows]
    text = f"{rows[0]['points']:,} points, each with all six densities as its coordinates; {_budget(rows[0])}"
    return _table(heads, cells, text, _systems("tails", rows[0]), rows)


def _budget(row: Data) -> str:
    return f"{row['seconds']:g} s of processor time each, one thread, seed {row['seed']}"


def _systems(kind: str, row: Data) -> str:
    return f"{SYSTEMS} {kind} --seconds {row['seconds']:g} {OUTPUT}"


def _table(
    heads: tuple[str, ...], cells: list[tuple[Any, ...]], text: str, command: str, rows: list[Data]
) -> str:
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    lines = [f"| {' | '.join(map(str, line))} |" for line in (heads, ["---"] * len(heads), *cells)]
    return "\n".join([*lines, "", f"{text}. {machines}.", "", "```", command, "```"])


def filled(page: str, tables: Mapping[str, str]) -> str:
    """``page`` with each table inserted between its comments ``<!-- NAME -->`` and ``<!-- /NAME -->``."""
    for kind, table in tables.items():
        start, end = f"<!-- {kind} -->", f"<!-- /{kind} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        page = pattern.sub(lambda _, text=f"{start}\n{table}\n{end}": text, page)  # type: ignore[misc]
    return page
