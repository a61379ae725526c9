"""The Lab's arm: what the flow learns, what is drawn, what is refused, and a click in a real browser."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import torch

from apps.ui.lab.arm import ARMS, OUT, UP, Learner, Target, stages, start
from tests.app.conftest import Opener
from tests.app.support import DESKTOP, DONE, PHONE
from tests.app.test_access import check
from vflow.errors import InputError

TARGET = Target(1.4, 0.7)


def test_a_learner_gets_nearer_and_serves_once_it_is_through() -> None:
    learner, seen = Learner(), []
    for step, model in learner.learn(60):
        assert learner.model is None
        if step in (1, 60):
            seen.append(learner.misses(learner.draw(model, TARGET), TARGET))
    assert learner.model is not None
    assert learner.misses(learner.draw(learner.model, TARGET), TARGET) < 0.7 * seen[0]
    assert torch.equal(learner.draw(learner.model, TARGET), learner.draw(learner.model, TARGET))
    assert len(list(learner.learn(60))) == 1, "what one job has learned the others need not"


def test_exact_arms_reach_the_target_and_a_stopped_learner_begins_anew() -> None:
    learner = Learner()
    arms = learner.exact(TARGET)
    assert arms.shape == (ARMS, 4) and learner.misses(arms, TARGET) < 0.003
    run = learner.learn(60)
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert learner.model is None
    with pytest.raises(InputError, match=r"hardly any arm reaches \(2.4, 0\); choose a target"):
        learner.exact(Target(2.4, 0))


def test_pictures_show_the_arms_from_the_rail_to_the_hand() -> None:
    learner = Learner()
    exact = learner.exact(TARGET)
    page = stages(learner.arm, TARGET, None, exact)
    assert page.count("<svg") == 2 and "100 arms from the rail to (1.40, 0.70)" in page
    paths = re.findall(r'<path d="M([^"]+)"', page)
    assert len(paths) == ARMS
    for path in paths:
        points = [tuple(map(float, point.split())) for point in path.split("L")]
        lengths = [((a - c) ** 2 + (b - d) ** 2) ** 0.5 / 100 for (a, b), (c, d) in pairwise(points)]
        assert lengths == pytest.approx(learner.arm.lengths, abs=0.003)
        assert points[0][0] == pytest.approx(-100 * OUT[0], abs=0.1)
        assert points[-1] == pytest.approx((100 * (1.4 - OUT[0]), 100 * (UP[1] - 0.7)), abs=0.5)
    assert start(learner.arm).count("<path d=") == ARMS


@pytest.mark.parametrize("given", [(None, 0), (1, "up"), (2.5, 0), (1, -1.8), (True, 0), (float("nan"), 0)])
def test_targets_outside_of_the_picture_are_refused(given: tuple[object, object]) -> None:
    with pytest.raises(InputError, match=r"target [xy]: give a number from") as caught:
        Target.checked(*given)
    assert "\n" not in str(caught.value)


@pytest.mark.browser
def test_on_a_phone_the_button_leads_to_the_arms(opened: Opener) -> None:
    app = opened(PHONE, motion="reduce")
    app.tab("Lab")
    app.page.locator("#vf-arm-run").click()
    top = "document.querySelector('#vf-arm-status').getBoundingClientRect().top"
    app.page.wait_for_function(f"{top} >= 0 && {top} < {PHONE[1] // 3}")
    app.stop("arm")


@pytest.mark.browser
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "dark"), (PHONE, "light")], ids=["desktop", "phone"])
def test_a_click_draws_arms_until_stop(opened: Opener, size: tuple[int, int], scheme: str) -> None:
    app = opened(size, scheme, "reduce")
    app.tab("Lab")
    picture = app.page.locator(".vf-arm-stages svg").first
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box
    share = (1.2 - OUT[0]) / (OUT[1] - OUT[0]), (UP[1] + 0.6) / (UP[1] - UP[0])
    picture.click(position={"x": share[0] * box["width"], "y": share[1] * box["height"]})
    app.page.get_by_role("img", name="Arms of the exact posterior: 100 arms").wait_for(timeout=DONE)
    app.page.get_by_role("img", name="Arms of the flow: 100 arms").wait_for(timeout=DONE)
    app.page.locator("#vf-arm-stop").click()
    app.page.locator("#vf-arm-status p").get_by_text("Stopped after").wait_for(timeout=DONE)
    label = app.page.get_by_role("img", name="Arms of the exact posterior").get_attribute("aria-label")
    found = re.search(r"to \((.*), (.*)\)", label or "")
    assert found
    assert [float(n) for n in found.groups()] == pytest.approx([1.2, -0.6], abs=0.04)  # a pixel
    check(app, "with arms")
    app.number("Target x", 2.4)
    app.number("Target y", 1)
    app.refused("arm", "hardly any arm reaches (2.4, 1); choose a target nearer to the middle of its reach")
