"""The box that takes a clip: frames in order, a video or an array; its files can be put in another order."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import uploads
from .controls import PICK, QUICK


def build(prefix: str) -> gr.File:
    """The upload box, its thumbnails, and what keeps the two in step; ids begin with ``prefix``."""
    files = gr.File(
        label="Frames: images in order, one video, or npz",
        file_count="multiple",
        allow_reordering=True,
        height=132,
        elem_id=f"{prefix}-files",
        elem_classes="vf-files",
    )
    strip = gr.HTML(
        "", js_on_load=PICK, apply_default_css=False, elem_id=f"{prefix}-strip", elem_classes="vf-strip"
    )
    with gr.Row(visible=False, elem_classes="vf-order") as order:
        more = gr.UploadButton("Add files", file_count="multiple", size="sm", min_width=90)
        by_name = gr.Button("Sort by name", size="sm", min_width=90)
        backwards = gr.Button("Reverse", size="sm", min_width=90)

    def redraw(paths: list[str] | None) -> tuple[Any, ...]:
        count = len(uploads.paths_of(paths))
        return uploads.strip(paths), *(gr.update(visible=count > shown) for shown in (0, 1, 1))

    def move(paths: list[str] | None, event: gr.EventData) -> list[str]:
        return uploads.changed(paths, str(event.action), int(event.index))

    files.upload(uploads.by_name, files, files, **QUICK)
    files.change(redraw, files, [strip, order, by_name, backwards], **QUICK)
    more.upload(
        lambda old, new: uploads.by_name([*uploads.paths_of(old), *new]), [files, more], files, **QUICK
    )
    strip.select(move, files, files, **QUICK)
    by_name.click(uploads.by_name, files, files, **QUICK)
    backwards.click(lambda paths: uploads.paths_of(paths)[::-1], files, files, **QUICK)
    return files
