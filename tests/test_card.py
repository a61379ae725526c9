"""Generated model cards, of every kind of model."""

from __future__ import annotations

import pytest
import yaml

import vflow
from vflow.card import model_card
from vflow.config import VideoFlowConfig
from vflow.registry import config_class, families, kinds


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_a_card_has_a_header_that_hubs_read_and_code_that_exists(kind: str) -> None:
    config = config_class(kind)()
    card = model_card("mine", config, {"step": 1200, "val_bits_per_dim": 0.5}, {"command": "`vflow\ntrain`"})
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header)["library_name"] == "vflow" and "# mine" in text
    validation = "0.6931 nats" if kind == "density" else "0.5 bits/dim"  # 2 dimensions of half a bit
    assert "| steps | 1,200 |" in text and f"| validation | {validation}" in text
    assert "| command | `vflow train` |" in text
    function = families()[config.family].card.use.partition("vflow.")[2].partition("(")[0]
    assert not function or callable(getattr(vflow, function))


def test_what_was_not_measured_is_not_claimed() -> None:
    card = model_card("mine", VideoFlowConfig(), {"step": 3, "val_bits_per_dim": None}, {})
    assert "validation" not in card and "64×64 RGB; 3 levels of 8, 8, 8 steps; 10 frames per second" in card
