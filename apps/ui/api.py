"""Public endpoints for programs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import wraps
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import FileData
from gradio.context import LocalContext

from vflow.catalog import AUTO
from vflow.checkpoint import read_card
from vflow.config.settings import Shown, description
from vflow.errors import VflowError

from .lab import job as lab_jobs
from .lab.systems import EXAMPLES, FILE, suited
from .shared import checks
from .shared.checks import LEVELS
from .shared.context import AppContext, sentences, to_gradio_error
from .shared.events import JOB
from .shared.faces import SETTINGS, Face, checked
from .shared.fit import find_checkpoint, judge_files, sentence
from .shared.forms import NAME_ORDER, by_name, level_temperatures, paths_of, slider_temperature
from .shared.turns import Party, Turn
from .tasks import faces
from .walk import job as walk_jobs
from .walk.kinds import LIKELIEST, first_checkpoint, walkable


def build(app: AppContext) -> None:
    """Add the endpoints; their components exist for types and defaults alone and are never visible."""
    with gr.Group(visible=False):
        trigger = gr.Button()
        _model_info(app, trigger)
        for face in faces():
            _task(app, trigger, face)
        _walk(app, trigger)
        _learn_density(app, trigger)


MANY = "; several are separated by semicolons"
Job = Generator[Any, None, None]
"""A job of an endpoint: turns that it needs, None where a client's ``cancel()`` may end it, and its reply."""


def _expose(
    app: AppContext,
    trigger: gr.Button,
    name: str,
    job: Callable[..., Job],
    inputs: dict[str, Any],
    outputs: Sequence[Any],
) -> None:
    """Make a public endpoint of ``job``, which has its steps in their turns; ``inputs`` by parameter."""
    skips: Any = (gr.skip(),) * len(outputs) if len(outputs) > 1 else gr.skip()

    @wraps(job)
    async def run(*values: Any, **named: Any) -> AsyncGenerator[Any, None]:
        party = Party.of(LocalContext.request.get())
        async with aclosing(app.turns.take(job(*values, **named), party, lambda _: None)) as replies:
            reply = step = None
            async for step in replies:
                reply = reply if step is None else step
                yield skips if step is None else step
            if step is None and reply is not None:  # gradio takes the last update
                yield reply

    trigger.click(
        run,
        None,
        list(outputs),
        inputs_kwargs=inputs,
        api_name=name,
        api_visibility="public",
        **JOB,
    )


@contextmanager
def _plain_errors(app: AppContext, paths: Sequence[str] = ()) -> Iterator[None]:
    """Errors inside the block as one line for the client, with file names in place of ``paths``."""
    try:
        yield
    except VflowError as error:
        raise to_gradio_error(app.error_message(error, paths)) from None


def _temperatures(
    app: AppContext, checkpoint: str, temperature: float | None, levels: str | None = ""
) -> tuple[Any, str]:
    """The temperature and those per level; where none is given, those that the checkpoint suggests."""
    if temperature is not None or checks.listed_temperatures(levels):
        return 1.0 if temperature is None else temperature, levels or ""
    return slider_temperature(app, checkpoint), level_temperatures(app, checkpoint)


def _suggested() -> gr.Number:
    """A temperature that may be left out."""
    return gr.Number(None, label="temperature")


def _fit_remark(app: AppContext, checkpoint: str | None, paths: Sequence[str]) -> list[str]:
    """A remark on how an upload fits the model, as the page has it; none where nothing is known."""
    verdict = judge_files(app, checkpoint, paths)
    return [text] if verdict and (text := sentence(verdict)) else []


def _add_remarks(settings: Path, remarks: Sequence[str]) -> None:
    """Add remarks to a settings file, where there is one."""
    if remarks and settings.is_file():
        record = json.loads(settings.read_text(encoding="utf-8"))
        settings.write_text(
            json.dumps({**record, "remarks": list(remarks)}, indent=2) + "\n", encoding="utf-8"
        )


def _clip(files: Sequence[str] | None, sort_by_name: bool) -> tuple[list[str], list[str]]:
    """A clip's files in order, and a remark where that is not the one given."""
    paths = by_name(files) if sort_by_name else paths_of(files)
    return paths, [] if paths == paths_of(files) else [NAME_ORDER]


def _sort_by_name() -> gr.Checkbox:
    return gr.Checkbox(True, label="sort_by_name")


def _files(*names: str) -> list[gr.File]:
    return [gr.File(label=name) for name in names]


def _uploads(name: str = "files") -> gr.File:
    return gr.File(None, label=name, file_count="multiple")


def _checkpoint(app: AppContext, *families: str, auto: bool = False) -> gr.Dropdown:
    """Any name; the default is ``auto``, or else one of the ``families``, if there is one."""
    names = app.models.names(*families)
    return _any_checkpoint([AUTO, *names] if auto else names, AUTO if auto else app.models.default(*families))


def _any_checkpoint(names: Sequence[str], first: str | None) -> gr.Dropdown:
    return gr.Dropdown(names, value=first, label="checkpoint", allow_custom_value=True)


def _model_info(app: AppContext, trigger: gr.Button) -> None:
    def model_info(checkpoint: str) -> Job:
        """Configuration, hash and model card of a checkpoint, and the names of all checkpoints."""
        with _plain_errors(app):
            folder = app.models.folder(checkpoint)
            model = app.models.load(checkpoint)
            yield {
                "checkpoint": checkpoint,
                "checkpoint_hash": app.models.record(checkpoint)["checkpoint_hash"],
                "parameters": sum(p.numel() for p in model.parameters()),
                "config": model.config.model_dump(mode="json"),
                "card": read_card(folder),
                "checkpoints": app.models.names(),
            }

    inputs = {"checkpoint": _checkpoint(app)}
    _expose(app, trigger, "model_info", model_info, inputs, [gr.JSON(label="report")])


def _task(app: AppContext, trigger: gr.Button, face: Face) -> None:
    """The endpoint of a task of the registry; its parameters are the task's settings."""
    about, auto, fields = face.command, face.command.usual == AUTO, face.kind.model_fields
    shown = {name: each for name, each in fields.items() if Shown.of(each).label}
    first = ("file" if face.most == 1 else "files") if face.takes_files else next(iter(shown))
    settings = {name: _parameter(name, _common_default(face, name)) for name in shown}

    def run(checkpoint: str = "", sort_by_name: bool = False, **given: Any) -> Job:
        files = given.pop(first) if face.takes_files else None
        (paths, notes), results = _clip(files, sort_by_name), list[Any]()
        with _plain_errors(app, paths):
            if auto:
                yield Turn.READ
                checkpoint = find_checkpoint(app, checkpoint, paths, face.purpose, *face.families)
            own = face.of(app, checkpoint)
            if "fps" in fields:
                given["fps"] = checks.number_within("preview_fps", given.pop("preview_fps"), 1, 60)
            if "temperature" in given:
                one, levels = _temperatures(app, checkpoint, given["temperature"], given.get(LEVELS))
                given |= {"temperature": one, LEVELS: levels if LEVELS in given else ""}
            for name in shown:
                if given[name] is None and settings[name].value is None:
                    given[name] = own.kind.model_fields[name].default
            asked = checked(own.kind, given)
            items = own.paths(paths)
            with app.runs.job_folder() as folder:
                for number, item in enumerate(items, 1):
                    yield Turn.READ if item else Turn.COMPUTE
                    job = own.begin(app, checkpoint, asked, item)
                    yield Turn.COMPUTE
                    yield from job.advance(_never)
                    results.append(job.save(app, folder / str(number) if item else folder))
                    notes += job.remarks(results[-1]) if item else []
                for _ in own.archive(results[0].folder, results):
                    yield None
                fit: list[str] = []
                if face.fits:
                    yield Turn.JUDGE
                    fit = _fit_remark(app, checkpoint, paths)
                notes = notes if face.names_files else sentences(notes)
                remarks = [*fit, *notes]
                _add_remarks(results[0].folder / SETTINGS, remarks)
        reply = tuple(map(_sent, face.reply(results[0], remarks)))
        yield reply if len(reply) > 1 else reply[0]

    described = "; ".join(
        f"{name}: {description(each)}{MANY if each.default == () else ''}" for name, each in shown.items()
    )
    needed = {name: settings[name] for name, each in shown.items() if each.default is not None}
    upload = gr.File(label=first) if face.most == 1 else _uploads()
    inputs: dict[str, Any] = {first: upload if face.takes_files else settings[first]}
    inputs |= {"checkpoint": _checkpoint(app, *face.families, auto=auto)} if face.chooses else {}
    inputs |= needed
    if "temperature" in shown and Shown.of(shown["temperature"]).levels:
        inputs[LEVELS] = gr.Textbox("", label=LEVELS)
        described += f"; {LEVELS}: in place of it, from fine to coarse, separated by commas"
    inputs |= {"preview_fps": gr.Number(5, label="preview_fps")} if "fps" in fields else {}
    if face.takes_clip:
        inputs["sort_by_name"] = _sort_by_name()
        described += "; sort_by_name: take several images in the order of their names, not as they are given"
    inputs |= settings
    outputs = [gr.JSON(label=name) if name == "report" else gr.File(label=name) for name in face.outputs]
    returned = " and ".join(part.label for part in outputs)
    told = ". ".join(filter(None, [f"Returns {returned}", described, face.details]))
    run.__doc__ = f"{about.help}\n\n{told}"
    optional = {name: None for name, part in settings.items() if part.value is None} | {LEVELS: ""}
    run.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(each, Parameter.KEYWORD_ONLY, default=optional.get(each, Parameter.empty))
            for each in inputs
        ]
    )
    run.__name__ = about.endpoint or about.name  # that of MCP's tool
    _expose(app, trigger, about.endpoint or about.name, run, inputs, outputs)


def _sent(each: Any, *, inside: bool = False) -> Any:
    """A file, or a report with files inside, of which clients get paths or addresses."""
    if isinstance(each, dict):
        return {name: _sent(part, inside=True) for name, part in each.items()}
    if not isinstance(each, Path):
        return each
    return FileData(path=str(each), orig_name=each.name).model_dump() if inside else str(each)


def _common_default(face: Face, name: str) -> Any:
    """Default of a setting; None where it depends on the model."""
    first, *others = (each.kind.model_fields[name].default for each in (face, *face.joined))
    return first if all(other == first for other in others) and name != "temperature" else None


def _parameter(name: str, default: Any) -> Any:
    """Component of a setting, for its type and default; of None a number, which may be left out."""
    if isinstance(default, bool):
        return gr.Checkbox(default, label=name)
    kind = gr.Number if default is None or isinstance(default, int | float) else gr.Textbox
    return kind("" if default == () else default, label=name)


def _walk(app: AppContext, trigger: gr.Button) -> None:
    names = ("grid.png", "walk.mp4", "walk.npz", "settings.json")

    def walk(
        files: Any = None,
        to: Any = None,
        negatives: Any = None,
        positives: Any = None,
        temperature: float | None = None,
        sort_by_name: bool = True,
        **settings: Any,
    ) -> Job:
        """A walk through latents: all steps (png), a video (mp4), native arrays (npz) and settings (json).

        Several images of a clip are taken in the order of their names, or with sort_by_name=False as they are
        given.

        Settings are those of ``vflow walk``; directions and samples count from 0.
        Extent 0 is the default of the kind of walk; ``to`` is the end of an interpolation or a transfer.
        Temperatures per level, from fine to coarse and separated by commas, override the one for all levels;
        without any, those the checkpoint suggests apply.
        """
        if isinstance(kind := settings.get("kind"), str):
            settings["kind"] = kind.strip().lower()
        given = {"files": files, "to": to, "negatives": negatives, "positives": positives}
        clips = {name: _clip(group, sort_by_name) for name, group in given.items()}
        order = dict.fromkeys(remark for _, remarks in clips.values() for remark in remarks)
        groups: dict[str, Any] = {name: paths for name, (paths, _) in clips.items()}
        request = walk_jobs.Request(temperature=temperature, **groups, **settings)
        with _plain_errors(app, request.paths()):
            yield Turn.READ if request.paths() else Turn.COMPUTE
            job = walk_jobs.Job.begin(app, request)
            yield Turn.COMPUTE
            for _ in job.advance(app, _never):
                yield None
            result = job.save(app)
            if files:
                yield Turn.JUDGE
            fit = _fit_remark(app, request.checkpoint, groups["files"])
            remarks = [*fit, *sentences([*order, *job.inputs.notes])]
            _add_remarks(result.settings, remarks)
        yield str(result.grid), str(result.film), str(result.native), str(result.settings)

    inputs = {
        "files": _uploads(),
        "to": _uploads("to"),
        "checkpoint": _any_checkpoint(walkable(app.models), first_checkpoint(app.models)),
        "kind": gr.Textbox("direction", label="kind"),
        "steps": gr.Number(9, label="steps"),
        "direction": gr.Number(0, label="direction"),
        "level": gr.Textbox("-1", label="level"),
        "extent": gr.Number(0, label="extent"),
        "temperature": _suggested(),
        "seed": gr.Number(0, label="seed"),
        "label": gr.Textbox(LIKELIEST, label="label"),
        "num_frames": gr.Number(8, label="num_frames"),
        "first_sample": gr.Number(0, label="first_sample"),
        "second_sample": gr.Number(1, label="second_sample"),
        "negatives": _uploads("negatives"),
        "positives": _uploads("positives"),
        "sort_by_name": _sort_by_name(),
        "level_temperatures": gr.Textbox("", label="level_temperatures"),
    }
    _expose(app, trigger, "walk", walk, inputs, _files(*names))


def _learn_density(app: AppContext, trigger: gr.Button) -> None:
    def learn_density(
        density: str, config: str, steps: float, seed: float, files: list[str] | None = None
    ) -> Job:
        """A density of the plane, torus or sphere, an energy, or points of a file, learned by a flow.

        A file (CSV or npz, two columns) overrides ``density``. Returns the checkpoint (zip), samples (npz)
        and a report (json): nats of points held out, the entropy where it is known, and the curve.
        """
        paths = paths_of(files)
        with _plain_errors(app, paths):
            file = paths[0] if paths else None
            request = lab_jobs.Request.checked(FILE if file else density, config, steps, seed, file=file)
            yield Turn.READ if file else Turn.COMPUTE
            job = lab_jobs.Job.begin(app, request)
            yield Turn.COMPUTE
            yield from job.advance(_never)
            result = job.save()
        yield str(result.checkpoint), str(result.points), str(result.report)

    inputs = {
        "density": gr.Textbox(EXAMPLES[0], label="density"),
        "config": gr.Textbox(suited(EXAMPLES[0])[0].preset, label="config"),
        "steps": gr.Number(lab_jobs.STEPS, label="steps"),
        "seed": gr.Number(0, label="seed"),
        "files": _uploads(),
    }
    outputs = _files("checkpoint.zip", "samples.npz", "report.json")
    _expose(app, trigger, "learn_density", learn_density, inputs, outputs)


def _never() -> bool:
    return False
