"""Other kinds of conditioning: posteriors of the arm, knowledge types added to a frozen flow."""

from __future__ import annotations

from examples import invertible_network as inverse
from examples import knowledge_types as types
from scripts.acceptance.digits import mnist
from scripts.acceptance.registry import Result, measure
from scripts.acceptance.report import stored
from vflow.devices import one_thread

ARM_SECONDS = 120.0


@measure("N")
@one_thread()
def arm() -> Result:
    """1,000 new observations, 500 samples from each posterior; each training takes 120 s of processor
    time."""
    exact, flow, network = inverse.run("arm", ARM_SECONDS, 0)
    rows = {"exact": exact, "flow": flow, "network": network}
    errors = {f"{name}_error": row.get("resimulation_error") for name, row in rows.items()}
    return Result({name: row["calibration_error"] for name, row in rows.items()} | errors)


@measure("N")
@one_thread()
def knowledge() -> Result:
    """400 drawn digits, 14×14, at T = 0.6; base flow and types are trained here, for 16 and 12 s of processor
    time."""
    mnist(train=True)
    _, digit, _, real = types.run(types.BASE_SECONDS, types.SECONDS)
    return Result(digit, note=f"the classifier recognises {real['recognised_at_1']:.3f} of real digits")


@measure("N")
def conditioned() -> Result:
    """bits/dim of the details of held-out photos after equal processor time of training, from
    docs/results/condition.json."""
    given, zeros = stored("condition")["rows"]
    note = f"{given['bits_per_dim']:.3f} and {zeros['bits_per_dim']:.3f} bits/dim"
    return Result({"ratio": given["bits_per_dim"] / zeros["bits_per_dim"]}, note)
