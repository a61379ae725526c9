"""``vflow sample``: points of a density of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vflow.commands.common import NONE_GIVEN, CommonFlags, check_checkpoint, note, open_model
from vflow.errors import counted
from vflow.flags import Text


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw points from a density of vectors, such as one trained with --config maf."""

    checkpoint: Text = None
    """A folder or a hub id; 'vflow train --config maf' makes one."""
    output: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """FILE.csv, one point a line below the names of a table's columns, or FILE.npz with points (N, D);
    replaced if it exists."""
    num_samples: Annotated[int, tyro.conf.arg(metavar="N")] = 1000
    """Points to draw; a larger number only adds points."""
    condition: Text = None
    """NAME=VALUE,NAME=VALUE: values of a table's columns that the others are drawn given."""
    common: CommonFlags = NONE_GIVEN

    def run(self) -> int:
        """Returns 0."""
        checkpoint = check_checkpoint(self.checkpoint, ("density",))
        from vflow.data.media import check_folder
        from vflow.pipelines.common import precision, set_threads
        from vflow.pipelines.density import check_ending, draw_points, table_columns, write_points
        from vflow.pipelines.tables import complete_rows, parse_condition

        check_ending(self.output)
        check_folder(self.output.parent)
        set_threads(self.common.threads)
        model, _, device = open_model(checkpoint, self.common.device)
        columns = table_columns(model)
        given = parse_condition(columns, self.condition)
        with precision(self.common.dtype, device):
            drawn = draw_points(model, self.num_samples, self.common.seed or 0, given or None)
        points = complete_rows(columns, drawn.points, given)
        write_points(self.output, points, [column.name for column in columns])
        if drawn.redrawn:
            note(f"{counted(drawn.redrawn, 'point')} drawn again: not finite")
        print(self.output)
        return 0
