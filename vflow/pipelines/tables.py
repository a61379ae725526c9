"""Scores of a table's rows: log p, and rank and percentile among the rows that a density was trained on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from vflow.checkpoint import read_statistics
from vflow.config import DensityConfig
from vflow.config.density import Column
from vflow.data.datasets.points import csv_cells, default_names, places
from vflow.data.media import atomic_write
from vflow.errors import CheckpointError, ConfigError, InputError
from vflow.pipelines.common import config_of
from vflow.pipelines.density import open_points, require_vectors, score_rows


@dataclass(frozen=True)
class RowScores:
    """Scores of the rows of a table that are complete.

    Attributes:
        log_p: nats, float64 (N,), given the columns that are conditions.
        rank: of a row among the training rows, 1 for one that is less likely than all of them, int64 (N,);
            None where the checkpoint does not know these.
        percentile: share of the training rows that are less likely, in %, float64 (N,).
        complete: for each row of the table, True unless a cell is missing, bool (M,).
    """

    log_p: np.ndarray
    rank: np.ndarray | None
    percentile: np.ndarray | None
    complete: np.ndarray


def score_table(model: nn.Module, folder: Path, source: Path, *, drop_missing: bool = False) -> RowScores:
    """Scores of the rows of a CSV by a density in ``folder`` that was trained on such a table.

    Columns are found by their names, if the file has a header; others are passed over.

    Raises:
        CheckpointError: another model, or one that was not trained on a table.
        InputError: the file cannot be read, lacks a column, or has missing cells.
    """
    config = config_of(model, DensityConfig)
    if not config.columns:
        raise CheckpointError(f"{folder}: was trained on no table; 'vflow evaluate' scores other points")
    if source.suffix == ".npz":
        raise InputError(f"{source}: give a CSV, whose rows are written again with their scores")
    rows = open_points(str(source), "test", config, drop_missing=drop_missing)
    log_p = score_rows(require_vectors(model), rows)
    statistics = read_statistics(folder)
    known, count = np.array(statistics.get("train_log_p", [])), statistics.get("train_rows", 0)
    rank = percentile = None
    if len(known):
        share = np.interp(log_p, known, np.linspace(0, 1, len(known)))
        if len(known) == count:  # all of them: no need to interpolate
            share = np.searchsorted(known, log_p) / count
        rank, percentile = 1 + np.floor(share * count + 1e-6).astype(np.int64), 100 * share
    return RowScores(log_p, rank, percentile, rows.table.complete)


def write_scores(path: Path, source: Path, scores: RowScores) -> None:
    """Write the cells of ``source`` as they are, with columns log_p_nats, rank and percentile.

    Rows with missing cells have no scores.

    Raises:
        InputError: the file cannot be written.
    """
    added = {
        "log_p_nats": (scores.log_p, ".9g"),
        "rank": (scores.rank, "d"),
        "percentile": (scores.percentile, ".4f"),
    }
    columns = {name: (values, form) for name, (values, form) in added.items() if values is not None}
    place, complete, begun = 0, iter(scores.complete), False
    with atomic_write(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for _, cells, is_header in csv_cells(source):
            if not begun:
                writer.writerow([*(cells if is_header else default_names(len(cells))), *columns])
                begun = True
            if is_header:
                continue
            found = [""] * len(columns)
            if next(complete):
                found = [format(values[place], form) for values, form in columns.values()]
                place += 1
            writer.writerow([*cells, *found])


def parse_condition(columns: Sequence[Column], text: str | None) -> list[float]:
    """Values of the columns that are conditions, in their order, from ``NAME=VALUE,NAME=VALUE``.

    Raises:
        ConfigError: a column without its value, a value that is no number, or one of another column.
    """
    names = [column.name for column in columns if column.condition]
    given = {}
    for part in filter(None, (text or "").split(",")):
        name, _, value = part.rpartition("=")
        try:
            given[name.strip()] = float(value)
        except ValueError as error:
            raise ConfigError(f"--condition {part}: give NAME=VALUE, VALUE a number") from error
    if sorted(given) != sorted(names):
        wanted = f"give {','.join(f'{name}=VALUE' for name in names)}" if names else "leave it out"
        raise ConfigError(f"--condition: the model has {', '.join(names) or 'no'} conditions; {wanted}")
    return [given[name] for name in names]


def complete_rows(columns: Sequence[Column], points: np.ndarray, given: Sequence[float]) -> np.ndarray:
    """Points (N, D) with the values of conditions, in the order of the table's columns.

    Points of the sphere become latitudes and longitudes where the table has those.
    """
    if len(columns) == 2 and points.shape[1] == 3:
        return places(points, [column.name for column in columns])
    if not given:
        return points
    rows = np.empty((len(points), len(columns)), dtype=points.dtype)
    conditions = np.array([column.condition for column in columns])
    rows[:, conditions], rows[:, ~conditions] = given, points
    return rows
