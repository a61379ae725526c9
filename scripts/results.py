"""Write docs/RESULTS.md: for each task one table of docs/acceptance.json and docs/results/*.json.

The latter are evaluations (``vflow evaluate … --json``) or comparisons of models (``rows`` of named figures).
Labels are in scripts/results.yaml. docs/results/densities.json comes from examples; its tables go into
docs/FLOWS.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.acceptance.registry import FIGURES, MEASURES, Figure, Measure
from scripts.acceptance.report import ROOT, read_store, row
from scripts.density_tables import LABELS, density_tables, filled
from vflow.benchmarks.base import table
from vflow.benchmarks.registry import MODULES, benchmark

FOLDER, PAGE = ROOT / "docs" / "results", ROOT / "docs" / "RESULTS.md"
DENSITIES, FLOWS = "densities", ROOT / "docs" / "FLOWS.md"
BENCHMARKS, BENCHMARK = ROOT / "docs" / "BENCHMARKS.md", "benchmark-"
TABLE = ("| figure | measured | promised | | measured by |", "|---|---|---|---|---|")
Data = Mapping[str, Any]


class Task(NamedTuple):
    """Contents of a task's table: beginnings of its measures' keys, and names of files of docs/results."""

    measures: tuple[str, ...]
    files: tuple[str, ...] = ()


TASKS = TypeAdapter(dict[str, Task]).validate_python(LABELS["tasks"])
ROWS = TypeAdapter(dict[str, Figure]).validate_python(LABELS["figures"])
COLUMNS, SETTINGS = LABELS["columns"], LABELS["settings"]


def main() -> int:
    """Exit code: 0, or with --check 1 if a page is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is out of date")
    arguments = parser.parse_args()
    if arguments.check:
        texts = pages()
        current = all(p.is_file() and p.read_text(encoding="utf-8") == text for p, text in texts.items())
        return 0 if current else 1
    write()
    print(PAGE)
    return 0


def write() -> None:
    """Rewrite the page and the density tables in docs/FLOWS.md."""
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Text of both pages, made from the files."""
    results = read(FOLDER)
    tables = density_tables(results[DENSITIES])
    return {
        BENCHMARKS: benchmarks(results),
        PAGE: render(results, read_store()),
        FLOWS: filled(FLOWS.read_text(encoding="utf-8"), tables),
    }


def benchmarks(results: Mapping[str, Data]) -> str:
    """The page of published benchmarks."""
    parts = [LABELS["headers"]["benchmarks"]]
    for name in MODULES:
        about = benchmark(name)
        if (data := results.get(BENCHMARK + name)) is None:
            parts += [f"## {name}: {about.summary}", "", f"{about.note}. Not measured yet.", ""]
            continue
        protocol = data["protocol"]
        made = f"torch {protocol['versions']['torch']}, {protocol['machine']}"
        made += f", {protocol['processor_seconds']} s of processor time"
        command = f"{protocol['command']} > docs/results/{BENCHMARK}{name}.json"
        parts += [f"## {name}: {about.summary}", "", table(about, data["rows"]), ""]
        parts += [f"{about.note}. {made}.", ""]
        parts += ["```", command, "```", ""]
    return "\n".join(parts)


def read(folder: Path) -> dict[str, Data]:
    """File name without suffix → output of the command."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def render(results: Mapping[str, Data], entries: Mapping[str, Data]) -> str:
    """The page: the table of each task, and what was compared for it."""
    parts = [LABELS["headers"]["results"]]
    for title, (keys, names) in TASKS.items():
        measures = [MEASURES[key] for key in FIGURES if key.startswith(keys)]
        found = {name: results[name] for name in names if name in results}
        evaluated = {name: data for name, data in found.items() if "rows" not in data}
        rows = [line for m in measures for line in promised(m, entries.get(m.key))]
        rows += [line for name, data in evaluated.items() for line in evaluation(name, data)]
        parts += [f"## {title}", "", *TABLE, *rows, ""]
        parts += [note for m in measures if (note := remark(m, entries.get(m.key)))]
        parts += [made for name, data in evaluated.items() for made in how(name, data)]
        parts += [comparison(name, data) for name, data in found.items() if "rows" in data]
    return "\n".join(parts)


def promised(measure: Measure, entry: Data | None) -> list[str]:
    """Rows of the figures of one measure that are promised or found; the first has date and commit."""
    values = (entry or {}).get("values", {})
    made = f" ({entry['date']}, {entry['commit']})" if entry and entry.get("date") else ""
    rows = [
        f"{row(key, figure, entry)} {measure.key}"
        for key, figure in measure.figures.items()
        if figure.threshold() or values.get(key) is not None
    ]
    return [f"{text}{'' if place else made} |" for place, text in enumerate(rows)]


def remark(measure: Measure, entry: Data | None) -> str:
    """A list item of what a measure said of its run; empty if nothing."""
    said = [text for text in ((entry or {}).get("error"), (entry or {}).get("note")) if text]
    return f"- {measure.key}: {'; '.join(text.rstrip('.') for text in said)}." if said else ""


def evaluation(name: str, data: Data) -> list[str]:
    """Rows of one evaluation."""
    return [
        f"| {figure.what} | {f'{shown(data[key])} {figure.unit}'.strip()} | | | {name} |"
        for key, figure in ROWS.items()
        if data.get(key) is not None
    ]


def how(name: str, data: Data) -> list[str]:
    """Settings and command of one evaluation."""
    protocol = data["protocol"]
    settings = [text.format(protocol[key]) for key, text in SETTINGS.items() if key in protocol]
    made = f"torch {protocol['versions']['torch']}, checkpoint {protocol['checkpoint_hash'][:12]}"
    command = f"{protocol['command']} --json > docs/results/{name}.json"
    return ["", f"{name} on {protocol['data']} ({protocol['split']}): {'; '.join(settings)}; {made}.", "",
            "```", command, "```", ""]  # fmt: skip


def comparison(name: str, data: Data) -> str:
    """Table of models side by side, with the command that produced it."""
    found = [key for key in COLUMNS if any(key in row for row in data["rows"])]
    rows = [
        f"| {' | '.join([row['model'], *(shown(row[key]) if key in row else '' for key in found)])} |"
        for row in data["rows"]
    ]
    heads = [f"| | {' | '.join(COLUMNS[key] for key in found)} |", "|---|" + "---|" * len(found)]
    made = f"{data['note']}; torch {data['protocol']['versions']['torch']}."
    command = ["```", f"{data['protocol']['command']} > docs/results/{name}.json", "```", ""]
    return "\n".join(["", f"### {data['title']}", "", *heads, *rows, "", made, "", *command])


def shown(value: Any) -> str:
    """A number with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
