"""Tables of docs/results/densities.json, written by examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Row = Mapping[str, Any]
BENCHMARK = "python -m examples.densities"
SYSTEMS = "python -m examples.systems"
OUTPUT = "--output docs/results/densities.json"
LABELS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("results.yaml").read_text(encoding="utf-8"))
"""Labels of all tables of the results."""


def density_tables(data: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """Kind → table of its rows, with machine and command."""
    return {kind: _table(kind, data[kind]) for kind in LABELS["densities"] if data.get(kind)}


def _table(kind: str, rows: Sequence[Row]) -> str:
    about, shown = LABELS["densities"][kind], ARRANGED.get(kind, list)(rows)
    heads, cells = zip(*about["columns"], strict=True)
    lines = [heads, ["---"] * len(heads), *([cell.format(**row) for cell in cells] for row in shown)]
    facts = {**rows[0], "seconds": max(row["seconds"] for row in rows)} if "seconds" in rows[0] else rows[0]
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    text, command = (about[part].format(**facts) for part in ("text", "command"))
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([*table, "", f"{text}. {machines}.", "", "```", f"{command} {OUTPUT}", "```"])


def _by_nats(rows: Sequence[Row]) -> list[Row]:
    """Densities as they come, the best model of each first."""
    order = {row["density"]: place for place, row in reversed(list(enumerate(rows)))}
    return sorted(rows, key=lambda row: (order[row["density"]], row["above"]))


def _by_energy(rows: Sequence[Row]) -> list[Row]:
    """A row an energy, its figures by the number of layers."""
    return [
        {"energy": energy}
        | {key: {r["layers"]: r[key] for r in rows if r["energy"] == energy} for key in ("kl", "effective")}
        for energy in dict.fromkeys(row["energy"] for row in rows)
    ]


def _with_widths(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "hidden": ", ".join(map(str, row["hidden"]))} for row in rows]


def _with_names(rows: Sequence[Row]) -> list[Row]:
    names = {"Pareto": "two-sided Pareto", "Student": "Student's t"}
    return [{**row, "density": names[row["density"]]} for row in rows]


ARRANGED: dict[str, Callable[[Sequence[Row]], list[Row]]] = {
    "plane": _by_nats,
    "energies": _by_energy,
    "bits": _with_widths,
    "tails": _with_names,
}
"""Kind → its rows as the table shows them, where that is another way than they are kept."""


def filled(page: str, tables: Mapping[str, str]) -> str:
    """``page`` with each table inserted between its comments ``<!-- NAME -->`` and ``<!-- /NAME -->``."""
    for kind, table in tables.items():
        start, end = f"<!-- {kind} -->", f"<!-- /{kind} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        page = pattern.sub(lambda _, text=f"{start}\n{table}\n{end}": text, page)  # type: ignore[misc]
    return page
