"""``vflow generate`` from and to S3: bytes as of a local run, after a kill too; credentials nowhere."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from vflow import cli

from .conftest import BUCKET, SECRET, command, outputs, photos, start

pytestmark = pytest.mark.cluster
COUNT = 200
INPUTS, OUTPUTS = f"s3://{BUCKET}/in", f"s3://{BUCKET}/out"


def stored(s3: Any, below: str) -> dict[str, bytes]:
    start = f"{BUCKET}/{below}/"
    return {name.removeprefix(start): s3.cat_file(name) for name in s3.find(start)}


def test_killed_and_run_again(s3: Any, model: Path, tmp_path: Path) -> None:
    folder = photos(tmp_path / "in", COUNT)
    s3.put(f"{folder}/", f"{BUCKET}/in/", recursive=True)
    assert cli.main(command(model, folder, tmp_path / "out")) == 0
    expected = outputs(tmp_path / "out")
    assert len(expected) == COUNT

    process = start(command(model, INPUTS, OUTPUTS))
    until = time.monotonic() + 120
    while len(s3.find(f"{BUCKET}/out/manifest.jsonl.lines")) < COUNT // 3 and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    log = "".join(process.communicate())
    left = {name: data for name, data in stored(s3, "out").items() if "/" in name and ".lines/" not in name}
    assert 0 < len(left) < COUNT and left.items() <= expected.items()

    process = start(command(model, INPUTS, OUTPUTS, "--json"))
    text, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    before = int(errors.splitlines()[-1].split("(")[1].split()[0])
    assert COUNT // 3 <= before < COUNT
    found = stored(s3, "out")
    assert {name: data for name, data in found.items() if "/" in name} == expected
    lines = [json.loads(line) for line in found["manifest.jsonl"].splitlines()]
    assert len(lines) == COUNT and {line["status"] for line in lines} == {"done"}
    local = {
        line["item"]: line["outputs"]
        for line in map(json.loads, (tmp_path / "out/manifest.jsonl").read_text().splitlines())
    }
    assert {line["item"]: line["outputs"] for line in lines} == local
    everything = [log, text, errors, *(data.decode("latin-1") for data in found.values())]
    assert not [each for each in everything if SECRET in each]


def test_of_writers_at_once_the_store_chooses_one(s3: Any) -> None:
    from vflow.remote import Remote

    remote = Remote(OUTPUTS)
    assert remote.write("run.json", b"first", replace=False)
    assert not remote.write("run.json", b"second", replace=False)
    assert s3.cat_file(f"{BUCKET}/out/run.json") == b"first"


@pytest.mark.parametrize("what", ["bucket", "credentials", "server"])
def test_a_refusal_is_one_line(
    s3: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    photo = photos(tmp_path, 1)
    output = OUTPUTS if what != "bucket" else "s3://no-such-bucket/out"
    if what == "credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("HOME", str(tmp_path))
    if what == "server":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    process = start(command(model, photo, output))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    last = errors.splitlines()[-1]
    assert last.startswith(f"error: {output}") and "Traceback" not in errors and SECRET not in errors
