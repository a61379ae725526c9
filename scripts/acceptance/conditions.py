"""Other kinds of conditioning: posteriors of the arm, knowledge types added to a frozen flow."""

from __future__ import annotations

import json
from collections.abc import Mapping

from examples import invertible_network as inverse
from examples import knowledge_types as types
from scripts.acceptance.digits import mnist
from scripts.acceptance.registry import Figure, Result, measure
from scripts.acceptance.report import ROOT
from vflow.devices import one_thread

ARM_SECONDS = 120.0


@measure(
    "N",
    flow=Figure("arm: calibration error of the conditional flow", "", at_most=0.03, aim="0.01"),
    network=Figure("arm: the same for the invertible network", "", at_most=0.03, aim="0.01"),
    exact=Figure("arm: the same for exact posteriors, by rejection sampling"),
    flow_error=Figure("arm: error of re-simulated y, conditional flow (arm length: 2)"),
    network_error=Figure("arm: the same, invertible network"),
)
@one_thread()
def arm() -> Result:
    """1,000 new observations, 500 samples from each posterior; each training takes 120 s of processor
    time."""
    exact, flow, network = inverse.run("arm", ARM_SECONDS, 0)
    values = {
        "flow": flow["calibration_error"],
        "network": network["calibration_error"],
        "exact": exact["calibration_error"],
        "flow_error": flow["resimulation_error"],
        "network_error": network["resimulation_error"],
    }
    return _result(values)


@measure(
    "N",
    recognised=Figure(
        "knowledge: share of drawn digits that the classifier recognises, types added to a frozen flow",
        "",
        at_least=0.9,
        aim="0.97",
    ),
    recognised_at_1=Figure("knowledge: the same at T = 1"),
    bayes=Figure("knowledge: accuracy of Bayes' rule on validation digits"),
)
@one_thread()
def knowledge() -> Result:
    """400 drawn digits, 14×14, at T = 0.6; base flow and types are trained here, for 16 and 12 s of processor
    time."""
    mnist(train=True)
    _, digit, _, real = types.run(types.BASE_SECONDS, types.SECONDS)
    values = {
        "recognised": digit["recognised_at_0.6"],
        "recognised_at_1": digit["recognised_at_1"],
        "bayes": digit["bayes"],
    }
    return _result(values, note=f"the classifier recognises {real['recognised_at_1']:.3f} of real digits")


@measure(
    "N",
    ratio=Figure(
        "bits/dim of details given the small photo, relative to zeros in its place",
        "",
        at_most=0.97,
        aim="0.9",
    ),
)
def conditioned() -> Result:
    """bits/dim of the details of held-out photos after equal processor time of training, from
    docs/results/condition.json."""
    given, zeros = json.loads((ROOT / "docs" / "results" / "condition.json").read_text("utf-8"))["rows"]
    note = f"{given['bits_per_dim']:.3f} and {zeros['bits_per_dim']:.3f} bits/dim"
    return _result({"ratio": given["bits_per_dim"] / zeros["bits_per_dim"]}, note)


def _result(values: Mapping[str, object], note: str = "") -> Result:
    return Result({key: float(str(value)) for key, value in values.items()}, note)
