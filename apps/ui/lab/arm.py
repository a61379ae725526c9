"""Inverse problem of the Lab: a hundred arms that reach a point, by a flow learned on the page and exactly.

The arm and its exact posterior are those of ``vflow.densities.inverse`` (Ardizzone et al. 2018). The first
target makes the flow p(arm | hand) learn from fresh pairs; it then serves all pages until the app ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr
import torch
from torch import Tensor

from vflow.config import TrainingConfig
from vflow.densities.inverse import Arm
from vflow.errors import ConfigError, InputError
from vflow.models import DensityModel
from vflow.models.inverse import posterior_flow
from vflow.randomness import forked_rng, normal
from vflow.training.inverse import fit_posterior

from ..shared.checks import number_within
from ..shared.context import AppContext
from ..shared.events import (
    ON_PAYLOAD,
    Buttons,
    ComponentGroup,
    ShouldStop,
    StatusBar,
    Steps,
    Trigger,
    Updates,
    html_block,
    wire_jobs,
)
from ..shared.html import progress
from ..shared.turns import Turn

ARMS = 100
STEPS = 2000
TRAINING = TrainingConfig(
    batch_size=512, max_steps=STEPS, learning_rate=2e-3, warmup_steps=20, ema=0.99, actnorm_batch=4096
)
INTERVAL = 0.8  # seconds between pictures while it learns, at least
OUT, UP = (-0.4, 2.4), (-1.7, 1.7)  # of the picture: away from the rail, and along it
UNIT = 100  # of the drawing, for one of the arm's
INTRODUCTION = (
    '<div class="vf-arm-head"><h2>An arm that reaches a point</h2><p>An arm slides on a rail and bends at '
    "three joints: four numbers; its hand reveals only two. Click a target. A conditional flow, learned "
    "here from random arms and their hands alone, draws a hundred arms that reach it; beside them the exact "
    "answer (Ardizzone et al. 2018).</p></div>"
)


class Target(NamedTuple):
    """Place for the hand: away from the rail, and along it."""

    out: float
    up: float

    @classmethod
    def checked(cls, out: Any, up: Any) -> Target:
        """The target, if it lies in the picture.

        Raises:
            InputError: a number is missing or outside of it.
        """
        return cls(number_within("target x", out, *OUT), number_within("target y", up, *UP))

    @property
    def observed(self) -> Tensor:
        """As the arm is observed: float32 (2,), its height first."""
        return torch.tensor([self.up, self.out])


class Learner:
    """The flow of the arm; ``model`` is None until it has learned to the end."""

    def __init__(self) -> None:
        self.arm = Arm()
        self.model: DensityModel | None = None

    def learn(self, steps: int = STEPS) -> Iterator[tuple[int, DensityModel]]:
        """Learn, a generator: the steps done, and the model as it is. Ends once another has learned it."""
        with forked_rng(0):
            model = posterior_flow(self.arm.dim, self.arm.observed_dim)
        config = TRAINING.model_copy(update={"max_steps": steps})
        with closing(fit_posterior(model, self.arm, config)) as run:  # type: ignore[type-var]
            for each in run:
                yield each.step, model
                if self.model is not None:
                    return
        self.model = model

    def draw(self, model: DensityModel, target: Target) -> Tensor:
        """A hundred arms (100, 4) of the flow."""
        noise = normal((ARMS, model.noise_dim), "lab-arms")
        with torch.no_grad():
            return model.sample(noise, target.observed.expand(ARMS, -1))

    def exact(self, target: Target) -> Tensor:
        """A hundred arms (100, 4) of the exact posterior.

        Raises:
            InputError: hardly any arm reaches the target.
        """
        try:
            return self.arm.posterior(target.observed, ARMS, "lab-exact")
        except ConfigError as error:
            where = f"({target.out:g}, {target.up:g})"
            raise InputError(
                f"hardly any arm reaches {where}; choose a target nearer to the middle of its reach"
            ) from error

    def misses(self, arms: Tensor, target: Target) -> float:
        """Mean distance of the hands of ``arms`` (N, 4) from the target."""
        return float((self.arm.observe(arms) - target.observed).norm(dim=1).mean())


@dataclass(frozen=True)
class Form(ComponentGroup):
    """The target in numbers, for those who do not click."""

    out: gr.Number
    up: gr.Number

    def target(self, values: Updates) -> Target:
        """The target that stands in the form."""
        return Target.checked(values[self.out], values[self.up])


def build(app: AppContext) -> None:
    """Lay out the part and wire it."""
    learner = Learner()
    html_block(INTRODUCTION)
    with gr.Row(equal_height=False, elem_classes="vf-arm"):
        with gr.Column(scale=5, min_width=300, elem_classes="vf-inputs"):
            with gr.Group(elem_classes="vf-card"), gr.Row():
                form = Form(
                    gr.Number(
                        1.4,
                        label="Target x",
                        info="Away from the rail; the longest link is 1.",
                        step=0.1,
                        min_width=110,
                    ),
                    gr.Number(
                        0.7,
                        label="Target y",
                        info="Along the rail; the longest link is 1.",
                        step=0.1,
                        min_width=110,
                    ),
                )
            buttons = Buttons.row("Draw arms", "arm", ready=True)
        with gr.Column(scale=9, min_width=300, elem_classes="vf-outputs"):
            bar = StatusBar.below(buttons, "arm")
            results = html_block(start(learner.arm), "vf-arm-results", js_on_load=ON_PAYLOAD)

    def reach(values: Updates, event: gr.EventData, should_stop: ShouldStop) -> Steps:
        yield from bar.with_errors(app, [], _steps(learner, form, bar, results, values, should_stop))

    def take(values: Updates, event: gr.EventData) -> Updates:
        return {form.out: event.out, form.up: event.up}

    triggers = [Trigger(buttons.run.click, reach), Trigger(results.select, reach, take)]
    inputs = form.components()
    wire_jobs(app, "arm", bar, triggers, inputs, [*bar.components(), results, *inputs])


def _steps(
    learner: Learner, form: Form, bar: StatusBar, results: gr.HTML, values: Updates, should_stop: ShouldStop
) -> Steps:
    """One target on the page; before the first the flow learns, and its arms are shown as they get better."""
    target = form.target(values)
    yield Turn.COMPUTE
    exact = learner.exact(target)
    yield {results: stages(learner.arm, target, None, exact), **bar.buttons.working()}
    if learner.model is None:
        shown = time.monotonic()
        for step, model in learner.learn():
            if should_stop():
                arms = learner.draw(model, target)
                yield {
                    results: stages(learner.arm, target, arms, exact),
                    **bar.stopped(f"Stopped after {step} of {STEPS} steps; the next target begins anew."),
                }
                return
            if step < STEPS and time.monotonic() - shown > INTERVAL:
                text = f"Learning from random arms: step {step} of {STEPS}"
                yield {
                    bar.status: progress(step, STEPS, text, "Steps learned"),
                    results: stages(learner.arm, target, learner.draw(model, target), exact),
                }
                shown = time.monotonic()
    assert learner.model is not None
    began = time.monotonic()
    arms = learner.draw(learner.model, target)
    spent = 1000 * (time.monotonic() - began)
    yield {
        results: stages(learner.arm, target, arms, exact),
        **bar.done(
            f"A hundred arms in {spent:.0f} ms. Their hands miss the target by "
            f"{learner.misses(arms, target):.3f} on average, where the longest link is 1."
        ),
    }


def start(arm: Arm) -> str:
    """The picture before any target: arms of the prior."""
    return _section(
        _stage(arm, arm.pairs(ARMS, "lab-prior")[0], None, "Random arms, no target yet: click to set one")
    )


def stages(arm: Arm, target: Target, flow: Tensor | None, exact: Tensor) -> str:
    """Arms (N, 4) of the flow, None before it has drawn any, beside those of the exact posterior."""
    return _section(
        _stage(arm, flow, target, "Arms of the flow" if flow is not None else "The flow is still learning"),
        _stage(arm, exact, target, "Arms of the exact posterior"),
    )


def _section(*figures: str) -> str:
    return f'<section class="vf-arm-stages" aria-label="Arms">{"".join(figures)}</section>'


def _stage(arm: Arm, arms: Tensor | None, target: Target | None, caption: str) -> str:
    """A picture (SVG) of arms, the rail and the target; arm.js sends a click as a target."""
    width, height = UNIT * (OUT[1] - OUT[0]), UNIT * (UP[1] - UP[0])
    rail = _place(0, 0)[0]
    paths = (
        "" if arms is None else "".join(f'<path d="{_path(each)}"/>' for each in arm.joints(arms).tolist())
    )
    where = "" if target is None else f" to ({target.out:.2f}, {target.up:.2f})"
    count = 0 if arms is None else len(arms)
    mark = ""
    if target is not None:
        x, y = _place(*target)
        mark = (
            f'<path class="vf-arm-target" d="M{x - 9:.1f} {y:.1f}h18M{x:.1f} {y - 9:.1f}v18"/>'
            f'<circle class="vf-arm-target" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
        )
    return (
        f'<figure><svg viewBox="0 0 {width:.0f} {height:.0f}" data-left="{OUT[0]}" data-top="{UP[1]}"'
        f' data-unit="{UNIT}" role="img" aria-label="{caption}: {count} arms from the rail{where}">'
        f'<path class="vf-arm-rail" d="M{rail:.1f} 0V{height:.1f}"/>'
        f'<g class="vf-arm-links">{paths}</g>{mark}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _path(joints: list[list[float]]) -> str:
    """Path data through the joints, (4, 2): away from the rail, and along it."""
    return "M" + "L".join("{:.1f} {:.1f}".format(*_place(*joint)) for joint in joints)


def _place(out: float, up: float) -> tuple[float, float]:
    """A point of the picture."""
    return UNIT * (out - OUT[0]), UNIT * (UP[1] - up)
