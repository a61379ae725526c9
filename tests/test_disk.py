"""Reads of files that strangers wrote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vflow.disk import file_sha256, parse_json, parse_yaml, read_regular


def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("pipe", "zero"):
        for read in (read_regular, file_sha256):
            with pytest.raises(OSError, match="Not a regular file"):
                read(tmp_path / name)
    assert read_regular(tmp_path / "file") == read_regular(tmp_path / "link") == b"text"
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, "{", b"\xff"])
def test_json_that_python_does_not_read(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_yaml_as_editors_and_shells_write_it(encoding: str) -> None:
    assert parse_yaml("# 64×64\r\nfps: 10\r\n".encode(encoding)) == {"fps": 10}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a: " * 9, "9" * 5_000, "{", b"\xff\xfe\xff", "!!python/name:os.system"]
)
def test_yaml_that_python_does_not_read(text: str | bytes) -> None:
    with pytest.raises(ValueError) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value)
