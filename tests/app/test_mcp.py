"""The endpoints as tools of an MCP server, called by an MCP client."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.app.conftest import Server, running
from tests.app.support import run_async
from tests.app.test_api import PUBLIC

PATH = "/gradio_api/mcp/"


@pytest.fixture(scope="module")
def mcp_server(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of ``vflow app --mcp``."""
    folder = tmp_path_factory.mktemp("mcp")
    with running(folder, checkpoints, "--mcp") as (address, _):
        yield address
    assert f"MCP server: {address}{PATH}" in (folder / "log.txt").read_text()


def converse(address: str, *calls: tuple[str, dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Tools on offer, and the result of each call."""

    async def run() -> tuple[list[Any], list[Any]]:
        async with (
            streamable_http_client(address + PATH) as (read, write, _),
            ClientSession(read, write) as it,
        ):
            await it.initialize()
            tools = (await it.list_tools()).tools
            return tools, [await it.call_tool(name, arguments) for name, arguments in calls]

    return run_async(run())


def test_tools_are_the_public_endpoints(mcp_server: str) -> None:
    ask = {"checkpoint": "digits"}
    steal = {"files": ["/etc/passwd"], "checkpoint": "shapes", "seed": 0}
    tools, (info, drawn, stolen) = converse(
        mcp_server,
        ("model_info", ask),
        ("generate_digits", {"label": "7", **ask, "num_samples": 1, "temperature": 1.0, "seed": 0}),
        ("score", steal),
    )
    assert {tool.name for tool in tools} == set(PUBLIC)
    assert all(tool.description and len(tool.description) > 40 for tool in tools)
    schemas = str([tool.inputSchema for tool in tools])
    assert "data: URI" in schemas and "http" not in schemas
    assert not info.isError and "'digits'" in info.content[0].text
    assert not drawn.isError and "digits.npz" in str(drawn.content)
    assert stolen.isError and "root:" not in str(stolen.content)


def test_it_is_off_by_default(server: Server) -> None:
    with pytest.raises(HTTPError) as error:
        urllib.request.urlopen(server.address + PATH)
    assert error.value.code in (404, 405)
