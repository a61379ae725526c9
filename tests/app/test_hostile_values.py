"""Values of every kind, sent to every endpoint: one line each, no traceback, nothing read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.app.conftest import Server
from tests.test_hostile import Record

DEFAULTS: dict[str, list[Any]] = {
    "predict_future": [[], "shapes", 1, 1, 1.0, 0, "", 5],
    "score": [[], "shapes", 0],
    "model_info": ["shapes"],
    "generate_digits": ["7", "digits", 1, 1.0, 0],
    "colorize": [[], "colorizer", 1, 1.0, 1.0, 0, "", ""],
    "learn_density": ["two-moons", "rnade", 10, 0, []],
}
SECRET = "/etc/passwd"
FILE = {"_type": "gradio.FileData"}
NESTED: list[Any] = []
for _ in range(200):
    NESTED = [NESTED]
VALUES: list[Any] = [
    None, True, -1, 1e308, 10**400, 0.5, "", "8", "nan", "9" * 5_000, "x" * 100_000, "a\nb\x1b[2J", "\ud800",
    [], [1, 2], {}, {"a": 1}, NESTED, SECRET, f"../../../..{SECRET}", "file://" + SECRET,
    {"path": SECRET, "meta": FILE}, [{"path": SECRET, "meta": FILE}], [{"path": "/dev/zero", "meta": FILE}],
    [{"path": "x", "url": "http://127.0.0.1:9/", "meta": FILE}], [{"path": "a\0b", "meta": FILE}],
    [{"path": None, "meta": FILE}], [{"meta": FILE}], [SECRET], [[SECRET]],
    "<img src=x onerror=alert(1)>", {"__type__": "update", "value": SECRET},
]  # fmt: skip


def call(client: httpx.Client, name: str, values: Any) -> tuple[str, Any]:
    """Last event of a call, and its data; "refused" and the text where it is not even queued."""
    body = json.dumps({"data": values}).encode()
    reply = client.post(
        f"/gradio_api/call/{name}", content=body, headers={"Content-Type": "application/json"}
    )
    if reply.status_code != 200:
        return "refused", reply.text
    event, data = "", ""
    with client.stream("GET", f"/gradio_api/call/{name}/{reply.json()['event_id']}") as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = line.removeprefix("data: ")
    return event, json.loads(data)


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    """Plain HTTP to the running app."""
    with httpx.Client(base_url=server.address, timeout=30) as client:
        yield client


def cases(count: int | None) -> list[tuple[str, list[Any]]]:
    """Endpoint and values, one of them odd; ``count`` of all such, drawn with a fixed seed."""
    every = [
        (name, [*defaults[:place], value, *defaults[place + 1 :]])
        for name, defaults in DEFAULTS.items()
        for place in range(len(defaults))
        for value in VALUES
    ]
    if count is None:
        return every
    return [every[i] for i in np.random.default_rng(0).choice(len(every), count, replace=False)]


def check(server: Server, client: httpx.Client, chosen: list[tuple[str, list[Any]]]) -> float:
    """Call the endpoints; returns the seconds of the slowest answer."""
    longest = 0.0
    for name, values in chosen:
        began = time.monotonic()
        event, data = call(client, name, values)
        longest = max(longest, time.monotonic() - began)
        shown = f"{name}{json.dumps(values)[:300]}: {event} {str(data)[:300]}"
        assert event in ("complete", "error", "refused"), shown
        if event == "error":
            assert data and data["error"] and "\n" not in data["error"] and len(data["error"]) < 10_000, shown
        assert "root:" not in str(data), shown
    assert "Traceback" not in server.log.read_text()
    return longest


def test_odd_values(server: Server, http: httpx.Client) -> None:
    check(server, http, cases(24))
    check(
        server,
        http,
        [
            ("score", []),
            ("score", [[]]),
            ("predict_future", [None]),
            ("model_info", "shapes"),
            ("nothing", [1]),
        ],
    )


@pytest.mark.long
def test_all_odd_values(server: Server, http: httpx.Client, record_property: Record) -> None:
    record_property("seconds", check(server, http, cases(None)))
    record_property("inputs", len(cases(None)))


def test_files_of_the_machine_stay_unread(http: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "own.png").write_bytes(b"private")
    for path in (SECRET, str(tmp_path / "own.png")):
        event, data = call(http, "score", [[{"path": path, "meta": FILE}], "shapes", 0])
        assert event == "error" and path in data["error"]
