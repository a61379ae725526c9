"""Tables of docs/results/densities.json, which scripts/benchmarks/densities.py writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Data = Mapping[str, Any]
BENCHMARK = "python -m scripts.benchmarks.densities"
OUTPUT = "--output docs/results/densities.json"


def density_tables(data: Data) -> dict[str, str]:
    """Kind → table of its rows, with what they were made on and by."""
    made = {"plane": plane_table, "speed": speed_table, "posterior": posterior_table}
    return {kind: table(data[kind]) for kind, table in made.items() if data.get(kind)}


def plane_table(rows: list[Data]) -> str:
    """Nats above the true density; the best of each density first."""
    order = {row["density"]: place for place, row in reversed(list(enumerate(rows)))}
    ordered = sorted(rows, key=lambda row: (order[row["density"]], row["above"]))
    heads = ("density", "model", "nats above the true density", "steps", "parameters")
    cells = [
        (f"`{r['density']}`", f"`{r['model']}`", f"{r['above']:.4f}", r["steps"], f"{r['parameters']:,}")
        for r in ordered
    ]
    first = rows[0]
    text = (
        f"{first['seconds']:g} s of processor time each, data made before, one thread, seed {first['seed']}; "
        f"{first['test_points']:,} test points. `zuko-` and `normflows-` are those libraries' models of the "
        f"presets' sizes, in the same loop"
    )
    return _table(heads, cells, text, f"{BENCHMARK} plane DENSITY --models … {OUTPUT}", rows)


def speed_table(rows: list[Data]) -> str:
    """Rows a second beside zuko's."""
    heads = ("D, hidden, layers", "MAF density", "zuko", "ratio", "IAF samples", "zuko", "ratio")
    cells = [
        (
            f"{r['dim']}, {r['hidden']}, {r['layers']}",
            *(f"{r[key]:,}" for key in ("density", "density_zuko")),
            r["density_ratio"],
            *(f"{r[key]:,}" for key in ("iaf_samples", "iaf_samples_zuko")),
            r["iaf_ratio"],
        )
        for r in rows
    ]
    text = (
        "Rows a second, one thread, without gradients, the best of 100 timings in turns by processor time. "
        "zuko's IAF figure leaves out the log-det, ours has it"
    )
    return _table(heads, cells, text, f"{BENCHMARK} speed {OUTPUT}", rows)


def posterior_table(rows: list[Data]) -> str:
    """Bounds of autoencoders in nats."""
    heads = ("posterior", "ELBO (nats)", "importance-weighted, 20 draws", "steps", "parameters")
    cells = [
        (r["posterior"], r["elbo"], r["importance_bound_20"], r["steps"], f"{r['parameters']:,}")
        for r in rows
    ]
    first = rows[0]
    text = (
        f"Digits of MNIST binarised at ½, {first['digits']:,} of the {first['split']} split; "
        f"{first['seconds']:g} s of processor time each, one thread, seed {first['seed']}"
    )
    names, seconds = ",".join(r["posterior"] for r in rows), f"--seconds {first['seconds']:g}"
    command = f"{BENCHMARK} posterior {names} --data MNIST {seconds} {OUTPUT}"
    return _table(heads, cells, text, command, rows)


def _table(
    heads: tuple[str, ...], cells: list[tuple[Any, ...]], text: str, command: str, rows: list[Data]
) -> str:
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    lines = [f"| {' | '.join(map(str, line))} |" for line in (heads, ["---"] * len(heads), *cells)]
    return "\n".join([*lines, "", f"{text}. {machines}.", "", "```", command, "```"])


def filled(page: str, tables: Mapping[str, str]) -> str:
    """``page`` with each table between the comments ``<!-- NAME -->`` and ``<!-- /NAME -->``."""
    for kind, table in tables.items():
        start, end = f"<!-- {kind} -->", f"<!-- /{kind} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        page = pattern.sub(lambda _, text=f"{start}\n{table}\n{end}": text, page)  # type: ignore[misc]
    return page
