"""Answers of the guards to what they do not let through."""

from __future__ import annotations

from starlette.responses import PlainTextResponse


def refusal(status: int, reason: str) -> PlainTextResponse:
    """One line of text that no browser takes for anything else; the connection ends with it."""
    return PlainTextResponse(
        reason, status_code=status, headers={"X-Content-Type-Options": "nosniff", "Connection": "close"}
    )
