"""The public endpoints for video and about models; those of the other tabs are in modules of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from vflow.checkpoint import checkpoint_hash
from vflow.data import media
from vflow.errors import VflowError
from vflow.pipelines.video.score import score

from . import colourise_endpoint, digits_endpoint, engine, walk_endpoint
from .common import QUEUE, Shared, checkpoint_input, one_line, shown
from .uploads import paths_of


def build(shared: Shared) -> None:
    """Add the endpoints; their components exist for the types and defaults alone and are never visible."""
    with gr.Group(visible=False):
        files = gr.File(label="files", file_count="multiple")
        checkpoint = checkpoint_input(shared, "videoflow")
        any_checkpoint = checkpoint_input(shared)
        numbers = [
            gr.Number(8, label="num_samples"),
            gr.Number(10, label="num_frames"),
            gr.Number(1.0, label="temperature"),
            gr.Number(0, label="seed"),
        ]
        levels = gr.Textbox("", label="level_temperatures")
        fps = gr.Number(5, label="preview_fps")
        outputs = [gr.File(label=name) for name in ("futures.npz", "previews.zip", "settings.json")]
        report = gr.JSON(label="report")
        trigger = gr.Button()
    _predict_future(shared, trigger, [files, checkpoint, *numbers, levels, fps], outputs)
    _score(shared, trigger, [files, checkpoint, numbers[3]], report)
    _model_info(shared, trigger, any_checkpoint, report)
    digits_endpoint.build(shared, trigger)
    colourise_endpoint.build(shared, trigger)
    walk_endpoint.build(shared, trigger)


def _predict_future(shared: Shared, trigger: gr.Button, inputs: list[Any], outputs: list[Any]) -> None:
    def predict_future(
        files: list[str],
        checkpoint: str,
        num_samples: float,
        num_frames: float,
        temperature: float,
        seed: float,
        level_temperatures: str,
        preview_fps: float,
    ) -> Iterator[Any]:
        """Draw futures of the given frames: native arrays (npz), previews (zip) and settings (json)."""
        paths = paths_of(files)
        try:
            settings = engine.settings_from(num_samples, num_frames, temperature, level_temperatures, seed)
            job = engine.begin(shared, engine.Wish(checkpoint, paths, settings))
            for _ in engine.advance(job, lambda: False):
                yield gr.skip(), gr.skip(), gr.skip()  # a client's cancel() takes effect here
            run = engine.keep(shared, job, engine.within("preview_fps", preview_fps, 1, 60))
        except VflowError as error:
            raise shown(one_line(shared, error, paths)) from None
        yield str(run.native), str(run.archive), str(run.settings)

    trigger.click(
        predict_future, inputs, outputs, api_name="predict_future", concurrency_id=QUEUE, concurrency_limit=1
    )


def _score(shared: Shared, trigger: gr.Button, inputs: list[Any], report: gr.JSON) -> None:
    def score_clip(files: list[str], checkpoint: str, seed: float) -> dict[str, Any]:
        """Bits per dimension of each frame given those before it."""
        paths = paths_of(files)
        try:
            model = shared.models.load(checkpoint, "videoflow")
            whole = engine.whole("seed", seed, 0, engine.MAX_SEED)
            return score(model, media.read_frames(paths), seed=whole).to_json()
        except VflowError as error:
            raise shown(one_line(shared, error, paths)) from None

    trigger.click(score_clip, inputs, report, api_name="score", concurrency_id=QUEUE, concurrency_limit=1)


def _model_info(shared: Shared, trigger: gr.Button, checkpoint: gr.Dropdown, report: gr.JSON) -> None:
    def model_info(checkpoint: str) -> dict[str, Any]:
        """Configuration, hash and model card of a checkpoint, and the names of all that are on offer."""
        try:
            folder = shared.models.folder(checkpoint)
            model = shared.models.load(checkpoint)
            card = folder / "README.md"
            return {
                "checkpoint": checkpoint,
                "checkpoint_hash": checkpoint_hash(folder),
                "parameters": sum(p.numel() for p in model.parameters()),
                "config": model.config.model_dump(mode="json"),
                "card": card.read_text(encoding="utf-8") if card.is_file() else None,
                "checkpoints": shared.models.names(),
            }
        except VflowError as error:
            raise shown(one_line(shared, error)) from None

    trigger.click(
        model_info, checkpoint, report, api_name="model_info", concurrency_id=QUEUE, concurrency_limit=1
    )
