"""scripts/train.py with FSDP on the CPU, which accelerate offers on GPUs only and is made to offer here."""

from __future__ import annotations

import sys
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from vflow.cli import main
from vflow.training.step import Learner

make_state, take_step = AcceleratorState.__init__, Learner.step


def make_sharded_state(self: Any, *args: Any, fsdp_plugin: Any = None, **keywords: Any) -> None:
    make_state(self, *args, fsdp_plugin=fsdp_plugin, **keywords)
    if fsdp_plugin is not None:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def step(self: Learner, *args: Any) -> Any:
    assert all(isinstance(parameter, DTensor) for parameter in self.plain.parameters()), "not sharded"
    return take_step(self, *args)


if __name__ == "__main__":
    AcceleratorState.__init__ = make_sharded_state
    Learner.step = step  # type: ignore[method-assign]
    sys.exit(main(["train", *sys.argv[1:]]))
