"""Devices: the choice by name, and which of them compute in bfloat16."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from vflow import devices
from vflow.errors import ConfigError

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["mps", "tpu", "cuda"])
def test_a_device_that_is_not_there_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"--device {name}: "):
        devices.choose_device(name)


def test_instruction_sets_are_read_from_the_system(tmp_path: Path) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor : 0\nflags : fpu avx512_bf16\n")
    assert devices.cpu_flags(listing) == {"fpu", "avx512_bf16"}
    assert devices.cpu_flags(tmp_path / "none") == set()


def test_memory_of_a_container_is_its_limit(tmp_path: Path) -> None:
    limit, none = tmp_path / "memory.max", tmp_path / "none"
    whole = devices.physical_memory([none])
    limit.write_text("1048576\n")
    assert devices.physical_memory([none, limit]) == 2**20 < whole
    limit.write_text("max\n")
    assert devices.physical_memory([limit]) == whole


@pytest.mark.parametrize(("flags", "native"), [({"avx2"}, False), ({"avx2", "amx_bf16"}, True)])
def test_emulated_bfloat16_is_said_once(
    flags: set[str], native: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "cpu_flags", lambda: flags)
    devices.warn_if_emulated.cache_clear()
    for _ in range(2):
        devices.warn_if_emulated(CPU)
    assert devices.computes_bfloat16(CPU) == native
    assert len(caplog.records) == (not native)
    devices.warn_if_emulated.cache_clear()


def test_a_context_of_one_thread_within_another_leaves_it_as_it_is() -> None:
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with devices.one_thread():
            with devices.one_thread():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)


def test_contexts_of_one_thread_that_overlap_leave_the_count_as_it_was() -> None:
    usual, inside = torch.get_num_threads(), threading.Barrier(2, timeout=60)
    first_left, counts = threading.Event(), []

    def first() -> None:
        with devices.one_thread():
            inside.wait()
        first_left.set()

    def second() -> None:
        with devices.one_thread():
            inside.wait()
            assert first_left.wait(60)
            counts.append(torch.get_num_threads())

    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(first), pool.submit(second)]:
                done.result()
        with ThreadPoolExecutor(1) as pool:
            counts.append(pool.submit(torch.get_num_threads).result())
        assert counts == [1, 3]
    finally:
        torch.set_num_threads(usual)


def test_a_thread_that_began_during_another_ones_single_thread_does_not_keep_it() -> None:
    usual = torch.get_num_threads()

    def open_once() -> int:
        with devices.one_thread():
            pass
        return torch.get_num_threads()

    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(1) as early, ThreadPoolExecutor(1) as late, ThreadPoolExecutor(1) as new:
            context = devices.one_thread()
            early.submit(context.__enter__).result()
            assert late.submit(torch.get_num_threads).result() == 1
            early.submit(context.__exit__, None, None, None).result()
            assert late.submit(open_once).result() == 3
            assert new.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(usual)
